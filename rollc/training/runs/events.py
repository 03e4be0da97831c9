"""The metrics of a run as TensorBoard reads them, by tensorboardX.

Its files grow while the run goes on: they are the only ones of a run that are not whole at any
moment.  A run that is taken up again hides what was written after its checkpoint.
"""

from __future__ import annotations

from pathlib import Path

from rollc.errors import InputError
from rollc.training.runs.run_folder import Record


class Events:
    """A file of events in a folder; what comes after ``update`` there is hidden."""

    def __init__(self, folder: Path, update: int = 0) -> None:
        need_writer()
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=update + 1 if update else None)

    def write(self, record: Record) -> None:
        """The losses, the rate and the measures of a record, at its update."""
        numbers = {
            "loss/training": record["loss"],
            "loss/validation": record.get("valid"),
            "rate": record["rate"],
            **{f"measures/{name}": each for name, each in record.get("metrics", {}).items()},
        }
        for name, number in numbers.items():
            if number is not None:
                self._writer.add_scalar(name, number, record["update"])

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def need_writer() -> None:
    """Raises :class:`InputError` where there is no tensorboardX."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise InputError(
            "TensorBoard's events are written by tensorboardX: `pip install 'rollc[tensorboard]'`"
        ) from None
