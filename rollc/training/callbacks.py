"""What ``rollc.fit`` tells of while it goes on."""

from __future__ import annotations

from pathlib import Path

from rollc.training.loop import Trainer, Update
from rollc.training.runs.run_folder import Record


class StopTraining(Exception):
    """Raised by a callback: the fit ends after this update, as if one had returned True."""


class Callback:
    """What a fit calls; each method does nothing, until a subclass says what.

    A function in the place of a callback is its :meth:`on_update`.

    Examples
    --------
    >>> import rollc
    >>> class Patient(rollc.Callback):
    ...     def on_epoch(self, trainer, record):
    ...         print(record["epoch"], record["loss"], record.get("valid"))
    ...         return record["loss"] < 0.01  # True ends the fit
    """

    def on_update(self, trainer: Trainer, update: Update) -> bool | None:
        """After each update.

        Parameters
        ----------
        trainer : Trainer
            ``trainer.params`` are the parameters now, ``trainer.best_params`` those of the best
            validation loss.
        update : Update
            With its ``number``, ``loss`` and ``rate``; where it was validated,
            ``update.validation`` has a ``loss`` and ``metrics``.

        Returns
        -------
        bool or None
            True ends the fit.
        """

    def on_epoch(self, trainer: Trainer, record: Record) -> bool | None:
        """After each epoch.

        Parameters
        ----------
        trainer : Trainer
            As in :meth:`on_update`.
        record : dict
            What the history says of it: ``loss``, and after a validation ``valid``, ``better`` and
            ``metrics``.

        Returns
        -------
        bool or None
            True ends the fit.
        """

    def on_checkpoint(self, trainer: Trainer, directory: Path) -> None:
        """After a checkpoint was written.

        Parameters
        ----------
        trainer : Trainer
            As in :meth:`on_update`.
        directory : Path
            That of the fit.
        """
