"""Rematerialization: the adjoint recomputes cheap values, which are then not on the tape.

    v = 1 - z    read by ~a     ->     v = 1 - z
                                       v^recomputed = 1 - z    read by ~a

A value is recomputed where it takes an instruction or two for each element, from values that
are kept anyway: leaves, results, delayed values, and others that the adjoint reads.  Its readers
must be elementwise operations of the same iteration space, so that it costs a line in their loop
nest.

What this pass does not do: change a value.

Briggs, Cooper and Torczon, Rematerialization (1992), PLDI; for adjoints, Griewank and Walther,
Evaluating Derivatives (2008), chapter 12.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rollc.ir.graph import LEAVES, Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.traversal import needed_names, users

MARK = "^recomputed"


def rematerialize(graph: Graph) -> Graph:
    """The lowered graph of a kernel with cheap values recomputed by its adjoint."""
    if not graph.gradients:
        return graph
    primal = needed_names(graph, replace(graph, gradients=()).results())
    readers = users(
        (node for node in graph.nodes if node.name not in primal), lambda node: node.operands
    )
    fixed = {*graph.results(), *graph.reach}
    fixed.update(node.initial for node in graph.nodes if node.initial is not None)

    def is_cheap(node: Node) -> bool:
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

    def is_kept(node: Node) -> bool:
        return node.operation in LEAVES or node.name in fixed or node.name in readers

    recomputed = {
        node.name: graph.unused(node.name + MARK)
        for node in graph.nodes
        if is_cheap(node) and all(is_kept(graph[edge.source]) for edge in node.operands)
    }
    return graph.with_nodes(_with_copies(graph, primal, recomputed)) if recomputed else graph


def _space(node: Node) -> tuple[object, ...]:
    return node.type.axes, node.type.shape


def _with_copies(graph: Graph, primal: set[str], recomputed: dict[str, str]) -> Iterable[Node]:
    """The nodes, with each recomputed value in front of its first reader in the adjoint."""
    made: set[str] = set()

    def redirected(node: Node) -> Node:
        edges = (
            replace(edge, source=recomputed.get(edge.source, edge.source)) for edge in node.operands
        )
        return replace(node, operands=tuple(edges))

    def copies(node: Node) -> Iterable[Node]:
        for edge in node.operands:
            if edge.source in recomputed and edge.source not in made:
                made.add(edge.source)
                source = graph[edge.source]
                yield from copies(source)
                yield replace(redirected(source), name=recomputed[edge.source], initial=None)

    for node in graph.nodes:
        if node.name in primal:
            yield node
        else:
            yield from copies(node)
            yield redirected(node)
