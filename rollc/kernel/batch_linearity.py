"""Batch linearity: whether a batch can be sharded, and which results are then partial sums.

Sequences interact only in sums over the batch: the loss, and the gradients of values that all
sequences share.  Computed for a shard of the batch, such a node is a *partial* sum, and so is a
node that is linear in partial sums; those of all shards add up to the whole.  A node that is
neither linear in them nor independent of them needs all sequences at once, and then the batch is
not sharded.  An operand that is only a mask of cotangents may differ from shard to shard: where
the cotangent of a shard is zero, so is its term.  The number of sequences (``extent``, and the
divisor of a mean) is that of the whole batch in every shard.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollc.ir.graph import BATCH, Edge, Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.traversal import dependents, users


def partial_sums(graph: Graph) -> frozenset[str] | None:
    """The nodes that are partial sums in a shard; None where those would not add up."""
    masks = _masks(graph)
    nodes = [node for node in graph.nodes if node.name not in masks]
    starts = (node.name for node in nodes if _sums_batch(graph, node))
    found = dependents(nodes, starts, _summed)
    fits = all(_adds_up(graph, graph[name], found) for name in found)
    return frozenset(found) if fits else None


def _summed(node: Node) -> Iterator[Edge]:
    """The reads of a node, except for masks."""
    masks = operation_of(node).masks
    if not masks:
        return node.reads()
    return (edge for position, edge in enumerate(node.operands) if position not in masks)


def _masks(graph: Graph) -> set[str]:
    """The nodes whose only use is as masks."""
    readers, summing = users(graph.nodes, Node.reads), users(graph.nodes, _summed)
    results = set(graph.results())
    found: set[str] = set()
    pending = [node.name for node in graph.nodes if node.name not in results]
    while pending:
        name = pending.pop()
        only = all(node.name in found for node, _ in summing.get(name, ()))
        if name not in found and name in readers and only:
            found.add(name)
            pending.extend(e.source for e in graph[name].reads() if e.source not in results)
    return found


def _sums_batch(graph: Graph, node: Node) -> bool:
    if BATCH in node.type.axes:
        return False
    return any(BATCH in graph[edge.source].type.axes for edge in node.operands)


def _adds_up(graph: Graph, node: Node, partial: set[str]) -> bool:
    """Whether a node's values in all shards add up: it is linear, and not of one sequence."""
    if BATCH in node.type.axes or node.initial in partial:
        return False
    groups = operation_of(node).linear_in(len(node.operands))
    positions = {number for number, edge in enumerate(node.operands) if edge.source in partial}
    if _sums_batch(graph, node):
        return bool(groups) and not positions
    positions -= {*operation_of(node).masks}
    return any(
        positions <= {*group}
        and all(
            position in positions or _is_zero(graph[node.operands[position].source])
            for position in group
        )
        for group in groups
    )


def _is_zero(node: Node) -> bool:
    return node.operation == "constant" and node.options.get("value") == 0
