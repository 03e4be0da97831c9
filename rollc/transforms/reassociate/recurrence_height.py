"""Recurrences in the form that takes the fewest instructions from one step to the next.

    s = a[t-d] + b[t-d] + …           ->  r[t-d] + …   with  r = a + b
    v = c u      read as v[t-d] only  ->  c u[t-d]     c is the same at every step
    s = d a + d b    in a cycle       ->  d (a + b)    (:mod:`.factorize`)
    s = a + b + d    in a cycle       ->  b + d + a    what is known last is added last

The first two save places: one value is kept for the next step, not several of which it is the
sum, and none that is only another one scaled.  The others are for elementwise cycles, where
little else can be done meanwhile: a filter of any order takes one multiply-add from step to
step.

What this pass does not do: touch delayed reads that have an initial value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import inf

from rollc.ir.graph import LEAVES, Edge, Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.traversal import users
from rollc.support.target import GENERIC, Target
from rollc.transforms.reassociate.critical_path import Ready, with_sums
from rollc.transforms.reassociate.sum_chains import Sums, Term, chain, fixed_names, replaced

# Reads of sums ---------------------------------------------------------------------------


def collected(graph: Graph) -> Graph:
    """In sums, one read of a sum with a delay for several reads with that delay."""
    found = Sums(graph)
    gone: set[str] = set()
    sums: dict[str, list[Node]] = {}
    for node in found.roots():
        terms, inner = found.terms(node)
        alike: dict[tuple[int, str], list[Term]] = {}
        for sign, edge in terms:
            source = graph[edge.source]
            alone = sum(read.delay != 0 for _, read in found.readers[edge.source]) == 1
            # What is no line of a nest would need a nest more to be added up.
            plain = source.initial is None and operation_of(source).fusable
            if edge.delay and sign > 0 and alone and plain and source.type == node.type:
                alike.setdefault((edge.delay, edge.axis), []).append((sign, edge))
        made: list[Node] = []
        for (delay, axis), several in alike.items():
            if len(several) < 2:
                continue
            when = f"{'past' if delay > 0 else 'next'}{abs(delay)}"
            whole = replace(node, name=graph.unused(f"{node.name}^{when}"), initial=None)
            now = [(1, replace(edge, delay=0, axis="")) for _, edge in several]
            made.extend(chain(graph, whole, now, "part"))
            terms = [term for term in terms if term not in several]
            terms.append((1, Edge(whole.name, delay, axis)))
        if made:
            gone.update(inner)
            types = {one.name: one.type for one in made}
            sums[node.name] = [*made, *chain(graph, node, terms, "part", types)]
    return replaced(graph, sums, gone)


# Scaled values ---------------------------------------------------------------------------


def with_late_scaling(graph: Graph) -> Graph:
    """Read with a delay what is scaled, and not the scaled value."""
    while True:
        readers = users(graph.nodes, lambda node: node.operands)
        fixed = fixed_names(graph)
        late = {
            node.name: place
            for node in graph.nodes
            if node.name in graph.reach
            and node.name not in fixed
            and (place := _scaled(graph, node)) is not None
            and all(
                edge.delay and operation_of(reader).fusable and reader.type == node.type
                for reader, edge in readers[node.name]
            )
        }
        # Of a scaled value of a scaled value, the outer one goes first.
        late = {
            name: place
            for name, place in late.items()
            if (source := graph[name].operands[place].source) not in late
            and _along_one(graph, name, source)
        }
        if not late:
            return graph
        graph = graph.with_nodes(_with_late(graph, late))


def _scaled(graph: Graph, node: Node) -> int | None:
    """Which operand a node scales by what is the same at every step; zero stays zero."""
    if node.type.kind != "float" or not node.type.time:
        return None
    entry = operation_of(node)
    if not entry.elementwise or entry.moves:
        return None
    for place in (group[0] for group in entry.linear_in(len(node.operands)) if len(group) == 1):
        others = (*node.operands[:place], *node.operands[place + 1 :])
        if any(graph[other.source].type.time for other in others):
            continue
        edge = node.operands[place]
        source = graph[edge.source]
        # A leaf that is read with a delay is copied: that would be no gain.
        near = source.operation not in LEAVES or edge.source in graph.reach
        if edge.delay == 0 and near and source.type == node.type and source.initial is None:
            return place
    return None


def _along_one(graph: Graph, *names: str) -> bool:
    """Whether all that is read with a delay is along one axis."""
    return len({graph.reach[name].axis for name in names if name in graph.reach}) == 1


def _with_late(graph: Graph, late: Mapping[str, int]) -> Iterator[Node]:
    made: dict[Edge, str] = {}
    for node in graph.nodes:
        if node.name in late:
            continue
        operands = []
        for edge in node.operands:
            if edge.source in late:
                if edge not in made:
                    scaled = graph[edge.source]
                    when = f"{'past' if edge.delay > 0 else 'next'}{abs(edge.delay)}"
                    made[edge] = graph.unused(f"{edge.source}^{when}")
                    own = list(scaled.operands)
                    place = late[edge.source]
                    own[place] = replace(own[place], delay=edge.delay, axis=edge.axis)
                    yield replace(scaled, name=made[edge], operands=tuple(own))
                edge = Edge(made[edge])
            operands.append(edge)
        yield replace(node, operands=tuple(operands))


# The order of terms ----------------------------------------------------------------------


def ordered(graph: Graph, target: Target = GENERIC) -> Graph:
    """In sums of an elementwise cycle, the terms in the order in which they are known."""

    def ordered(ready: Ready, node: Node, terms: list[Term]) -> tuple[float, list[Node]]:
        when = {edge: ready.of(node.name, edge) for _, edge in terms}
        wanted = sorted(terms, key=lambda term: when[term[1]])
        time = -inf
        for _, edge in wanted:
            time = max(time, when[edge]) + 1
        changed = len(terms) > 2 and wanted != terms
        return time, list(chain(graph, node, wanted, "sum")) if changed else []

    return with_sums(graph, ordered, target)
