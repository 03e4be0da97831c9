"""The copies of values over some steps: those of an unrolled graph, or of one with two time axes.

    h[t-1] read by v             v.k reads h.(k-1); before the first step that is a value outside
    sum(a * e, over s)           c.k reads a.0.k … and e.0 …
    last(e)                      reads the copy at the last step

A graph with two time axes is no DAG of one sequence: its copies are in a grid, those that run over
one axis alone along two sides of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from rollc.drawing.diagram import fits
from rollc.drawing.folding.equations import equation
from rollc.drawing.folding.folding import ALONG, INITIAL, Folded, Read, Value, is_adjoint
from rollc.ir.graph import Node
from rollc.ir.operations import operation_of

ALL = "all"
Place = tuple[int | None, int | None]
"""The steps along the first of two axes and along the last one; None where it does not run."""


@dataclass(frozen=True)
class Copy:
    """A copy of a value, with the names of those that it reads.

    One outside the sequence has a ``text``, such as ``h[-1] = 0``.
    """

    name: str
    base: str
    place: Place
    value: Value
    reads: tuple[str, ...]
    text: str = ""

    @property
    def outside(self) -> bool:
        return self.name.endswith(INITIAL)


@dataclass(frozen=True)
class Copies:
    """All copies, those of gradients of parameters apart, and the number of steps along each axis.

    A single time axis is the last one.
    """

    folded: Folded
    copies: tuple[Copy, ...]
    gradients: tuple[Copy, ...]
    axes: tuple[str, ...]
    steps: tuple[int, ...]


def copies_of_dag(folded: Folded) -> Copies:
    """The copies of an unrolled graph, which has them as its values."""
    found = []
    for value in folded.values:
        known = folded.copies.get(value.node.name)
        base, place = value.name, (None, None if known is None else known[1])
        if known is not None:
            base = known[0]
            if value.closed:
                base = value.closed.removesuffix(INITIAL).rpartition(".")[0]
        reads = tuple(dict.fromkeys(read.source for read in value.reads))
        text = ""
        if value.name.endswith(INITIAL):
            names = ", ".join(f"{folded.copies[n][0]}[{folded.copies[n][1]}]" for n in value.names)
            text = f"{base}[{place[1]}]" if value.closed else names
            start = equation(folded, value, fits)
            text = f"{text} = {start}" if start else text
        found.append(Copy(value.name, base, place, value, reads, text))
    return _with_gradients_apart(folded, found, ("t",), (folded.graph.steps or 0,))


def copies_in_grid(folded: Folded, steps: Mapping[str, int]) -> Copies:
    """The copies of a graph with two time axes, over some steps along each."""
    return _Grid(folded, steps).copies()


def _with_gradients_apart(
    folded: Folded, copies: Iterable[Copy], axes: tuple[str, ...], steps: tuple[int, ...]
) -> Copies:
    slopes = {f"~{node.name}" for node in folded.graph.leaves("param")}
    parts: tuple[list[Copy], list[Copy]] = ([], [])
    for copy in copies:
        parts[copy.value.node.name in slopes].append(copy)
    return Copies(folded, tuple(parts[0]), tuple(parts[1]), axes, steps)


class _Grid:
    def __init__(self, folded: Folded, steps: Mapping[str, int]) -> None:
        self.folded = folded
        self.axes = folded.graph.axes
        self.steps = steps
        self.values = {value.name: value for value in folded.values}
        self.outside: dict[str, Copy] = {}

    def copies(self) -> Copies:
        found = []
        for value in self.folded.values:
            axes = self._axes(value)
            for steps in product(*(range(self.steps[axis]) for axis in axes)):
                at = dict(zip(axes, steps, strict=True))
                reads = dict.fromkeys(name for read in value.reads for name in self._read(read, at))
                name = _name(value.name, at)
                found.append(Copy(name, value.name, self._place(at), value, tuple(reads)))
        counts = tuple(self.steps[axis] for axis in self.axes)
        return _with_gradients_apart(
            self.folded, (*self.outside.values(), *found), self.axes, counts
        )

    def _axes(self, value: Value) -> tuple[str, ...]:
        return tuple(axis for axis in self.axes if axis in value.node.type.time)

    def _place(self, at: Mapping[str, int]) -> Place:
        return at.get(self.axes[0]), at.get(self.axes[1])

    def _read(self, read: Read, at: Mapping[str, int], initial: bool = False) -> Iterator[str]:
        """The copies that a read of a value at some steps is of."""
        if read.initial != initial:
            return
        ends = dict(read.ends)
        if any(at.get(axis, step) != step for axis, step in self._only(ends)):
            return  # of an impulse: at one step alone
        source, delays = self.values[read.source], dict(read.delays)
        choices = []
        for axis in self._axes(source):
            end, delay = "", delays.get(axis, 0)
            for of, how in read.ends:
                if of == axis and how.startswith(ALONG):
                    axis = how.removeprefix(ALONG)
                    delay += delays.get(axis, 0)
                elif of == axis:
                    end = how
            if axis in at and end != ALL:
                choices.append([at[axis] - delay])
            elif end in ("", ALL):
                choices.append([*range(self.steps[axis])])
            else:
                choices.append([self._end(axis, end)])
        for steps in product(*choices):
            there = dict(zip(self._axes(source), steps, strict=True))
            node, outside = self._outside(read, at) or (source.node, there)
            if all(0 <= step < self.steps[axis] for axis, step in outside.items()):
                yield _name(source.name, there)
            elif not is_adjoint(node.name):  # whose value outside is zero
                yield self._initial(source, there, node, outside)

    def _only(self, ends: Mapping[str, str]) -> Iterator[tuple[str, int]]:
        one = ((axis, end) for axis, end in ends.items() if end in ("first", "last"))
        return ((axis, self._end(axis, end)) for axis, end in one)

    def _end(self, axis: str, end: str) -> int:
        return 0 if end == "first" else self.steps[axis] - 1

    def _outside(self, read: Read, at: Mapping[str, int]) -> tuple[Node, dict[str, int]] | None:
        """Where a read leads outside the sequence first, and the node that is read there."""
        here = dict(at)
        for edge in read.hops:
            if edge.axis in here:
                here[edge.axis] -= edge.delay
                if not 0 <= here[edge.axis] < self.steps[edge.axis]:
                    node = self.folded.graph[edge.source]
                    return node, {axis: here[axis] for axis in node.type.time if axis in here}
        return None

    def _initial(
        self, value: Value, at: Mapping[str, int], node: Node, outside: Mapping[str, int]
    ) -> str:
        """The copy outside the sequence, which has the initial value of a node."""
        name = _name(value.name, at) + INITIAL
        if name not in self.outside:
            said, reads = self._said(value, node.initial, outside)
            text = f"{value.name}[{', '.join(map(str, at.values()))}] = {said}"
            self.outside[name] = Copy(name, value.name, self._place(at), value, reads, text)
        return name

    def _said(
        self, of: Value, start: str | None, at: Mapping[str, int]
    ) -> tuple[str, tuple[str, ...]]:
        """An initial value at a place outside, in words, and the copies that it reads."""
        if start is None:
            return "0", ()
        node = self.folded.graph[start]
        if start in self.folded.boxes or "'" not in start:
            value = self.values.get(self.folded.boxes.get(start, ""))
            if value is None:
                return start, ()
            return start, (_name(value.name, {axis: at[axis] for axis in self._axes(value)}),)
        entry = operation_of(node)
        if entry.moves and (entry.elementwise or entry.broadcasts):  # the same number
            (edge,) = node.operands
            there = at.get(edge.axis, 0) - edge.delay
            if edge.delay and not 0 <= there < self.steps[edge.axis]:
                return self._said(of, self.folded.graph[edge.source].initial, at)
            return self._said(of, edge.source, {**at, edge.axis: there} if edge.delay else at)
        inside = {axis: step for axis, step in at.items() if 0 <= step < self.steps[axis]}
        reads = dict.fromkeys(
            name for read in of.reads for name in self._read(read, inside, initial=True)
        )
        text = equation(self.folded, Value(node, (start,), (), ()), fits)
        return text or start, tuple(reads)


def _name(name: str, at: Mapping[str, int]) -> str:
    return ".".join([name, *map(str, at.values())])
