"""A fit from its beginning to its end, with what it leaves behind on the way."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from rollc.errors import InputError
from rollc.training.loop import Diverged, Trainer, Update
from rollc.training.runs.picture import picture
from rollc.training.runs.run_folder import Record, RunFolder, finite

KEPT_EVERY = 60.0  # seconds between checkpoints
DRAWN_EVERY = 60.0  # between pictures of the losses, whatever the checkpoints


@dataclass
class Run:
    """A trainer, the records of its epochs and validations, and the folder that keeps them, if
    there is one.

    A checkpoint is written before the first update, after the last one, and in between whenever
    ``every`` seconds have passed: what a power cut takes is no more than that.
    """

    trainer: Trainer
    folder: RunFolder | None = None
    every: float = KEPT_EVERY
    records: list[Record] = field(default_factory=list)
    recorded: Callable[[Record], None] = lambda record: None  # called with each record
    kept: Callable[[], None] = lambda: None  # called after each checkpoint
    _kept: float = 0.0
    _drawn: float = 0.0

    def go(
        self,
        watch: Callable[[Update], None] = lambda update: None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Go on to the end; False where it was stopped before.

        ``watch`` sees every update.  Raises :class:`rollc.training.loop.Diverged`: the last
        checkpoint stays as it was, and the parameters are the last good ones.
        """
        began = self._drawn = time.monotonic()
        before = float(self.records[-1]["seconds"]) if self.records else 0.0
        self.keep()

        def see(update: Update) -> bool:
            if update.ended is not None or update.validation is not None:
                seconds = before + time.monotonic() - began
                self.records.append(record_of(self.trainer, update, seconds))
                self.recorded(self.records[-1])
            watch(update)
            if is_stopped():
                return True
            if time.monotonic() - self._kept >= self.every:
                self.keep()
            return False

        try:
            self.trainer.drive(see)
        except Diverged as diverged:
            if self.folder is not None:
                self.folder.write_params(diverged.params)
            raise
        finally:
            self._draw()
        self.keep()
        return self.trainer.done

    def best(self) -> Record | None:
        """What was recorded at the best validation loss."""
        update = self.trainer.progress.best_update
        return next((each for each in self.records if each["update"] == update), None)

    def keep(self) -> None:
        """Write a checkpoint."""
        if self.folder is not None:
            self.folder.keep(self.trainer.progress, self.trainer.layout, self.records)
            self.kept()
        self._kept = time.monotonic()
        if self._kept - self._drawn >= DRAWN_EVERY:
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self.folder is not None and (svg := picture(self.records)) is not None:
            self.folder.write_picture(svg)


def record_of(trainer: Trainer, update: Update, seconds: float) -> Record:
    """What the metrics say after an update; within an epoch its number is a fraction."""
    progress = trainer.progress
    through = progress.part / trainer.parts
    found: dict[str, Any] = {
        "epoch": progress.epoch + through if through else progress.epoch,
        "update": update.number,
        "loss": finite(update.mean),
        "rate": update.rate,
        "seconds": round(seconds, 3),
    }
    if (valid := update.validation) is not None:
        found |= {"valid": finite(valid.loss), "better": valid.better}
        if valid.metrics:
            found["metrics"] = {name: finite(each) for name, each in valid.metrics.items()}
    return found


@contextmanager
def stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """Whether the user or the system has asked to end, which a run does after its update.

    The second time, Ctrl-C ends it at once.
    """
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    except ValueError as error:  # not the main thread
        raise InputError(f"signals reach the main thread alone: {error}") from error
    try:
        yield lambda: bool(asked)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
