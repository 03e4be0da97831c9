"""Loop peeling: the DAG of N steps as loops whose first and last iterations are specialized.

A copy ``v.k`` of the unrolled network computes what ``v`` computes, except near the ends:
a read outside the sequence can be zero, and then a product is zero and a sum has a term
less.  This pass propagates such zeros from the boundary inwards, step by step.  Consecutive
copies of a node that compute the same are rerolled into one item, so that the steady state is a
loop for any number of steps, and a zero initial state removes the matrix product of the first
step.

The pieces of a cycle begin and end at the same steps, and a cycle is split only where that
removes a product: others do not justify more code.  A cycle whose nodes run at shifted steps is
not split.  Where peeling would save little (of many steps) or there would be many pieces, every
node is one item: the DAG, a covering of its graph, is rerolled into that.

Zero propagation only: no other constants.  A structurally zero operand makes a product zero
whatever the other factor is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from rollc.ir.graph import GIVEN, Edge, Graph, Node, attributes
from rollc.ir.operations import operation_of
from rollc.ir.operations.vectors.linear import over_axes
from rollc.ir.time.loops import components
from rollc.ir.time.retiming import Timing
from rollc.kernel.cost_model import is_peeled
from rollc.kernel.schedule import Item, Schedule, schedule
from rollc.support.target import GENERIC, Target


def peel(graph: Graph, target: Target = GENERIC) -> Schedule:
    """The schedule of a graph, with peeled loops where its number of steps is known."""
    if graph.steps is None or len(graph.axes) > 1 or not is_peeled(target, graph.steps):
        return schedule(graph)
    return schedule(graph, _Peeler(graph, graph.steps, target.code_pieces).items())


class _Peeler:
    def __init__(self, graph: Graph, steps: int, most: int) -> None:
        self.graph = graph
        self.steps = steps
        self.most = most  # pieces of a cycle
        self.static_zeros: set[str] = set()
        # For each node over time: at which steps it is zero.
        self.zero: dict[str, list[bool]] = {}

    def items(self) -> list[Item]:
        found = list(components(self.graph))
        for component, loop in found:
            self._propagate(component, loop)
        items: dict[str, list[Item]] = {}
        for component, loop in found:
            for node, pieces in self._pieces(component, loop).items():
                items[node] = pieces
        return [item for node in self.graph.nodes for item in items[node.name]]

    def _propagate(self, component: Sequence[Node], loop: Timing) -> None:
        """Find the zeros of a component, in its direction of time."""
        for node in component:
            if node.type.time:
                self.zero[node.name] = [False] * self.steps
        for now in loop.iterations(self.steps):
            for node in component:
                step = now - loop.shifts.get(node.name, 0)
                if node.type.time and 0 <= step < self.steps:
                    self.zero[node.name][step] = self._is_zero(node, step)
        for node in component:
            if node.type.static and self._is_zero(node, 0):
                self.static_zeros.add(node.name)

    def _reads_zero(self, edge: Edge, step: int) -> bool:
        source = self.graph[edge.source]
        if source.type.static:
            return edge.source in self.static_zeros
        at = step - edge.delay
        if 0 <= at < self.steps:
            return self.zero[edge.source][at]
        return source.initial is None or source.initial in self.static_zeros

    def _is_zero(self, node: Node, step: int) -> bool:
        if node.operation == "constant":
            return node.options["value"] == 0.0
        if node.operation == "impulse":
            here = step == (0 if node.options["at"] == "first" else self.steps - 1)
            return not here or self._reads_zero(node.operands[0], step)
        entry = operation_of(node)
        if entry.whole or over_axes(node.options):
            return False
        return entry.is_zero([self._reads_zero(edge, step) for edge in node.operands])

    def _variant(self, node: Node, step: int) -> Node:
        """The node, specialized to one step."""
        if self.zero[node.name][step] and node.operation != "constant":
            return replace(
                node, operation="zero", operands=(), attributes=attributes(shape=node.type.shape)
            )
        if (entry := operation_of(node)).is_sum:
            terms = list(zip(entry.signs, node.operands, strict=True))
            left = [term for term in terms if not self._reads_zero(term[1], step)]
            if len(left) == 1:
                ((sign, edge),) = left
                operation = "identity" if sign > 0 else "negate"
                return replace(node, operation=operation, operands=(edge,))
        if node.operation == "impulse":
            return replace(node, operation="identity", attributes=())
        return node

    def _pieces(self, component: Sequence[Node], loop: Timing) -> dict[str, list[Item]]:
        """The items of a component: its nodes, split where products become zero or nonzero."""
        whole = {node.name: [self._whole(node)] for node in component}
        timed = [node for node in component if node.type.time]
        if not timed or any(node.operation in GIVEN for node in timed):
            return whole
        if loop.shifts:
            return whole
        variants = {
            node.name: [self._variant(node, step) for step in range(self.steps)] for node in timed
        }
        cuts = [
            step
            for step in range(1, self.steps)
            if any(
                self.zero[node.name][step] != self.zero[node.name][step - 1]
                for node in timed
                if operation_of(node).is_product
            )
        ]
        if len(cuts) >= self.most:
            return whole
        bounds = [0, *cuts, self.steps]
        for node in timed:
            found = variants[node.name]
            # A piece is specialized only if all of its steps are.
            chosen = [
                found[start] if all(v == found[start] for v in found[start:stop]) else node
                for start, stop in pairwise(bounds)
            ]
            whole[node.name] = (
                [
                    Item(variant, *span)
                    for variant, span in zip(chosen, pairwise(bounds), strict=True)
                ]
                if cuts
                else [Item(chosen[0])]
            )
        return whole

    def _whole(self, node: Node) -> Item:
        """The node as one item; a sum of products skips the steps at which they are zero."""
        if node.operation != "outer" or "t" not in node.options.get("over", ()):  # type: ignore[operator]
            return Item(node)
        useful = [
            step
            for step in range(self.steps)
            if not any(self._reads_zero(edge, step) for edge in node.operands)
        ]
        if not useful or useful[-1] - useful[0] + 1 != len(useful):
            return Item(node)
        return Item(node, useful[0], useful[-1] + 1)
