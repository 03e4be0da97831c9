"""When values are known within a step: what an elementwise cycle waits for."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.traversal import cycles, in_step_order
from rollc.support.target import Target
from rollc.transforms.reassociate.sum_chains import Sums, Term, replaced

_STEP = 1_000_000  # what a step takes at most, in additions


class Ready:
    """When each value in an elementwise cycle is known, in operations since the step began.

    What comes from outside the cycle is known from the start, and the more steps ago a value
    was computed, the earlier it was.
    """

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph = graph
        self.target = target
        self.known: dict[str, float] = {}
        self.cycle = cycles(
            (edge.source, node.name)
            for node in graph.nodes
            for edge in node.operands
            if operation_of(node).fusable and node.type.shape == graph[edge.source].type.shape
        )

    def order(self) -> list[Node]:
        """The values, each after those that it is computed from in the same step."""
        return in_step_order(node for node in self.graph.nodes if node.name in self.cycle)

    def know(self, node: Node) -> None:
        last = max(self.of(node.name, edge) for edge in node.operands)
        takes = 1 if operation_of(node).cheap else self.target.function_time
        self.known[node.name] = last + takes

    def of(self, name: str, edge: Edge) -> float:
        """When an operand of a value is known."""
        if self.cycle.get(edge.source) != self.cycle[name]:
            return -inf
        if edge.delay == 0:
            return self.known[edge.source]
        return (1 - abs(edge.delay)) * _STEP


Rewrite = Callable[[Ready, Node, list[Term]], tuple[float, list[Node]]]
"""Of a sum and its terms: when it is known, and the nodes in its place, none for itself."""


def with_sums(graph: Graph, rewrite: Rewrite, target: Target) -> Graph:
    """The graph with the sums of its elementwise cycles rewritten, each when its terms are."""
    ready = Ready(graph, target)
    if not ready.cycle:
        return graph
    found = Sums(graph)
    roots = {node.name for node in found.roots()}
    gone: set[str] = set()
    sums: dict[str, list[Node]] = {}
    for node in ready.order():
        if node.name not in roots:
            ready.know(node)
            continue
        terms, inner = found.terms(node)
        ready.known[node.name], nodes = rewrite(ready, node, terms)
        if nodes:
            gone.update(inner)
            sums[node.name] = nodes
    return replaced(graph, sums, gone)
