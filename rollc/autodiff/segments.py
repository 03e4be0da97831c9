"""Segments of a network along time, for gradients in forward mode.

A loss depends on the steps by reductions only: sums, means, extremes, the first or the last
step.  A *segment* is a loop over all steps of one time axis, up to the reductions that depend on
the same earlier ones: an encoder is one, the decoder that starts from its end the next.
Its *window* is the graph of its nodes that change with time.  Static values that it reads are
leaves of the window; those of them that the gradient passes are its *cuts*.  All static nodes
form the *rest*: the loss, as a function of the reductions, which are leaves there.

    loss  <-  rest  <-  reductions of the last segment  <-  its cuts  <-  rest  <-  …

By the chain rule, a segment enters the gradient by the Jacobian of its reductions in its cuts.
Its size does not depend on the number of steps, and a parameter that the decoder does not read
has no column in the decoder's segment.

What runs over two axes is part of the segment along the axis over which it is reduced last: of
``mean(mean(h, over s), over t)`` that is t, and a step has all steps of s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from rollc.autodiff.adjoint import between, differentiable
from rollc.autodiff.window_split import (
    CannotSplit,
    Reduction,
    of_window,
    outputs_of,
    reduces,
    reduction_of,
)
from rollc.ir.builder import Builder
from rollc.ir.decomposition import decomposed_over
from rollc.ir.expressions import call
from rollc.ir.graph import BATCH, LEAVES, Graph, Node, attributes, delayed
from rollc.ir.operations import operation_of
from rollc.ir.operations.vectors.linear import over_axes
from rollc.ir.time.loops import needs_all_steps
from rollc.ir.traversal import dependents, in_order, needed, needed_names, reachable


@dataclass(frozen=True)
class Segment:
    """A run over the steps of one axis.

    ``window`` has the reductions as outputs, by their names; over a window of steps, a mean
    is a sum.  ``start`` has the values of the window's static leaves as outputs.  ``numbers``
    are the nodes ``step`` of the network, which are leaves of the window.
    """

    axis: str
    window: Graph
    start: Graph
    cuts: tuple[str, ...]
    reductions: tuple[Reduction, ...]
    numbers: tuple[Node, ...]


@dataclass(frozen=True)
class Segments:
    """The segments in their order, and the rest, whose outputs are the loss and all cuts.

    ``ends`` are reductions that need no segment: the first or the last step of a leaf.
    """

    segments: tuple[Segment, ...]
    rest: Graph
    ends: tuple[Node, ...]


def segments(graph: Graph) -> Segments:
    """Split a checked graph with a loss; raises :class:`CannotSplit`, which says why not."""
    if graph.loss is None:
        raise CannotSplit("it has no loss")
    graph = needed(replace(graph, outputs=(), gradients=()), [graph.loss])
    graph = decomposed_over(graph, graph.axes)  # then only reductions need all steps
    graph = _with_numbers_at_ends(graph)
    found = [node for node in graph.nodes if reduces(graph, node)]
    given = {node.name for node in found}
    ends = tuple(node for node in found if _ends_leaf(graph, node))
    found = [node for node in found if node not in ends]
    static = graph.with_nodes(
        Node(node.name, "input", (), node.type, line=node.line) if node.name in given else node
        for node in graph.nodes
        if node.type.static
    )
    params = [node.name for node in graph.leaves("param") if differentiable(node)]
    passed = frozenset(between(graph, params, [graph.loss or ""]))
    made = tuple(
        _segment(graph, static, passed, axis, reductions)
        for (_, axis), reductions in sorted(_grouped(graph, found).items())
    )
    cuts = dict.fromkeys(name for segment in made for name in segment.cuts)
    wanted = dict.fromkeys([graph.loss or "", *cuts])
    outputs = tuple((name, name) for name in wanted)
    rest = needed(replace(static, outputs=outputs, loss=None), wanted)
    return Segments(made, rest, ends)


def _with_numbers_at_ends(graph: Graph) -> Graph:
    """The first or last step of a condition as that of a number: a leaf cannot be a condition."""
    build = Builder(graph.nodes)
    for node in graph.nodes:
        if node.type.kind == "bool" and operation_of(node).end:
            build.prefix, build.line = node.name, node.line
            (edge,) = node.operands
            number = call("where", build.read(edge.source, edge.delay, edge.axis), 1.0, 0.0)
            end = call(node.operation, number, **node.options)
            build.define(node.name, "not_equal", (end, build.number(0.0)))
            build.nodes[node.name] = replace(build.nodes[node.name], initial=node.initial)
    return graph.with_nodes(build.nodes.values())


def _ends_leaf(graph: Graph, node: Node) -> bool:
    (edge,) = node.operands
    leaf = graph[edge.source].operation in LEAVES and not edge.delay
    return leaf and bool(operation_of(node).end)


def _grouped(graph: Graph, found: list[Node]) -> dict[tuple[int, str], list[Node]]:
    """The reductions by their depth in the graph of reductions, and by their axis."""
    names = {node.name for node in found}
    before = {node.name: names & needed_names(graph, [node.name]) - {node.name} for node in found}
    depth: dict[str, int] = {}
    for name in in_order(before, before.__getitem__):
        depth[name] = 1 + max((depth[other] for other in before[name]), default=-1)
    groups: dict[tuple[int, str], list[Node]] = {}
    for node in found:
        # Of a reduction along two axes, one along which nothing is read from the future, if any is.
        axes = sorted({axis for edge in node.operands for axis in graph[edge.source].type.time})
        future = {reach.axis for reach in graph.reach.values() if reach.future}
        axis = next((axis for axis in axes if axis not in future), axes[0])
        groups.setdefault((depth[node.name], axis), []).append(node)
    return groups


def _segment(
    graph: Graph, static: Graph, passed: frozenset[str], axis: str, reductions: list[Node]
) -> Segment:
    own = _own(graph, static, [node.name for node in reductions])
    nodes: dict[str, Node] = {}
    numbers: list[Node] = []
    leaves: list[str] = []
    for node in graph.nodes:
        if node.name not in own:
            continue
        if node.operation == "step" and node.options["axis"] == axis:
            numbers.append(node)
            node = Node(node.name, "input", (), node.type, line=node.line)
        elif node.type.static and own[node.name]:
            leaves.append(node.name)
            node = _as_leaf(node)
        parts = of_window(graph, node) if node in reductions else (node,)
        nodes |= {part.name: part for part in parts}
    reduced = tuple(map(reduction_of, reductions))
    outputs = tuple((name, name) for name in outputs_of(reduced))
    axes = {axis, *(each for node in nodes.values() for each in node.type.time)}
    inside = tuple(each for each in graph.axes if each in axes)
    window = replace(graph, nodes=tuple(nodes.values()), outputs=outputs, loss=None, axes=inside)
    _require_steps(window, axis)
    open_ = [name for name in leaves if name in passed]
    cuts = tuple(
        name for name in between(window, open_, [node.name for node in reductions]) if name in open_
    )
    _require_independent_sequences(window, cuts)
    start = needed(replace(static, outputs=tuple((n, n) for n in leaves), loss=None), leaves)
    return Segment(axis, window, start, cuts, reduced, tuple(numbers))


def _own(graph: Graph, static: Graph, reductions: list[str]) -> dict[str, bool]:
    """The nodes of a segment's window, and whether each is a leaf of it."""
    variable = dependents(
        static.nodes,
        (
            node.name
            for node in static.nodes
            if operation_of(node).counts
            or (node.operation in LEAVES and node.operation != "constant")
        ),
    )

    def outside(name: str) -> bool:
        """Whether a node is a static value that the window takes as an argument."""
        type_ = graph[name].type
        argument = name in variable and name not in reductions
        return argument and type_.static and type_.kind != "bool"

    def before(name: str) -> list[str]:
        return [] if outside(name) else [edge.source for edge in graph[name].reads()]

    return {name: outside(name) for name in reachable(reductions, before)}


