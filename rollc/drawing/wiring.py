"""Blocks of boxes in a grid, and wires between them in channels where no box can be.

A wire leaves its source below, runs along the channel under the row of boxes, turns into the gap
between two columns of blocks, and enters its target from the channel above.  Between columns that
are no neighbours it runs above or below a row of blocks.  Wires of one bus share their way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from rollc.drawing.diagram import Arrow, Box, Diagram, Frame
from rollc.drawing.labels import label_places
from rollc.drawing.places import Curve, Layout, Point, Rectangle

SPACING = 5.0  # of wires side by side
CLEAR = 9.0  # from boxes
HEAD = 6.0
ROUND = 4.0
_TITLE = 18.0


@dataclass(frozen=True)
class Block:
    """Boxes that are laid out already, at a row and a column of the grid.

    Those of one ``kind`` have the same places, and a frame; a ``low`` one stands at the bottom of
    its row.
    """

    label: str
    row: int
    column: int
    boxes: tuple[Box, ...]
    places: Mapping[str, Rectangle]
    arrows: tuple[Arrow, ...]
    curves: tuple[Curve, ...]
    frames: tuple[Frame, ...]
    frame_places: Mapping[str, Rectangle]
    width: float
    height: float
    kind: str = ""
    low: bool = False

    @cached_property
    def bands(self) -> tuple[tuple[float, float], ...]:
        """The rows of boxes: from where to where each reaches."""
        found: list[tuple[float, float]] = []
        for place in sorted(self.places.values(), key=lambda place: place.top):
            if found and place.top < found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], place.bottom))
            else:
                found.append((place.top, place.bottom))
        return tuple(found)

    def band(self, name: str) -> int:
        """The row that a box stands in."""
        middle = self.places[name].middle[1]
        return next(number for number, (top, end) in enumerate(self.bands) if top <= middle <= end)


@dataclass(frozen=True, slots=True)
class Wire:
    """An arrow between boxes of different blocks; those of one ``bus`` share their way."""

    arrow: Arrow
    bus: Hashable


@dataclass
class _Tracks:
    """Tracks side by side, one for each bus."""

    buses: dict[Hashable, int] = field(default_factory=dict)

    def add(self, bus: Hashable) -> int:
        return self.buses.setdefault(bus, len(self.buses))


def placed(name: str, blocks: Sequence[Block], wires: Iterable[Wire]) -> tuple[Diagram, Layout]:
    """The blocks at their places, with wires between them, as one diagram."""
    return _Grid(blocks, tuple(wires)).drawn(name)


class _Grid:
    def __init__(self, blocks: Sequence[Block], wires: tuple[Wire, ...]) -> None:
        self.blocks = blocks
        self.wires = wires
        self.home = {box.name: number for number, b in enumerate(blocks) for box in b.boxes}
        self.columns = sorted({block.column for block in blocks})
        self.rows = sorted({block.row for block in blocks})
        self.end = self.rows[-1] + 1
        self.gaps: dict[int, _Tracks] = {}
        self.lanes: dict[int, _Tracks] = {}
        self.above: dict[tuple[int, int], _Tracks] = {}  # of a block and a row of its boxes
        self.under: dict[tuple[int, int], _Tracks] = {}
        self.entries: dict[tuple[str, bool], _Tracks] = {}
        self.kinds: dict[str, list[int]] = {}
        self.counts: dict[int, dict[tuple[bool, int], int]] = {}
        for number, block in enumerate(blocks):
            self.kinds.setdefault(block.kind, []).append(number)
        for wire in wires:
            self._reserve(wire)

    # What is taken

    def _sides(self, wire: Wire) -> tuple[int, int, int | None]:
        """The gaps at the source and the target (by the column on their left), and the lane."""
        source, target = (self.blocks[self.home[n]] for n in (wire.arrow.source, wire.arrow.target))
        of = self.columns.index
        start, end = of(source.column), of(target.column)
        if end > start:
            first, second = start, end - 1
        elif end < start:
            first, second = start - 1, end
        else:
            first = second = start
        lane = None
        if first != second:
            lane = target.row if not self._goes_below(wire) else self.end
        return first, second, lane

    def _goes_below(self, wire: Wire) -> bool:
        """What a whole sequence gives to one value runs below it, and so does the adjoint."""
        low = self.blocks[self.home[wire.arrow.target]].low
        return low or (wire.arrow.adjoint and len(self.rows) == 1)

    def _reserve(self, wire: Wire) -> None:
        first, second, lane = self._sides(wire)
        source, target = wire.arrow.source, wire.arrow.target
        home, away = self.home[source], self.home[target]
        self.gaps.setdefault(first, _Tracks()).add(wire.bus)
        self.gaps.setdefault(second, _Tracks()).add(wire.bus)
        if lane is not None:
            self.lanes.setdefault(lane, _Tracks()).add(wire.bus)
        self.under.setdefault((home, self.blocks[home].band(source)), _Tracks()).add(source)
        self.above.setdefault((away, self.blocks[away].band(target)), _Tracks()).add(wire.bus)
        self.entries.setdefault((target, self._from_left(wire)), _Tracks()).add(wire.bus)

    def _from_left(self, wire: Wire) -> bool:
        return self._sides(wire)[1] < self.columns.index(
            self.blocks[self.home[wire.arrow.target]].column
        )

    # Places

    def drawn(self, name: str) -> tuple[Diagram, Layout]:
        self._stretch()
        self._settle()
        boxes, arrows, frames = [], list[Arrow](), list[Frame]()
        places, frame_places = dict[str, Rectangle](), dict[str, Rectangle]()
        curves: list[Curve | None] = []
        for block, (x, y) in zip(self.blocks, self.corners, strict=True):
            outer = f"block {block.row} {block.column}"
            inner = f"{block.label}" or outer
            if block.kind:
                frames.append(Frame(outer, inner, "step"))
                left, top = self.left[block.column], self.top[block.row]
                right, bottom = left + self.width[block.column], top + self.height[block.row]
                frame_places[outer] = Rectangle(left - 8, top - self.title, right + 8, bottom + 8)
            for box in block.boxes:
                around = tuple(f"{frame} {block.label}" for frame in box.frames)
                known = {frame.name for frame in block.frames}
                around = tuple(frame for frame in around if frame in known)
                boxes.append(replace(box, frames=((outer,) if block.kind else ()) + around))
                places[box.name] = _moved(block.places[box.name], x, y)
            for frame in block.frames:
                frames.append(frame)
                frame_places[frame.name] = _moved(block.frame_places[frame.name], x, y)
            arrows += block.arrows
            curves += [
                Curve(
                    tuple((a + x, b + y) for a, b in curve.points),
                    None if curve.tip is None else (curve.tip[0] + x, curve.tip[1] + y),
                )
                for curve in block.curves
            ]
        self.places = places
        for wire in self.wires:
            arrows.append(wire.arrow)
            curves.append(_rounded(self._way(wire), wire.arrow.head))
        diagram = Diagram(name, tuple(boxes), tuple(arrows), tuple(frames))
        labels = label_places(diagram, places, frame_places, curves)
        return diagram, Layout(*self.total, places, frame_places, tuple(curves), labels)

    def _stretch(self) -> None:
        """Room between the rows of boxes for the wires that run there."""
        self.blocks = [self._stretched(number, block) for number, block in enumerate(self.blocks)]

    def _stretched(self, number: int, block: Block) -> Block:
        bands = block.bands
        shift, shifts = 0.0, []
        for band in range(len(bands)):
            room = bands[band][0] - (bands[band - 1][1] if band else 0.0)
            needed = self._room_above(number, band)
            needed += self._room_under(number, band - 1) if band else 0.0
            shift += max(0.0, needed - room)
            shifts.append(shift)
        if not bands:
            return block
        # From one row to the next all is stretched alike.
        knots, ends = [0.0] if bands[0][0] > 0 else [], [0.0] if bands[0][0] > 0 else []
        for (top, bottom), far in zip(bands, shifts, strict=True):
            knots += [top, bottom]
            ends += [top + far, bottom + far]
        knots.append(max(block.height, knots[-1] + 0.01))
        ends.append(
            ends[-1] + max(block.height - bands[-1][1], self._room_under(number, len(bands) - 1))
        )

        def moved(y: float) -> float:
            return float(np.interp(y, knots, ends))

        return replace(
            block,
            places={
                name: Rectangle(p.left, moved(p.top), p.right, moved(p.bottom))
                for name, p in block.places.items()
            },
            frame_places={
                name: Rectangle(p.left, moved(p.top), p.right, moved(p.bottom))
                for name, p in block.frame_places.items()
            },
            curves=tuple(_stretched_curve(curve, moved) for curve in block.curves),
            height=ends[-1],
        )

    def _room_above(self, number: int, band: int) -> float:
        count = self._most(self.above, number, band)
        return HEAD + CLEAR + SPACING * count if count else 0.0

    def _room_under(self, number: int, band: int) -> float:
        count = self._most(self.under, number, band)
        return CLEAR + SPACING * count if count else 0.0

    def _most(self, tracks: Mapping[tuple[int, int], _Tracks], number: int, band: int) -> int:
        """The number of tracks there, in any block that looks like this one."""
        if number not in self.counts:
            kind = self.blocks[number].kind
            alike = self.kinds[kind] if kind else [number]
            most: dict[tuple[bool, int], int] = {}
            for side in (self.above, self.under):
                for other in alike:
                    for row in range(len(self.blocks[other].bands)):
                        if (other, row) in side:
                            key, count = (side is self.above, row), len(side[other, row].buses)
                            most[key] = max(most.get(key, 0), count)
            self.counts.update(dict.fromkeys(alike, most))
        return self.counts[number].get((tracks is self.above, band), 0)

    def _settle(self) -> None:
        """Where columns, gaps, rows and lanes are."""
        self.width = {
            column: max(b.width for b in self.blocks if b.column == column)
            for column in self.columns
        }
        self.height = {row: max(b.height for b in self.blocks if b.row == row) for row in self.rows}
        self.title = _TITLE
        x = 0.0
        if -1 in self.gaps:
            x += self._gap(-1)
        self.left: dict[int, float] = {}
        self.gap_start: dict[int, float] = {-1: 0.0}
        for number, column in enumerate(self.columns):
            self.left[column] = x + 8
            x += self.width[column] + 16
            self.gap_start[number] = x
            x += self._gap(number) if number in self.gaps or column != self.columns[-1] else 0.0
        y = 0.0
        self.top: dict[int, float] = {}
        self.lane_start: dict[int, float] = {}
        for row in (*self.rows, self.end):
            self.lane_start[row] = y + CLEAR
            tracks = self.lanes.get(row)
            y += 0.0 if tracks is None else 2 * CLEAR + SPACING * len(tracks.buses)
            if row < self.end:
                y += self.title
                self.top[row] = y
                y += self.height[row] + 14
        self.total = (x, y)
        self.corners = [
            (
                self.left[b.column] + (self.width[b.column] - b.width) / 2,
                self.top[b.row] + (self.height[b.row] - b.height if b.low else 0.0),
            )
            for b in self.blocks
        ]

    def _gap(self, number: int) -> float:
        tracks = self.gaps.get(number)
        return 2 * CLEAR + SPACING * (len(tracks.buses) if tracks else 0)

    # Ways

    def _way(self, wire: Wire) -> list[Point]:
        first, second, lane = self._sides(wire)
        source, target = wire.arrow.source, wire.arrow.target
        home, away = self.home[source], self.home[target]
        start, end = self.places[source], self.places[target]
        tracks = self.under[home, self.blocks[home].band(source)]
        bottom = self.blocks[home].bands[self.blocks[home].band(source)][1] + self.corners[home][1]
        out = bottom + CLEAR + SPACING * tracks.buses[source]
        tracks = self.above[away, self.blocks[away].band(target)]
        top = self.blocks[away].bands[self.blocks[away].band(target)][0] + self.corners[away][1]
        into = top - HEAD - CLEAR / 2 - SPACING * tracks.buses[wire.bus]
        right = first >= self.columns.index(self.blocks[home].column)
        leave = start.middle[0] + (start.right - start.left) * (0.25 if right else -0.25)
        left = self._from_left(wire)
        entries = self.entries[target, left].buses
        share = 0.08 + 0.34 * (entries[wire.bus] + 0.5) / len(entries)
        enter = end.left + (end.right - end.left) * (share if left else 1 - share)
        points = [(leave, start.bottom), (leave, out)]
        x = self._track(first, wire.bus)
        points.append((x, out))
        if lane is not None:
            y = self.lane_start[lane] + SPACING * self.lanes[lane].buses[wire.bus]
            points.append((x, y))
            x = self._track(second, wire.bus)
            points.append((x, y))
        points += [(x, into), (enter, into), (enter, end.top)]
        return points

    def _track(self, gap: int, bus: Hashable) -> float:
        return self.gap_start[gap] + CLEAR + SPACING * self.gaps[gap].buses[bus]


def _moved(place: Rectangle, x: float, y: float) -> Rectangle:
    return Rectangle(place.left + x, place.top + y, place.right + x, place.bottom + y)


def _stretched_curve(curve: Curve, moved: Callable[[float], float]) -> Curve:
    """A curve whose heights go elsewhere; its head stays as long as it is."""
    points = [(x, moved(y)) for x, y in curve.points]
    if curve.tip is None:
        return Curve(tuple(points), None)
    tip = curve.tip[0], moved(curve.tip[1])
    wanted = tip[1] + curve.points[-1][1] - curve.tip[1]
    more = wanted - points[-1][1]
    points[-2:] = [(x, y + more) for x, y in points[-2:]]
    return Curve(tuple(points), tip)


def _rounded(points: Sequence[Point], head: bool) -> Curve:
    """A line through points, horizontal and vertical in turn, with rounded corners."""
    points = _without_repeats(points)
    tip = points[-1] if head else None
    if head:
        last, before = points[-1], points[-2]
        points = [*points[:-1], _towards(last, before, HEAD)]
    found = [points[0]]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(ROUND, _length(before, corner) / 2, _length(corner, after) / 2)
        start, end = _towards(corner, before, radius), _towards(corner, after, radius)
        found += [found[-1], start, start, corner, corner, end]
    found += [found[-1], points[-1], points[-1]]
    return Curve(tuple(found), tip)


def _without_repeats(points: Sequence[Point]) -> list[Point]:
    """Without points that are where the one before is, and corners that turn nowhere."""
    found: list[Point] = []
    for point in points:
        if not found or _length(found[-1], point) > 0.01:
            found.append(point)
    kept = found[:1]
    for before, point, after in zip(found, found[1:], found[2:], strict=False):
        straight = abs(before[0] - point[0]) < 0.01 and abs(point[0] - after[0]) < 0.01
        level = abs(before[1] - point[1]) < 0.01 and abs(point[1] - after[1]) < 0.01
        kept += [] if straight or level else [point]
    return [*kept, found[-1]]


def _length(one: Point, other: Point) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(point: Point, other: Point, far: float) -> Point:
    """A point that is so far from one on the way to another, along an axis."""
    length = _length(point, other)
    share = far / length if length else 0.0
    return point[0] + (other[0] - point[0]) * share, point[1] + (other[1] - point[1]) * share
