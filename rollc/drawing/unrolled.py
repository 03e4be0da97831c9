"""The diagram of a network over some steps: a column a step, the adjoint below the network.

Graphviz lays out one step; all others have the same places.  What is read at another step goes by
wires, in channels where no box can be: below the box that it comes from, down or up between the
columns, and above the box that it goes to.  What all steps give to one value, such as the loss or
the gradients of parameters, goes by one bus.  Before the first column and behind the last are the
values outside the sequence, and those without a step.

Two time axes are a grid: a row for each step of the first, whose values stand on the left, and a
column for each of the other, whose values stand at the bottom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from rollc.drawing.boxes import parameters_box, value_box
from rollc.drawing.copies import Copies, Copy
from rollc.drawing.diagram import Arrow, ArrowLook, Box, Diagram, Frame, Line, wrapped
from rollc.drawing.folding.cells import cell_of
from rollc.drawing.folding.equations import full_text
from rollc.drawing.folding.folding import INITIAL, is_adjoint, said_name
from rollc.drawing.layout import lay_out
from rollc.drawing.places import Layout, Rectangle
from rollc.drawing.wiring import Block, Wire, placed

GRADIENTS = "'gradients"
_APART = 28.0  # between boxes that stand below each other without arrows
_STATIC = (None, None)
# Beyond all steps outside of a sequence: of what runs over one of two axes.
_LEFT, _BOTTOM = -(2**40), 2**40

Kind = tuple[bool, bool]
"""Whether values run over the first axis, and over the last."""


def unrolled(copies: Copies, table: bool = True) -> tuple[Diagram, Layout]:
    """The diagram of a network over some steps, and its places.

    ``table`` is whether its parameters stand in a table.
    """
    return _Unrolled(copies).drawn(table)


@dataclass(frozen=True)
class _Step:
    """What is the same at all steps of a kind: the copies by their place and base."""

    folds: Copies
    kind: Kind
    at: Mapping[tuple[int | None, int | None], Mapping[str, Copy]]

    @cached_property
    def template(self) -> Diagram:
        """The boxes of a step, as they are in the middle of the sequence, and all arrows."""
        shown: dict[str, Copy] = {}
        for copies in self.at.values():
            for base, copy in copies.items():
                # The ends of the sequence read less, or what is outside.
                if base not in shown or _inner_reads(copy) > _inner_reads(shown[base]):
                    shown[base] = copy
        frames: dict[str, Frame] = {}
        boxes = [replace(self._box(copy, frames), name=base) for base, copy in shown.items()]
        named = {
            replace(_arrow(source, copy), source=source.base, target=copy.base)
            for copies in self.at.values()
            for source, copy in _inside(copies)
        }
        arrows = sorted(named, key=lambda arrow: (arrow.source, arrow.target, arrow.look))
        rows = tuple(self._beside(named))
        order = self._below(shown, named)
        return Diagram("step", tuple(boxes), (*arrows, *order), tuple(frames.values()), rows)

    def _box(self, copy: Copy, frames: dict[str, Frame]) -> Box:
        around = []
        short = copy.base
        for cell in () if copy.value.closed else cell_of(copy.value, self.folds.folded):
            mark = "~" if is_adjoint(cell) else ""
            label = mark + cell.removeprefix("~").rpartition(".")[2]
            frames.setdefault(cell, Frame(cell, label, "cell", adjoint=is_adjoint(cell)))
            around.append(cell)
            short = mark + copy.base.removeprefix("~").removeprefix(f"{cell.removeprefix('~')}.")
        return value_box(self.folds.folded, copy.value, tuple(around), short)

    def _beside(self, inside: Iterable[Arrow]) -> Iterator[tuple[str, ...]]:
        """What has no arrow in its step stands beside what is read together with it."""
        joined = {name for arrow in inside for name in (arrow.source, arrow.target)}
        here = {copy.name: base for copies in self.at.values() for base, copy in copies.items()}
        for reader in self.folds.copies:
            together = dict.fromkeys(here[name] for name in reader.reads if name in here)
            others = [base for base in together if base not in joined]
            known = [base for base in together if base in joined]
            if reader.place == _STATIC and others and known:
                yield (known[-1], *others)
                joined.update(others)

    @staticmethod
    def _below(shown: Iterable[str], inside: Iterable[Arrow]) -> Iterator[Arrow]:
        """The adjoint below the network: from what nothing reads there to what reads none of it."""
        read = {arrow.source for arrow in inside if not is_adjoint(arrow.target)}
        reading = {arrow.target for arrow in inside if is_adjoint(arrow.source)}
        ends = [base for base in shown if not is_adjoint(base) and base not in read]
        starts = [base for base in shown if is_adjoint(base) and base not in reading]
        for end in ends:
            for start in starts:
                yield Arrow(end, start, "order")


def _inner_reads(copy: Copy) -> int:
    return sum(not name.endswith(INITIAL) for name in copy.reads)


def _inside(copies: Mapping[str, Copy]) -> Iterator[tuple[Copy, Copy]]:
    """The reads of copies by others of the same step."""
    named = {copy.name: copy for copy in copies.values()}
    for copy in copies.values():
        for name in copy.reads:
            if name in named and name != copy.name:
                yield named[name], copy


def _arrow(source: Copy, copy: Copy) -> Arrow:
    adjoint, back = is_adjoint(copy.base), is_adjoint(source.base)
    look: ArrowLook = "tape" if adjoint and not back else "read"
    if source.outside or copy.outside:
        look = "initial"
    return Arrow(source.name, copy.name, look, adjoint=adjoint and back)


class _Unrolled:
    def __init__(self, copies: Copies) -> None:
        self.copies = copies
        self.folded = copies.folded
        self.named = {copy.name: copy for copy in copies.copies}
        self.static = [copy for copy in copies.copies if copy.place == _STATIC]
        self.results = frozenset(self.folded.graph.results())
        self.grid = len(copies.axes) == 2
        self.behind = self._behind()

    def _behind(self) -> set[str]:
        """What has no step and depends on what has: it stands behind the last step."""
        found: set[str] = set()
        for copy in self.static:
            sources = [self.named[name] for name in copy.reads if name in self.named]
            if any(source.place != _STATIC or source.name in found for source in sources):
                found.add(copy.name)
        return found

    def drawn(self, table: bool) -> tuple[Diagram, Layout]:
        blocks = [*self._steps(), *self._outside()]
        blocks += self._static_blocks(table, blocks)
        return placed(self.folded.graph.name, blocks, [*self._wires()])

    def _cell(self, place: tuple[int | None, int | None]) -> tuple[int, int]:
        """The row and the column of a place."""
        row, column = place
        if not self.grid:
            return 0, column or 0
        return _BOTTOM if row is None else row, _LEFT if column is None else column

    # One step

    def _steps(self) -> Iterator[Block]:
        kinds: dict[Kind, dict[tuple[int | None, int | None], dict[str, Copy]]] = {}
        for copy in self.copies.copies:
            if copy.place != _STATIC and not copy.outside:
                kind = (copy.place[0] is not None, copy.place[1] is not None)
                kinds.setdefault(kind, {}).setdefault(copy.place, {})[copy.base] = copy
        self.heights: dict[str, float] = {}
        for kind, at in kinds.items():
            ordered = sorted(at.items(), key=lambda item: item[0][::-1])
            step = _Step(self.copies, kind, dict(ordered))
            template = step.template
            layout = lay_out(template)
            self.heights |= {base: place.middle[1] for base, place in layout.boxes.items()}
            for place, copies in step.at.items():
                yield self._step_block(template, layout, place, copies)

    def _step_block(
        self,
        template: Diagram,
        layout: Layout,
        place: tuple[int | None, int | None],
        copies: Mapping[str, Copy],
    ) -> Block:
        names = {base: copy.name for base, copy in copies.items()}
        own = {(source.base, copy.base) for source, copy in _inside(copies)}
        boxes = tuple(
            replace(
                box,
                name=names[box.name],
                title=full_text(self.folded, copies[box.name].value),
                result=not self.results.isdisjoint(copies[box.name].value.names),
            )
            for box in template.boxes
            if box.name in names
        )
        kept = [
            (replace(arrow, source=names[arrow.source], target=names[arrow.target]), curve)
            for arrow, curve in zip(template.arrows, layout.curves, strict=True)
            if (arrow.source, arrow.target) in own and curve is not None
        ]
        steps = [
            f"{axis} = {step}"
            for axis, step in zip(self.copies.axes[::-1], place[::-1], strict=False)
            if step is not None
        ]
        label = ", ".join(reversed(steps))
        row, column = self._cell(place)
        return Block(
            label,
            row,
            column,
            boxes,
            {name: layout.boxes[base] for base, name in names.items()},
            tuple(arrow for arrow, _ in kept),
            tuple(curve for _, curve in kept),
            tuple(replace(frame, name=f"{frame.name} {label}") for frame in template.frames),
            {f"{name} {label}": place for name, place in layout.frames.items()},
            layout.width,
            layout.height,
            kind=" ".join(axis for axis, step in zip("st", place, strict=True) if step is not None),
        )

    # What is outside of the steps

    def _outside(self) -> Iterator[Block]:
        """The values outside of the sequence: they stand where they are read."""
        found: dict[tuple[int, int], list[Copy]] = {}
        for copy in self.copies.copies:
            if copy.outside:
                found.setdefault(self._cell(copy.place), []).append(copy)
        for (row, column), copies in found.items():
            copies.sort(key=lambda copy: self.heights.get(copy.base, 0.0))
            boxes = [
                Box(
                    copy.name,
                    "initial",
                    tuple(Line(part, "equation") for part in wrapped(copy.text)),
                    copy.text,
                )
                for copy in copies
            ]
            at = [self.heights.get(copy.base, 0.0) for copy in copies]
            yield _stacked(boxes, row, column, at if row >= 0 and not self.grid else ())

    def _static_blocks(self, table: bool, blocks: Iterable[Block]) -> Iterator[Block]:
        """What has no step: on the left what depends on none, and on the right all else."""
        columns = [block.column for block in blocks]
        rows = [block.row for block in blocks]
        parameters = parameters_box(self.folded) if table else None
        first = [parameters] if parameters else []
        last = [self._gradients()] if self.copies.gradients else []
        top, left = min((row for row in rows if row >= 0), default=0), min(columns, default=0) - 1
        bottom, right = max(rows, default=0), max(columns, default=0) + 1
        before = [copy for copy in self.static if copy.name not in self.behind]
        behind = [copy for copy in self.static if copy.name in self.behind]
        for copies, more, row, column in (
            (before, first, top, left),
            (behind, last, bottom, right),
        ):
            low = column == right
            boxes = [
                *more,
                *(replace(value_box(self.folded, copy.value), name=copy.name) for copy in copies),
            ]
            inside = {copy.name: copy for copy in copies}
            arrows = tuple(_arrow(source, copy) for source, copy in _inside(inside))
            if arrows:
                layout = lay_out(Diagram("static", tuple(boxes), arrows))
                curves = tuple(curve for curve in layout.curves if curve is not None)
                yield Block(
                    "",
                    row,
                    column,
                    tuple(boxes),
                    layout.boxes,
                    arrows,
                    curves,
                    (),
                    {},
                    layout.width,
                    layout.height,
                    low=low,
                )
            elif boxes:
                yield replace(_stacked(boxes, row, column), low=low)

    def _gradients(self) -> Box:
        values = [copy.value for copy in self.copies.gradients]
        names = [name for value in values for name in value.names]
        lines = [Line(text) for text in wrapped(", ".join(map(said_name, names)))]
        lines.append(Line("each the sum over all steps", "equation"))
        title = "\n".join(full_text(self.folded, value) for value in values)
        return Box(GRADIENTS, "gradient", tuple(lines), title, adjoint=True, result=True)

    # From one step to another

    def _wires(self) -> Iterator[Wire]:
        gradients = {copy.name for copy in self.copies.gradients}
        for copy in self.copies.copies:
            if not gradients.isdisjoint(copy.reads):
                yield Wire(Arrow(GRADIENTS, copy.name, adjoint=True), copy.name)
            sources = [self.named[name] for name in copy.reads if name in self.named]
            for source in sources:
                if source.name == copy.name or self._one_block(source, copy):
                    continue
                # What reads all steps along an axis, such as a sum, has one bus for them.
                shared = any(
                    step is not None and own is None
                    for step, own in zip(source.place, copy.place, strict=True)
                )
                bus = copy.name if shared or copy.name in self.behind else source.name
                yield Wire(_arrow(source, copy), bus)
        for copy in self.copies.gradients:
            for name in copy.reads:
                if name in self.named:  # and not another gradient
                    yield Wire(Arrow(name, GRADIENTS, "bus", adjoint=True), GRADIENTS)

    def _one_block(self, source: Copy, copy: Copy) -> bool:
        if source.outside or copy.outside:
            return False
        if source.place == copy.place == _STATIC:
            return (source.name in self.behind) == (copy.name in self.behind)
        return source.place == copy.place


def _stacked(boxes: list[Box], row: int, column: int, heights: Iterable[float] = ()) -> Block:
    """Boxes below each other, not above the heights that are given for their middles."""
    width = max(box.width for box in boxes)
    wanted = [*heights]
    top, places = 0.0, {}
    for number, box in enumerate(boxes):
        if number < len(wanted):
            top = max(top, wanted[number] - box.height / 2)
        left = (width - box.width) / 2
        places[box.name] = Rectangle(left, top, left + box.width, top + box.height)
        top += box.height + _APART
    return Block("", row, column, tuple(boxes), places, (), (), (), {}, width, top)
