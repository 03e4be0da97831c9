"""Bufferization: from the regions of a schedule to statements over buffers.

What is guaranteed: every node is computed once, after its operands; rows outside the
sequence hold initial values before they are read; a parameter matrix is packed once a
call, before the loop that multiplies by it; gradients of parameter matrices are one product over
all steps and the whole batch, after the loop.

What this pass does not do: change any arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from math import prod

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.operations.vectors.linear import over_axes
from rollc.kernel.batch_linearity import partial_sums
from rollc.kernel.buffer_assignment import BufferAssignment
from rollc.kernel.cost_model import packed_together
from rollc.kernel.fusion import Group, Section, order
from rollc.kernel.program import (
    PHASES,
    Assign,
    Buffer,
    Fill,
    Function,
    Loop,
    MatMul,
    Nest,
    Number,
    Operand,
    Optional,
    OuterProduct,
    Pack,
    Part,
    Program,
    Reduce,
    Ref,
    Result,
    ResultKind,
    Routine,
    Shifted,
    Simple,
    Span,
    Statement,
    used,
    writes,
)
from rollc.kernel.schedule import Item, Schedule
from rollc.support.target import GENERIC, Target


def bufferize(scheduled: Schedule, target: Target = GENERIC) -> Program:
    """The program of a schedule."""
    return _Bufferizer(scheduled, target).program()


class _Bufferizer:
    def __init__(self, scheduled: Schedule, target: Target) -> None:
        self.target = target
        self.graph: Graph = scheduled.graph
        self.sections = order(scheduled)
        self.assignment = BufferAssignment(self.graph, self.sections, scheduled.guarded)
        self.partial = partial_sums(self.graph)
        self.panels: dict[tuple[Part, ...], Pack] = {}
        self.packed: set[str] = set()
        self.filled: set[str] = set()

    def program(self) -> Program:
        functions = []
        for phase in PHASES:
            mine = [section for section in self.sections if section.region.phase == phase]
            if mine:
                self.packed = set()
                body = tuple(self._sections(mine))
                if body:  # a phase of leaves has no code
                    functions.append(Function(phase, used(body), body))
        functions = _with_optional_inputs(functions)
        results = tuple(self._results())
        # A leaf that no statement reads, such as a target without a loss, has no buffer.
        needed = {name for function in functions for name in function.buffers}
        needed.update(result.ref.buffer for result in results)
        leaves = tuple(
            (node.name, node.operation)
            for node in self.graph.nodes
            if node.name in needed and self.assignment.buffers[node.name].role == "leaf"
        )
        crossing = _crossing(functions)
        buffers = tuple(
            replace(buffer, role="tape")
            if buffer.role == "scratch" and buffer.name in crossing
            else buffer
            for buffer in self.assignment.buffers.values()
            if buffer.name in needed
        )
        return Program(
            self.graph.name,
            buffers,
            tuple(functions),
            results,
            leaves,
            self.graph.axes,
            self.graph.steps,
            splits=self.partial is not None,
        )

    def _results(self) -> Iterator[Result]:
        def result(label: str, kind: ResultKind, name: str) -> Result:
            partial = self.partial is not None and name in self.partial
            return Result(label, kind, self.assignment.refs[name], self._phase(name), partial)

        for label, name in self.graph.outputs:
            yield result(label, "output", name)
        if self.graph.loss is not None:
            yield result("loss", "loss", self.graph.loss)
        for label, name in self.graph.gradients:
            yield result(label, "gradient", name)

    def _phase(self, name: str) -> str:
        location = self.assignment.location(self.assignment.items[name][0])
        return self.sections[location.section].region.phase

    def _sections(self, sections: Iterable[Section]) -> Iterator[Statement]:
        """The statements of some sections: packs and initial values come before their loops."""
        for outer, inside in groupby(sections, key=lambda section: section.region.outer):
            if outer is None:
                for section in inside:
                    yield from self._section(section)
                continue
            body: list[Simple | Shifted | Loop] = []
            for section in inside:
                for statement in self._section(section):
                    if isinstance(statement, Pack | Fill):
                        yield statement
                    else:
                        body.append(statement)
            assert outer.kind != "free"
            yield Loop(outer.kind, outer.axis, tuple(body))

    def _section(self, section: Section) -> Iterator[Statement]:
        region = section.region
        if region.kind == "free":
            for group in section.groups:
                yield from self._fills(group)
                yield from self._group(group, region.bound)
            return
        for group in section.groups:
            yield from self._fills(group)
        body: list[Simple | Shifted] = []
        shifts = any(item.shift for item in region.items)
        for shift, groups in groupby(section.groups, key=lambda group: group.items[0].shift):
            part: list[Simple] = []
            for group in groups:
                part.extend(self._group(group, region.bound))
            # Packing is loop-invariant: it is hoisted.
            yield from (statement for statement in part if isinstance(statement, Pack))
            rest = tuple(statement for statement in part if not isinstance(statement, Pack))
            if not shifts:
                body.extend(rest)
            elif rest:
                body.append(Shifted(shift, rest))
        yield Loop(
            region.kind,
            region.axis,
            tuple(body),
            Span(region.start, region.stop),
            across=region.across,
            weights=region.weights,
        )

    def _fills(self, group: Group) -> Iterator[Fill]:
        """Writes of initial values to the rows outside the sequence, before their first reads."""
        for item in group.items:
            delayed = (edge.source for edge in item.node.operands if edge.delay)
            for name in (item.node.name, *delayed):
                buffer = self.assignment.buffers.get(name)
                if buffer is not None and name not in self.filled:
                    self.filled.add(name)
                    yield from self._fill(buffer, self.graph[name])

    def _fill(self, buffer: Buffer, node: Node) -> Iterator[Fill]:
        if not buffer.before + buffer.after:
            return
        if node.initial is None:
            yield Fill(node.name)
            return
        initial = self.graph[node.initial]
        deep = len(initial.type.shape) == len(node.type.shape) + 1
        yield Fill(node.name, self.assignment.static(initial), deep)

    def _group(self, group: Group, bound: tuple[str, ...]) -> Iterator[Simple]:
        if group.kind == "nest":
            yield self._nest(group, bound)
        elif group.kind == "stack":
            yield from self._stack(group, bound)
        elif group.kind == "single":
            yield from self._single(group.items[0], bound)
        elif group.items[0].node.operation == "constant":
            yield from self._constant(group.items[0].node)

    def _constant(self, node: Node) -> Iterator[Simple]:
        """A write of a constant that is a result; operands have it as a literal."""
        if node.name in self.assignment.results:
            self.assignment.buffers[node.name] = Buffer(node.name, "result", "float", ())
            self.assignment.refs[node.name] = Ref(node.name)
            value = node.options["value"]
            assert isinstance(value, float)
            yield Nest(
                (),
                (),
                (Assign(node.name, "identity", (Number(value),), (), Ref(node.name)),),
            )

    @staticmethod
    def _over(node: Node, bound: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(axis for axis in node.type.axes if axis not in bound)

    def _nest(self, group: Group, bound: tuple[str, ...]) -> Nest:
        first = group.items[0]
        body = tuple(self._assign(item) for item in group.items)
        return Nest(
            self._over(first.node, bound),
            first.node.type.shape,
            body,
            Span(first.start, first.stop),
        )

    def _assign(self, item: Item) -> Assign:
        node = item.node
        operands: list[Operand] = []
        for edge in node.operands:
            operand = self.assignment.operand(edge, item)
            if isinstance(operand, Ref) and (end := operation_of(node).end):
                operand = replace(operand, row=end, end=_axis(node))
            operands.append(operand)
        local = node.name in self.assignment.locals
        return Assign(
            node.name,
            node.operation,
            tuple(operands),
            node.attributes,
            None if local else self.assignment.refs[node.name],
            node.line,
        )

    def _panel(self, parts: tuple[Part, ...]) -> Iterator[Pack]:
        """The packing of some matrices into a panel, before its first use in a function."""
        if parts not in self.panels:
            weights = [self.graph[part.weight].type.shape for part in parts]
            inputs = weights[0][1] if parts[0].transposed else weights[0][0]
            outputs = sum(
                shape[0] if part.transposed else shape[1]
                for shape, part in zip(weights, parts, strict=True)
            )
            name = "+".join(part.weight for part in parts) + (
                "@panel" if parts[0].transposed else "@rows"
            )
            while name in self.assignment.buffers:
                name += "'"
            self.panels[parts] = Pack(name, parts, self._job(parts, inputs * outputs))
            self.assignment.buffers[name] = Buffer(name, "panel", "float", (inputs, outputs))
        pack = self.panels[parts]
        if pack.panel not in self.packed:
            self.packed.add(pack.panel)
            yield pack

    def _job(self, parts: tuple[Part, ...], size: int) -> int | None:
        """The job by which threads pack a large panel together; None where each packs its own."""
        if self.partial is None or not packed_together(self.target, size):
            return None
        if any(part.weight in self.partial for part in parts):
            return None
        return sum(len(others) for others, pack in self.panels.items() if pack.job is not None)

    def _stack(self, group: Group, bound: tuple[str, ...]) -> Iterator[Simple]:
        nodes = [item.node for item in group.items]
        first = group.items[0]
        parts = tuple(
            Part(node.operands[0].source, not node.options.get("transpose_a", False))
            for node in nodes
        )
        yield from self._panel(parts)
        out = self.assignment.refs[nodes[0].name]
        width = sum(node.type.size for node in nodes)
        operand = self.assignment.read(nodes[0].operands[1])
        yield MatMul(
            replace(out, shape=(width,)),
            operand,
            self.panels[parts].panel,
            tuple(node.name for node in nodes),
            self._over(nodes[0], bound),
            Span(first.start, first.stop),
            nodes[0].line,
            self._when(nodes[0]),
        )

    def _when(self, node: Node) -> Ref | None:
        """The condition of a predicated product."""
        condition = self.assignment.guarded.get(node.name)
        return None if condition is None else self.assignment.read(Edge(condition))

    def _single(self, item: Item, bound: tuple[str, ...]) -> Iterator[Simple]:
        node = item.node
        span = Span(item.start, item.stop)
        out = self.assignment.refs[node.name]
        if operation_of(node).reduces and over_axes(node.options):
            yield self._reduce(item, out, bound, span)
        elif node.operation == "concat":
            yield from self._concat(item, bound, span)
        elif operation_of(node).may_sum and node.options.get("over"):
            yield from self._summed(node, out, bound, span)
        elif node.operation == "slice" and len(node.type.shape) == 1:
            start = node.options["start"]
            assert isinstance(start, int)
            read = self.assignment.read(node.operands[0])
            part = replace(read, offset=read.offset + start, shape=node.type.shape)
            yield self._copy(node, part, out, node.type.shape, bound, span)
        elif node.operation == "reshape":
            read = self.assignment.read(node.operands[0])
            whole = replace(read, shape=node.type.shape)
            yield self._copy(node, whole, out, node.type.shape, bound, span)
        elif operation_of(node).renames:  # one copy, by the steps of the other axis
            read = self.assignment.read(node.operands[0])
            along = replace(read, row="along", end=_axis(node), by=str(node.options["to"]))
            yield self._copy(node, along, out, node.type.shape, bound, span)
        elif node.operation == "row":
            at = node.options["at"]
            assert isinstance(at, int)
            read = self.assignment.read(node.operands[0])
            first = read.offset + at * node.type.size
            part = replace(read, offset=first, shape=node.type.shape)
            yield self._copy(node, part, out, node.type.shape, bound, span)
        else:
            yield Routine(
                node.name,
                node.operation,
                out,
                tuple(self.assignment.operand(edge, item) for edge in node.operands),
                node.attributes,
                self._over(node, bound),
                node.type.shape,
                span,
                node.line,
            )

    def _copy(
        self,
        node: Node,
        operand: Operand,
        out: Ref,
        shape: tuple[int, ...],
        bound: tuple[str, ...],
        span: Span,
    ) -> Nest:
        assign = Assign(node.name, "identity", (operand,), (), out, node.line)
        return Nest(self._over(node, bound), shape, (assign,), span)

    def _concat(self, item: Item, bound: tuple[str, ...], span: Span) -> Iterator[Simple]:
        node = item.node
        out = self.assignment.refs[node.name]
        if len(node.type.shape) != 1:
            operands = tuple(self.assignment.operand(edge, item) for edge in node.operands)
            yield Routine(
                node.name,
                "concat",
                out,
                operands,
                node.attributes,
                self._over(node, bound),
                node.type.shape,
                span,
                node.line,
            )
            return
        offset = 0
        for edge in node.operands:
            source = self.graph[edge.source]
            if self.assignment.joined.get(edge.source) != (node.name, offset):
                target = replace(out, offset=out.offset + offset, shape=source.type.shape)
                operand = self.assignment.operand(edge, item)
                yield self._copy(node, operand, target, source.type.shape, bound, span)
            offset += source.type.size

    def _reduce(self, item: Item, out: Ref, bound: tuple[str, ...], span: Span) -> Reduce:
        node = item.node
        (edge,) = node.operands
        source = self.graph[edge.source]
        over = node.options["over"]
        assert isinstance(over, tuple)
        axes = tuple(axis for axis in source.type.axes if axis not in bound)
        return Reduce(
            node.name,
            node.operation,
            out,
            self.assignment.operand(edge, item),
            tuple(axis for axis in axes if axis in over),
            tuple(axis for axis in axes if axis not in over),
            node.type.shape,
            span,
            node.line,
        )

    def _summed(self, node: Node, out: Ref, bound: tuple[str, ...], span: Span) -> Iterator[Simple]:
        """An outer product or an embedding's adjoint, summed over axes."""
        axes: dict[str, None] = {}
        for edge in node.operands:
            axes.update(dict.fromkeys(self.graph[edge.source].type.axes))
        ordered = tuple(sorted(axes, key=lambda axis: (axis == "batch", axis)))
        over = tuple(axis for axis in ordered if axis not in bound)
        operands = tuple(self.assignment.read(edge) for edge in node.operands)
        same = all(set(self.graph[edge.source].type.axes) == set(axes) for edge in node.operands)
        if node.operation == "outer" and same and not node.type.axes:
            when = self._when(node)
            a, b = operands
            for part in range(prod(a.shape[:-1])):  # matrices side by side
                one, other = (
                    replace(ref, shape=ref.shape[-1:], offset=ref.offset + part * ref.shape[-1])
                    for ref in (a, b)
                )
                size = one.shape[0] * other.shape[0]
                place = out.offset + part * size
                into = replace(out, shape=(*one.shape, *other.shape), offset=place)
                yield OuterProduct(node.name, into, one, other, over, span, node.line, when=when)
            return
        yield Routine(
            node.name,
            node.operation,
            out,
            operands,
            node.attributes,
            over,
            node.type.shape,
            span,
            node.line,
            accumulate=True,
            kept=self._over(node, bound),
        )


