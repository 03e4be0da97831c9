"""The diagram of a graph with its delays: each is a black square, with the number of its steps.

A value that is read with several delays has one line of squares, with a tap for each; reads of the
future are marked by ``+``.  What a value is before the sequence is drawn at its squares.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping

from rollc.drawing.boxes import parameters_box, value_box
from rollc.drawing.diagram import Arrow, ArrowLook, Box, Diagram, Frame, Line, fits, wrapped
from rollc.drawing.folding.cells import cell_of
from rollc.drawing.folding.equations import equation
from rollc.drawing.folding.folding import Delays, Folded, Read, Value, is_adjoint
from rollc.ir.graph import LEAVES, Node
from rollc.ir.traversal import cycles

Regions = Mapping[str, Hashable]


def circuit(
    folded: Folded, frames: Mapping[str, Frame] | None = None, table: bool = True
) -> Diagram:
    """The diagram of a graph that is not unrolled.

    ``frames`` are those of nodes; without them, the frames are those of cells.  ``table`` is
    whether the parameters stand in a table.
    """
    return _Circuit(folded, frames).diagram(table)


class _Circuit:
    def __init__(self, folded: Folded, frames: Mapping[str, Frame] | None) -> None:
        self.folded = folded
        self.framed = frames
        self.frames: dict[str, Frame] = {}
        self.loops = cycles(
            (read.source, value.name)
            for value in folded.values
            for read in value.reads
            if not read.initial
        )
        self.home = {value.name: self._frames(value) for value in folded.values}

    def diagram(self, table: bool) -> Diagram:
        boxes: list[Box] = []
        for value in self.folded.values:
            frames = self.home[value.name]
            short = value.node.name
            if frames and self.framed is None:
                mark = "~" if is_adjoint(short) else ""
                short = mark + short.removeprefix("~").removeprefix(f"{frames[-1].lstrip('~')}.")
            boxes.append(value_box(self.folded, value, frames, short))
        arrows = [arrow for value in self.folded.values for arrow in self._arrows(value)]
        for part in self._squares():
            (boxes if isinstance(part, Box) else arrows).append(part)  # type: ignore[arg-type]
        parameters = parameters_box(self.folded) if table else None
        return Diagram(
            self.folded.graph.name,
            (*([parameters] if parameters else []), *boxes),
            tuple(dict.fromkeys(arrows)),
            tuple(self.frames.values()),
        )

    def _frames(self, value: Value) -> tuple[str, ...]:
        if self.framed is not None:
            frame = self.framed.get(value.node.name)
            if frame is None:
                return ()
            self.frames[frame.name] = frame
            return (frame.name,)
        if value.closed:
            return ()
        path = cell_of(value, self.folded)
        for name in path:
            label = name.rpartition(".")[2]
            label = label if label.startswith("~") or not is_adjoint(name) else f"~{label}"
            self.frames.setdefault(name, Frame(name, label, "cell", adjoint=is_adjoint(name)))
        return path

    def _arrows(self, value: Value) -> Iterator[Arrow]:
        adjoint = is_adjoint(value.node.name)
        for read in value.reads:
            if read.initial:
                continue
            if read.delays:
                yield Arrow(
                    _square(read.source, read.delays),
                    value.name,
                    self._look(read, value),
                    adjoint=is_adjoint(read.source),
                    upwards=self._looped(read.source, value.name),
                )
            else:
                look = self._look(read, value)
                yield Arrow(read.source, value.name, look, adjoint=adjoint and look == "read")

    def _look(self, read: Read, value: Value) -> ArrowLook:
        tape = is_adjoint(value.node.name) and not is_adjoint(read.source)
        return "tape" if tape else "read"

    def _looped(self, source: str, reader: str) -> bool:
        return source in self.loops and self.loops[source] == self.loops.get(reader)

    # Delays

    def _squares(self) -> Iterator[Box | Arrow]:
        """The lines of squares: from each value to its longest delay, with all taps between."""
        lines: dict[tuple[str, tuple[tuple[str, bool], ...]], dict[Delays, bool]] = {}
        copies: dict[tuple[str, tuple[tuple[str, bool], ...]], Node] = {}
        for value in self.folded.values:
            for read in value.reads:
                if read.delays and not read.initial:
                    way = tuple((axis, delay > 0) for axis, delay in read.delays)
                    taps = lines.setdefault((read.source, way), {})
                    loop = self._looped(read.source, value.name)
                    taps[read.delays] = taps.get(read.delays, False) or loop
                    if len(read.hops) == 1 and read.hops[0].source != read.source:
                        copies[read.source, way] = self.folded.graph[read.hops[0].source]
        values = {value.name: value for value in self.folded.values}
        begun = {  # what the network itself reads with a delay
            read.source
            for value in self.folded.values
            for read in value.reads
            if read.delays and not is_adjoint(value.node.name)
        }
        started = values.keys() - begun  # what has no initial value to show, or has been shown
        for (source, way), taps in lines.items():
            before, last, loop = 0, source, any(taps.values())
            for delays in sorted(taps, key=_length):
                count = _length(delays) - before
                mark = ("+" if delays[0][1] < 0 else "") + (str(count) if count > 1 else "")
                mark = "+1" if mark == "+" else mark
                square = _square(source, delays)
                lines_in = (Line(mark, "parameters"),) if mark else ()
                adjoint = is_adjoint(source)
                title = f"{square}: the value {_words(delays)}"
                frames = self.home[source]
                yield Box(square, "square", lines_in, title, adjoint, frames=frames)
                yield Arrow(last, square, head=False, adjoint=adjoint, upwards=loop)
                copy = copies.get((source, way))
                if last == source and copy is not None and copy.initial is not None:
                    yield from self._initial_of_copy(values[source], copy.initial, square)
                elif last == source and not adjoint and source not in started:
                    yield from self._initial(values[source], square)
                    started.add(source)
                last, before = square, _length(delays)

    def _initial(self, value: Value, square: str) -> Iterator[Box | Arrow]:
        """The value before the sequence, beside the first square."""
        if value.node.operation in LEAVES:
            return
        name = f"{value.name}'start"
        initial = value.node.initial
        members = [self.folded.graph[of].initial for of in value.names] if value.closed else []
        text, reads = "0", tuple[Read, ...]()
        if initial is not None or any(members):
            of = next((name for name in (initial, *members) if name is not None), "")
            node = self.folded.graph[of]
            text = of
            if "'" in of or of.partition("'")[0] == value.node.name:
                start = Value(node, (of,), (), ())
                text = equation(self.folded, start, fits) or of
            reads = tuple(read for read in value.reads if read.initial)
        yield from self._start(value, name, text, [read.source for read in reads], square)

    def _initial_of_copy(self, value: Value, start: str, square: str) -> Iterator[Box | Arrow]:
        """The value before the sequence, where it is another one along another axis."""
        of, known = Value(self.folded.graph[start], (start,), (), ()), self.folded.boxes.get(start)
        text = start if known or "'" not in start else equation(self.folded, of, fits) or start
        yield from self._start(value, f"{square}'start", text, [known] if known else [], square)

    def _start(
        self, value: Value, name: str, text: str, reads: Iterable[str], square: str
    ) -> Iterator[Box | Arrow]:
        lines = tuple(Line(part, "equation") for part in wrapped(text))
        title = f"{value.name} outside the sequence: {text}"
        yield Box(name, "initial", lines, title, frames=self.home[value.name])
        yield Arrow(name, square, "initial", free=False)
        for source in reads:
            yield Arrow(source, name, "initial")


def _square(source: str, delays: Delays) -> str:
    """The name of the square of a delay, such as ``h[t-1]``."""
    steps = ", ".join(f"{axis}{-delay:+d}" for axis, delay in delays)
    return f"{source}[{steps}]"


def _words(delays: Delays) -> str:
    parts = []
    for axis, delay in delays:
        steps = "one step" if abs(delay) == 1 else f"{abs(delay)} steps"
        parts.append(f"{steps} {'ago' if delay > 0 else 'ahead'} along {axis}")
    return " and ".join(parts)


def _length(delays: Delays) -> int:
    return sum(abs(delay) for _, delay in delays)
