"""Streaming along one of two time axes: a graph that runs once, and one that runs each step.

    start   the nodes that do not run over the axis and that the others read: the encoder
    steps   the others: the decoder

Values of the start that the steps read are leaves of the same names there, the *held* values:
the encoder's values at all of its steps, its last one, the keys of attention.
Values of parameters and constants alone are cheap, and are computed with the steps.  The
steps are a graph like any other, whose state along the axis can be exposed
(:mod:`rollc.transforms.state`).

Steps can be run one by one only where none depends on a later one: there is no read from the
future along the axis, and no output depends on all steps.  The last step is the current one, so
an output may depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rollc.autodiff.custom_gradients import without_custom_gradients
from rollc.ir.graph import GIVEN, Edge, Graph, Node, delayed
from rollc.ir.operations import operation_of
from rollc.ir.operations.vectors.linear import over_axes
from rollc.ir.traversal import dependents, needed, reachable
from rollc.transforms.canonicalize import canonicalize

_GIVEN = GIVEN | {"noise"}


class CannotStream(ValueError):
    """A graph that cannot be run one step at a time along an axis, and why."""


@dataclass(frozen=True)
class Stream:
    """The two graphs of a network that is run step by step along ``axis``.

    The outputs of the start are the held values, by their names, which are leaves ``state`` of
    the steps; those of the steps are the network's.
    """

    axis: str
    start: Graph
    steps: Graph


def stream(graph: Graph, axis: str, always: Sequence[str] = ()) -> Stream:
    """Split the outputs of a checked graph; raises :class:`CannotStream`.

    The nodes of ``always``, which do not run over the axis, are held even if no step reads them.
    """
    outputs = [name for _, name in graph.outputs]
    whole = graph
    graph = needed(replace(graph, loss=None, gradients=()), [*outputs, *always])
    if not any(axis in graph[name].type.axes for name in outputs):
        raise CannotStream(f"no output runs over {axis}")
    for reason in _reasons(graph, axis):
        raise CannotStream(reason)
    late = dependents(graph.nodes, (node.name for node in graph.nodes if axis in node.type.axes))
    given = dependents(graph.nodes, (node.name for node in graph.nodes if _is_given(node)))
    # A leaf cannot be a condition, which is cheap to compute with the steps.
    early = frozenset(
        node.name
        for node in graph.nodes
        if node.name in given - late and node.type.kind != "bool" and node.operation != "step"
    )
    found, outside = _reached(graph, [*outputs, *always], early)
    held = [node for node in graph.nodes if node.name in found & early]
    names = [node.name for node in held]
    start = needed(replace(graph, outputs=tuple(zip(names, names, strict=True))), names)
    others = tuple(other for other in graph.axes if other != axis)
    leaves = {
        node.name: Node(
            node.name,
            "state",
            (),
            node.type,
            initial=node.initial if node.name in outside else None,
            line=node.line,
        )
        for node in held
    }
    # An identity of a delayed read, even unread, is part of the state that free running needs.
    also = {node.name for node in whole.nodes if _reads_back(node, axis, found & late)}
    nodes = [
        # What only the state has is not read outside.
        leaves.get(node.name, node if node.name in found else replace(node, initial=None))
        for node in whole.nodes
        if node.name in found | also
    ]
    runs = {axis, *(each for node in nodes for each in node.type.time)}
    axes = tuple(each for each in graph.axes if each in runs)
    steps = replace(graph, nodes=tuple(nodes), axes=axes)
    return Stream(axis, replace(start, axes=others), _with_rows_of(whole, steps, axis))


def _with_rows_of(whole: Graph, steps: Graph, axis: str) -> Graph:
    """The steps with as many rows in each state as in one of windows, whose loss may read more."""
    longest = delayed(whole, axis)
    reads = []
    for name, reach in delayed(steps, axis).items():
        if longest[name].past > reach.past:
            node, edge = steps[name], Edge(name, longest[name].past, axis)
            along = {axis, *node.type.axes}
            type_ = replace(node.type, axes=tuple(each for each in steps.axes if each in along))
            reads.append(Node(f"{name}'rows", "identity", (edge,), type_, line=node.line))
    return replace(steps, nodes=(*steps.nodes, *reads))


def _reached(
    graph: Graph, names: Sequence[str], ends: frozenset[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """The nodes that some nodes need if others, the ends, are given.

    Also those of them that are read with a delay, and so before the first step too.
    """

    def before(name: str) -> Iterator[str]:
        for edge in () if name in ends else graph[name].reads():
            yield edge.source
            initial = graph[edge.source].initial
            if edge.delay and initial is not None:
                yield initial

    found = frozenset(reachable(names, before))
    delayed = (e.source for name in found - ends for e in graph[name].operands if e.delay)
    return found, frozenset(delayed)


def why_no_stream(graph: Graph, axis: str) -> str | None:
    """Why a graph cannot be run one step at a time along an axis, in words; None if it can."""
    try:
        stream(graph, axis)
    except CannotStream as error:
        return str(error)
    return None


def why_no_steps(graph: Graph, axis: str) -> str | None:
    """Why a graph with one time axis cannot be run one step at a time, in words; None if it can.

    The state is carried over, so that no initial value is read.  Takes a graph that has a state.
    """
    names = dict.fromkeys([*(name for _, name in graph.outputs), *delayed(graph)])
    given = graph.with_nodes(replace(node, initial=None) for node in graph.nodes)
    results = replace(given, outputs=tuple(zip(names, names, strict=True)), loss=None, gradients=())
    return next(_reasons(needed(results, [*names]), axis), None)


def _reads_back(node: Node, axis: str, names: frozenset[str]) -> bool:
    """Whether a node is an identity of a delayed read of one of some nodes."""
    return node.operation == "identity" and all(
        edge.delay > 0 and edge.axis == axis and edge.source in names for edge in node.operands
    )


def _is_given(node: Node) -> bool:
    """Whether a node that does not run over the axis depends on the arguments of the start."""
    return node.operation in _GIVEN or bool(node.type.time) or operation_of(node).counts


def _needs_others(node: Node) -> bool:
    """Whether an operation along an axis depends on later steps."""
    entry = operation_of(node)
    return entry.end != "last" and not entry.counts and (entry.whole or entry.sees_end)


def _reasons(graph: Graph, axis: str) -> Iterator[str]:
    for name, reach in graph.reach.items():
        if reach.axis == axis and reach.future:
            yield f"`{name}` is read from the future"
    ends: list[str] = []
    for node in graph.nodes:
        along, to = node.options.get("axis"), node.options.get("to")
        if operation_of(node).renames and axis in (along, to):
            reason = f"`{node.name}` needs all steps of {along}, which it reads along {to}"
            yield f"{reason}: what is read along {to} can be an input"
        along = node.options.get("axis") == axis
        if axis in over_axes(node.options) or (along and _needs_others(node)):
            yield f"`{node.name}` is computed from all steps of {axis}"
        if along and operation_of(node).end == "last":
            ends.append(node.name)
    late = dependents(graph.nodes, ends)
    for node in graph.nodes:
        for each in node.type.time if node.name in late else ():
            yield f"`{node.name}` needs the last step of {axis} at every step of {each}"
    for node in canonicalize(without_custom_gradients(graph)).nodes:
        if operation_of(node).counts and node.options.get("axis") == axis:
            yield f"line {node.line} counts the steps of {axis}"
