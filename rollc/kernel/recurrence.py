"""Recurrences in the form that takes the fewest instructions from one step to the next.

    s = a[t-d] + b[t-d] + …           ->  r[t-d] + …   with  r = a + b
    v = c u      read as v[t-d] only  ->  c u[t-d]     c is the same at every step
    s = a + b + d    in a cycle       ->  b + d + a    what is known last is added last

The first two save places: one value is kept for the next step, not several of which it is the
sum, and none that is only another one scaled.  The third is for numbers, where nothing else can
be done meanwhile: a filter of any order takes one multiply-add from step to step.

What this pass does not do: touch delayed reads that have an initial value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf

import networkx

from rollc.graph.graph import LEAVES, Edge, Graph, Node
from rollc.kernel.order import CHEAP, is_elementwise

_SUMS = frozenset({"add", "subtract"})
_MOST = 100  # parts of a sum that are put in order
# How long things take, in sums: a function such as exp, and a step at most.
_LONG = 8
_STEP = 1_000_000


def shorten(graph: Graph) -> Graph:
    """The lowered graph of a kernel with short ways from one step to the next."""
    return _ordered(_late_scaling(_collected(graph)))


# Sums ------------------------------------------------------------------------------------

Term = tuple[int, Edge]
"""An operand of a sum, and its sign."""


class _Sums:
    """The sums of a graph, each of all its terms."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.readers = _readers(graph)
        self.fixed = _fixed(graph)

    def is_inner(self, node: Node) -> bool:
        """Whether a sum is nothing but a part of another one."""
        mine = self.readers.get(node.name, [])
        return (
            node.operation in _SUMS
            and node.name not in self.fixed
            and len(mine) == 1
            and mine[0][1].delay == 0
            and mine[0][0].operation in _SUMS
            and mine[0][0].type == node.type
        )

    def roots(self) -> Iterator[Node]:
        for node in self.graph.nodes:
            if node.operation in _SUMS and not self.is_inner(node):
                yield node

    def terms(self, node: Node) -> tuple[list[Term], list[str]]:
        """The terms of a sum, and the names of its inner sums."""
        inner: list[str] = []

        def found(part: Node, sign: int) -> Iterator[Term]:
            for place, edge in enumerate(part.operands):
                own = -sign if place and part.operation == "subtract" else sign
                source = self.graph[edge.source]
                if self.is_inner(source) and len(inner) < _MOST:
                    inner.append(source.name)
                    yield from found(source, own)
                else:
                    yield own, edge

        return list(found(node, 1)), inner


def _replaced(graph: Graph, sums: Mapping[str, list[Node]], gone: set[str]) -> Graph:
    """The graph with other nodes for some sums, and without their inner ones."""
    if not sums:
        return graph
    return graph.with_nodes(
        made
        for node in graph.nodes
        if node.name not in gone
        for made in sums.get(node.name, [node])
    )


def _chain(graph: Graph, node: Node, terms: Sequence[Term], mark: str) -> Iterator[Node]:
    """A sum, one term after the other; the last node has the name of the sum.

    ``mark`` is in the names of the others.
    """
    (sign, total), *rest = terms
    if not rest:
        operation = "identity" if sign > 0 else "negate"
        yield replace(node, operation=operation, operands=(total,))
    for place, (own, edge) in enumerate(rest):
        last = place == len(rest) - 1
        name = node.name if last else graph.unused(f"{node.name}^{mark}{place}")
        if sign > 0:
            operation, operands = "add" if own > 0 else "subtract", (total, edge)
        elif own > 0:
            sign, operation, operands = 1, "subtract", (edge, total)
        else:  # both negative: so is their sum
            operation, operands = "add", (total, edge)
        if last and sign < 0:
            negative = graph.unused(f"{node.name}^negative")
            yield replace(node, name=negative, operation=operation, operands=operands, initial=None)
            yield replace(node, operation="negate", operands=(Edge(negative),))
            return
        kept = node.initial if last else None
        yield replace(node, name=name, operation=operation, operands=operands, initial=kept)
        total = Edge(name)


def _collected(graph: Graph) -> Graph:
    """In sums, one read of a sum with a delay for several reads with that delay."""
    found = _Sums(graph)
    gone: set[str] = set()
    sums: dict[str, list[Node]] = {}
    for node in found.roots():
        terms, inner = found.terms(node)
        alike: dict[tuple[int, str], list[Term]] = {}
        for sign, edge in terms:
            source = graph[edge.source]
            alone = sum(read.delay != 0 for _, read in found.readers[edge.source]) == 1
            # What is no line of a nest would need a nest more to be added up.
            plain = source.initial is None and is_elementwise(source)
            if edge.delay and sign > 0 and alone and plain and source.type == node.type:
                alike.setdefault((edge.delay, edge.axis), []).append((sign, edge))
        made: list[Node] = []
        for (delay, axis), several in alike.items():
            if len(several) < 2:
                continue
            when = f"{'past' if delay > 0 else 'next'}{abs(delay)}"
            whole = replace(node, name=graph.unused(f"{node.name}^{when}"), initial=None)
            now = [(1, replace(edge, delay=0, axis="")) for _, edge in several]
            made.extend(_chain(graph, whole, now, "part"))
            terms = [term for term in terms if term not in several]
            terms.append((1, Edge(whole.name, delay, axis)))
        if made:
            gone.update(inner)
            sums[node.name] = [*made, *_chain(graph, node, terms, "part")]
    return _replaced(graph, sums, gone)


