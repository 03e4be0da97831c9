"""The copies of values over some steps: those of an unrolled graph, or of one with two time axes.

    h[t-1] read by v             v.k reads h.(k-1); before the first step that is a value outside
    sum(a * e, over s)           c.k reads a.0.k … and e.0 …
    last(e)                      reads the copy at the last step

A graph with two time axes is no DAG of one sequence: its copies are in a grid, those that run over
one axis alone along two sides of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from rollc.drawing.diagram import fits
from rollc.drawing.folding.equations import equation
from rollc.drawing.folding.folding import ALONG, INITIAL, Folded, Read, Value, is_adjoint
from rollc.errors import InputError
from rollc.support.checks import whole

ALL = "all"
Place = tuple[int | None, int | None]
"""The steps along the first of two axes and along the last one; None where it does not run."""


def steps_along(axes: Sequence[str], steps: int | Mapping[str, int]) -> dict[str, int]:
    """The number of steps along each axis; one number is that of all.

    Raises :class:`InputError` for other axes, and for what are no numbers of steps.
    """
    if not isinstance(steps, Mapping):
        return dict.fromkeys(axes, whole("`steps`", steps, least=1))
    known = " and ".join(f"`{axis}`" for axis in axes)
    for axis in steps:
        if axis not in axes:
            raise InputError(f"`steps`: there is no time axis `{axis}`, but {known}")
    for axis in axes:
        if axis not in steps:
            raise InputError(f"`steps`: those along `{axis}` are missing")
    return {axis: whole(f"`steps` along `{axis}`", steps[axis], least=1) for axis in axes}


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
            if all(0 <= step < self.steps[axis] for axis, step in there.items()):
                yield _name(source.name, there)
            elif not is_adjoint(source.node.name):
                yield self._initial(source, there)

    def _only(self, ends: Mapping[str, str]) -> Iterator[tuple[str, int]]:
        one = ((axis, end) for axis, end in ends.items() if end in ("first", "last"))
        return ((axis, self._end(axis, end)) for axis, end in one)

    def _end(self, axis: str, end: str) -> int:
        return 0 if end == "first" else self.steps[axis] - 1

    def _initial(self, value: Value, at: Mapping[str, int]) -> str:
        """The copy outside the sequence."""
        name = _name(value.name, at) + INITIAL
        if name not in self.outside:
            inside = {axis: k for axis, k in at.items() if 0 <= k < self.steps[axis]}
            reads = dict.fromkeys(
                name for read in value.reads for name in self._read(read, inside, initial=True)
            )
            text = f"{value.name}[{', '.join(map(str, at.values()))}] = 0"
            start = value.node.initial
            if start is not None:
                node = self.folded.graph[start]
                known = start in self.folded.boxes or "'" not in start
                of = Value(node, (start,), (), ())
                said = start if known else equation(self.folded, of, fits) or start
                text = f"{text[:-1]}{said}"
            place = self._place(at)
            self.outside[name] = Copy(name, value.name, place, value, tuple(reads), text)
        return name


def _name(name: str, at: Mapping[str, int]) -> str:
    return ".".join([name, *map(str, at.values())])
