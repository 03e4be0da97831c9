"""What a picture has: boxes, arrows and frames, without their places."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

BoxLook = Literal[
    "value", "input", "target", "cell", "gradient", "initial", "parameters", "square", "junction"
]
ArrowLook = Literal["read", "tape", "initial", "bus", "order"]
FrameLook = Literal["cell", "step", "region", "value"]
LineLook = Literal["name", "equation", "parameters"]

# Points of the letters of each sort of line, and the distance to the next line.
SIZES: dict[LineLook, float] = {"name": 11.0, "equation": 9.5, "parameters": 8.5}
LEADING = 1.3
LABEL = 10.0  # points of the letters of a frame's label
MARGIN = (7.0, 5.0)
SQUARE = 12.0
WIDEST_EQUATION = 26  # characters of a line
MOST_LINES = 2

_NARROW, _SLIM, _WIDE, _BROAD = "ijl.,:;'|!", "ft()[]/ r-·", "mwMW@…", "ABCDEGHKNOPQRUVXY=+~<>"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the text in a box."""

    text: str
    look: LineLook = "name"

    @property
    def width(self) -> float:
        """About as wide as Helvetica, and rather more: other fonts may take its place."""
        size, bold = SIZES[self.look], 1.12 if self.look == "name" else 1.0
        return sum(map(letter, self.text)) * size * bold

    @property
    def height(self) -> float:
        return SIZES[self.look] * LEADING


def letter(character: str) -> float:
    """The width of a letter, in its size."""
    if character in _NARROW:
        return 0.30
    if character in _SLIM:
        return 0.38
    if character in _WIDE:
        return 0.95
    return 0.75 if character in _BROAD else 0.60


@dataclass(frozen=True)
class Box:
    """A box with its lines; ``title`` is all that there is to say of it.

    ``frames`` are the names of the frames that it is in, from the outermost.
    """

    name: str
    look: BoxLook = "value"
    lines: tuple[Line, ...] = ()
    title: str = ""
    adjoint: bool = False
    result: bool = False
    frames: tuple[str, ...] = ()

    @property
    def width(self) -> float:
        """In points."""
        if self.look == "square":
            return max([SQUARE, *(line.width + 5 for line in self.lines)])
        if self.look == "junction":
            return 5.0
        wide = max([14.0, *(line.width for line in self.lines)]) + 2 * MARGIN[0]
        return wide + (10.0 if self.look in ("input", "target") else 0.0)

    @property
    def height(self) -> float:
        """In points."""
        if self.look in ("square", "junction"):
            return SQUARE if self.look == "square" else 5.0
        return sum(line.height for line in self.lines) + 2 * MARGIN[1]


@dataclass(frozen=True)
class Arrow:
    """An arrow from one box to another; without a ``head`` it is a line.

    ``upwards`` says that its target stands above its source, and ``free`` that it says nothing
    of which stands above.
    """

    source: str
    target: str
    look: ArrowLook = "read"
    head: bool = True
    adjoint: bool = False
    upwards: bool = False
    free: bool = False


@dataclass(frozen=True)
class Frame:
    """A frame around boxes and other frames."""

    name: str
    label: str
    look: FrameLook
    title: str = ""
    adjoint: bool = False


@dataclass(frozen=True)
class Diagram:
    """``rows`` are boxes that stand side by side, in this order."""

    name: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    frames: tuple[Frame, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def wrapped(text: str, width: int = WIDEST_EQUATION) -> list[str]:
    """A text on several lines, broken before the signs of a sum, or else at its blanks."""
    for words in (re.split(r" (?=[+-] )", text), text.split(" ")):
        lines = [""]
        for word in words:
            if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
                lines.append(word)
            else:
                lines[-1] = f"{lines[-1]} {word}".strip()
        if len(lines) <= MOST_LINES and max(map(len, lines)) <= width:
            break
    return lines


def fits(text: str) -> bool:
    """Whether an equation has room in a box."""
    lines = wrapped(text)
    return len(lines) <= MOST_LINES and all(len(line) <= WIDEST_EQUATION + 4 for line in lines)
