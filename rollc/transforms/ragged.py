"""Sequences of different lengths in one batch: each stops at its own end.

``with_lengths`` adds, for each time axis, a leaf with the number of steps of each sequence
and rewrites what looks beyond a step, so that nothing of the padding is seen:

    x, a leaf over t       ->  x where the sequence is alive, its first step in the padding
    u[t-d]                 ->  u[t-d] where alive, the initial value in the padding
    u[t+d]                 ->  u[t+d] while that is inside, the initial value from the own end on
    sum of x over t        ->  the sum of what is x where alive and 0 elsewhere
    mean of x over t       ->  that sum, divided by the own length, or by 1 where that is 0
    max, min of x over t   ->  of what is x where alive and an infinity elsewhere; 0 where the
                               own length is 0
    softmax of x over t    ->  of what is x where alive and -infinity elsewhere; 1 in the padding
    last(x), a number      ->  the sum of what is x at the own last step and 0 elsewhere
    last(x), of any kind   ->  last(held), held = x where alive, held[t-1] in the padding
    last(x), first(x)      ->  the initial value of x where the own length is 0
    tail of x and a start  ->  that of the own length
    extent of t            ->  the own length
    an output over t       ->  the output where alive, zero elsewhere

What all sequences share, without the batch axis, needs none of this as long as it runs forward
only: its value at a step is the same however many steps follow, and it runs on over the padding.

    u shared, read by what
    is each sequence's own ->  u where alive, its first step in the padding
    what looks at the end of what is shared (from the future, ``last``, sums over t) is each
    sequence's own, and so is all that reads it; the loss then is the mean over the batch

With two time axes each is treated so by its own lengths: a place is alive where both its
steps are.  Each step of the padding thus computes what a sequence of one step would, the first one:
numbers like those of the sequence itself.  Its cotangents are exactly zero, and zero times
a slope of such numbers is zero, where zeros or the padding's own numbers could have made an
infinite slope, and a NaN of the gradient.

A sequence without a step has initial values alone: it is all padding, and the first step of that
is another sequence's, as its arrays are read (:mod:`.arrays`).  No gradient passes but that
of the initial values.

The pass comes before the adjoint, which then needs to know nothing of lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import reduce

from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import BATCH, GIVEN, Edge, Graph, Node, Type, ordered_axes
from rollc.ir.names import STATE as STATE
from rollc.ir.names import lengths_leaves
from rollc.ir.operations import operation_of
from rollc.ir.operations.operation import LENGTH
from rollc.ir.operations.time_axis import MOST_STEPS
from rollc.ir.traversal import dependents
from rollc.transforms.empty_axes import initial_along, named, nearest, zero

"""The leaf of a graph with one time axis; a name that no spec can write."""


def output_name(name: str) -> str:
    """The node with the zeros of the padding, of an output that runs over time."""
    return f"{name}'kept"


class LengthsError(Exception):
    """A graph whose sequences cannot have lengths of their own, and why."""


def with_lengths(graph: Graph, axes: Sequence[str] | None = None) -> Graph:
    """The graph with a leaf of lengths for each time axis (see :func:`lengths_leaves`).

    The leaf is an index over the batch, from 0 to the number of steps of the axis.  With
    ``axes`` only those have lengths, and along the others all sequences have all steps.  Takes
    a graph before the adjoint.  Raises :class:`LengthsError` where :func:`why_no_lengths` has
    a reason.
    """
    why = why_no_lengths(graph)
    if why is not None:
        raise LengthsError(why)
    return _Lengths(graph, graph.axes if axes is None else tuple(axes)).graph()


def why_no_lengths(graph: Graph) -> str | None:
    """Why the sequences of a graph cannot have lengths of their own, in words."""
    if not graph.axes:
        return "it has no time axis"
    for node in graph.nodes:
        if node.operation == "state" and BATCH not in node.type.axes:
            # After the last step of each sequence it would be another one.
            return f"the state of `{node.name.removeprefix(STATE)}` is the same for all sequences"
        entry = operation_of(node)
        if LENGTH in entry.operands and entry.fewest < len(node.operands):
            return f"`{node.name}` has a length of its own"
        ends = entry.neutral is not None or LENGTH in entry.operands or entry.end
        if entry.whole and not ends:
            return f"`{node.name}` needs all steps, in a way that does not end at a length"
        deep = node.initial is not None and graph[node.initial].type.shape != node.type.shape
        future = node.name in graph.reach and graph.reach[node.name].future
        if deep and future and node.type.kind != "float":
            return f"the initial value of `{node.name}` has rows that are no numbers"
    return None


def own_outputs(graph: Graph) -> frozenset[str]:
    """The labels of the outputs that with lengths are each sequence's own."""
    own = _own(graph, graph.axes)
    return frozenset(label for label, name in graph.outputs if name in own or graph[name].type.time)


