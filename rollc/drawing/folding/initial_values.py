"""The values outside the sequence that an unrolled graph reads, as nodes of their own."""

from __future__ import annotations

from dataclasses import replace

from rollc.drawing.folding.folding import INITIAL, copies, is_adjoint
from rollc.ir.graph import Edge, Graph, Node


def with_initial_nodes(dag: Graph) -> Graph:
    """An unrolled graph with a node for each value outside the sequence that its network reads.

    What the copies at some steps read as a copy of u, the others read as u before the first step or
    after the last: ``h.-1'initial = identity(zero)``.
    """
    copied = copies(dag)
    reads: dict[tuple[str, int], tuple[str, int]] = {}  # of the n-th operand of a node
    for node in dag.nodes:
        here = copied.get(node.name)
        for place, edge in enumerate(node.operands):
            at = copied.get(edge.source)
            if here is not None and at is not None and at[1] != here[1]:
                reads[here[0], place] = (at[0], at[1] - here[1])
    added: dict[str, Node] = {}
    nodes: list[Node] = []
    for node in dag.nodes:
        here = copied.get(node.name)
        operands = list(node.operands)
        for place, edge in enumerate(node.operands):
            known = reads.get((here[0], place)) if here is not None else None
            if known is None or here is None or is_adjoint(known[0]) or "'" in known[0]:
                continue
            step = here[1] + known[1]
            if not 0 <= step < (dag.steps or 0) and edge.source not in copied:
                name = f"{known[0]}.{step}{INITIAL}"
                source = dag[edge.source]
                added.setdefault(name, Node(name, "identity", (edge,), source.type))
                operands[place] = Edge(name)
        nodes.append(replace(node, operands=tuple(operands)))
    return dag.with_nodes((*added.values(), *nodes))
