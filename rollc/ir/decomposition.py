"""Decomposition of composite operations into those that they are defined by.

    f(a, b)  ->  f.decompose(a, b)    where the operation has a decomposition

Left behind: a graph of the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice

from rollc.ir.builder import Builder
from rollc.ir.graph import Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.operations.vectors.linear import over_axes


def decomposed(
    graph: Graph, wanted: Callable[[Node], bool] = lambda node: True, mark: str = "^"
) -> Graph:
    """The graph with each ``wanted`` composite operation decomposed.

    The last node of a decomposition keeps the name of the node; ``mark`` is in the names of
    those before it.
    """
    build = Builder(graph.nodes, mark=mark)
    order: list[Node] = []
    for node in graph.nodes:
        decompose = operation_of(node).decompose
        if decompose is None or not wanted(node):
            order.append(node)
            continue
        before = len(build.nodes)
        build.prefix, build.line = node.name, node.line
        values = [build.read(edge.source, edge.delay, edge.axis) for edge in node.operands]
        final = decompose(*values, **node.options)
        last = build.nodes[final.edge.source]
        order.extend(other for other in made_since(build, before) if other.name != last.name)
        order.append(replace(last, name=node.name, initial=node.initial, line=node.line))
    return graph.with_nodes(order)


def decomposed_over(graph: Graph, axes: Iterable[str]) -> Graph:
    """The graph with the operations decomposed that need all steps along any of some axes.

    Reductions stay as they are: what is decomposed gives a value a step, as a softmax does.
    """
    among = {*axes}

    def wanted(node: Node) -> bool:
        entry = operation_of(node)
        return (
            entry.whole and entry.reduces is None and not among.isdisjoint(over_axes(node.options))
        )

    return decomposed(graph, wanted, mark="'")


def made_since(build: Builder, before: int) -> list[Node]:
    """The nodes that were made since the builder had ``before`` nodes, in their order."""
    made = islice(reversed(build.nodes.values()), len(build.nodes) - before)
    return list(made)[::-1]
