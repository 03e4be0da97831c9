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
    rename_axis{axis=t, to=s}(x) -> x.k at the step k along s; no node
    extent{axis=t}()         ->  N
    step{axis=t}()           ->  the constants 0 … N-1

A reduction over t and other axes, or of a product, is split (:mod:`.reduction_split`): the
gradient of a parameter ``~W`` is the sum of ``~W.0 … ~W.N-1``.
Static values are not copied: parameters, constants.

A graph over two axes is unrolled along the last, t, to one over the first alone, s, and that along
it.  What runs over both has a copy ``h.i.k`` for each pair of steps, what runs over one of
them ``x.si`` or ``y.tk``.

The form left behind: no delay, no axis ``t``, no initial value; nodes in topological
order, first the leaves and then sweeps over the steps, of the first of two axes, in the order in
which loops run: each node at its shift (:mod:`rollc.ir.time.retiming`).
``v.k`` has the in-edges of ``v`` where these stay inside the sequence: the map from
``v.k`` to ``v`` is a covering of graphs away from the ends.

What it does not do: canonicalize.  A matmul with a boundary's zeros is still a matmul.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod

from rollc.ir.decomposition import decomposed_over
from rollc.ir.graph import (
    LEAVES,
    Attribute,
    Edge,
    Graph,
    Node,
    Type,
    attributes,
)
from rollc.ir.operations import operation_of
from rollc.ir.operations.operation import LENGTH
from rollc.ir.operations.time_axis import step_number
from rollc.ir.time.delay_axes import ALONG
from rollc.ir.time.retiming import Timing
from rollc.ir.time.same_steps import made_alike
from rollc.ir.time.sweeps import NoSweeps, Sweep, found_sweeps
from rollc.transforms.boundaries import Boundaries
from rollc.transforms.covering import apart, steps_of
from rollc.transforms.reduction_split import EACH, split_reductions

# A bound on memory.
MOST_NODES = 1_000_000


class UnrollError(Exception):
    """A graph that cannot be unrolled, and why."""


def unroll(graph: Graph, steps: int | Mapping[str, int]) -> Graph:
    """The network over ``steps`` steps as a graph without delays.

    ``steps`` are those along each axis, or one number for all.  Outputs over time become one a
    step, labelled ``o.0`` …, and so do the gradients of what changes with time.  Raises
    :class:`UnrollError` for fewer than one step, for more nodes than memory holds, for an initial
    value that is not deep enough for its delays, and for a graph that the check would reject.
    """
    axes = graph.axes or ("t",)
    if len(axes) > 2:
        raise UnrollError(f"`{graph.name}` has more than two time axes")
    counts = {axis: steps if isinstance(steps, int) else steps[axis] for axis in axes}
    for axis, count in counts.items():
        if count < 1:
            raise UnrollError(f"a sequence along `{axis}` has at least one step, not {count}")
    if made_alike(graph, counts) != counts:
        said = " and ".join(f"{count} along `{axis}`" for axis, count in counts.items())
        raise UnrollError(f"its axes have the same steps, not {said}")
    nodes = sum(
        prod(counts[axis] for axis in node.type.time) for node in graph.nodes if node.type.time
    )
    if nodes > MOST_NODES:
        said = " times ".join(map(str, counts.values()))
        raise UnrollError(
            f"{said} steps of `{graph.name}` would be {nodes} nodes, and {MOST_NODES} is the most"
        )
    graph = apart(decomposed_over(graph, axes))
    before: _Unrolling | None = None
    for axis in reversed(axes):
        split = split_reductions(graph, axis, counts[axis])
        before = _Unrolling(split, axis, counts[axis], before)
        graph = before.graph()
    if len(axes) == 1:
        return replace(graph, stage="dag", steps=counts[axes[0]])
    return replace(graph, stage="dag", grid=tuple(counts.items()))


