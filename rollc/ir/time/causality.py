"""The causality check: every strongly connected component can be computed.

In each component of the graph

1. the edges without a delay form no cycle: a topological order of them computes a step;
2. nothing needs a whole sequence to compute a part of that sequence: no reduction over
   time and no initial value lies on a cycle;
3. one direction of time serves all cycles: the total delays of all are positive, and the
   steps are run from the first to the last, or all are negative, and they are run back.
   Delays of both signs on one cycle need retiming (:mod:`rollc.ir.time.retiming`);
   cycles along two axes need loops in a loop or a wavefront (:mod:`rollc.ir.time.loops`).

Findings are data; :mod:`rollc.lang`, which knows the text of the spec, makes messages of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import networkx as nx

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.time.loops import loop_of, needs_all_steps
from rollc.ir.time.retiming import NoTiming
from rollc.ir.traversal import cycles

MOST_LINKS = 100_000  # visited in search of a shortest cycle


@dataclass(frozen=True, slots=True)
class Link:
    """One edge of a cycle: ``reader`` reads ``edge`` as its operand number ``operand``.

    ``operand`` is -1 where the edge is the reader's initial value.
    """

    reader: str
    operand: int
    edge: Edge


@dataclass(frozen=True, slots=True)
class CycleWithoutDelay:
    """A shortest cycle in the part of a component that has no delays."""

    cycle: tuple[Link, ...]

    def __str__(self) -> str:
        return f"cycle without a delay: {_path(self.cycle)}"


@dataclass(frozen=True, slots=True)
class NeedsWhole:
    """A cycle through ``node``, which needs all steps of what it is computed from.

    It ``renames`` an axis: what it is computed from is read along another one.
    """

    node: str
    cycle: tuple[Link, ...]
    renames: bool = False

    def __str__(self) -> str:
        return f"`{self.node}` needs a whole sequence to compute itself: {_path(self.cycle)}"


@dataclass(frozen=True, slots=True)
class BothDirections:
    """Two cycles of one component whose total delays have different signs.

    That of ``past`` is positive and that of ``future`` negative; or they are one cycle of
    total delay zero.
    """

    past: tuple[Link, ...]
    future: tuple[Link, ...]

    def __str__(self) -> str:
        if not total(self.past):
            return f"cycle that comes back to the same step: {_path(self.past)}"
        cycles = f"{_path(self.past)}, and {_path(self.future)}"
        return f"cycles into the past and into the future need each other: {cycles}"


@dataclass(frozen=True, slots=True)
class AlongTwoAxes:
    """Two cycles of one component that no order of the steps along two axes serves."""

    first: tuple[Link, ...]
    second: tuple[Link, ...]

    def __str__(self) -> str:
        cycles = f"{_path(self.first)}, and {_path(self.second)}"
        return f"delays along two time axes: {cycles}"


Finding = CycleWithoutDelay | NeedsWhole | BothDirections | AlongTwoAxes


@dataclass(frozen=True, slots=True)
class Verdict:
    """The checked graph, or None and the reasons why it cannot be run."""

    graph: Graph | None
    findings: tuple[Finding, ...]


def check(graph: Graph) -> Verdict:
    """Check that every component can be computed.  Types play no part."""
    links = [link for node in graph.nodes for link in _links(node)]
    findings = tuple(_findings(graph, links))
    return Verdict(None if findings else replace(graph, stage="checked"), findings)


def total(cycle: Iterable[Link]) -> int:
    """The sum of the delays along a cycle."""
    return sum(link.edge.delay for link in cycle)


def _path(cycle: Iterable[Link]) -> str:
    """A cycle in one line, from a reader back along its reads."""
    links = list(cycle)[::-1]
    return " <- ".join([links[0].reader, *(str(link.edge) for link in links)])


def _links(node: Node) -> Iterator[Link]:
    for position, edge in enumerate(node.operands):
        yield Link(node.name, position, edge)
    if node.initial is not None:
        yield Link(node.name, -1, Edge(node.initial))


def _findings(graph: Graph, links: list[Link]) -> Iterator[Finding]:
    order = {node.name: number for number, node in enumerate(graph.nodes)}
    links = [link for link in links if link.edge.source in order]
    for component in _components(order, [link for link in links if not link.edge.delay]):
        whole = next((link for link in component if _needs_whole(graph, link, None)), None)
        if whole is None:
            yield CycleWithoutDelay(_Cycles(component).shortest())
        else:
            yield _needing(graph, whole.reader, _Cycles(component).through(whole))
    for component in _components(order, links):
        axes = {link.edge.axis for link in component if link.edge.delay}
        whole = next((link for link in component if _needs_whole(graph, link, axes)), None)
        if len(axes) > 1 and _is_ordered(graph, component):
            continue
        if whole is not None:
            cycle = _Cycles(component).through(whole)
            # Without a delay it is reported already.
            if any(link.edge.delay for link in cycle):
                yield _needing(graph, whole.reader, cycle)
            continue
        if len(axes) > 1:
            yield from _without_order(component, sorted(axes))
        else:
            yield from _without_direction(graph, component)


def _needing(graph: Graph, name: str, cycle: tuple[Link, ...]) -> NeedsWhole:
    return NeedsWhole(name, cycle, operation_of(graph[name]).renames)


def _is_ordered(graph: Graph, component: list[Link]) -> bool:
    """Whether an order of the steps along several axes computes a component."""
    if any(link.operand == -1 for link in component):
        return False
    try:
        loop_of(graph[name] for name in dict.fromkeys(link.reader for link in component))
    except NoTiming:
        return False
    return True


def _without_order(component: list[Link], axes: Sequence[str]) -> Iterator[Finding]:
    """Two cycles with delays of both signs along an axis, or along two axes."""
    cycles = _Cycles(component)
    found = [
        (next(ahead, None), next(back, None))
        for axis in axes
        for along in [[link for link in component if link.edge.axis == axis]]
        for ahead in [(link for link in along if link.edge.delay < 0)]
        for back in [(link for link in along if link.edge.delay > 0)]
    ]
    first = [next(link for link in component if link.edge.axis == axis) for axis in axes[:2]]
    pairs = [(back, ahead) for ahead, back in found if ahead is not None and back is not None]
    past, future = pairs[0] if pairs else first
    yield AlongTwoAxes(cycles.through(past), cycles.through(future))


def _without_direction(graph: Graph, component: list[Link]) -> Iterator[Finding]:
    """The cycles of a component that no direction of time serves."""
    names = dict.fromkeys(link.reader for link in component)
    try:
        loop_of(graph[name] for name in names)
    except NoTiming as found:
        # The cycle that prevents a forward loop has a negative total delay, or zero.
        future = _Cycles(component, 1).violating(found.forward)
        past = _Cycles(component, -1).violating(found.backward)
        for cycle in (past, future):
            if not total(cycle):
                past = future = cycle
        # Without a delay it is reported already.
        if any(link.edge.delay for link in past):
            yield BothDirections(past, future)


def _needs_whole(graph: Graph, link: Link, axes: Collection[str] | None) -> bool:
    """Whether a link needs all the steps along one of the axes (along any axis, for None)."""
    return link.operand == -1 or needs_all_steps(graph[link.reader], axes)


def _components(order: Mapping[str, int], links: list[Link]) -> list[list[Link]]:
    """The links inside each component that has a cycle, in the order of the nodes."""
    # Arrows point from the source to the reader, as values flow.
    number = cycles((link.edge.source, link.reader) for link in links)
    inside: dict[int, list[Link]] = {}
    for link in links:
        if link.reader in number and number[link.reader] == number.get(link.edge.source):
            inside.setdefault(number[link.reader], []).append(link)
    return sorted(inside.values(), key=lambda found: min(order[link.reader] for link in found))


class _Cycles:
    """The cycles of one component.

    Of several links from one node to another they take the one with the least delay into
    the past (``sign`` 1) or into the future (-1); the first one for 0.
    """

    def __init__(self, links: list[Link], sign: int = 0) -> None:
        self.links = links
        self.sign = sign
        self.between: dict[tuple[str, str], Link] = {}
        for link in links:
            known = self.between.setdefault((link.edge.source, link.reader), link)
            if sign * link.edge.delay < sign * known.edge.delay:
                self.between[link.edge.source, link.reader] = link
        self.network: nx.DiGraph[str] = nx.DiGraph(list(self.between))

    def through(self, link: Link) -> tuple[Link, ...]:
        """The shortest cycle that begins with a link, in the order in which values flow."""
        path = nx.shortest_path(self.network, link.reader, link.edge.source)
        return (link, *(self.between[step] for step in pairwise(path)))

    def violating(self, known: Sequence[str]) -> tuple[Link, ...]:
        """A short cycle whose total delay is zero or of the other sign; ``known`` is one."""
        found: list[tuple[Link, ...]] = []
        links = [link for link in self.between.values() if self.sign * link.edge.delay < 0]
        for link in links[: max(1, MOST_LINKS // len(self.links))]:
            cycle = self.through(link)
            if self.sign * total(cycle) <= 0:
                found.append(cycle)
        around = pairwise((*known, known[0]))
        return min((*found, tuple(self.between[step] for step in around)), key=len)

    def shortest(self) -> tuple[Link, ...]:
        """A cycle with the fewest links; in a very large component, a short one."""
        starts = self.links[: max(1, MOST_LINKS // len(self.links))]
        return min((self.through(link) for link in starts), key=len)
