"""Once the adjoint is taken, what only it reads is gone.

    stop(x)                     ->  x
    with_slope(value, slope, x) ->  value

A node whose type is not its value's own stays: the operation is what broadcasts it.
"""

from __future__ import annotations

from dataclasses import replace

from rollc.graph.graph import Graph, Node

_VALUE_FIRST = frozenset({"stop", "with_slope"})


def without_slopes(graph: Graph) -> Graph:
    """The same graph for whoever takes no derivative of it any more."""

    def value(node: Node) -> Node:
        if node.operation not in _VALUE_FIRST:
            return node
        edge = node.operands[0]
        if graph[edge.source].type != node.type:
            return node
        return replace(node, operation="identity", operands=(edge,))

    return graph.with_nodes(value(node) for node in graph.nodes)
