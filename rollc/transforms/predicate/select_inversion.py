"""Inversion of selects: a value that is used where a condition is false gets its complement.

    where(c, 0, x)  ->  where(not c, x, 0)
    where(c, y, x)  ->  where(c, y, where(not c, x, 0))   if x depends on a product at this step

so that a product in either choice can be predicated (:mod:`.predicate`).  What is guaranteed:
the values of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from rollc.ir.graph import Edge, Graph, Node, Type, attributes

MARK = "^not"


def with_selects_inverted(
    graph: Graph, conditions: Collection[str], has_product: Callable[[Edge], bool]
) -> tuple[Node, ...]:
    """The nodes of a graph, with the selects inverted that have one of some conditions.

    ``has_product`` says of a read whether its value depends on a product.  Nodes that are added
    may come before those that they read.
    """
    zero = graph.unused("zero" + MARK)
    names = {name: graph.unused(name + MARK) for name in conditions}
    used: set[str] = set()

    def nodes() -> Iterator[Node]:
        for node in graph.nodes:
            if (
                node.operation != "where"
                or (at := node.operands[0]).source not in names
                or at.delay
            ):
                yield node
                continue
            _, chosen, other = node.operands
            opposite = Edge(names[at.source])
            if is_zero(graph, chosen):
                used.add(at.source)
                yield replace(node, operands=(opposite, other, chosen))
            elif has_product(other):
                used.add(at.source)
                inner = graph.unused(node.name + MARK)
                yield replace(node, name=inner, operands=(opposite, other, Edge(zero)))
                yield replace(node, operands=(at, chosen, Edge(inner)))
            else:
                yield node

    rest = tuple(nodes())
    if not used:
        return graph.nodes
    added = [Node(zero, "constant", (), Type("float"), attributes(value=0.0))]
    for name in names:
        if name in used:
            kind = replace(graph[name].type, kind="bool")
            added.append(Node(names[name], "equal", (Edge(name), Edge(zero)), kind))
    return (*added, *rest)


def is_zero(graph: Graph, edge: Edge) -> bool:
    """Whether a read is of the constant zero."""
    node = graph[edge.source]
    return node.operation == "constant" and node.options.get("value") == 0.0
