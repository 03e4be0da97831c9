"""What ``rollc.fit`` tells of while it goes on."""

from __future__ import annotations

from pathlib import Path

from rollc.training.loop import Trainer, Update
from rollc.training.runs.run_folder import Record


class StopTraining(Exception):
    """Raised by a callback: the fit ends after this update, as if one had returned True."""


class Callback:
    """What a fit calls; each method does nothing, until a subclass says what.

        class Patient(rollc.Callback):
            def on_epoch(self, trainer, record):
                print(record["epoch"], record["loss"], record.get("valid"))
                return record["loss"] < 0.01  # True ends the fit

    ``trainer.params`` are the parameters now, ``trainer.best_params`` those of the best validation
    loss.  A function in the place of a callback is its :meth:`on_update`.
    """

    def on_update(self, trainer: Trainer, update: Update) -> bool | None:
        """After each update, with its ``number``, ``loss`` and ``rate``; where it was validated,
        ``update.validation`` has a ``loss`` and ``metrics``."""

    def on_epoch(self, trainer: Trainer, record: Record) -> bool | None:
        """After each epoch, with what its history says of it: ``loss``, and after a validation
        ``valid``, ``better`` and ``metrics``."""

    def on_checkpoint(self, trainer: Trainer, directory: Path) -> None:
        """After a checkpoint was written to the ``directory`` of the fit."""
