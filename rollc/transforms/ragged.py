"""Ragged batches: sequences of different lengths, each ending at its own.

``with_lengths`` adds, for each time axis, a leaf with the length of each sequence, and masks the
operations that depend on other steps, so that no result depends on padding.  A step is *valid*
below the length of its sequence:

    x, a leaf over t       ->  x where valid, its first step in the padding
    u[t-d]                 ->  u[t-d] where valid, the initial value in the padding
    u[t+d]                 ->  u[t+d] where t+d is valid, else the initial value
    sum of x over t        ->  the sum of x where valid and 0 elsewhere
    mean of x over t       ->  that sum, divided by the length, or by 1 where that is 0
    max, min of x over t   ->  of x where valid and an infinity elsewhere; 0 where the length is 0
    softmax of x over t    ->  of x where valid and -infinity elsewhere; 1 in the padding
    last(x), a number      ->  the sum of x at the last valid step and 0 elsewhere
    last(x), of any kind   ->  last(held), held = x where valid, held[t-1] in the padding
    last(x), first(x)      ->  the initial value of x where the length is 0
    tail of x and a start  ->  that up to the length
    extent of t            ->  the length
    an output over t       ->  the output where valid, zero elsewhere

A value without the batch axis is shared by all sequences.  One that runs forward only needs no
mask: its value at a step does not depend on the number of steps that follow.  But

    a shared u, read by a batched node     ->  u where valid, its first step in the padding
    a shared value that depends on the end ->  it runs over the batch, and so do its readers; a
    (read from the future, last, a sum)        loss that does is averaged over the batch

With two time axes, a step is valid where it is along both.  A step of the padding computes what
the first step of the sequence would if it stood alone: numbers like those of the sequence itself.
Its cotangents are exactly zero, and so is their product with a derivative at such numbers; zeros
or the caller's padding could give an infinite derivative, and a NaN in the gradient.

A sequence of length 0 has initial values alone: it is all padding, whose first step is that of
another sequence (:mod:`rollc.network.arrays`).  It has no gradient but that of initial values.

The pass comes before the adjoint, which differentiates the masks like all operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import reduce

from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import BATCH, GIVEN, Edge, Graph, Node, Type, ordered_axes
from rollc.ir.names import STATE, lengths_leaves
from rollc.ir.operations import operation_of
from rollc.ir.operations.operation import LENGTH
from rollc.ir.operations.time_axis import MOST_STEPS
from rollc.ir.traversal import dependents
from rollc.transforms.empty_axes import initial_along, named, nearest, zero


def output_name(name: str) -> str:
    """The node of an output over time with zeros in the padding."""
    return f"{name}'kept"


def alive_name(name: str) -> str:
    """The node that has the place of a leaf, or of what all share, for each sequence."""
    return f"{name}'alive"


class LengthsError(Exception):
    """A graph that cannot run on ragged batches, and why."""


def with_lengths(graph: Graph, axes: Sequence[str] | None = None) -> Graph:
    """The graph with a leaf of lengths for each time axis (see :func:`lengths_leaves`).

    The leaf is an index over the batch, from 0 to the number of steps of the axis.  With
    ``axes`` only those have lengths, and along the others all sequences have all steps.  Takes
    a graph before the adjoint.  Raises :class:`LengthsError` with the reason of
    :func:`why_no_lengths`.
    """
    why = why_no_lengths(graph)
    if why is not None:
        raise LengthsError(why)
    return _Lengths(graph, graph.axes if axes is None else tuple(axes)).graph()


def why_no_lengths(graph: Graph) -> str | None:
    """Why a graph cannot run on ragged batches, in words; None if it can."""
    if not graph.axes:
        return "it has no time axis"
    for node in graph.nodes:
        if node.operation == "state" and BATCH not in node.type.axes:
            # It would differ after the last step of each sequence.
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
    """The labels of the outputs that run over the batch in ragged batches."""
    own = _own(graph, graph.axes)
    return frozenset(label for label, name in graph.outputs if name in own or graph[name].type.time)


def _own(graph: Graph, axes: Sequence[str]) -> frozenset[str]:
    """The nodes that run over the batch where sequences have lengths along some axes."""

    def keeps_batch(node: Node) -> bool:
        return BATCH not in _along(node)

    def depends_on_end(node: Node) -> bool:
        entry = operation_of(node)
        ends = (entry.whole or entry.sees_end) and not _along(node).isdisjoint(axes)
        return ends or any(edge.delay < 0 and edge.axis in axes for edge in node.operands)

    first = {node.name for node in graph.nodes if BATCH in node.type.axes}
    first |= {node.name for node in graph.nodes if depends_on_end(node) and keeps_batch(node)}
    return _with_readers(graph, first, keeps_batch)


def _along(node: Node) -> frozenset[str]:
    """The axes that an operation reduces or moves along."""
    over = node.options.get("over", (node.options.get("axis"),))
    return (
        frozenset(axis for axis in over if isinstance(axis, str))
        if isinstance(over, tuple)
        else frozenset()
    )


def _with_readers(
    graph: Graph, names: Iterable[str], included: Callable[[Node], bool]
) -> frozenset[str]:
    """Nodes, and those of the ``included`` that depend on them.

    A reader of a node depends on its initial value too.
    """

    def reads(node: Node) -> Iterator[Edge]:
        for edge in node.operands:
            yield edge
            if (initial := graph[edge.source].initial) is not None:
                yield Edge(initial)

    return frozenset(dependents(filter(included, graph.nodes), names, reads))


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
        # The masked versions of reads, by their edges, and of nodes.
        self.masked_reads: dict[Edge, Edge] = {}
        self.masked: dict[str, str] = {}

    def _as_own(self, node: Node) -> Node:
        """A node, with the batch among its axes where it belongs to a single sequence."""
        if node.name not in self.own:
            return node
        axes = ordered_axes((*node.type.axes, BATCH))
        return replace(node, type=replace(node.type, axes=axes))

    def _shared(self) -> frozenset[str]:
        """The numbers over time that all sequences share, and the nodes that depend on them.

        A function of the step's position alone, such as where a window ends, is not among them.
        """

        def is_shared(node: Node) -> bool:
            return self._has_padding(node.type) and node.name not in self.own

        numbers = (node for node in self.source.nodes if node.type.kind == "float")
        return _with_readers(
            self.source, (node.name for node in numbers if is_shared(node)), is_shared
        )

    def _has_padding(self, type_: Type) -> bool:
        return not set(type_.time).isdisjoint(self.axes)

    def graph(self) -> Graph:
        for node in self.source.nodes:
            leaf = node.operation in GIVEN and self._has_padding(node.type)
            if leaf or (node.name not in self.own and node.initial in self.own):
                name = alive_name(node.name)
                self.masked[node.name] = self._mask(name, Edge(node.name), node.initial).source
        touched = [node for node in self.source.nodes if self._is_touched(node)]
        for edge in dict.fromkeys(edge for node in touched for edge in node.operands):
            if edge.source in self.shared - self.masked.keys() and edge.delay >= 0:
                self.masked_reads[edge] = self._mask(f"{edge.source}'own{edge.delay or ''}", edge)
            elif edge.axis in self.axes:
                self._mask_delayed(edge)
        for node in touched:
            if node.operation == "extent" and node.options["axis"] in self.axes:
                self._count(node)
            else:
                self._rewrite(node)
        for name in self.masked:  # their masked versions have the initial values
            self.build.nodes[name] = replace(self.build.nodes[name], initial=None)
        for name, node in self.build.nodes.items():
            if node.initial in self.masked:
                self.build.nodes[name] = replace(node, initial=self.masked[node.initial])
        outputs = tuple((label, self._output(name)) for label, name in self.source.outputs)
        loss = self._loss()
        nodes = tuple(self.build.nodes.values())
        return replace(self.source, nodes=nodes, outputs=outputs, loss=loss)

    def _is_touched(self, node: Node) -> bool:
        """Whether a node runs over the batch, or reads a node that does or is masked."""
        return node.name in self.own or any(
            edge.source in self.own or edge.source in self.masked for edge in node.operands
        )

    def _inside(self, axis: str, ahead: int = 0) -> Value:
        """Whether the step ``ahead`` steps later is valid."""
        options = {"shift": ahead} if ahead else {}
        return call("less", self.build.make("step", (), axis=axis, **options), self.lengths[axis])

    def _is_empty(self, axes: Iterable[str]) -> Value:
        """Whether the length of a sequence along one of the axes is 0."""
        return reduce(
            lambda one, other: call("greater", call("where", one, 1.0, other), 0.0),
            [call("less", self.lengths[axis], 1.0) for axis in axes],
        )

    def _valid(self, axes: Sequence[str]) -> Value:
        """Whether a step is valid along all of the axes that have lengths."""
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
        """Make a select of that name between values of any kind."""
        self.build.line = self.build.nodes[value.edge.source].line
        if value.type.kind != "bool":
            self.build.define(name, "where", (condition, value, otherwise))
        else:
            number = call("where", condition, value, otherwise)
            self.build.define(name, "greater", (number, self.build.number(0.0)))
        self.build.nodes[name] = replace(self.build.nodes[name], initial=initial)
        return Edge(name)

    def _mask(self, name: str, edge: Edge, initial: str | None = None) -> Edge:
        """Make a read with its first step in the padding, through which no gradient passes.

        Without a time axis it is spread over the batch.
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
        return self._choose(name, self._valid(value.type.time), value, first, initial)

    def _resolved(self, edge: Edge) -> Edge:
        """A read of the masked version of its source, if there is one."""
        return replace(edge, source=self.masked.get(edge.source, edge.source))

    def _mask_delayed(self, edge: Edge) -> None:
        """Make the masked version of a read with a delay."""
        source = self.source[edge.source]
        resolved = self._resolved(edge)
        read = self.build.read(resolved.source, resolved.delay, resolved.axis)
        if edge.delay > 0:
            if source.type.kind == "float":  # values of another kind have no derivative
                start = self._initial(source, edge.delay, past=True)
                name = f"{edge.source}'past{edge.delay}"
                self.masked_reads[edge] = self._choose(
                    name, self._inside(edge.axis), read, call("stop", start)
                )
            return
        # Beyond the last valid step are the rows of the initial value, the nearest step first.
        distance = -edge.delay
        value = self._initial(source, distance, past=False)
        if self._deep(source) and distance > 1:
            rows = self._outside(source)
            if distance < rows.type.shape[0]:
                rows = call("slice", rows, start=0, stop=distance)
            # At the last valid steps, the rows that a tail takes from them.
            before = call("tail_steps", rows, self.lengths[edge.axis], axis=edge.axis)
            value = call("where", self._inside(edge.axis), before, value)
        name = f"{edge.source}'next{distance}"
        self.masked_reads[edge] = self._choose(name, self._inside(edge.axis, distance), read, value)

    def _deep(self, node: Node) -> bool:
        """Whether the initial value has a row for each step outside the sequence."""
        if node.initial is None:
            return False
        return len(self.source[node.initial].type.shape) > len(node.type.shape)

    def _outside(self, node: Node) -> Value:
        """The initial value of a node, with all its rows if it has rows."""
        assert node.initial is not None
        return self.build.read(self._resolved(Edge(node.initial)).source)

    def _initial(self, node: Node, outside: int, past: bool) -> Value:
        """The value of a read that falls outside the sequence by ``outside`` steps."""
        if node.initial is None:
            return zero(self.build, node.type)
        value = self._outside(node)
        if not self._deep(node):
            return value
        at = value.type.shape[0] - outside if past else outside - 1
        return call("row", value, at=at)

    def _rewrite(self, node: Node) -> None:
        """Replace the operands of a node by their masked versions, and mask its reduction."""
        operands = tuple(
            self.masked_reads.get(edge, self._resolved(edge)) for edge in node.operands
        )
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
        """Make a reduction over the valid steps of each sequence, then over the other axes."""
        build = self.build
        build.prefix, build.line = node.name, node.line
        valid = self._valid(times)
        entry = operation_of(node)
        assert entry.neutral is not None, node.operation
        kept = call("where", valid, self._operand(node), entry.neutral)
        if not entry.reduces:  # a softmax
            value = call(node.operation, kept, over=(*times, *others))
            build.define(node.name, "where", (valid, value, build.number(1.0)))
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
        """The length of each sequence as a number."""
        return call("sum_over", call("where", self._inside(axis), 1.0, 0.0), over=(axis,))

    def _count(self, node: Node) -> None:
        """Make an extent: the length of each sequence."""
        self.build.define(node.name, "identity", (self._steps(str(node.options["axis"])),))

    def _end(self, node: Node, axis: str) -> None:
        """Make the first or last valid step, or the initial value where there is none."""
        (edge,) = self.source[node.name].operands
        self.build.prefix, self.build.line = node.name, node.line
        initial = initial_along(self.source, edge, axis)
        end = operation_of(node).end
        if end == "first":
            value = call("first", self._operand(node), axis=axis)
        else:
            value = (self._select if node.type.kind == "float" else self._hold)(node, axis)
        if initial is None and end == "last":  # then it is zero for a length of 0
            named(self.build, node.name, value)
            return
        start = zero(self.build, node.type)
        if initial is not None:
            start = self.build.read(self._resolved(Edge(initial)).source)
            start = nearest(self.source, edge, start)
        self._choose(node.name, self._is_empty([axis]), start, value)

    def _select(self, node: Node, axis: str) -> Value:
        """A number at the last valid step, as a masked sum: it needs no recurrence."""
        step = self.build.make("step", (), axis=axis, shift=1)
        end = call("equal", step, self.lengths[axis])
        return call("sum_over", call("where", end, self._operand(node), 0.0), over=(axis,))

    def _hold(self, node: Node, axis: str) -> Value:
        """The last step of a recurrence that holds the value of the last valid step."""
        value = self._operand(node)
        name = f"{node.name}'held"
        self.build.promise(name, replace(value.type, axes=ordered_axes((*value.type.axes, BATCH))))
        before = self.build.read(name, 1, axis)
        self._choose(name, self._inside(axis), value, before)
        return call("last", self.build.read(name), axis=axis)

    def _output(self, name: str) -> str:
        """The node of an output, with zeros in the padding."""
        node = self.source[name]
        if not self._has_padding(node.type):
            return name
        value = self.build.read(self._resolved(Edge(name)).source)
        valid = self._valid(node.type.time)
        return self._choose(output_name(name), valid, value, zero(self.build, node.type)).source

    def _loss(self) -> str | None:
        """The loss; where it depends on the lengths, its mean over the batch."""
        loss = self.source.loss
        if loss is None or loss not in self.own:
            return loss
        name = f"{loss}'mean"
        self.build.line = self.source[loss].line
        return self.build.define(
            name, "mean_over", (self.build.read(loss),), over=(BATCH,)
        ).edge.source
