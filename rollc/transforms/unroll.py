"""Loop unrolling: a graph over N steps becomes a DAG without delays.

    v over t                 ->  v.0 … v.N-1, each without the axis t
    u[t-d] read by v         ->  v.k reads u.(k-d)
    a read outside [0, N)    ->  the initial value, or zeros of the shape
    x over t, a leaf         ->  leaves x.k with the attributes of=x, step=k
    first(x), last(x)        ->  x.0, x.N-1
    tail{axis=t}(x, start)   ->  stack(…, x.N-2, x.N-1), before these the last rows of the start
    sum_over{over=[t]}(x)    ->  sum_of(x.0, …, x.N-1); the same for max and min
    mean_over{over=[t]}(x)   ->  sum_of(x.0, …, x.N-1) * (1 / N)
    softmax_over{over=[t]}(x) -> exp(x - max), split_reductions by the sum of these
    spread{axis=t}(x)        ->  x at every step; no node
    impulse{axis=t}(x)       ->  x at its one step, zero at the others; no node
    tail_steps{axis=t}(x)    ->  rows of x at the last steps, zero at the others
    extent{axis=t}()         ->  N
    step{axis=t}()           ->  the constants 0 … N-1

A reduction over t and other axes, or of a product, is split (:mod:`.reduction_split`): the
gradient of a parameter ``~W`` is the sum of ``~W.0 … ~W.N-1``.
Static values are not copied: parameters, constants.

The form left behind: no delay, no axis ``t``, no initial value; nodes in topological
order, first the leaves and then sweeps over the steps, in the order in which loops run: each
node at its shift (:mod:`rollc.ir.time.retiming`).
``v.k`` has the in-edges of ``v`` where these stay inside the sequence: the map from
``v.k`` to ``v`` is a covering of graphs away from the ends.

What it does not do: canonicalize.  A matmul with a boundary's zeros is still a matmul.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import (
    LEAVES,
    Attribute,
    Edge,
    Graph,
    Node,
    Shape,
    Type,
    attributes,
    ordered_axes,
)
from rollc.ir.operations import operation_of
from rollc.ir.operations.operation import LENGTH
from rollc.ir.operations.time_axis import step_number
from rollc.ir.time.retiming import Timing
from rollc.ir.time.sweeps import NoSweeps, found_sweeps
from rollc.transforms.reduction_split import EACH, split_reductions

Array = NDArray[np.generic]

_COPY = re.compile(r"(.+)\.(\d{1,9})")
# A bound on memory.
MOST_NODES = 1_000_000


class UnrollError(Exception):
    """A graph that cannot be unrolled, and why."""


def unroll(graph: Graph, steps: int) -> Graph:
    """The network over ``steps`` steps as a graph without delays.

    Outputs over time become one a step, labelled ``o.0`` …, and so do the gradients of
    what changes with time.  Raises :class:`UnrollError` for fewer than one step, for more
    nodes than memory holds, for more than one time axis, for an initial value that is not
    deep enough for its delays, and for a graph that the check would reject.
    """
    if steps < 1:
        raise UnrollError(f"a sequence has at least one step, not {steps}")
    if len(graph.axes) > 1:
        axes = " and ".join(f"`{axis}`" for axis in graph.axes)
        raise UnrollError(f"unrolling takes one time axis, and `{graph.name}` has {axes}")
    axis = graph.axes[0] if graph.axes else "t"
    nodes = steps * sum(axis in node.type.axes for node in graph.nodes)
    if nodes > MOST_NODES:
        raise UnrollError(
            f"{steps} steps of `{graph.name}` would be {nodes} nodes, and {MOST_NODES} is the most"
        )
    return _Unrolling(split_reductions(graph, axis, steps), axis, steps).graph()


def covering(dag: Graph) -> Mapping[str, tuple[str, int] | None]:
    """For each node of an unrolled graph the node and step that it is a copy of.

    None for static nodes and for those of boundary values.
    """
    return {node.name: _copied(node.name, dag.steps or 0) for node in dag.nodes}


def step_leaves(dag: Graph, leaves: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of the leaves of an unrolled graph, from those of its source.

    Those of the source have the time first (``[t, batch, ...]``); those of a step are views.
    """
    found: dict[str, Array] = {}
    for node in dag.nodes:
        if node.operation in LEAVES and node.operation != "constant":
            of, step = node.options.get("of"), node.options.get("step")
            if isinstance(of, str) and isinstance(step, int):
                found[node.name] = leaves[of][step]
            else:
                found[node.name] = leaves[node.name]
    return found


