"""The places of a diagram's parts, in points, from the upper left corner downwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Rectangle:
    """Of a box or a frame."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> Point:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def meets(self, other: Rectangle) -> bool:
        """Whether there is a point in both."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


@dataclass(frozen=True)
class Curve:
    """Bézier curves of three points each after the first, and the tip of its head, if any."""

    points: tuple[Point, ...]
    tip: Point | None


@dataclass(frozen=True)
class Layout:
    """``curves`` has an entry for each arrow of the diagram, None for one that is not drawn.

    ``labels`` are the left ends of the base lines of the frames' labels.
    """

    width: float
    height: float
    boxes: Mapping[str, Rectangle]
    frames: Mapping[str, Rectangle]
    curves: tuple[Curve | None, ...]
    labels: Mapping[str, Point]
