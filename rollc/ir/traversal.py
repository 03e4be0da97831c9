"""Walks over a graph: def-use chains, reachability, strongly connected components, orders.

Each is here once.  The caller says what an edge is: all reads of a node, its operands, those of
the same step, or what an item of a schedule reads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import networkx

from rollc.ir.graph import LEAVES, Edge, Graph, Node

Reader = TypeVar("Reader")
Vertex = TypeVar("Vertex", bound=Hashable)


class NoOrder(ValueError):
    """Vertices that have no topological order: one has to come before itself."""


def users(
    readers: Iterable[Reader], reads: Callable[[Reader], Iterable[Edge]]
) -> dict[str, list[tuple[Reader, Edge]]]:
    """The def-use chains: the readers of each value that has any, with the edge, in order."""
    found: dict[str, list[tuple[Reader, Edge]]] = {}
    for reader in readers:
        for edge in reads(reader):
            found.setdefault(edge.source, []).append((reader, edge))
    return found


def reachable(
    starts: Iterable[Vertex], following: Callable[[Vertex], Iterable[Vertex]]
) -> Iterator[Vertex]:
    """The vertices that are reachable from the starts, each once, depth first."""
    pending = list(dict.fromkeys(starts))
    found = set(pending)
    while pending:
        vertex = pending.pop()
        yield vertex
        for other in following(vertex):
            if other not in found:
                found.add(other)
                pending.append(other)


def needed_names(graph: Graph, names: Iterable[str]) -> set[str]:
    """Some nodes and all that they read, directly or not."""
    return set(reachable(names, lambda name: (edge.source for edge in graph[name].reads())))


def needed(graph: Graph, names: Iterable[str]) -> Graph:
    """The graph of those nodes that some of its nodes need."""
    found = needed_names(graph, names)
    return graph.with_nodes(node for node in graph.nodes if node.name in found)


def without_unused(graph: Graph) -> Graph:
    """Dead code elimination: the graph of what its results need, and its arguments."""
    if not graph.results():
        return graph
    used = needed_names(graph, graph.results())
    return graph.with_nodes(
        # A leaf that nothing reads has no use for an initial value.
        node if node.name in used else replace(node, initial=None)
        for node in graph.nodes
        if node.name in used or (node.operation in LEAVES and node.operation != "constant")
    )


def dependents(
    nodes: Iterable[Node],
    names: Iterable[str],
    reads: Callable[[Node], Iterable[Edge]] = Node.reads,
) -> set[str]:
    """Some names, and all nodes that read them, directly or not."""
    readers = users(nodes, reads)
    return set(reachable(names, lambda name: (node.name for node, _ in readers.get(name, ()))))


def cycles(arrows: Iterable[tuple[Vertex, Vertex]]) -> dict[Vertex, int]:
    """The number of the strongly connected component of each vertex that is on a cycle."""
    network: networkx.DiGraph[Vertex] = networkx.DiGraph()
    network.add_edges_from(arrows)
    return {
        vertex: number
        for number, members in enumerate(networkx.strongly_connected_components(network))
        for vertex in members
        if len(members) > 1 or network.has_edge(vertex, vertex)
    }


def in_order(
    vertices: Iterable[Vertex], before: Callable[[Vertex], Iterable[Vertex]]
) -> list[Vertex]:
    """A stable topological order: each vertex after those that ``before`` gives for it.

    Raises :class:`NoOrder`.
    """
    position = {vertex: number for number, vertex in enumerate(vertices)}
    network: networkx.DiGraph[Vertex] = networkx.DiGraph()
    network.add_nodes_from(position)
    for vertex in position:
        network.add_edges_from((other, vertex) for other in before(vertex) if other in position)
    try:
        return list(networkx.lexicographical_topological_sort(network, position.__getitem__))
    except networkx.NetworkXUnfeasible:
        first = min(cycles(network.edges), key=position.__getitem__)
        raise NoOrder(f"the cycle through `{first}` has no delay") from None


def in_step_order(nodes: Iterable[Node]) -> list[Node]:
    """Nodes in a topological order of their reads at the same step; raises NoOrder."""
    named = {node.name: node for node in nodes}

    def before(name: str) -> Iterator[str]:
        return (edge.source for edge in named[name].operands if not edge.delay)

    return [named[name] for name in in_order(named, before)]