def _own(graph: Graph, axes: Sequence[str]) -> frozenset[str]:
    """The nodes that are each sequence's own where sequences have lengths along some axes."""

    def joins(node: Node) -> bool:
        return BATCH not in _along(node)

    def starts(node: Node) -> bool:
        entry = operation_of(node)
        ends = (entry.whole or entry.sees_end) and not _along(node).isdisjoint(axes)
        return ends or any(edge.delay < 0 and edge.axis in axes for edge in node.operands)

    first = {node.name for node in graph.nodes if BATCH in node.type.axes}
    first |= {node.name for node in graph.nodes if starts(node) and joins(node)}
    return _with_readers(graph, first, joins)


def _along(node: Node) -> frozenset[str]:
    """The axes that an operation works along."""
    over = node.options.get("over", (node.options.get("axis"),))
    return (
        frozenset(axis for axis in over if isinstance(axis, str))
        if isinstance(over, tuple)
        else frozenset()
    )


def _with_readers(
    graph: Graph, names: Iterable[str], joins: Callable[[Node], bool]
) -> frozenset[str]:
    """Nodes, and all those that read them, directly or not, and may join them.

    Who reads a node reads its initial value too.
    """

    def reads(node: Node) -> Iterator[Edge]:
        for edge in node.operands:
            yield edge
            if (initial := graph[edge.source].initial) is not None:
                yield Edge(initial)

    return frozenset(dependents(filter(joins, graph.nodes), names, reads))


