"""Diagnostics as data, and their renderer.

The layout is that of rustc: the code and the message, the location, the lines of the source
with carets under the smallest span, then notes and help.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rollc.lang.diagnostics.source import Source, Span

Severity = Literal["error", "warning"]

WIDTH = 100  # the longest piece of a source line that is shown
BOLD, RED, YELLOW, BLUE, CYAN, PLAIN = (
    f"\x1b[{code}m" for code in ("1", "1;31", "1;33", "1;34", "1;36", "0")
)


@dataclass(frozen=True, slots=True)
class Label:
    """A span, and what a message says about it; the text may be empty."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of the text: what stands at the span becomes ``text``."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning.

    ``at`` is the location of the problem; None where the spec has none (an override of a size that
    does not exist).  ``also`` are other locations that explain it.  ``edits`` do what the first
    help says; there are none where the author has to choose.  With ``parts``, `{0}` in helps and
    edits stands for the text of the first of these, in helps for its name where that is long.
    """

    code: str
    message: str
    at: Label | None = None
    also: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()
    severity: Severity = "error"
    edits: tuple[Edit, ...] = ()
    parts: tuple[Label, ...] = ()

    @property
    def labels(self) -> tuple[Label, ...]:
        return self.also if self.at is None else (self.at, *self.also)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """In the order of the source; what has no place comes first."""
    return tuple(sorted(dict.fromkeys(diagnostics), key=_place))


def _place(diagnostic: Diagnostic) -> tuple[int, int, str, str]:
    at = diagnostic.at
    start, end = (at.span.start, at.span.end) if at else (-1, -1)
    return start, end, diagnostic.code, diagnostic.message


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(diagnostic.severity == "error" for diagnostic in diagnostics)


def as_data(diagnostics: Iterable[Diagnostic], source: Source) -> list[dict[str, object]]:
    """The diagnostics as plain dictionaries, for machines.  Lines and columns start at 1."""

    def place(label: Label, primary: bool) -> dict[str, object]:
        start, end = label.span.start, label.span.end
        return {
            "file": source.at(start)[0].name,
            "line": source.line_of(start),
            "column": source.column_of(start),
            "end_line": source.line_of(end),
            "end_column": source.column_of(end),
            "text": label.text,
            "primary": primary,
        }

    return [
        {
            "severity": diagnostic.severity,
            "code": diagnostic.code,
            "message": diagnostic.message,
            "file": (source.at(diagnostic.at.span.start)[0] if diagnostic.at else source).name,
            "labels": [place(label, label is diagnostic.at) for label in diagnostic.labels],
            "notes": list(diagnostic.notes),
            "helps": list(diagnostic.helps),
            "edits": [
                {**place(Label(edit.span), False), "text": edit.text} for edit in diagnostic.edits
            ],
        }
        for diagnostic in diagnostics
    ]


def render(diagnostics: Iterable[Diagnostic], source: Source, colour: bool = False) -> str:
    """The messages as text; each ends with an empty line."""
    return "".join(_Page(source, colour).message(diagnostic) for diagnostic in diagnostics)


def printable(text: str) -> str:
    """Text in which nothing moves the cursor or changes the terminal."""
    return "".join(
        letter if letter == " " or letter.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for letter in text.replace("\t", "    ")
    )


def _columns(text: str) -> int:
    """The number of columns that a text takes on a terminal."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    marks = sum(unicodedata.combining(letter) != 0 for letter in text)
    return len(text) + wide - marks


@dataclass(frozen=True, slots=True)
class _Mark:
    """A label on one line: the columns that it underlines, and its text."""

    start: int
    end: int
    text: str
    primary: bool


