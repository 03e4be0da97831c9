"""Messages on standard error, and tables on standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console

    from rollc.lang.diagnostics.diagnostic import Diagnostic
    from rollc.lang.diagnostics.source import Source
    from rollc.lang.diagnostics.spec_error import SpecError


def in_colour(stream: TextIO) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR or a dumb terminal forbids it."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def say(text: str) -> None:
    """A line of talk."""
    print(plain(text), file=sys.stderr)


def note(text: str) -> None:
    _headed("note", text, "cyan")


def warning(text: str) -> None:
    _headed("warning", text, "yellow")


def error(text: str) -> None:
    _headed("error", text, "red")


def wrong_spec(wrong: SpecError) -> None:
    """Everything that is wrong with a spec."""
    if wrong.source is None:
        error(str(wrong))
    else:
        diagnostics(wrong.diagnostics, wrong.source, sys.stderr)


def diagnostics(found: Iterable[Diagnostic], source: Source, stream: TextIO) -> None:
    from rollc.lang.diagnostics.diagnostic import render

    print(render(found, source, in_colour(stream)), end="", file=stream)


def _headed(head: str, text: str, colour: str) -> None:
    head = f"{head}:"
    if in_colour(sys.stderr):
        head = click.style(head, fg=colour, bold=True)
    print(f"{head} {plain(text)}", file=sys.stderr)


def plain(text: str) -> str:
    """Text from outside, in which nothing moves the cursor or changes the terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )


def show_warning(message: Warning | str, *_: object) -> None:
    """Takes the place of ``warnings.showwarning``; those of others go on for lines."""
    warning(str(message).partition("\n")[0])


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """On a terminal, say what is being done for as long as it takes."""
    if not sys.stderr.isatty():
        yield
        return

    with standard_error().status(what):
        yield


def standard_error() -> Console:
    """Standard error as rich sees it."""
    from rich.console import Console

    return Console(stderr=True, no_color=not in_colour(sys.stderr), highlight=False)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Show how far a long piece of work is: a bar on a terminal, elsewhere ten lines.

    Gives a function that takes how much is done and a word on it.
    """
    if not sys.stderr.isatty():
        marks = {total * part // 10 for part in range(1, 11)}

        def advance(done: int, text: str) -> None:
            if done in marks:
                marks.remove(done)
                say(f"{what} {done}/{total}: {text}")

        yield advance
        return

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=standard_error()) as bar:
        task = bar.add_task(what, total=total, said="")

        def move(done: int, text: str) -> None:
            bar.update(task, completed=done, said=text)

        yield move


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns to standard output."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
