"""Derivatives of one's own: as the adjoint reads them, and gone.

``without_slopes``, once the adjoint is taken:
    stop(x)                     ->  x
    with_slope(value, slope, x) ->  value
A node whose type is not its value's own stays: the operation is what broadcasts it.

``told_slopes``, so that `stop` alone is not what it seems:
    with_slope(value, slope, x) ->  value + stop(slope) * (x - stop(x))
"""

from __future__ import annotations

from dataclasses import replace

from rollc.ir.builder import Builder
from rollc.ir.expressions import call
from rollc.ir.graph import Graph, Node
from rollc.ir.operations import operation_of


def without_slopes(graph: Graph) -> Graph:
    """The same graph for whoever takes no derivative of it any more."""

    def value(node: Node) -> Node:
        if not operation_of(node).value_first:
            return node
        edge = node.operands[0]
        if graph[edge.source].type != node.type:
            return node
        return replace(node, operation="identity", operands=(edge,))

    return graph.with_nodes(value(node) for node in graph.nodes)


def told_slopes(graph: Graph) -> Graph:
    """The same values and the same adjoint, without `with_slope`."""
    build = Builder(graph.nodes, mark="^")
    for node in graph.nodes:
        if node.operation == "with_slope":
            build.prefix, build.line = node.name, node.line
            value, slope, x = (build.read(e.source, e.delay, e.axis) for e in node.operands)
            line = call("stop", slope) * (x - call("stop", x))
            build.define(node.name, "add", (value, line))
            build.nodes[node.name] = replace(build.nodes[node.name], initial=node.initial)
    return graph.with_nodes(build.nodes.values())