class _Unrolling:
    """Unrolling along one axis.

    ``before`` is that along another axis, which made the graph; None where there is none.
    """

    def __init__(self, graph: Graph, axis: str, steps: int, before: _Unrolling | None) -> None:
        self.source = graph
        self.axis = axis
        self.steps = steps
        self.before = before
        # Of names and labels what they are copies of, and their steps.
        self.copied: dict[str, tuple[str, int]] = {}
        self.others = tuple(other for other in graph.axes if other != axis)
        self.named = self._named()
        self.front: list[Node] = []
        self.body: list[Node] = []
        # For each node over the axis, the reads of its copies.
        self.copies: dict[str, list[Edge]] = {}
        made = () if before is None else before.outside.made
        self.outside: Boundaries = Boundaries(graph, axis, self.front, self.body, made)

    def graph(self) -> Graph:
        for node in self.source.nodes:
            if self._timed(node) and not self._is_operand(node):
                self._promise(node.name)
        if self.others:
            self._operands(self.source.nodes)
        for node in self.source.nodes:
            if node.operation in LEAVES:
                self._leaf(node)
        for loop, nodes in self._sweeps():
            inner = [node for node in nodes if node.operation not in LEAVES]
            if loop is None:
                for node in inner:
                    self._static(node)
            else:
                self._sweep(inner, loop)
        unrolled = (*self.front, *self.body)
        if len({node.name for node in unrolled}) < len(unrolled):
            raise UnrollError("two nodes of the unrolled graph would have one name")
        return replace(
            self.source,
            nodes=unrolled,
            outputs=tuple(self._results(self.source.outputs)),
            gradients=tuple(self._results(self.source.gradients)),
            axes=self.others,
        )

    def _sweeps(self) -> list[Sweep]:
        """The order of the nodes; any order is good as long as there is another axis."""
        if self.others:
            timed = [node for node in self.source.nodes if self._timed(node)]
            static = [node for node in self.source.nodes if not self._timed(node)]
            return [(Timing(1, {}), timed), (None, static)]
        try:
            return found_sweeps(self.source, self.axis)
        except NoSweeps as error:
            raise UnrollError(str(error)) from None

    def _named(self) -> frozenset[str]:
        """What needs a node at each step, where a read at one would do if nothing had a delay."""
        if not self.others:
            return frozenset()
        nodes = self.source.nodes
        found = {edge.source for node in nodes for edge in node.operands if edge.delay}
        found |= {node.initial for node in nodes if node.initial is not None}
        return frozenset(
            found | {node.name for node in nodes if any(edge.delay for edge in node.operands)}
        )

    def _results(self, pairs: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
        for label, name in pairs:
            if name in self.copies:
                for step, edge in enumerate(self.copies[name]):
                    yield self._name(label, step), edge.source
            else:
                yield label, name

    def _timed(self, node: Node) -> bool:
        return self.axis in node.type.axes

    def _type(self, node: Node) -> Type:
        return _without(node.type, self.axis)

    def _promise(self, name: str) -> None:
        """The copies of a node can be read from now on."""
        of = name.removesuffix(EACH)
        self.copies[name] = [Edge(self._name(of, step)) for step in range(self.steps)]

    def _operands(self, nodes: Iterable[Node]) -> None:
        """What is no node is a read of another one, at each step."""
        for node in nodes:
            if self._is_operand(node):
                self.copies[node.name] = self._moved(node)

    def _name(self, of: str, step: int) -> str:
        """The name of a copy, or the label of a result."""
        if self.before is None and not self.others:
            return f"{of}.{step}"
        if self.before is not None and of in self.before.copied:
            of, other = self.before.copied[of]
            return f"{of}.{step}.{other}"
        name = f"{of}.{self.axis}{step}"
        self.copied[name] = (of, step)
        return name

    def _leaf(self, node: Node) -> None:
        if not self._timed(node):
            self.front.append(node)
            return
        type_ = self._type(node)
        for step, copy in enumerate(self.copies[node.name]):
            options: dict[str, Attribute] = {"of": node.name, "step": step, **node.options}
            if "of" in node.options:
                options["step"] = (step, *steps_of(node))
            initial = self._initial(node, step)
            self.front.append(
                replace(
                    node,
                    name=copy.source,
                    type=type_,
                    attributes=attributes(**options),
                    initial=initial,
                )
            )

    def _static(self, node: Node) -> None:
        operation, options, operands = node.operation, node.attributes, node.operands
        if operation == "extent" and node.options["axis"] == self.axis:
            value = attributes(value=float(self.steps))
            self.front.append(replace(node, operation="constant", attributes=value))
            return
        if operation_of(node).renames and node.options["axis"] == self.axis:
            read = tuple(self._read(operands[0], step) for step in range(self.steps))
        elif (combine := operation_of(node).combine) and node.options["over"] == (self.axis,):
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
        initial = self._initial(node, 0)
        self.body.append(Node(node.name, operation, read, node.type, options, initial, node.line))

    def _sweep(self, nodes: list[Node], loop: Timing) -> None:
        for node in nodes:
            if node.operation == "step" and node.options["axis"] == self.axis:
                self._number_steps(node)
            elif self._is_moved(node) and node.name in self.named:
                self._move(node)
            elif self._is_renamed(node):
                self._rename(node)
        self._operands(nodes)
        body, copies, here = self.body, self.copies, ("", self.axis)
        plans = [
            (_of_no_axis(node, self.axis), copies[node.name], loop.shifts.get(node.name, 0))
            for node in nodes
            if not self._is_made(node)
        ]
        for now in loop.iterations(self.steps):
            for node, names, shift in plans:
                step = now - shift
                if not 0 <= step < self.steps:
                    continue
                reads = []
                for edge in node.operands:
                    source = copies.get(edge.source)
                    at = step - edge.delay
                    if source is not None and edge.axis in here and 0 <= at < self.steps:
                        reads.append(source[at])
                    else:
                        reads.append(self._read(edge, step))
                body.append(
                    Node(
                        names[step].source,
                        node.operation,
                        tuple(reads),
                        node.type,
                        node.attributes,
                        self._initial(node, step),
                        node.line,
                    )
                )

    def _number_steps(self, node: Node) -> None:
        for step, copy in enumerate(self.copies[node.name]):
            value = attributes(value=float(step_number(step, node.options)))
            type_, initial = self._type(node), self._initial(node, step)
            self.front.append(
                Node(copy.source, "constant", (), type_, value, initial, line=node.line)
            )

    def _is_moved(self, node: Node) -> bool:
        """Whether a node is what another one is, at each step or at some."""
        if operation_of(node).renames:  # of copies along the other axis, which are unrolled
            return node.options["to"] == self.axis and not self.others
        moving = ("spread", "impulse", "tail_steps")
        return node.operation in moving and node.options["axis"] == self.axis

    def _is_renamed(self, node: Node) -> bool:
        """Whether a node is at a step along this axis what another is along one that stays."""
        return operation_of(node).renames and node.options["to"] == self.axis and bool(self.others)

    def _rename(self, node: Node) -> None:
        """A node at each step, which reads one step along the other axis."""
        (edge,), along = node.operands, str(node.options["axis"])
        if edge.delay:
            name, type_ = f"{node.name}'read", self.source[edge.source].type
            self.body.append(Node(name, "identity", (edge,), type_, (), None, node.line))
            edge = Edge(name)
        type_, options = _without(self._type(node), along), attributes(axis=along)
        for step, copy in enumerate(self.copies[node.name]):
            read = Edge(edge.source, -step, along) if step else edge
            initial = self._initial(node, step)
            self.body.append(
                Node(copy.source, "first", (read,), type_, options, initial, node.line)
            )

    def _is_operand(self, node: Node) -> bool:
        return self._is_moved(node) and node.name not in self.named

    def _is_made(self, node: Node) -> bool:
        number = node.operation == "step" and node.options["axis"] == self.axis
        return number or self._is_moved(node) or self._is_renamed(node)

    def _move(self, node: Node) -> None:
        """A node at each step, for what is read with a delay along another axis."""
        type_ = self._type(node)
        for step, read in enumerate(self._moved(node)):
            name, initial = self.copies[node.name][step].source, self._initial(node, step)
            self.body.append(Node(name, "identity", (read,), type_, (), initial, node.line))

    def _moved(self, node: Node) -> list[Edge]:
        if operation_of(node).renames:
            return [self._read(edge, step) for step, edge in enumerate(node.operands)]
        if node.operation == "tail_steps":
            return [self._row_of_step(node, step) for step in range(self.steps)]
        reads = [self._read(node.operands[0], step) for step in range(self.steps)]
        if node.operation == "impulse":
            at = 0 if node.options["at"] == "first" else self.steps - 1
            zero = self.outside.zero(node.type)
            reads = [read if step == at else zero for step, read in enumerate(reads)]
        return reads

    def _read(self, edge: Edge, step: int) -> Edge:
        """The read of an edge at a step of its reader."""
        along = edge.axis == self.axis
        at = step - edge.delay if along else step
        if along and not 0 <= at < self.steps:
            return self._boundary(self.source[edge.source], at)
        copies = self.copies.get(edge.source)
        found = Edge(edge.source) if copies is None else copies[at]
        return found if along else replace(found, delay=edge.delay, axis=edge.axis)

    def _initial(self, node: Node, step: int) -> str | None:
        """The initial value of a copy, for reads with a delay along another axis."""
        reach = self.source.reach.get(node.name)
        if node.initial is None or reach is None or reach.axis == self.axis:
            return None
        return self._read(Edge(node.initial), step).source

    # Tails: the last rows of a sequence, which ends at step N or at its own length.

    def _tail(self, node: Node) -> None:
        """Make a ``tail``, or a ``tail_start``."""
        count = node.type.shape[0]
        row = self._row_of_tail if node.operation == "tail" else self._row_of_start

        def rows(end: int) -> tuple[Edge, ...]:
            return tuple(row(node, index, end) for index in range(count))

        def stacked(end: int) -> Edge:
            return self.outside.once(
                f"{node.name}'end{end}", "stack", rows(end), node.type, (), node.line
            )

        end = self._known_end(node)
        if end is not None:
            operation, read = "stack", rows(end)
        else:
            ends = range(self.steps + count if node.operation == "tail" else count)
            selected = self._by_end(node, node.name, node.type, ends, stacked)
            operation, read = "identity", (selected,)
            if node.type.kind == "bool":  # a select of conditions is a number
                operation, read = "greater", (selected, self.outside.static_zero(Type("float")))
        self.body.append(Node(node.name, operation, read, node.type, (), None, node.line))

    def _row_of_tail(self, node: Node, row: int, end: int) -> Edge:
        y, start = (self.source[edge.source] for edge in node.operands[:2])
        count = node.type.shape[0]
        step = end - count + row
        if step >= self.steps:
            return self.outside.zero(replace(node.type, shape=y.type.shape))
        if step < 0:
            return self.outside.everywhere(*self.outside.row(start, step + count), node.type.axes)
        return self.outside.everywhere(
            self._read(node.operands[0], step), self._type(y), node.type.axes
        )

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
            return self.outside.everywhere(*self.outside.row(rows, row), axes)
        return self.outside.zero(replace(rows.type, shape=rows.type.shape[1:], axes=axes))

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
            known = self.outside.once(f"{length.source}'at{end}", "constant", (), number, options)
            here = self.outside.once(
                f"{length.source}'is{end}", "equal", (length, known), condition, ()
            )
            reads = (here, value(end), selected)
            selected = self.outside.once(f"{name}'to{end}", "where", reads, type_, (), node.line)
        return selected

    # Values outside the sequence, each made once.

    def _boundary(self, node: Node, at: int) -> Edge:
        """The value of a node at a step before the first or after the last."""
        if node.initial is None:
            return self.outside.zero(node.type)
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
            edge, type_ = self.outside.row(initial, row)
        return self.outside.everywhere(edge, type_, node.type.axes)


def _without(type_: Type, axis: str) -> Type:
    return replace(type_, axes=tuple(other for other in type_.axes if other != axis))


def _of_no_axis(node: Node, axis: str) -> Node:
    """A node at a step along an axis: a copy for reads with delays along it is read without any."""
    if node.operation == ALONG and node.options["axis"] == axis:
        node = replace(node, operation="identity", attributes=())
    return replace(node, type=_without(node.type, axis))
