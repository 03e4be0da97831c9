"""What the adjoint computes again, so that it needs no place on the tape.

    v = 1 - z             read by ~a     ->     v = 1 - z
                                                v^again = 1 - z       read by ~a

A value is computed again where that is an instruction or two for each element, of values
that are kept anyway: leaves, results, what is read with a delay, and what the adjoint reads
besides, or also computes again.  Only elementwise work of the same space may read it, so
that it is no more than a line of a nest.

What this pass does not do: change a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rollc.ir.graph import LEAVES, Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.traversal import needed_names, users

MARK = "^again"


def rematerialize(graph: Graph) -> Graph:
    """The lowered graph of a kernel with cheap values computed again by its adjoint."""
    if not graph.gradients:
        return graph
    primal = needed_names(graph, replace(graph, gradients=()).results())
    readers = users(
        (node for node in graph.nodes if node.name not in primal), lambda node: node.operands
    )
    fixed = {*graph.results(), *graph.reach}
    fixed.update(node.initial for node in graph.nodes if node.initial is not None)

    def is_again(node: Node) -> bool:
        mine = readers.get(node.name, [])
        return (
            node.name in primal
            and node.name not in fixed
            and operation_of(node).cheap
            and bool(node.type.time and mine)
            and all(
                operation_of(reader).fusable and _space(reader) == _space(node)
                for reader, _ in mine
            )
        )

    def is_there(node: Node) -> bool:
        return node.operation in LEAVES or node.name in fixed or node.name in readers

    again = {
        node.name: graph.unused(node.name + MARK)
        for node in graph.nodes
        if is_again(node) and all(is_there(graph[edge.source]) for edge in node.operands)
    }
    return graph.with_nodes(_with_again(graph, primal, again)) if again else graph


def _space(node: Node) -> tuple[object, ...]:
    return node.type.axes, node.type.shape


def _with_again(graph: Graph, primal: set[str], again: dict[str, str]) -> Iterable[Node]:
    """The nodes; each value in front of the first that reads it again."""
    made: set[str] = set()

    def redirected(node: Node) -> Node:
        edges = (
            replace(edge, source=again.get(edge.source, edge.source)) for edge in node.operands
        )
        return replace(node, operands=tuple(edges))

    def copies(node: Node) -> Iterable[Node]:
        for edge in node.operands:
            if edge.source in again and edge.source not in made:
                made.add(edge.source)
                source = graph[edge.source]
                yield from copies(source)
                yield replace(redirected(source), name=again[edge.source], initial=None)

    for node in graph.nodes:
        if node.name in primal:
            yield node
        else:
            yield from copies(node)
            yield redirected(node)
