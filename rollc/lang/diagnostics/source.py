"""The texts of a spec and the files that it uses, and spans in them.

The texts of used files follow that of the spec in one sequence of characters, so that a span is
two numbers, whatever file it is in.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The characters from ``start`` up to, not including, ``end``.

    ``use`` is where the cell that they belong to is used; it plays no part in equality, so that an
    error in a cell is reported once, however often the cell is used.
    """

    start: int
    end: int
    use: Span | None = field(default=None, compare=False, repr=False)

    def to(self, other: Span) -> Span:
        """The smallest span that holds both."""
        return Span(min(self.start, other.start), max(self.end, other.end), self.use)


@dataclass(frozen=True)
class Source:
    """A text and its name in messages (mostly the path of its file).

    ``used`` are the texts of other files that it uses, directly or not.
    """

    name: str
    text: str
    used: tuple[Source, ...] = ()

    @cached_property
    def offsets(self) -> list[int]:
        """Where the texts of the files begin: first this one, then those that it uses."""
        starts = [0]
        for file in (self, *self.used):
            starts.append(starts[-1] + len(file.text) + 1)
        return starts

    def at(self, offset: int) -> tuple[Source, int]:
        """The file that an offset lies in, and the offset in that file's own text."""
        place = min(bisect_right(self.offsets, offset), len(self.used) + 1) - 1
        return (self, *self.used)[place], offset - self.offsets[place]

    def text_of(self, span: Span) -> str:
        """What stands in a span, which lies in one file."""
        file, start = self.at(span.start)
        return file.text[start : start + span.end - span.start]

    @cached_property
    def line_starts(self) -> list[int]:
        starts = [0]
        starts.extend(place + 1 for place, letter in enumerate(self.text) if letter == "\n")
        return starts

    def line_of(self, offset: int) -> int:
        """The number of the line that holds an offset, in its file; the first line is 1."""
        file, own = self.at(offset)
        return bisect_right(file.line_starts, own)

    def column_of(self, offset: int) -> int:
        """The column of an offset in its line, in characters; the first is 1."""
        file, own = self.at(offset)
        return own - file.line_starts[bisect_right(file.line_starts, own) - 1] + 1

    def line(self, number: int) -> str:
        """A line of this file without its end."""
        start = self.line_starts[number - 1]
        end = self.line_starts[number] if number < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")

    def line_in_spec(self, span: Span) -> int:
        """The line of the spec itself that a span belongs to: in another file, its use's."""
        while span.start > len(self.text) and span.use is not None:
            span = span.use
        return self.line_of(span.start)