class _Page:
    def __init__(self, source: Source, colour: bool) -> None:
        self.source = source
        self.colour = colour

    def paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{PLAIN}" if self.colour and text else text

    def message(self, diagnostic: Diagnostic) -> str:
        main = RED if diagnostic.severity == "error" else YELLOW
        head = self.paint(f"{diagnostic.severity}[{diagnostic.code}]", main)
        lines = [f"{head}{self.paint(f': {printable(diagnostic.message)}', BOLD)}"]
        lines_of = self.lines_of(diagnostic)
        numbers = [number for _, found in lines_of for number in found]
        margin = len(str(max(numbers))) if numbers else 1
        for file, found in lines_of:
            start = next(
                label.span.start
                for label in diagnostic.labels
                if self.source.at(label.span.start)[0] is file
            )
            place = f"{self.source.line_of(start)}:{self.source.column_of(start)}"
            arrow = "-->" if file is lines_of[0][0] else ":::"
            arrow = self.paint(f"{' ' * margin}{arrow}", BLUE)
            lines.append(f"{arrow} {printable(file.name)}:{place}")
            lines.append(self.paint(f"{' ' * margin} |", BLUE))
            last = None
            for number in found:
                if last is not None and number > last + 1:
                    lines.append(self.paint("...", BLUE))
                lines.extend(self.source_line(diagnostic, file, number, margin, main))
                last = number
        edge = self.paint(f"{' ' * margin} =", BLUE)
        remarks = [*(("note", text) for text in diagnostic.notes)]
        remarks += [*(("help", text) for text in diagnostic.helps)]
        if remarks and diagnostic.labels:
            lines.append(self.paint(f"{' ' * margin} |", BLUE))
        for sort, text in remarks:
            colour = CYAN if sort == "help" else BOLD
            lines.append(f"{edge} {self.paint(f'{sort}:', colour)} {printable(text)}")
        return "\n".join(lines) + "\n\n"

    def lines_of(self, diagnostic: Diagnostic) -> list[tuple[Source, list[int]]]:
        """The lines that a message is about, file by file; its own place comes first."""
        found: dict[str, tuple[Source, set[int]]] = {}
        for label in diagnostic.labels:
            file, _ = self.source.at(label.span.start)
            found.setdefault(file.name, (file, set()))[1].add(self.source.line_of(label.span.start))
        return [(file, sorted(numbers)) for file, numbers in found.values()]

    def source_line(
        self, diagnostic: Diagnostic, file: Source, number: int, margin: int, main: str
    ) -> list[str]:
        """A line of a file and what is said under it."""
        text = file.line(number)
        offset = file.line_starts[number - 1]
        places = []
        for label in diagnostic.labels:
            inside, start = self.source.at(label.span.start)
            if inside is file and self.source.line_of(label.span.start) == number:
                places.append((label, start - offset))
        # A line that is too long is shown around its first label.
        cut = 0
        if len(text) > WIDTH:
            cut = max(0, min(start for _, start in places) - WIDTH // 2)
            text = text[cut : cut + WIDTH]
        marks = []
        for label, begin in places:
            start = max(0, min(begin - cut, len(text)))
            length = label.span.end - label.span.start
            end = max(start, min(begin + length - cut, len(text)))
            before = _columns(printable(text[:start]))
            width = max(1, _columns(printable(text[start:end])))
            marks.append(
                _Mark(before, before + width, printable(label.text), label is diagnostic.at)
            )
        gutter = self.paint(f"{number:>{margin}} |", BLUE)
        empty = self.paint(f"{' ' * margin} |", BLUE)
        lines = [f"{gutter} {printable(text)}".rstrip()]
        lines.extend(f"{empty} {line}" for line in self.underlines(marks, main))
        return lines

    def underlines(self, marks: Sequence[_Mark], main: str) -> list[str]:
        """Carets and dashes, the rightmost text beside them, the other texts below."""
        marks = sorted(marks, key=lambda mark: (mark.start, mark.end))
        cells: dict[int, str] = {}
        for mark in sorted(marks, key=lambda mark: mark.primary):
            for column in range(mark.start, mark.end):
                cells[column] = self.paint("^" if mark.primary else "-", self.of(mark, main))
        width = max(cells) + 1
        under = "".join(cells.get(column, " ") for column in range(width))
        last = max(marks, key=lambda mark: mark.end)
        waiting = [mark for mark in marks if mark.text]
        if last in waiting and not any(
            mark.end > last.start and mark is not last for mark in waiting
        ):
            waiting.remove(last)
            under += f" {self.paint(last.text, self.of(last, main))}"
        lines = [under]
        if waiting:
            lines.append(self.pointers(waiting, main))
        while waiting:
            mark = waiting.pop()
            stems = self.pointers([other for other in waiting if other.start < mark.start], main)
            plain = max(
                (other.start + 1 for other in waiting if other.start < mark.start), default=0
            )
            gap = " " * (mark.start - plain)
            lines.append(f"{stems}{gap}{self.paint(mark.text, self.of(mark, main))}")
        return lines

    def pointers(self, marks: Sequence[_Mark], main: str) -> str:
        stems = {mark.start: self.paint("|", self.of(mark, main)) for mark in marks}
        return "".join(stems.get(column, " ") for column in range(max(stems, default=-1) + 1))

    def of(self, mark: _Mark, main: str) -> str:
        return main if mark.primary else BLUE
