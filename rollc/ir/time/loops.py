"""The loops of a graph: its strongly connected components, each with the loop that computes it.

A component with delays along one axis is a loop over its steps (:mod:`rollc.ir.time.retiming`).
One with delays along two axes is loops in a loop: an outer one over the steps of an axis along
which all delays have one sign, and at each of its steps, in their order, the components of what
is left there, the reads without a delay along that axis.  Each of those is a loop over the other
axis, or a node at all of its steps at once.

Such an order exists where the axes can be sorted, and each be given a direction, so that the total
delay of every cycle is positive in lexicographic order: a wavefront that moves along one axis much
faster than along the other.  Other components with delays along two axes, and where it pays off
these too, are computed diagonal by diagonal (:mod:`rollc.ir.time.wavefront`).

Allen and Kennedy, Automatic translation of FORTRAN programs to vector form (1987), TOPLAS 9(4).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

import networkx

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.time.retiming import DIRECTIONS, NoTiming, Part, Timing, timing
from rollc.ir.time.wavefront import wavefront_of
from rollc.ir.traversal import NoOrder, in_order


def loop_of(component: Iterable[Node]) -> Timing:
    """The loop that computes the nodes of a component; raises :class:`NoTiming`.

    Cycles without any delay are not looked for.
    """
    nodes = list(component)
    names = {node.name for node in nodes}
    reads = [edge for node in nodes for edge in node.operands if edge.source in names]
    axes = sorted({edge.axis for edge in reads if edge.delay})
    if len(axes) < 2:
        return timing(nodes)
    found = _nested(nodes, reads, axes) or wavefront(nodes)
    if found is None:
        cycle = tuple(node.name for node in nodes)
        raise NoTiming(cycle, cycle)
    return found


def wavefront(component: Iterable[Node]) -> Timing | None:
    """The loop over diagonals that computes a component with delays along two axes, if one does.

    None of its nodes needs all steps along an axis: each has a value at each pair of steps.
    """
    nodes = list(component)
    names = {node.name for node in nodes}
    reads = [(node.name, edge) for node in nodes for edge in node.operands if edge.source in names]
    axes = sorted({edge.axis for _, edge in reads if edge.delay})
    if len(axes) != 2 or any(needs_all_steps(node, axes) for node in nodes):
        return None
    return wavefront_of(reads, axes)


def needs_all_steps(node: Node, axes: Collection[str] | None) -> bool:
    """Whether a node needs all steps of an operand, along one of the axes (any, for None)."""
    entry = operation_of(node)
    if not (entry.whole or entry.renames):
        return False
    over = node.options.get("over", (node.options.get("axis"),))
    return axes is None or not isinstance(over, tuple) or not set(axes).isdisjoint(over)


def _nested(nodes: list[Node], reads: list[Edge], axes: list[str]) -> Timing | None:
    """The outer loop with the fewest inner ones, over the first axis of several, if any does."""
    found: list[Timing] = []
    for axis in axes:
        for direction in DIRECTIONS:
            if all(direction * edge.delay > 0 for edge in reads if edge.axis == axis):
                with suppress(NoTiming, NoOrder):
                    parts = tuple(_parts(nodes, axis))
                    if not any(needs_all_steps(node, (axis,)) for node in nodes):
                        found.append(Timing(direction, {}, axis, parts))
    inner = [sum(part.loop is not None for part in loop.parts) for loop in found]
    return found[inner.index(min(inner))] if found else None


def _parts(nodes: list[Node], axis: str) -> Iterator[Part]:
    """The components of one step along an axis, in their order."""
    left = {
        node.name: replace(node, operands=tuple(e for e in node.operands if e.axis != axis))
        for node in nodes
    }
    whole = {node.name: node for node in nodes}
    for inside in _strong_components(left.values()):
        names = {node.name for node in inside}
        if len(inside) == 1 and not _reads_any(inside[0], names):
            yield Part((whole[inside[0].name],), None)
            continue
        loop: Timing | None = loop_of(inside)
        if loop is None or loop.parts:  # of three axes, two have diagonals
            loop = wavefront(inside)
        if loop is None or any(needs_all_steps(node, (loop.axis,)) for node in inside):
            raise NoTiming(tuple(names), tuple(names))
        yield Part(tuple(whole[node.name] for node in _in_iteration(inside, loop)), loop)


def _reads_any(node: Node, names: Collection[str]) -> bool:
    return any(edge.source in names for edge in node.operands)


def _in_iteration(nodes: Iterable[Node], loop: Timing) -> list[Node]:
    """The nodes of a loop in the order of an iteration; raises NoOrder."""
    named = {node.name: node for node in nodes}
    if loop.parts:
        return [named[node.name] for part in loop.parts for node in part.nodes]

    def before(name: str) -> Iterator[str]:
        return (e.source for e in named[name].operands if loop.distance(name, e) == 0)

    return [named[name] for name in in_order(named, before)]


def _strong_components(nodes: Iterable[Node]) -> Iterator[list[Node]]:
    """The strongly connected components of some nodes, each after those that it reads."""
    named = {node.name: node for node in nodes}
    position = {name: number for number, name in enumerate(named)}
    reads: networkx.DiGraph[str] = networkx.DiGraph()
    reads.add_nodes_from(position)
    for name, node in named.items():
        reads.add_edges_from((e.source, name) for e in node.reads() if e.source in named)
    condensed = networkx.condensation(reads)
    members = {
        number: sorted(names, key=position.__getitem__)
        for number, names in condensed.nodes(data="members")
    }
    for number in networkx.lexicographical_topological_sort(
        condensed, lambda number: position[members[number][0]]
    ):
        yield [named[name] for name in members[number]]


def components(graph: Graph) -> tuple[tuple[tuple[Node, ...], Timing], ...]:
    """The strongly connected components, each after those that it reads, with its loop.

    The nodes of one are in the order of a step of the loop.  Raises :class:`NoOrder` for a cycle
    without a delay and :class:`~rollc.ir.time.retiming.NoTiming` for one that no loop computes.
    """
    found: tuple[tuple[tuple[Node, ...], Timing], ...] | None = graph.known.get("components")
    if found is None:
        loops = ((each, loop_of(each)) for each in _strong_components(graph.nodes))
        found = tuple((tuple(_in_iteration(each, loop)), loop) for each, loop in loops)
        graph.known["components"] = found
    return found
