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

from rollc.graph.graph import BATCH, Edge, Graph, Node

# Linear in one operand while the others are known.
_PRODUCTS = frozenset({"multiply", "matmul", "outer", "dot"})
# Linear in all operands together.
_SUMS = frozenset({"add", "subtract", "sum_of", "concat", "stack", "tail"})
# Linear in their only operand.
_LINEAR = frozenset(
    {
        *(
            "negate",
            "reached",
            "identity",
            "stop",
            "spread",
            "sum",
            "mean",
            "slice",
            "row",
            "pad",
            "transpose",
        ),
        *("repeat", "fill", "sum_over", "mean_over", "first", "last", "impulse"),
        *("tail_steps", "tail_start"),
    }
)


def partial_sums(graph: Graph) -> frozenset[str] | None:
    """The nodes that are sums over the sequences; None where parts would not add up."""
    masks = _masks(graph)
    found: set[str] = set()
    grown = True
    while grown:
        grown = False
        for node in graph.nodes:
            if node.name not in found | masks and (
                _sums_batch(graph, node) or any(edge.source in found for edge in _summed(node))
            ):
                found.add(node.name)
                grown = True
    fits = all(_adds_up(graph, graph[name], found) for name in found)
    return frozenset(found) if fits else None


def _summed(node: Node) -> Iterator[Edge]:
    """The reads of a node, but for what only masks."""
    return iter(node.operands[:1]) if node.operation == "reached" else node.reads()


def _masks(graph: Graph) -> set[str]:
    """The nodes that nothing reads but to mask."""
    readers: dict[str, list[tuple[Node, bool]]] = {node.name: [] for node in graph.nodes}
    for node in graph.nodes:
        summed = {edge.source for edge in _summed(node)}
        for edge in node.reads():
            readers[edge.source].append((node, edge.source not in summed))
    results = set(graph.results())
    found: set[str] = set()
    waiting = [node.name for node in graph.nodes if node.name not in results]
    while waiting:
        name = waiting.pop()
        mine = readers[name]
        if name not in found and mine and all(only or node.name in found for node, only in mine):
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
    if _sums_batch(graph, node):
        sums = node.operation in ("sum_over", "mean_over", "outer", "embed_adjoint")
        return sums and not any(edge.source in partial for edge in node.operands)

    def known(edge: Edge) -> bool:
        return edge.source in partial

    if node.operation in _LINEAR:
        return True
    if node.operation in _SUMS:
        return all(known(edge) or _is_zero(graph[edge.source]) for edge in node.operands)
    if node.operation == "where":
        condition, *chosen = node.operands
        whole = all(known(edge) or _is_zero(graph[edge.source]) for edge in chosen)
        return whole and not known(condition)
    if node.operation in _PRODUCTS:
        return sum(map(known, node.operands)) == 1
    if node.operation == "divide":
        return known(node.operands[0]) and not known(node.operands[1])
    if node.operation == "embed_adjoint":
        return known(node.operands[0])
    return False


def _is_zero(node: Node) -> bool:
    return node.operation == "constant" and node.options.get("value") == 0
