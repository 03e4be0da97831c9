"""Where the labels of frames stand: inside, at the first place along the border that is free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rollc.drawing.diagram import LABEL, Diagram, letter
from rollc.drawing.places import Curve, Point, Rectangle

_INSIDE = 7.0  # from the border
_STEP = 6.0
_SAMPLES = 16  # points of each Bézier curve

Points = NDArray[np.float64]


def label_width(text: str) -> float:
    return sum(map(letter, text)) * LABEL


def label_places(
    diagram: Diagram,
    boxes: Mapping[str, Rectangle],
    frames: Mapping[str, Rectangle],
    curves: Sequence[Curve | None],
) -> dict[str, Point]:
    """The left end of the base line of each frame's label."""
    points = [sampled(curve) for curve in curves if curve is not None]
    line = np.concatenate(points) if points else np.zeros((0, 2))
    taken = [*boxes.values()]
    found = {}
    for frame in diagram.frames:
        if frame.name in frames:
            width = label_width(frame.label)
            x, y = _first_free(frames[frame.name], width, line, taken)
            found[frame.name] = x, y
            taken.append(_around((x, y), width))
    return found


def _around(place: Point, width: float) -> Rectangle:
    """The room of a label: its letters, with some beside them."""
    x, y = place
    return Rectangle(x - 2, y - LABEL, x + width + 2, y + 3)


def _first_free(frame: Rectangle, width: float, line: Points, taken: Sequence[Rectangle]) -> Point:
    near = line[(line[:, 0] > frame.left - 4) & (line[:, 0] < frame.right + width)]
    places = [*_places(frame, width)]
    for place in places:
        room = _around(place, width)
        on = (near[:, 0] > room.left) & (near[:, 0] < room.right)
        on &= (near[:, 1] > room.top) & (near[:, 1] < room.bottom)
        if not on.any() and not any(room.meets(other) for other in taken):
            return place
    return places[0]


def _places(frame: Rectangle, width: float) -> Iterator[Point]:
    """From the upper left corner on, through all of the frame; then around it."""
    left, right = frame.left + _INSIDE, frame.right - _INSIDE - width
    top, bottom = frame.top + LABEL + 3, frame.bottom - 3
    across = np.arange(left, max(left, right) + 0.01, _STEP)
    for y in np.arange(top, bottom + 0.01, _STEP) if right >= left else ():
        yield from ((float(x), float(y)) for x in across)
    for y in (frame.top - 3, frame.bottom + LABEL + 1):
        yield from ((float(x), y) for x in across)
    for y in np.arange(top, bottom + 0.01, _STEP):
        yield from ((x, float(y)) for x in (frame.right + 4, frame.left - width - 4))


def sampled(curve: Curve) -> Points:
    """Points of a curve, close together."""
    share = np.linspace(0, 1, _SAMPLES)[:, None]
    points = np.array(curve.points)
    parts = [
        a * (1 - share) ** 3
        + 3 * b * share * (1 - share) ** 2
        + 3 * c * share**2 * (1 - share)
        + d * share**3
        for a, b, c, d in (points[start : start + 4] for start in range(0, len(points) - 3, 3))
    ]
    # Straight parts are long: more points of these.
    corners = np.concatenate(parts) if parts else points
    steps = np.linspace(0, 1, 12)[:, None, None]
    between: Points = (1 - steps) * corners[:-1] + steps * corners[1:]
    return between.reshape(-1, 2)