class _Lengths:
    def __init__(self, graph: Graph, axes: Sequence[str]) -> None:
        self.axes = axes
        self.own = _own(graph, axes)
        self.source = graph.with_nodes(map(self._as_own, graph.nodes))
        self.shared = self._shared()
        self.build = Builder(self.source.nodes)
        self.build.prefix = "lengths"
        number = Type("index", (), (BATCH,), MOST_STEPS)
        self.lengths = {
            axis: self.build.leaf(name, "input", number)
            for axis, name in lengths_leaves(graph.axes).items()
            if axis in axes
        }
        # What stands for a read of each sequence's own, by the edge; and for a node.
        self.gates: dict[Edge, Edge] = {}
        self.stands: dict[str, str] = {}

    def _as_own(self, node: Node) -> Node:
        """A node with the batch among its axes where it is each sequence's own."""
        if node.name not in self.own:
            return node
        axes = ordered_axes((*node.type.axes, BATCH))
        return replace(node, type=replace(node.type, axes=axes))

    def _shared(self) -> frozenset[str]:
        """Numbers over time that all sequences share, and what they decide.

        What a step's number tells by itself, such as where a window ends, is not among them.
        """

        def joins(node: Node) -> bool:
            return self._has_padding(node.type) and node.name not in self.own

        numbers = (node for node in self.source.nodes if node.type.kind == "float")
        return _with_readers(self.source, (node.name for node in numbers if joins(node)), joins)

    def _has_padding(self, type_: Type) -> bool:
        return not set(type_.time).isdisjoint(self.axes)

    def graph(self) -> Graph:
        for node in self.source.nodes:
            leaf = node.operation in GIVEN and self._has_padding(node.type)
            if leaf or (node.name not in self.own and node.initial in self.own):
                name = f"{node.name}'alive"
                self.stands[node.name] = self._mask(name, Edge(node.name), node.initial).source
        touched = [node for node in self.source.nodes if self._is_touched(node)]
        for edge in dict.fromkeys(edge for node in touched for edge in node.operands):
            if edge.source in self.shared - self.stands.keys() and edge.delay >= 0:
                self.gates[edge] = self._mask(f"{edge.source}'own{edge.delay or ''}", edge)
            elif edge.axis in self.axes:
                self._gate(edge)
        for node in touched:
            if node.operation == "extent" and node.options["axis"] in self.axes:
                self._count(node)
            else:
                self._rewrite(node)
        for name in self.stands:  # what stands for them has the initial value
            self.build.nodes[name] = replace(self.build.nodes[name], initial=None)
        for name, node in self.build.nodes.items():
            if node.initial in self.stands:
                self.build.nodes[name] = replace(node, initial=self.stands[node.initial])
        outputs = tuple((label, self._output(name)) for label, name in self.source.outputs)
        loss = self._loss()
        nodes = tuple(self.build.nodes.values())
        return replace(self.source, nodes=nodes, outputs=outputs, loss=loss)

    def _is_touched(self, node: Node) -> bool:
        """Whether a node is each sequence's own, or reads what is."""
        return node.name in self.own or any(
            edge.source in self.own or edge.source in self.stands for edge in node.operands
        )

    def _inside(self, axis: str, ahead: int = 0) -> Value:
        """Whether the step that many steps ahead is inside the own length."""
        options = {"shift": ahead} if ahead else {}
        return call("less", self.build.make("step", (), axis=axis, **options), self.lengths[axis])

    def _is_empty(self, axes: Iterable[str]) -> Value:
        """Whether a sequence has no step along one of the axes."""
        return reduce(
            lambda one, other: call("greater", call("where", one, 1.0, other), 0.0),
            [call("less", self.lengths[axis], 1.0) for axis in axes],
        )

    def _alive(self, axes: Sequence[str]) -> Value:
        """Whether the steps along all of the axes that have lengths are inside the own ones."""
        return reduce(
            lambda one, other: call("greater", call("where", one, other, 0.0), 0.0),
            [self._inside(axis) for axis in axes if axis in self.axes],
        )

    def _choose(
        self,
        name: str,
        condition: Value,
        value: Value,
        otherwise: Value,
        initial: str | None = None,
    ) -> Edge:
        """The node of that name: a value where a condition holds, of any kind."""
        self.build.line = self.build.nodes[value.edge.source].line
        if value.type.kind != "bool":
            self.build.define(name, "where", (condition, value, otherwise))
        else:
            picked = call("where", condition, value, otherwise)
            self.build.define(name, "greater", (picked, self.build.number(0.0)))
        self.build.nodes[name] = replace(self.build.nodes[name], initial=initial)
        return Edge(name)

    def _mask(self, name: str, edge: Edge, initial: str | None = None) -> Edge:
        """A read is that of its first step in the padding; no gradient passes that way.

        Where there is no padding, it has a value for each sequence.
        """
        value = first = self.build.read(edge.source, edge.delay, edge.axis)
        if not self._has_padding(value.type):
            self.build.define(name, "spread", (value,), axis=BATCH)
            self.build.nodes[name] = replace(self.build.nodes[name], initial=initial)
            return Edge(name)
        for axis in value.type.time:
            first = call("first", first, axis=axis) if axis in self.axes else first
        if value.type.kind == "float":
            first = call("stop", first)
        return self._choose(name, self._alive(value.type.time), value, first, initial)

    def _resolved(self, edge: Edge) -> Edge:
        """A read of a leaf is of what stands for it."""
        return replace(edge, source=self.stands.get(edge.source, edge.source))

    def _gate(self, edge: Edge) -> None:
        source = self.source[edge.source]
        there = self._resolved(edge)
        read = self.build.read(there.source, there.delay, there.axis)
        if edge.delay > 0:
            if source.type.kind == "float":  # any value of another kind is as good
                start = self._initial(source, edge.delay, past=True)
                name = f"{edge.source}'past{edge.delay}"
                self.gates[edge] = self._choose(
                    name, self._inside(edge.axis), read, call("stop", start)
                )
            return
        # Beyond the own end are the rows of the initial value, the nearest step first.
        distance = -edge.delay
        value = self._initial(source, distance, past=False)
        if self._deep(source) and distance > 1:
            rows = self._outside(source)
            if distance < rows.type.shape[0]:
                rows = call("slice", rows, start=0, stop=distance)
            # At the steps before the own end, those that the last rows of a tail come from.
            before = call("tail_steps", rows, self.lengths[edge.axis], axis=edge.axis)
            value = call("where", self._inside(edge.axis), before, value)
        name = f"{edge.source}'next{distance}"
        self.gates[edge] = self._choose(name, self._inside(edge.axis, distance), read, value)

    def _deep(self, node: Node) -> bool:
        """Whether the initial value has a row for each step outside the sequence."""
        if node.initial is None:
            return False
        return len(self.source[node.initial].type.shape) > len(node.type.shape)

    def _outside(self, node: Node) -> Value:
        """The initial value, with all its rows if it has some."""
        assert node.initial is not None
        return self.build.read(self._resolved(Edge(node.initial)).source)

    def _initial(self, node: Node, outside: int, past: bool) -> Value:
        """What a read takes that many steps outside the sequence."""
        if node.initial is None:
            return zero(self.build, node.type)
        value = self._outside(node)
        if not self._deep(node):
            return value
        at = value.type.shape[0] - outside if past else outside - 1
        return call("row", value, at=at)

    def _rewrite(self, node: Node) -> None:
        """Read what stands for each operand; stop reductions over time at the own end."""
        operands = tuple(self.gates.get(edge, self._resolved(edge)) for edge in node.operands)
        node = replace(node, operands=operands)
        self.build.nodes[node.name] = node
        over = node.options.get("over", ())
        times = [axis for axis in self.lengths if isinstance(over, tuple) and axis in over]
        if times:
            assert isinstance(over, tuple)
            self._reduce(node, times, [str(axis) for axis in over if axis not in times])
        elif operation_of(node).end and node.options["axis"] in self.axes:
            self._end(node, str(node.options["axis"]))
        elif LENGTH in operation_of(node).operands and node.options["axis"] in self.axes:
            own = self.lengths[str(node.options["axis"])].edge
            self.build.nodes[node.name] = replace(node, operands=(*operands, own))
        self.build.nodes[node.name] = replace(self.build.nodes[node.name], initial=node.initial)

    def _operand(self, node: Node) -> Value:
        (edge,) = node.operands
        return self.build.read(edge.source, edge.delay, edge.axis)

    def _reduce(self, node: Node, times: list[str], others: list[str]) -> None:
        """A reduction over time, of the steps of each sequence; then over the other axes."""
        build = self.build
        build.prefix, build.line = node.name, node.line
        alive = self._alive(times)
        entry = operation_of(node)
        assert entry.neutral is not None, node.operation
        kept = call("where", alive, self._operand(node), entry.neutral)
        if not entry.reduces:  # a share for each step
            share = call(node.operation, kept, over=(*times, *others))
            build.define(node.name, "where", (alive, share, build.number(1.0)))
            return
        if entry.reduces == "mean":
            total = call("sum_over", kept, over=tuple(times))
            *rest, steps = (call("maximum", self._steps(axis), 1.0) for axis in times)
            for other in rest:
                total = total / other
            if not others:
                build.define(node.name, "divide", (total, steps))
            else:
                build.define(node.name, node.operation, (total / steps,), over=tuple(others))
        elif entry.reduces == "sum":
            build.define(node.name, node.operation, (kept,), over=(*times, *others))
        else:
            found = call(node.operation, kept, over=tuple(times))
            found = call(node.operation, found, over=tuple(others)) if others else found
            chosen = (self._is_empty(times), build.number(0.0), found)
            build.define(node.name, "where", chosen)

    def _steps(self, axis: str) -> Value:
        """The own length as a number."""
        return call("sum_over", call("where", self._inside(axis), 1.0, 0.0), over=(axis,))

    def _count(self, node: Node) -> None:
        """The number of steps is that of each sequence."""
        self.build.define(node.name, "identity", (self._steps(str(node.options["axis"])),))

    def _end(self, node: Node, axis: str) -> None:
        """The first or the own last step; the initial value where there is none."""
        (edge,) = self.source[node.name].operands
        self.build.prefix, self.build.line = node.name, node.line
        initial = initial_along(self.source, edge, axis)
        end = operation_of(node).end
        if end == "first":
            value = call("first", self._operand(node), axis=axis)
        else:
            value = (self._pick if node.type.kind == "float" else self._hold)(node, axis)
        if initial is None and end == "last":  # which is zero then
            named(self.build, node.name, value)
            return
        start = zero(self.build, node.type)
        if initial is not None:
            start = self.build.read(self._resolved(Edge(initial)).source)
            start = nearest(self.source, edge, start)
        self._choose(node.name, self._is_empty([axis]), start, value)

    def _pick(self, node: Node, axis: str) -> Value:
        """The number at the own last step; it needs no loop over the steps."""
        step = self.build.make("step", (), axis=axis, shift=1)
        end = call("equal", step, self.lengths[axis])
        return call("sum_over", call("where", end, self._operand(node), 0.0), over=(axis,))

    def _hold(self, node: Node, axis: str) -> Value:
        """The last step of a value that stays what it was at the own end."""
        value = self._operand(node)
        name = f"{node.name}'held"
        self.build.promise(name, replace(value.type, axes=ordered_axes((*value.type.axes, BATCH))))
        before = self.build.read(name, 1, axis)
        self._choose(name, self._inside(axis), value, before)
        return call("last", self.build.read(name), axis=axis)

    def _output(self, name: str) -> str:
        """The node that leaves the graph as an output."""
        node = self.source[name]
        if not self._has_padding(node.type):
            return name
        value = self.build.read(self._resolved(Edge(name)).source)
        alive = self._alive(node.type.time)
        return self._choose(output_name(name), alive, value, zero(self.build, node.type)).source

    def _loss(self) -> str | None:
        """The loss; where with lengths each sequence has its own, the mean over the batch."""
        loss = self.source.loss
        if loss is None or loss not in self.own:
            return loss
        name = f"{loss}'mean"
        self.build.line = self.source[loss].line
        return self.build.define(
            name, "mean_over", (self.build.read(loss),), over=(BATCH,)
        ).edge.source
