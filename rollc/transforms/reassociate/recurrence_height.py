"""Recurrence height reduction: the fewest dependent operations from one step to the next.

    s = a[t-d] + b[t-d] + …           ->  r[t-d] + …   with  r = a + b
    v = c u      read as v[t-d] only  ->  c u[t-d]     c is loop-invariant
    s = d a + d b    in a cycle       ->  d (a + b)    (:mod:`.factorize`)
    s = a + b + d    in a cycle       ->  b + d + a    the operand that is ready last is added last

The first two carry fewer values from step to step: a sum in place of its terms, and no multiple
of another value.  The others are for elementwise cycles, whose latency nothing else hides: a
filter of any order takes one multiply-add from step to step.

What this pass does not do: change delayed reads that have an initial value.

Schlansker and Kathail, Acceleration of first and higher order recurrences on processors with
instruction level parallelism (1993), LCPC 6.
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
    """The graph with several terms of one delay replaced by a delayed read of their sum."""
    found = Sums(graph)
    gone: set[str] = set()
    sums: dict[str, list[Node]] = {}
    for node in found.roots():
        terms, inner = found.terms(node)
        by_delay: dict[tuple[int, str], list[Term]] = {}
        for sign, edge in terms:
            source = graph[edge.source]
            single = sum(read.delay != 0 for _, read in found.readers[edge.source]) == 1
            # A term that does not fuse would cost one more loop nest.
            plain = source.initial is None and operation_of(source).fusable
            if edge.delay and sign > 0 and single and plain and source.type == node.type:
                by_delay.setdefault((edge.delay, edge.axis), []).append((sign, edge))
        made: list[Node] = []
        for (delay, axis), several in by_delay.items():
            if len(several) < 2:
                continue
            when = _when(graph, several[0][1])
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
    """The graph with multiples of a value computed after the delayed read, and not before."""
    while True:
        readers = users(graph.nodes, lambda node: node.operands)
        fixed = fixed_names(graph)
        late = {
            node.name: position
            for node in graph.nodes
            if node.name in graph.reach
            and node.name not in fixed
            and (position := _scaled(graph, node)) is not None
            and all(
                edge.delay and operation_of(reader).fusable and reader.type == node.type
                for reader, edge in readers[node.name]
            )
        }
        # Of a scaled value of a scaled value, the outer one goes first.
        axes = {name: reach.axis for name, reach in graph.reach.items()}
        late = {
            name: position
            for name, position in late.items()
            if (source := graph[name].operands[position].source) not in late
            # All delayed reads of a value are along one axis.
            and axes.setdefault(source, axes[name]) == axes[name]
        }
        if not late:
            return graph
        graph = graph.with_nodes(_with_late(graph, late))


def _scaled(graph: Graph, node: Node) -> int | None:
    """The position of the operand that a node is a loop-invariant multiple of."""
    if node.type.kind != "float" or not node.type.time:
        return None
    entry = operation_of(node)
    if not entry.elementwise or entry.moves:
        return None
    groups = entry.linear_in(len(node.operands))
    for position in (group[0] for group in groups if len(group) == 1):
        others = (*node.operands[:position], *node.operands[position + 1 :])
        if any(graph[other.source].type.time for other in others):
            continue
        edge = node.operands[position]
        source = graph[edge.source]
        # A leaf that is read with a delay needs a copy, which is no gain.
        carried = source.operation not in LEAVES or edge.source in graph.reach
        if edge.delay == 0 and carried and source.type == node.type and source.initial is None:
            return position
    return None


def _when(graph: Graph, edge: Edge) -> str:
    """The step of a delayed read, as a part of a name."""
    axis = edge.axis if len(graph.axes) > 1 else ""
    return f"{'past' if edge.delay > 0 else 'next'}{abs(edge.delay)}{axis}"


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
                    made[edge] = graph.unused(f"{edge.source}^{_when(graph, edge)}")
                    own = list(scaled.operands)
                    position = late[edge.source]
                    own[position] = replace(own[position], delay=edge.delay, axis=edge.axis)
                    yield replace(scaled, name=made[edge], operands=tuple(own))
                edge = Edge(made[edge])
            operands.append(edge)
        yield replace(node, operands=tuple(operands))


# The order of terms ----------------------------------------------------------------------


def ordered(graph: Graph, target: Target = GENERIC) -> Graph:
    """The graph with the terms of sums in elementwise cycles in the order of their ready times."""

    def ordered(ready: Ready, node: Node, terms: list[Term]) -> tuple[float, list[Node]]:
        when = {edge: ready.of(node.name, edge) for _, edge in terms}
        wanted = sorted(terms, key=lambda term: when[term[1]])
        time = -inf
        for _, edge in wanted:
            time = max(time, when[edge]) + 1
        changed = len(terms) > 2 and wanted != terms
        return time, list(chain(graph, node, wanted, "sum")) if changed else []

    return with_sums(graph, ordered, target)
