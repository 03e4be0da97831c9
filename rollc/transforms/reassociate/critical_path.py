"""The critical path of elementwise cycles: the time at which each value is ready in a step."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.traversal import cycles, in_step_order
from rollc.support.target import Target
from rollc.transforms.reassociate.sum_chains import Sums, Term, replaced

_STEP = 1_000_000  # a bound on the latency of a step, in additions


class Ready:
    """The ready time of each value in an elementwise cycle, in additions from the step's start.

    Operands from outside the cycle are ready from the start, and delayed ones the earlier the
    longer the delay is.
    """

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph = graph
        self.target = target
        self.time: dict[str, float] = {}
        self.cycle = cycles(
            (edge.source, node.name)
            for node in graph.nodes
            for edge in node.operands
            if operation_of(node).fusable and node.type.shape == graph[edge.source].type.shape
        )

    def order(self) -> list[Node]:
        """The nodes of the cycles, in topological order of their reads at the same step."""
        return in_step_order(node for node in self.graph.nodes if node.name in self.cycle)

    def add(self, node: Node) -> None:
        """Compute the ready time of a node from those of its operands."""
        last = max(self.of(node.name, edge) for edge in node.operands)
        latency = 1 if operation_of(node).cheap else self.target.function_time
        self.time[node.name] = last + latency

    def of(self, name: str, edge: Edge) -> float:
        """The ready time of an operand of a node."""
        if self.cycle.get(edge.source) != self.cycle[name]:
            return -inf
        if edge.delay == 0:
            return self.time[edge.source]
        return (1 - abs(edge.delay)) * _STEP


Rewrite = Callable[[Ready, Node, list[Term]], tuple[float, list[Node]]]
"""Of a sum and its terms: its ready time, and the nodes that replace it, if any."""


def with_sums(graph: Graph, rewrite: Rewrite, target: Target) -> Graph:
    """The graph with the sums of its elementwise cycles rewritten, in topological order."""
    ready = Ready(graph, target)
    if not ready.cycle:
        return graph
    found = Sums(graph)
    roots = {node.name for node in found.roots()}
    gone: set[str] = set()
    sums: dict[str, list[Node]] = {}
    for node in ready.order():
        if node.name not in roots:
            ready.add(node)
            continue
        terms, inner = found.terms(node)
        ready.time[node.name], nodes = rewrite(ready, node, terms)
        if nodes:
            gone.update(inner)
            sums[node.name] = nodes
    return replaced(graph, sums, gone)