# Scaled values ---------------------------------------------------------------------------


def _late_scaling(graph: Graph) -> Graph:
    """Read with a delay what is scaled, and not the scaled value."""
    while True:
        readers = _readers(graph)
        fixed = _fixed(graph)
        late = {
            node.name: place
            for node in graph.nodes
            if node.name in graph.reach
            and node.name not in fixed
            and (place := _scaled(graph, node)) is not None
            and all(
                edge.delay and is_elementwise(reader) and reader.type == node.type
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
    if node.operation == "negate":
        places = [0]
    elif node.operation == "divide":
        places = [0] if not graph[node.operands[1].source].type.time else []
    elif node.operation == "multiply":
        places = [place for place in (0, 1) if not graph[node.operands[1 - place].source].type.time]
    else:
        places = []
    for place in places:
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


def _ordered(graph: Graph) -> Graph:
    """In sums of numbers in a cycle, the terms in the order in which they are known."""
    ready = _Ready(graph)
    if not ready.cycle:
        return graph
    found = _Sums(graph)
    roots = {node.name for node in found.roots()}
    gone: set[str] = set()
    sums: dict[str, list[Node]] = {}
    for name in ready.order():
        if name not in roots:
            ready.know(name)
            continue
        terms, inner = found.terms(graph[name])
        when = {edge: ready.of(name, edge) for _, edge in terms}
        ordered = sorted(terms, key=lambda term: when[term[1]])
        time = -inf
        for _, edge in ordered:
            time = max(time, when[edge]) + 1
        ready.known[name] = time
        if len(terms) > 2 and ordered != terms:
            gone.update(inner)
            sums[name] = list(_chain(graph, graph[name], ordered, "sum"))
    return _replaced(graph, sums, gone)


class _Ready:
    """When each number in a cycle is known, in operations since the step began.

    What comes from outside the cycle is known from the start, and the more steps ago a value
    was computed, the earlier it was.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.known: dict[str, float] = {}
        self.cycle: dict[str, int] = {}
        reads: networkx.DiGraph[str] = networkx.DiGraph()
        reads.add_edges_from(
            (edge.source, node.name)
            for node in graph.nodes
            for edge in node.operands
            if not node.type.shape and not graph[edge.source].type.shape
        )
        for number, members in enumerate(networkx.strongly_connected_components(reads)):
            if len(members) > 1 or any(reads.has_edge(name, name) for name in members):
                self.cycle.update(dict.fromkeys(members, number))

    def order(self) -> Iterator[str]:
        """The numbers, each after those that it is computed from in the same step."""
        now: networkx.DiGraph[str] = networkx.DiGraph()
        now.add_nodes_from(node.name for node in self.graph.nodes if node.name in self.cycle)
        for name in tuple(now):
            now.add_edges_from(
                (edge.source, name)
                for edge in self.graph[name].operands
                if edge.delay == 0 and edge.source in self.cycle
            )
        return iter(networkx.topological_sort(now))

    def know(self, name: str) -> None:
        node = self.graph[name]
        last = max(self.of(name, edge) for edge in node.operands)
        self.known[name] = last + (1 if node.operation in CHEAP else _LONG)

    def of(self, name: str, edge: Edge) -> float:
        """When an operand of a number is known."""
        if self.cycle.get(edge.source) != self.cycle[name]:
            return -inf
        if edge.delay == 0:
            return self.known[edge.source]
        return (1 - abs(edge.delay)) * _STEP


# What all need --------------------------------------------------------------------------


def _readers(graph: Graph) -> dict[str, list[tuple[Node, Edge]]]:
    found: dict[str, list[tuple[Node, Edge]]] = {}
    for node in graph.nodes:
        for edge in node.operands:
            found.setdefault(edge.source, []).append((node, edge))
    return found


def _fixed(graph: Graph) -> set[str]:
    """The nodes whose values leave the graph, are initial values, or have one."""
    started = [node for node in graph.nodes if node.initial is not None]
    return {
        *graph.results(),
        *(node.name for node in started),
        *(node.initial for node in started if node.initial is not None),
    }