def _copied(name: str, steps: int) -> tuple[str, int] | None:
    match = _COPY.fullmatch(name)
    if match is None or int(match.group(2)) >= steps:
        return None
    return match.group(1), int(match.group(2))


class _Unrolling:
    def __init__(self, graph: Graph, axis: str, steps: int) -> None:
        self.source = graph
        self.axis = axis
        self.steps = steps
        self.front: list[Node] = []
        self.body: list[Node] = []
        # For each node over the axis, the reads of its copies.
        self.copies: dict[str, list[Edge]] = {}
        self.outside: dict[str, Edge] = {}
        self.early = {node.name for node in graph.nodes if node.operation in LEAVES}
        self.number_zero = _zero_constant(graph)

    def graph(self) -> Graph:
        try:
            sweeps = found_sweeps(self.source, self.axis)
        except NoSweeps as error:
            raise UnrollError(str(error)) from None
        for node in self.source.nodes:
            if node.operation in LEAVES:
                self._leaf(node)
        for loop, nodes in sweeps:
            inner = [node for node in nodes if node.operation not in LEAVES]
            if loop is None:
                for node in inner:
                    self._static(node)
            else:
                self._sweep(inner, loop)
        unrolled = (*self.front, *self.body)
        if len({node.name for node in unrolled}) < len(unrolled):
            raise UnrollError("two nodes of the unrolled graph would have one name")
        return Graph(
            self.source.name,
            "dag",
            unrolled,
            tuple(self._results(self.source.outputs)),
            self.source.loss,
            tuple(self._results(self.source.gradients)),
            (),
            self.source.dims,
            self.steps,
        )

    def _results(self, pairs: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
        for label, name in pairs:
            if name in self.copies:
                for step, edge in enumerate(self.copies[name]):
                    yield f"{label}.{step}", edge.source
            else:
                yield label, name

    def _timed(self, node: Node) -> bool:
        return self.axis in node.type.axes

    def _type(self, node: Node) -> Type:
        axes = tuple(axis for axis in node.type.axes if axis != self.axis)
        return replace(node.type, axes=axes)

    def _promise(self, name: str) -> list[str]:
        """The names of a node's copies, which can be read from now on."""
        names = [f"{name.removesuffix(EACH)}.{step}" for step in range(self.steps)]
        self.copies[name] = [Edge(copy) for copy in names]
        return names

    def _leaf(self, node: Node) -> None:
        if not self._timed(node):
            self.front.append(node)
            return
        type_ = self._type(node)
        for step, name in enumerate(self._promise(node.name)):
            options: dict[str, Attribute] = {**node.options, "of": node.name, "step": step}
            self.front.append(
                Node(name, node.operation, (), type_, attributes(**options), line=node.line)
            )

    def _static(self, node: Node) -> None:
        operation, options, operands = node.operation, node.attributes, node.operands
        if operation == "extent" and node.options["axis"] == self.axis:
            value = attributes(value=float(self.steps))
            self.front.append(replace(node, operation="constant", attributes=value))
            return
        if (combine := operation_of(node).combine) and node.options["over"] == (self.axis,):
            read = tuple(self._read(operands[0], step) for step in range(self.steps))
            operation, options = combine, ()
        elif (end := operation_of(node).end) and node.options["axis"] == self.axis:
            read = (self._read(operands[0], 0 if end == "first" else self.steps - 1),)
            operation, options = "identity", ()
        elif LENGTH in operation_of(node).operands and node.options["axis"] == self.axis:
            self._tail(node)
            return
        else:
            read = tuple(self._read(edge, 0) for edge in operands)
        self.body.append(Node(node.name, operation, read, node.type, options, None, node.line))

    def _sweep(self, nodes: list[Node], loop: Timing) -> None:
        for node in nodes:
            if node.operation == "step":
                self._number_steps(node)
        written = [
            node for node in nodes if node.operation != "step" and not self._is_operand(node)
        ]
        plans = [
            (node, self._promise(node.name), self._type(node), loop.shifts.get(node.name, 0))
            for node in written
        ]
        for node in nodes:
            if self._is_operand(node):
                self.copies[node.name] = self._spread(node)
        body, copies = self.body, self.copies
        for now in loop.iterations(self.steps):
            for node, names, type_, shift in plans:
                step = now - shift
                if not 0 <= step < self.steps:
                    continue
                reads = []
                for edge in node.operands:
                    source = copies.get(edge.source)
                    at = step - edge.delay
                    if source is not None and 0 <= at < self.steps:
                        reads.append(source[at])
                    else:
                        reads.append(self._read(edge, step))
                body.append(
                    Node(
                        names[step],
                        node.operation,
                        tuple(reads),
                        type_,
                        node.attributes,
                        None,
                        node.line,
                    )
                )

    def _number_steps(self, node: Node) -> None:
        for step, name in enumerate(self._promise(node.name)):
            value = attributes(value=float(step_number(step, node.options)))
            self.front.append(Node(name, "constant", (), self._type(node), value, line=node.line))

    def _is_operand(self, node: Node) -> bool:
        moving = ("spread", "impulse", "tail_steps")
        return node.operation in moving and node.options["axis"] == self.axis

    def _spread(self, node: Node) -> list[Edge]:
        if node.operation == "tail_steps":
            return [self._row_of_step(node, step) for step in range(self.steps)]
        reads = [self._read(node.operands[0], step) for step in range(self.steps)]
        if node.operation == "impulse":
            at = 0 if node.options["at"] == "first" else self.steps - 1
            zero = self._zero(node.type)
            reads = [read if step == at else zero for step, read in enumerate(reads)]
        return reads

    def _read(self, edge: Edge, step: int) -> Edge:
        """The read of an edge at a step of its reader."""
        at = step - edge.delay
        if edge.delay and not 0 <= at < self.steps:
            return self._boundary(self.source[edge.source], at)
        copies = self.copies.get(edge.source)
        return Edge(edge.source) if copies is None else copies[at]

    # Tails: the last rows of a sequence, which ends at step N or at its own length.

    def _tail(self, node: Node) -> None:
        """Make a ``tail``, or a ``tail_start``."""
        count = node.type.shape[0]
        row = self._row_of_tail if node.operation == "tail" else self._row_of_start

        def rows(end: int) -> tuple[Edge, ...]:
            return tuple(row(node, index, end) for index in range(count))

        def stacked(end: int) -> Edge:
            return self._once(f"{node.name}'end{end}", "stack", rows(end), node.type, (), node.line)

        end = self._known_end(node)
        if end is not None:
            operation, read = "stack", rows(end)
        else:
            ends = range(self.steps + count if node.operation == "tail" else count)
            selected = self._by_end(node, node.name, node.type, ends, stacked)
            operation, read = "identity", (selected,)
            if node.type.kind == "bool":  # a select of conditions is a number
                operation, read = "greater", (selected, self._static_zero(Type("float")))
        self.body.append(Node(node.name, operation, read, node.type, (), None, node.line))

    def _row_of_tail(self, node: Node, row: int, end: int) -> Edge:
        y, start = (self.source[edge.source] for edge in node.operands[:2])
        count = node.type.shape[0]
        step = end - count + row
        if step >= self.steps:
            return self._zero(replace(node.type, shape=y.type.shape))
        if step < 0:
            return self._everywhere(*self._row(start, step + count), node.type.axes)
        return self._everywhere(self._read(node.operands[0], step), self._type(y), node.type.axes)

    def _row_of_start(self, node: Node, row: int, end: int) -> Edge:
        return self._row_or_zero(node, row - end)

    def _row_of_step(self, node: Node, step: int) -> Edge:
        """The row that ``tail_steps`` has at a step."""
        count = self.source[node.operands[0].source].type.shape[0]

        def row(end: int) -> Edge:
            return self._row_or_zero(node, step - end + count)

        end = self._known_end(node)
        if end is not None:
            return row(end)
        ends = range(step + 1, step + 1 + count)
        return self._by_end(node, f"{node.name}.{step}", self._type(node), ends, row)

    def _row_or_zero(self, node: Node, row: int) -> Edge:
        rows, axes = self.source[node.operands[0].source], self._type(node).axes
        if 0 <= row < rows.type.shape[0]:
            return self._everywhere(*self._row(rows, row), axes)
        return self._zero(replace(rows.type, shape=rows.type.shape[1:], axes=axes))

    def _known_end(self, node: Node) -> int | None:
        """The step behind the last one, where it is the same for all sequences."""
        if len(node.operands) == operation_of(node).fewest:
            return self.steps
        value = self.source[node.operands[-1].source].options.get("value")
        return int(value) if isinstance(value, float) else None

    def _by_end(
        self, node: Node, name: str, type_: Type, ends: range, value: Callable[[int], Edge]
    ) -> Edge:
        """A chain of selects by the length of each sequence: a value for each end in a range.

        All ends outside the range have the same value.
        """
        length = node.operands[-1]
        index = self.source[length.source].type
        type_ = replace(type_, kind="float") if type_.kind == "bool" else type_
        number, condition = replace(index, axes=()), Type("bool", (), index.axes)
        selected = value(ends.stop)
        for end in range(ends.start, min(ends.stop, index.bound or 0)):
            options = attributes(value=float(end))
            known = self._once(f"{length.source}'at{end}", "constant", (), number, options)
            here = self._once(f"{length.source}'is{end}", "equal", (length, known), condition, ())
            reads = (here, value(end), selected)
            selected = self._once(f"{name}'to{end}", "where", reads, type_, (), node.line)
        return selected

    # Values outside the sequence, each made once.

    def _boundary(self, node: Node, at: int) -> Edge:
        """The value of a node at a step before the first or after the last."""
        if node.initial is None:
            return self._zero(node.type)
        initial = self.source[node.initial]
        edge, type_ = Edge(initial.name), initial.type
        if len(type_.shape) == len(node.type.shape) + 1:
            depth = type_.shape[0]
            row = depth + at if at < 0 else at - self.steps
            if not 0 <= row < depth:
                raise UnrollError(
                    f"`{node.name}` is read {-at if at < 0 else row + 1} steps outside the "
                    f"sequence, and its initial value `{initial.name}` has {depth} rows"
                )
            edge, type_ = self._row(initial, row)
        return self._everywhere(edge, type_, node.type.axes)

    def _row(self, initial: Node, row: int) -> tuple[Edge, Type]:
        flat = replace(initial.type, shape=initial.type.shape[1:])
        name, at = f"{initial.name}'row{row}", attributes(at=row)
        return self._once(name, "row", (Edge(initial.name),), flat, at, initial.line), flat

    def _everywhere(self, edge: Edge, type_: Type, axes: tuple[str, ...]) -> Edge:
        """A value, broadcast along the axes, so that types are unchanged."""
        for axis in axes:
            if axis != self.axis and axis not in type_.axes:
                type_ = replace(type_, axes=ordered_axes((*type_.axes, axis)))
                name = f"{edge.source}'{axis}"
                edge = self._once(name, "spread", (edge,), type_, attributes(axis=axis))
        return edge

    def _zero(self, like: Type) -> Edge:
        """The zero of a type: zeros, false, or the index 0."""
        type_ = replace(like, axes=())
        return self._everywhere(self._static_zero(type_), type_, like.axes)

    def _static_zero(self, type_: Type) -> Edge:
        shape, value = type_.shape, attributes(value=0.0)
        if type_.kind == "index":
            return self._once(f"zero'index{type_.bound}", "constant", (), type_, value)
        number = Type("float")
        zero = self.number_zero or self._once("zero'number", "constant", (), number, value)
        if shape:
            zeros, options = Type("float", shape), attributes(shape=shape)
            zero = self._once(f"zero'of{_times(shape)}", "fill", (zero,), zeros, options)
        if type_.kind == "bool":
            return self._once(f"false'of{_times(shape)}", "less", (zero, zero), type_, ())
        return zero

    def _once(
        self,
        name: str,
        operation: str,
        operands: tuple[Edge, ...],
        type_: Type,
        options: tuple[tuple[str, Attribute], ...],
        line: int = 0,
    ) -> Edge:
        """A node of a value outside the sequence, made at its first use."""
        if name not in self.outside:
            self.outside[name] = Edge(name)
            node = Node(name, operation, operands, type_, options, None, line)
            early = all(edge.source in self.early for edge in operands)
            (self.front if early else self.body).append(node)
            if early:
                self.early.add(name)
        return self.outside[name]


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "number"


def _zero_constant(graph: Graph) -> Edge | None:
    """The graph's own constant zero."""
    for node in graph.leaves("constant"):
        if node.type == Type("float") and repr(node.options["value"]) == "0.0":
            return Edge(node.name)
    return None
