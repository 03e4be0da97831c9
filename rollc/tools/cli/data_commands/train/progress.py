"""How far a fit is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rollc.tools import console
from rollc.training.loop import Trainer, Update, Validation

Watch = Callable[[Update], None]

OFTEN = 0.1  # seconds between changes of the bar


@contextmanager
def shown(trainer: Trainer, quiet: bool = False) -> Iterator[Watch]:
    """A function that takes each update, and shows how far it is."""
    if quiet:
        yield lambda update: None
    elif sys.stderr.isatty():
        with _bar(trainer) as watch:
            yield watch
    else:
        yield _lines(trainer)


class _Said:
    """The loss, and what validation said last."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._validation: Validation | None = None

    def see(self, update: Update) -> None:
        if (valid := update.validation) is not None:
            self._validation = valid

    def text(self, update: Update, digits: int = 6) -> str:
        said = [f"loss {update.mean:.{digits}g}"]
        if (valid := self._validation) is not None:
            said.append(f"validation {valid.loss:.{digits}g}{' (best)' if valid.better else ''}")
            if valid.metrics and self._trainer.measures is not None:
                said.append(self._trainer.measures.shown(valid.metrics))
        return ", ".join(filter(None, said))


def _lines(trainer: Trainer) -> Watch:
    """Ten lines: at the ends of epochs, or in between where there are fewer."""
    epochs, said = trainer.settings.epochs, _Said(trainer)
    by_epoch = epochs >= 10
    total = epochs if by_epoch else epochs * trainer.updates
    marks = {total * part // 10 for part in range(1, 11)}

    def watch(update: Update) -> None:
        said.see(update)
        if by_epoch and update.ended is not None and update.ended.number in marks:
            console.say(f"epoch {update.ended.number}/{epochs}: {said.text(update)}")
        elif not by_epoch and (update.number in marks or update.ended is not None):
            at = f"epoch {update.epoch}/{epochs}"
            if update.ended is None:
                at += f", update {update.number}/{total}"
            console.say(f"{at}: {said.text(update)}")

    return watch


@contextmanager
def _bar(trainer: Trainer) -> Iterator[Watch]:
    """Epochs, loss, validation, updates a second, and the time that is left."""
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.3g} updates/s")

    epochs, said = trainer.settings.epochs, _Said(trainer)
    terminal = console.standard_error()
    width = 16 if terminal.width >= 100 else 8
    room = terminal.width - width - len(f"epoch {epochs}/{epochs}") - 24  # for what is said
    columns = (
        TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
        BarColumn(bar_width=width),
        TimeRemainingColumn(compact=True),
        Speed(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[said]}", markup=False, table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=terminal, refresh_per_second=4) as bar:
        at, seen = trainer.progress, 0.0
        total = trainer.updates * epochs
        task = bar.add_task("fit", total=total, completed=at.update, epoch=at.epoch + 1, said="")

        def watch(update: Update) -> None:
            nonlocal seen
            said.see(update)
            now = time.monotonic()
            if now - seen >= OFTEN or (update.ended is not None and update.ended.last):
                seen, text = now, said.text(update, 4)
                text = text if len(text) <= room else f"{text[: room - 1]}…"
                bar.update(task, completed=update.number, epoch=update.epoch, said=text)

        yield watch