def _axis(node: Node) -> str:
    axis = node.options["axis"]
    assert isinstance(axis, str)
    return axis


def _with_optional_inputs(functions: list[Function]) -> list[Function]:
    """The functions with the phase of input gradients as an optional part of the adjoint.

    Where that phase has a loop, it stays a function.
    """
    phases = {function.phase: function for function in functions}
    adjoint, inputs = phases.get("adjoint"), phases.get("inputs")
    if adjoint is None or inputs is None:
        return functions
    packed = {ref.buffer for pack in _packs(adjoint.body) for ref in writes(pack)}
    more: list[Statement] = []
    for statement in inputs.body:
        if isinstance(statement, Loop):
            return functions
        if not (isinstance(statement, Pack) and statement.panel in packed):
            more.append(Optional("inputs", (statement,)))
    body = (*adjoint.body, *more)
    whole = Function("adjoint", used(body), body, optional="inputs")
    return [whole if function is adjoint else function for function in functions[:-1]]


def _packs(body: Iterable[Statement]) -> Iterator[Pack]:
    return (statement for statement in body if isinstance(statement, Pack))


def _crossing(functions: list[Function]) -> set[str]:
    """The buffers that several phases use: the tape."""
    seen: set[str] = set()
    crossing: set[str] = set()
    for function in functions:
        crossing |= seen & set(function.buffers)
        seen |= set(function.buffers)
    return crossing
