"""The diagram of an unrolled graph: a column a step, the network above and its adjoint below.

Graphviz lays out one step; all others have the same places.  What is read at another step goes by
wires, in channels where no box can be: below the box that it comes from, down or up between the
columns, and above the box that it goes to.  What all steps give to one value, such as the loss or
the gradients of parameters, goes by one bus.  Before the first column and behind the last are the
values outside the sequence, and those without a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rollc.drawing.boxes import parameters_box, value_box
from rollc.drawing.diagram import Arrow, ArrowLook, Box, Diagram, Frame, Line, wrapped
from rollc.drawing.folding.cells import cell_of
from rollc.drawing.folding.equations import full_text
from rollc.drawing.folding.folding import INITIAL, Folded, Read, Value, is_adjoint
from rollc.drawing.layout import lay_out
from rollc.drawing.places import Layout, Rectangle
from rollc.drawing.wiring import Block, Wire, placed

GRADIENTS = "'gradients"
_STACKED = 14.0  # between boxes that stand below each other without arrows


def columns(folded: Folded, table: bool = True) -> tuple[Diagram, Layout]:
    """The diagram of an unrolled graph, and its places.

    ``table`` is whether its parameters stand in a table.
    """
    return _Columns(folded).drawn(table)


class _Columns:
    def __init__(self, folded: Folded) -> None:
        self.folded = folded
        self.copies = folded.copies
        self.steps = folded.graph.steps or 0
        weights = {f"~{node.name}" for node in folded.graph.leaves("param")}
        self.slopes = [v for v in folded.values if v.node.name in weights]
        self.values = {v.name: v for v in folded.values if v not in self.slopes}
        self.step: dict[str, int] = {}
        self.base: dict[str, str] = {}
        self.rows: dict[str, dict[int, Value]] = {}
        for value in self.values.values():
            copy = self.copies.get(value.node.name)
            if copy is not None:
                self.step[value.name] = copy[1]
                self.base[value.name] = base = self._base(value)
                self.rows.setdefault(base, {})[copy[1]] = value
        self.static = [v for v in self.values.values() if v.name not in self.step]
        inside = range(self.steps)
        self.within = {
            base: {step: value for step, value in row.items() if step in inside}
            for base, row in self.rows.items()
        }
        self.within = {base: row for base, row in self.within.items() if row}

    def _base(self, value: Value) -> str:
        if not value.closed:
            return self.copies[value.node.name][0]
        return value.closed.removesuffix(INITIAL).rpartition(".")[0]

    def drawn(self, table: bool) -> tuple[Diagram, Layout]:
        template = self._template()
        blocks = list(self._step_blocks(template, lay_out(template)))
        blocks += self._outside_blocks(blocks[0])
        blocks += self._static_blocks(table)
        return placed(self.folded.graph.name, blocks, self._wires())

    # One step

    def _template(self) -> Diagram:
        """The boxes of a step, as they are in the middle of the sequence."""
        boxes, frames = [], dict[str, Frame]()
        for base, row in self.within.items():
            value = row.get(1, next(iter(row.values())))
            boxes.append(replace(self._box(base, value, frames), name=base))
        arrows: dict[Arrow, None] = {}
        for row in self.within.values():
            for value in row.values():
                arrows.update(dict.fromkeys(self._arrows_inside(value)))
        named = {replace(a, source=self.base[a.source], target=self.base[a.target]) for a in arrows}
        ordered = sorted(named, key=lambda arrow: (arrow.source, arrow.target, arrow.look))
        rows = tuple(self._beside(named))
        return Diagram(
            "step", tuple(boxes), (*ordered, *self._below()), tuple(frames.values()), rows
        )

    def _beside(self, inside: Iterable[Arrow]) -> Iterator[tuple[str, ...]]:
        """What has no arrow in its step stands beside what is read together with it."""
        joined = {name for arrow in inside for name in (arrow.source, arrow.target)}
        for value in self.static:
            together = dict.fromkeys(
                self.base[read.source] for read in value.reads if read.source in self.base
            )
            others = [base for base in together if base not in joined]
            known = [base for base in together if base in joined]
            if others and known:
                yield (known[-1], *others)
                joined.update(others)

    def _box(self, base: str, value: Value, frames: dict[str, Frame]) -> Box:
        around = []
        short = base
        for cell in () if value.closed else cell_of(value, self.folded):
            mark = "~" if is_adjoint(cell) else ""
            label = mark + cell.removeprefix("~").rpartition(".")[2]
            frames.setdefault(cell, Frame(cell, label, "cell", adjoint=is_adjoint(cell)))
            around.append(cell)
            short = mark + base.removeprefix("~").removeprefix(f"{cell.removeprefix('~')}.")
        return value_box(self.folded, value, tuple(around), short)

    def _arrows_inside(self, value: Value) -> Iterator[Arrow]:
        for read in value.reads:
            if self.step.get(read.source) == self.step.get(value.name):
                yield self._arrow(read, value)

    def _arrow(self, read: Read, value: Value) -> Arrow:
        adjoint, back = is_adjoint(value.node.name), is_adjoint(read.source)
        look: ArrowLook = "tape" if adjoint and not back else "read"
        if read.source.endswith(INITIAL) or value.name.endswith(INITIAL):
            look = "initial"
        return Arrow(read.source, value.name, look, adjoint=adjoint and back)

    def _below(self) -> Iterator[Arrow]:
        """The adjoint below the network: from what nothing reads there to what reads none of it."""
        inside: set[tuple[str, str]] = {
            (self.base[arrow.source], self.base[arrow.target])
            for row in self.within.values()
            for value in row.values()
            for arrow in self._arrows_inside(value)
        }
        read = {a for a, b in inside if not is_adjoint(b)}
        reading = {b for a, b in inside if is_adjoint(a)}
        for end in self.within:
            for start in self.within:
                apart = not is_adjoint(end) and is_adjoint(start)
                if apart and end not in read and start not in reading:
                    yield Arrow(end, start, "order")

    def _step_blocks(self, template: Diagram, layout: Layout) -> Iterator[Block]:
        for step in range(self.steps):
            names = {base: row[step].name for base, row in self.within.items() if step in row}
            own = {
                (self.base[arrow.source], self.base[arrow.target])
                for base in names
                for arrow in self._arrows_inside(self.within[base][step])
            }
            boxes = tuple(
                replace(
                    box,
                    name=names[box.name],
                    title=full_text(self.folded, self.values[names[box.name]]),
                    result=self._is_result(self.values[names[box.name]]),
                )
                for box in template.boxes
                if box.name in names
            )
            kept = [
                (arrow, curve)
                for arrow, curve in zip(template.arrows, layout.curves, strict=True)
                if (arrow.source, arrow.target) in own and curve is not None
            ]
            arrows = tuple(
                replace(arrow, source=names[arrow.source], target=names[arrow.target])
                for arrow, _ in kept
            )
            frames = tuple(replace(f, name=f"{f.name} {step}") for f in template.frames)
            yield Block(
                f"t = {step}",
                0,
                step,
                boxes,
                {name: layout.boxes[base] for base, name in names.items()},
                arrows,
                tuple(curve for _, curve in kept),
                frames,
                {f"{name} {step}": place for name, place in layout.frames.items()},
                layout.width,
                layout.height,
                kind="step",
            )

    def _is_result(self, value: Value) -> bool:
        return not frozenset(self.folded.graph.results()).isdisjoint(value.names)

    # What is outside of the steps

    def _outside_blocks(self, step: Block) -> Iterator[Block]:
        """A column for each step outside the sequence: its values stand where they are read."""
        heights = {self.base[name]: place.middle[1] for name, place in step.places.items()}
        found: dict[int, list[Value]] = {}
        for row in self.rows.values():
            for number, value in row.items():
                if number not in range(self.steps):
                    found.setdefault(number, []).append(value)
        for number, values in found.items():
            values.sort(key=lambda value: heights.get(self.base[value.name], 0.0))
            boxes = [value_box(self.folded, value) for value in values]
            at = [heights.get(self.base[value.name], 0.0) for value in values]
            yield _stacked(boxes, number, at)

    def _static_blocks(self, table: bool) -> Iterator[Block]:
        """What has no step: on the left what depends on none, and on the right all else."""
        timed = set(self.step)
        after: set[str] = set()
        for value in self.static:
            if any(read.source in timed or read.source in after for read in value.reads):
                after.add(value.name)
        outside = [number for row in self.rows.values() for number in row]
        left, right = min([0, *outside]) - 1, max([self.steps - 1, *outside]) + 1
        parameters = parameters_box(self.folded) if table else None
        before = [value for value in self.static if value.name not in after]
        behind = [value for value in self.static if value.name in after]
        first = [parameters] if parameters else []
        last = [self._gradients()] if self.slopes else []
        for values, more, column in ((before, first, left), (behind, last, right)):
            low = column == right
            names = {value.name for value in values}
            boxes = [*more, *(value_box(self.folded, value) for value in values)]
            arrows = [
                self._arrow(read, value)
                for value in values
                for read in value.reads
                if read.source in names
            ]
            if arrows:
                diagram = Diagram("static", tuple(boxes), tuple(arrows))
                layout = lay_out(diagram)
                curves = tuple(curve for curve in layout.curves if curve is not None)
                size = layout.width, layout.height
                yield Block(
                    "",
                    0,
                    column,
                    diagram.boxes,
                    layout.boxes,
                    diagram.arrows,
                    curves,
                    (),
                    {},
                    *size,
                    low=low,
                )
            elif boxes:
                yield replace(_stacked(boxes, column), low=low)

    def _gradients(self) -> Box:
        names = [name for value in self.slopes for name in value.names]
        lines = [Line(text) for text in wrapped(", ".join(names))]
        lines.append(Line("each the sum over all steps", "equation"))
        title = "\n".join(full_text(self.folded, value) for value in self.slopes)
        return Box(GRADIENTS, "gradient", tuple(lines), title, adjoint=True, result=True)

    # From one step to another

    def _wires(self) -> Iterator[Wire]:
        static = {value.name for value in self.static}
        for value in self.values.values():
            for read in value.reads:
                here, at = self.step.get(value.name), self.step.get(read.source)
                if here == at:
                    continue  # of one step, or of none
                bus = value.name if value.name in static else read.source
                yield Wire(self._arrow(read, value), bus)
        yield from self._between_static(static)
        for value in self.slopes:
            for read in value.reads:
                yield Wire(Arrow(read.source, GRADIENTS, "bus", adjoint=True), GRADIENTS)

    def _between_static(self, static: Iterable[str]) -> Iterator[Wire]:
        """From the left to the right."""
        timed, after = set(self.step), set[str]()
        for value in self.static:
            if any(read.source in timed or read.source in after for read in value.reads):
                after.add(value.name)
        for value in self.static:
            for read in value.reads:
                if read.source in static and (read.source in after) != (value.name in after):
                    yield Wire(self._arrow(read, value), read.source)


def _stacked(boxes: list[Box], column: int, heights: Iterable[float] = ()) -> Block:
    """Boxes below each other, not above the heights that are given for their middles."""
    width = max(box.width for box in boxes)
    wanted = [*heights]
    top, places = 0.0, {}
    for number, box in enumerate(boxes):
        if number < len(wanted):
            top = max(top, wanted[number] - box.height / 2)
        left = (width - box.width) / 2
        places[box.name] = Rectangle(left, top, left + box.width, top + box.height)
        top += box.height + _STACKED * 2
    return Block("", 0, column, tuple(boxes), places, (), (), (), {}, width, top)
