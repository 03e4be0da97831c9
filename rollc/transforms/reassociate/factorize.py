"""Factorization of sums of products in elementwise cycles, by the factor that is ready last.

    s = d a + d b + c      ->  s = d (a + b) + c      d is ready after a and b

The path from d to s is then one multiply-add, and not one for each term.  Products of the same
factors are joined (a b + b a is 2 a b).

What this pass does not do: factor out values from outside the cycle, or loop invariants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import inf

from rollc.ir.graph import Edge, Graph, Node, Type, attributes
from rollc.ir.operations import OPERATIONS, operation_of
from rollc.ir.traversal import needed
from rollc.support.target import GENERIC, Target
from rollc.transforms.reassociate.critical_path import Ready, with_sums
from rollc.transforms.reassociate.sum_chains import Term, chain

_MOST = 16  # factors of a product


def factorize(graph: Graph, target: Target = GENERIC) -> Graph:
    """The lowered graph of a kernel with sums of products in elementwise cycles factored."""

    def factored(ready: Ready, node: Node, terms: list[Term]) -> tuple[float, list[Node]]:
        time = len(terms) + max(ready.of(node.name, edge) for _, edge in terms)
        by_factor: dict[Edge, list[tuple[Term, tuple[int, list[Edge]]]]] = {}
        for term in terms:
            sign, factors = _factors(graph, term, node.type)
            last = max(factors, key=lambda factor: ready.of(node.name, factor))
            if len(factors) > 1 and ready.of(node.name, last) > -inf:
                factors.remove(last)
                by_factor.setdefault(last, []).append((term, (sign, factors)))
        groups = {last: several for last, several in by_factor.items() if len(several) > 1}
        if not groups:
            return time, []
        making = _Making(graph, node)
        for last, several in groups.items():
            for term, _ in several:
                terms.remove(term)
            terms.append(making.product(last, [rest for _, rest in several]))
        return time, [*making.nodes, *chain(graph, node, terms, "rest", making.types)]

    after = with_sums(graph, factored, target)
    leaves = [node.name for node in after.nodes if not node.operands]
    return graph if after is graph else needed(after, [*after.results(), *leaves])


Key = tuple[Edge, ...]


def _key(factors: Sequence[Edge]) -> Key:
    return tuple(sorted(factors, key=str))


def _factors(graph: Graph, term: Term, type_: Type) -> tuple[int, list[Edge]]:
    """The sign of a term, and its factors."""
    sign, edge = term
    found: list[Edge] = []
    pending = [edge]
    while pending:
        part = pending.pop()
        node = graph[part.source]
        inner = part.delay == 0 and node.type == type_ and len(found) + len(pending) < _MOST
        signs = operation_of(node).signs
        if inner and len(signs) == 1:
            sign *= signs[0]
        if inner and (node.operation == "multiply" or len(signs) == 1):
            pending.extend(reversed(node.operands))
        else:
            found.append(part)
    return sign, found


class _Making:
    """New nodes in front of a sum."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node
        self.nodes: list[Node] = []
        self.types: dict[str, Type] = {}

    def product(self, last: Edge, several: Sequence[tuple[int, Sequence[Edge]]]) -> Term:
        """A factor times the sum of its cofactors, and the sign of that."""
        counts = Counter((sign, _key(rest)) for sign, rest in several)
        terms = [(sign, self._times(rest, count)) for (sign, rest), count in counts.items()]
        terms.sort(key=lambda term: -term[0])  # positive ones first
        (first, total), *others = terms
        for sign, edge in others:
            total = self._make("add" if sign == first else "subtract", total, edge)
        return first, self._make("multiply", last, total)

    def _times(self, rest: Key, count: int) -> Edge:
        """A product of factors, times a count."""
        product, *others = rest
        for factor in others:
            product = self._make("multiply", product, factor)
        return product if count == 1 else self._make("multiply", self._number(count), product)

    def _number(self, value: float) -> Edge:
        return self._add("constant", (), Type("float"), value=float(value))

    def _make(self, operation: str, *operands: Edge) -> Edge:
        types = [self.types.get(edge.source) or self.graph[edge.source].type for edge in operands]
        type_ = OPERATIONS[operation].infer(types, {})
        assert type_ is not None
        return self._add(operation, operands, type_)

    def _add(
        self, operation: str, operands: tuple[Edge, ...], type_: Type, **options: float
    ) -> Edge:
        name = self.graph.unused(f"{self.node.name}^factor{len(self.nodes)}")
        made = replace(
            self.node,
            name=name,
            operation=operation,
            operands=operands,
            type=type_,
            attributes=attributes(**options),
            initial=None,
        )
        self.nodes.append(made)
        self.types[name] = type_
        return Edge(name)
