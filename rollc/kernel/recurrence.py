"""Recurrences in the form that takes the fewest instructions from one step to the next.

    v = c u         read as v[t-d] alone  ->  c u[t-d]         c is the same at every step
    s = a + b + d   numbers in a cycle    ->  s = b + a + d    the nearest past is added last

The first saves the place of a scaled value beside the value, and lets the product be one
instruction with the sum that reads it.  The second is for numbers, where nothing else can be
done meanwhile: what hangs on the last step is the last that is needed, so that a filter of any
order takes one multiply-add from step to step.

What this pass does not do: change which values are kept outside the sequence.  Where a delayed
read has an initial value it stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import inf

import networkx

from rollc.graph.graph import LEAVES, Edge, Graph, Node
from rollc.kernel.order import is_elementwise

_SUMS = frozenset({"add", "subtract"})
_MOST = 100  # parts of a sum that are put in order


def shorten(graph: Graph) -> Graph:
    """The lowered graph of a kernel with short ways from one step to the next."""
    return _ordered_sums(_late_scaling(graph))


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
    if node.initial is not None or node.type.kind != "float" or not node.type.time:
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
                    made[edge] = _unused(graph, f"{edge.source}^{when}")
                    own = list(scaled.operands)
                    place = late[edge.source]
                    own[place] = replace(own[place], delay=edge.delay, axis=edge.axis)
                    yield replace(scaled, name=made[edge], operands=tuple(own))
                edge = Edge(made[edge])
            operands.append(edge)
        yield replace(node, operands=tuple(operands))


# Sums ------------------------------------------------------------------------------------


def _ordered_sums(graph: Graph) -> Graph:
    """In sums of numbers in a cycle, add last what hangs on the nearest past."""
    distance = _Distances(graph)
    if not distance.known:
        return graph
    readers = _readers(graph)
    fixed = _fixed(graph)

    def is_inner(node: Node) -> bool:
        """Whether a sum is nothing but a part of another one."""
        mine = readers.get(node.name, [])
        return (
            node.operation in _SUMS
            and node.name not in fixed
            and len(mine) == 1
            and mine[0][1].delay == 0
            and mine[0][0].operation in _SUMS
            and mine[0][0].type == node.type
        )

    def terms(node: Node, sign: int, inner: list[str]) -> Iterator[tuple[int, Edge]]:
        for place, edge in enumerate(node.operands):
            own = -sign if place and node.operation == "subtract" else sign
            part = graph[edge.source]
            if is_inner(part) and len(inner) < _MOST:
                inner.append(part.name)
                yield from terms(part, own, inner)
            else:
                yield own, edge

    gone: set[str] = set()
    sums: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.operation in _SUMS and node.name in distance.known and not is_inner(node):
            inner: list[str] = []
            found = list(terms(node, 1, inner))
            back = [distance.of(node.name, edge) for _, edge in found]
            ordered = [found[place] for place in sorted(range(len(found)), key=lambda i: -back[i])]
            if len(found) > 2 and ordered != found:
                gone.update(inner)
                sums[node.name] = list(_chain(graph, node, ordered))
    if not sums:
        return graph
    return graph.with_nodes(
        made
        for node in graph.nodes
        if node.name not in gone
        for made in sums.get(node.name, [node])
    )


def _chain(graph: Graph, node: Node, terms: list[tuple[int, Edge]]) -> Iterator[Node]:
    """A sum, one term after the other."""
    (sign, total), *rest = terms
    for place, (own, edge) in enumerate(rest):
        name = node.name if place == len(rest) - 1 else _unused(graph, f"{node.name}^sum{place}")
        if sign > 0:
            operation, operands = "add" if own > 0 else "subtract", (total, edge)
        elif own > 0:
            sign, operation, operands = 1, "subtract", (edge, total)
        else:  # both negative: so is their sum
            operation, operands = "add", (total, edge)
        if name == node.name and sign < 0:
            negative = _unused(graph, f"{node.name}^negative")
            yield replace(node, name=negative, operation=operation, operands=operands, initial=None)
            yield replace(node, operation="negate", operands=(Edge(negative),))
            return
        kept = node.initial if name == node.name else None
        yield replace(node, name=name, operation=operation, operands=operands, initial=kept)
        total = Edge(name)


class _Distances:
    """How many steps back the nearest value lies that a number in a cycle is computed from."""

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
        now: networkx.DiGraph[str] = networkx.DiGraph()
        for name in self.cycle:
            now.add_node(name)
            now.add_edges_from((edge.source, name) for edge in self._inside(name) if not edge.delay)
        for name in networkx.topological_sort(now):
            self.known[name] = min(self.of(name, edge) for edge in self._inside(name))

    def _inside(self, name: str) -> Iterator[Edge]:
        """The reads of a node of its own cycle."""
        for edge in self.graph[name].operands:
            if self.cycle.get(edge.source) == self.cycle[name]:
                yield edge

    def of(self, name: str, edge: Edge) -> float:
        """How far back a number's operand is; infinite where that is no part of the cycle."""
        if self.cycle.get(edge.source) != self.cycle[name]:
            return inf
        return abs(edge.delay) or self.known[edge.source]


# What both need --------------------------------------------------------------------------


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


def _unused(graph: Graph, name: str) -> str:
    while name in graph.by_name:
        name += "'"
    return name
