"""Whether a batch can be computed in parts, and how the parts become the whole.

Sequences meet nowhere but in sums over the batch: the loss, and the gradients of what all
sequences share.  Computed for a part of the sequences, such a node is a *partial* sum, and
so is whatever is linear in partial sums; the parts add up to the whole.  A node that is
neither linear in them nor free of them needs all sequences at once, and then the batch
stays in one piece.  What only masks where no cotangent arrives may differ from part to part:
where none arrives of a part, it has nothing to add.  The number of sequences (``extent``, and
what a mean divides by) is that of the whole batch in every part.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollc.ir.graph import BATCH, Edge, Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.traversal import dependents, users


def partial_sums(graph: Graph) -> frozenset[str] | None:
    """The nodes that are sums over the sequences; None where parts would not add up."""
    masks = _masks(graph)
    nodes = [node for node in graph.nodes if node.name not in masks]
    starts = (node.name for node in nodes if _sums_batch(graph, node))
    found = dependents(nodes, starts, _summed)
    fits = all(_adds_up(graph, graph[name], found) for name in found)
    return frozenset(found) if fits else None


def _summed(node: Node) -> Iterator[Edge]:
    """The reads of a node, but for what only masks."""
    masks = operation_of(node).masks
    if not masks:
        return node.reads()
    return (edge for place, edge in enumerate(node.operands) if place not in masks)


def _masks(graph: Graph) -> set[str]:
    """The nodes that nothing reads but to mask."""
    readers, summing = users(graph.nodes, Node.reads), users(graph.nodes, _summed)
    results = set(graph.results())
    found: set[str] = set()
    waiting = [node.name for node in graph.nodes if node.name not in results]
    while waiting:
        name = waiting.pop()
        only = all(node.name in found for node, _ in summing.get(name, ()))
        if name not in found and name in readers and only:
            found.add(name)
            waiting.extend(e.source for e in graph[name].reads() if e.source not in results)
    return found


def _sums_batch(graph: Graph, node: Node) -> bool:
    if BATCH in node.type.axes:
        return False
    return any(BATCH in graph[edge.source].type.axes for edge in node.operands)


def _adds_up(graph: Graph, node: Node, partial: set[str]) -> bool:
    """Whether a partial sum is one: linear in the others, and not read by one sequence."""
    if BATCH in node.type.axes or node.initial in partial:
        return False
    groups = operation_of(node).linear_in(len(node.operands))
    parts = {place for place, edge in enumerate(node.operands) if edge.source in partial}
    if _sums_batch(graph, node):
        return bool(groups) and not parts
    parts -= {*operation_of(node).masks}
    return any(
        parts <= {*group}
        and all(place in parts or _is_zero(graph[node.operands[place].source]) for place in group)
        for group in groups
    )


def _is_zero(node: Node) -> bool:
    return node.operation == "constant" and node.options.get("value") == 0