def _as_leaf(node: Node) -> Node:
    if node.operation in LEAVES:
        return node
    if not node.type.axes and node.type.kind == "float":
        options = attributes(initialiser="zeros")
        return Node(node.name, "param", (), node.type, options, line=node.line)
    return Node(node.name, "input", (), node.type, line=node.line)


def _require_steps(window: Graph, axis: str) -> None:
    """Raise :class:`CannotSplit` if a step along an axis needs later ones, or all.

    What reduces all of them to one value is a result.
    """
    results = {name for _, name in window.outputs}
    for name, reach in delayed(window, axis).items():
        if reach.future:
            raise CannotSplit(f"`{name}` is read from the future")
    for node in window.nodes:
        if node.name not in results and needs_all_steps(node, (axis,)):
            others = " and ".join(node.type.time) or "the other axis"
            raise CannotSplit(f"`{node.name}` needs all steps of {axis} at every step of {others}")


def _require_independent_sequences(window: Graph, cuts: Iterable[str]) -> None:
    """Raise :class:`CannotSplit` if sequences mix although a cut runs over the batch.

    A direction of such a cut is one of each sequence.
    """
    own = [name for name in cuts if BATCH in window[name].type.axes]
    for node in _mixing(window) if own else ():
        raise CannotSplit(f"`{node.name}` mixes the sequences, and `{own[0]}` differs in them")


def _mixing(window: Graph) -> Iterator[Node]:
    for node in window.nodes:
        batched = any(BATCH in window[edge.source].type.axes for edge in node.operands)
        if batched and (BATCH not in node.type.axes or BATCH in over_axes(node.options)):
            yield node
