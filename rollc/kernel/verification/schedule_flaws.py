"""Is this a schedule?  Every node computed once, and after all that it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.verifier import Flaw, verify
from rollc.kernel.program import PHASES
from rollc.kernel.schedule import Item, Region, Schedule, needed

ENDLESS = 2**31  # steps, of any number of them


def schedule_flaws(scheduled: Schedule) -> Iterator[Flaw]:
    """What makes a schedule unusable; first what is wrong with its graph."""
    graph = scheduled.graph
    flaws = [*verify(graph, wider=graph.steps is not None), *_frame(scheduled)]
    yield from flaws
    if not flaws:
        yield from _Places(scheduled).flaws()


def _frame(scheduled: Schedule) -> Iterator[Flaw]:
    """What can be said of regions and items one by one."""
    graph, steps = scheduled.graph, scheduled.graph.steps
    latest = 0
    for region in scheduled.regions:
        line = f"region {region.kind} {region.phase}"
        if region.kind not in ("free", "forward", "backward") or region.phase not in PHASES:
            yield Flaw(None, f"`{line}` is no region", line)
            continue
        if PHASES.index(region.phase) < latest:
            yield Flaw(None, f"the phase {region.phase} comes again after another one", line)
        latest = max(latest, PHASES.index(region.phase))
        if region.kind == "free" and region.axis:
            yield Flaw(None, f"what is on no cycle goes over no axis: `{region.axis}`", line)
        if region.kind != "free" and region.axis not in graph.axes:
            yield Flaw(None, f"a loop over `{region.axis}`, which is no time axis", line)
        for item in region.items:
            yield from (Flaw(item.node.name, text) for text in _item(scheduled, region, item))
            end = steps if item.stop is None else item.stop
            if item.start < 0 or (end is not None and not item.start < end <= (steps or end)):
                yield Flaw(item.node.name, f"there are no steps {item.start} to {end}")


def _item(scheduled: Schedule, region: Region, item: Item) -> Iterator[str]:
    known = scheduled.graph.by_name.get(item.node.name)
    if known is None:
        yield "is no node of the graph"
    elif item.whole and item.node != known:
        yield "is another node in the graph"
    elif item.node.type != known.type:
        yield f"is {item.node.type} in a piece, and {known.type} in the graph"
    elif not item.whole:
        yield from _piece(scheduled.graph, item.node)
    if region.kind == "free":
        if item.shift:
            yield "is computed at a shifted step outside a loop"
        return
    if region.axis not in item.node.type.axes:
        yield f"is in a loop over `{region.axis}`, and the same at all its steps"
    if (item.start, item.stop) != (region.start, region.stop):
        yield "runs for other steps than its loop"


def _piece(graph: Graph, node: Node) -> Iterator[str]:
    """A node that is computed in another way at some steps, from nodes of the graph."""
    others = [other for other in graph.nodes if other.name != node.name]
    found = verify(graph.with_nodes([*others, node]), wider=True)
    yield from (flaw.problem for flaw in found if flaw.node == node.name)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an item runs: the number of its region, and its own in that."""

    region: int
    number: int
    item: Item


class _Places:
    """The places of the items of a schedule whose items are nodes of its graph."""

    def __init__(self, scheduled: Schedule) -> None:
        self.graph = scheduled.graph
        self.regions = scheduled.regions
        self.end = ENDLESS if scheduled.graph.steps is None else scheduled.graph.steps
        self.guarded: Mapping[str, str] = scheduled.guarded
        self.by_name: dict[str, list[_Place]] = {}
        for position, region in enumerate(self.regions):
            for number, item in enumerate(region.items):
                place = _Place(position, number, item)
                self.by_name.setdefault(item.node.name, []).append(place)

    def flaws(self) -> Iterator[Flaw]:
        for name, places in self.by_name.items():
            yield from (Flaw(name, text) for text in self._once(self.graph[name], places))
            for place in places:
                yield from (Flaw(name, text) for text in dict.fromkeys(self._reads(place)))
        yield from self._results()

    def _once(self, node: Node, places: Sequence[_Place]) -> Iterator[str]:
        """No step is computed by two items.  What nobody reads need not be computed at all."""
        if node.type.static:
            if len(places) > 1:
                yield "is computed more than once"
            return
        spans = sorted(self._span(place.item) for place in places)
        if any(later[0] < earlier[1] for earlier, later in pairwise(spans)):
            yield "is computed more than once at some steps"

    def _span(self, item: Item) -> tuple[int, int]:
        return item.start, self.end if item.stop is None else item.stop

    def _reads(self, place: _Place) -> Iterator[str]:
        """What an item reads and is not there; all conditions and initial values with it."""
        start, stop = self._span(place.item)
        for edge in needed(self.graph, place.item.node, self.guarded):
            sources = self.by_name.get(edge.source, ())
            met = [source for source in sources if place.item.meets(source.item, edge.delay)]
            if not sources:
                yield f"reads `{edge.source}`, which nothing computes"
            elif not all(self._there(place, source, edge) for source in met):
                yield f"reads `{edge}` before it is computed"
            elif not self.graph[edge.source].type.static:
                first, last = max(start - edge.delay, 0), min(stop - edge.delay, self.end)
                if missing := self._missing(sources, first, last):
                    yield f"reads `{edge}` at the step {missing[0]}, where it is not computed"

    def _missing(self, places: Sequence[_Place], first: int, last: int) -> range:
        """The steps from ``first`` to before ``last``, from the one on that no item computes."""
        for low, high in sorted(self._span(place.item) for place in places):
            if low <= first < high:
                first = high
        return range(first, last)

    def _there(self, reader: _Place, source: _Place, edge: Edge) -> bool:
        """Whether what is read has been computed when its reader runs."""
        if source.region != reader.region:
            return source.region < reader.region
        region = self.regions[reader.region]
        earlier = source.number < reader.number
        if region.kind == "free":
            return earlier
        delay = edge.delay if edge.axis == region.axis else 0
        later = delay + reader.item.shift - source.item.shift
        wait = later if region.kind == "forward" else -later
        return earlier if wait == 0 else wait > 0

    def _results(self) -> Iterator[Flaw]:
        """What leaves the graph is computed, in the phase of those who ask for it."""
        graph = self.graph
        wanted = [(name, 0) for _, name in graph.outputs]
        wanted += [(graph.loss, 0)] if graph.loss is not None else []
        for label, name in graph.gradients:
            leaf = graph.by_name.get(label)
            wanted.append((name, 2 if leaf is not None and leaf.operation == "input" else 1))
        for name, latest in dict.fromkeys(wanted):
            places = self.by_name.get(name, [])
            if not places:
                yield Flaw(name, "leaves the graph, and nothing computes it")
            elif not graph[name].type.static and (missing := self._missing(places, 0, self.end)):
                yield Flaw(name, f"leaves the graph, and is not computed at the step {missing[0]}")
            for place in places:
                phase = self.regions[place.region].phase
                if PHASES.index(phase) > latest:
                    yield Flaw(name, f"is wanted in the phase {PHASES[latest]}, and is in {phase}")
