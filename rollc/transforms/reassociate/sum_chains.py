"""Chains of additions as sums of signed terms, in any order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rollc.ir.graph import Edge, Graph, Node, Type
from rollc.ir.operations import OPERATIONS, operation_of
from rollc.ir.traversal import users

_MOST = 100  # inner sums of a chain

Term = tuple[int, Edge]
"""An operand of a sum, and its sign."""


class Sums:
    """The sums of a graph, each with all its terms."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.readers = users(graph.nodes, lambda node: node.operands)
        self.fixed = fixed_names(graph)

    def is_inner(self, node: Node) -> bool:
        """Whether the only use of a sum is as a term of another one."""
        mine = self.readers.get(node.name, [])
        return (
            operation_of(node).is_sum
            and node.name not in self.fixed
            and len(mine) == 1
            and mine[0][1].delay == 0
            and operation_of(mine[0][0]).is_sum
            and mine[0][0].type == node.type
        )

    def roots(self) -> Iterator[Node]:
        """The sums that are no terms of others alone."""
        for node in self.graph.nodes:
            if operation_of(node).is_sum and not self.is_inner(node):
                yield node

    def terms(self, node: Node) -> tuple[list[Term], list[str]]:
        """The terms of a sum, and the names of its inner sums."""
        inner: list[str] = []

        def found(part: Node, sign: int) -> Iterator[Term]:
            for own, edge in zip(operation_of(part).signs, part.operands, strict=True):
                own *= sign
                source = self.graph[edge.source]
                if self.is_inner(source) and len(inner) < _MOST:
                    inner.append(source.name)
                    yield from found(source, own)
                else:
                    yield own, edge

        return list(found(node, 1)), inner


def replaced(graph: Graph, sums: Mapping[str, list[Node]], gone: set[str]) -> Graph:
    """The graph with other nodes for some sums, and without their inner ones."""
    if not sums:
        return graph
    return graph.with_nodes(
        made
        for node in graph.nodes
        if node.name not in gone
        for made in sums.get(node.name, [node])
    )


def chain(
    graph: Graph,
    node: Node,
    terms: Sequence[Term],
    mark: str,
    made: Mapping[str, Type] | None = None,
) -> Iterator[Node]:
    """The additions of a sum, one term after the other; the last has the name of the sum.

    ``mark`` is in the names of the others.  ``made`` has the types of terms that are new nodes.
    """
    types = dict(made or {})
    (sign, total), *rest = terms
    if not rest:
        operation = "identity" if sign > 0 else "negate"
        yield replace(node, operation=operation, operands=(total,))
    for number, (own, edge) in enumerate(rest):
        last = number == len(rest) - 1
        name = node.name if last else graph.unused(f"{node.name}^{mark}{number}")
        if sign > 0:
            operation, operands = "add" if own > 0 else "subtract", (total, edge)
        elif own > 0:
            sign, operation, operands = 1, "subtract", (edge, total)
        else:  # both negative: so is their sum
            operation, operands = "add", (total, edge)
        if last and sign < 0:
            negative = graph.unused(f"{node.name}^negative")
            yield replace(node, name=negative, operation=operation, operands=operands, initial=None)
            yield replace(node, operation="negate", operands=(Edge(negative),))
            return
        if last:
            yield replace(node, operation=operation, operands=operands)
            return
        # The first terms can have fewer axes or no shape.
        known = [types.get(part.source) or graph[part.source].type for part in operands]
        type_ = types[name] = OPERATIONS[operation].infer(known, {}) or node.type
        yield replace(
            node, name=name, operation=operation, operands=operands, type=type_, initial=None
        )
        total = Edge(name)


def fixed_names(graph: Graph) -> set[str]:
    """The nodes that are results or initial values, or have an initial value."""
    started = [node for node in graph.nodes if node.initial is not None]
    return {
        *graph.results(),
        *(node.name for node in started),
        *(node.initial for node in started if node.initial is not None),
    }
