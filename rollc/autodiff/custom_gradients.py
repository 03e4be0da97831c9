"""Custom gradients: removed after differentiation, or written out before it.

``without_custom_gradients``, where no derivative is taken any more:
    stop(x)                     ->  x
    with_slope(value, slope, x) ->  value
A node that broadcasts its value stays.

``explicit_custom_gradients``, which leaves ``stop`` as the only operation whose derivative is
not that of its value:
    with_slope(value, slope, x) ->  value + stop(slope) * (x - stop(x))
"""

from __future__ import annotations

from dataclasses import replace

from rollc.ir.builder import Builder
from rollc.ir.expressions import call
from rollc.ir.graph import Graph, Node
from rollc.ir.operations import operation_of


def without_custom_gradients(graph: Graph) -> Graph:
    """A graph of the same values, without the operations that differ in derivatives alone."""

    def value(node: Node) -> Node:
        if not operation_of(node).value_first:
            return node
        edge = node.operands[0]
        if graph[edge.source].type != node.type:
            return node
        return replace(node, operation="identity", operands=(edge,))

    return graph.with_nodes(value(node) for node in graph.nodes)


def explicit_custom_gradients(graph: Graph) -> Graph:
    """A graph of the same values and the same adjoint, without ``with_slope``."""
    build = Builder(graph.nodes, mark="^")
    for node in graph.nodes:
        if node.operation == "with_slope":
            build.prefix, build.line = node.name, node.line
            value, slope, x = (build.read(e.source, e.delay, e.axis) for e in node.operands)
            linear = call("stop", slope) * (x - call("stop", x))
            build.define(node.name, "add", (value, linear))
            build.nodes[node.name] = replace(build.nodes[node.name], initial=node.initial)
    return graph.with_nodes(build.nodes.values())
