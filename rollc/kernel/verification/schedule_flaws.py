"""The verifier of schedules: every node is computed once, after its operands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.time.wavefront import are_weights
from rollc.ir.verifier import Flaw, verify
from rollc.kernel.program import PHASES
from rollc.kernel.schedule import Item, Region, Schedule, needed

ENDLESS = 2**31  # steps, where their number is not known


def schedule_flaws(scheduled: Schedule) -> Iterator[Flaw]:
    """Everything that makes a schedule invalid; first the flaws of its graph."""
    graph = scheduled.graph
    flaws = [*verify(graph, wider=graph.steps is not None), *_frame(scheduled)]
    yield from flaws
    if not flaws:
        yield from _Order(scheduled).flaws()


def _frame(scheduled: Schedule) -> Iterator[Flaw]:
    """The flaws of single regions and items."""
    graph, steps = scheduled.graph, scheduled.graph.steps
    latest = 0
    for region in scheduled.regions:
        line = f"region {region.kind} {region.phase}"
        if region.kind not in ("free", "forward", "backward") or region.phase not in PHASES:
            yield Flaw(None, f"`{line}` is no region", line)
            continue
        if PHASES.index(region.phase) < latest:
            yield Flaw(None, f"the phase {region.phase} is repeated after another one", line)
        latest = max(latest, PHASES.index(region.phase))
        if region.kind == "free" and region.axis:
            yield Flaw(None, f"a region without a cycle has the axis `{region.axis}`", line)
        if region.kind != "free" and region.axis not in graph.axes:
            yield Flaw(None, f"a loop over `{region.axis}`, which is no time axis", line)
        yield from (Flaw(None, text, line) for text in _outer(scheduled, region))
        yield from (Flaw(None, text, line) for text in _diagonals(scheduled, region))
        for item in region.items:
            yield from (Flaw(item.node.name, text) for text in _item(scheduled, region, item))
            end = steps if item.stop is None else item.stop
            if item.start < 0 or (end is not None and not item.start < end <= (steps or end)):
                yield Flaw(item.node.name, f"there are no steps {item.start} to {end}")


def _outer(scheduled: Schedule, region: Region) -> Iterator[str]:
    """The flaws of the loop around a region, whose regions follow one another."""
    outer = region.outer
    if outer is None:
        return
    if outer.kind == "free" or outer.axis not in scheduled.graph.axes or outer.axis == region.axis:
        yield f"is in a loop {outer.kind} over `{outer.axis}`, which is none around it"
    inside = [other.outer == outer for other in scheduled.regions]
    first = inside.index(True)
    same = [one for one in scheduled.regions if one.outer and one.outer.number == outer.number]
    if not all(inside[first : first + len(same)]):
        yield f"the regions of the loop {outer.number} do not follow one another, or differ"


def _diagonals(scheduled: Schedule, region: Region) -> Iterator[str]:
    """The flaws of a loop over the diagonals of two axes."""
    if not region.across:
        return
    bound = (*region.bound, "batch")
    if region.kind == "free" or region.across in bound or region.across not in scheduled.graph.axes:
        yield f"has diagonals of `{region.across}`, which is no other time axis"
    if not are_weights(region.weights):
        yield f"has diagonals of the weights {region.weights}"
    if any(not item.whole for item in region.items):
        yield "has diagonals of some steps"


def _item(scheduled: Schedule, region: Region, item: Item) -> Iterator[str]:
    known = scheduled.graph.by_name.get(item.node.name)
    if known is None:
        yield "is no node of the graph"
    elif item.whole and item.node != known:
        yield "differs from the node of that name in the graph"
    elif item.node.type != known.type:
        yield f"is {item.node.type} in a piece, and {known.type} in the graph"
    elif not item.whole:
        yield from _piece(scheduled.graph, item.node)
    if region.outer is not None and region.outer.axis not in item.node.type.axes:
        yield f"is in a loop over `{region.outer.axis}`, and does not run over that"
    if region.kind == "free":
        if item.shift:
            yield "is computed at a shifted step outside a loop"
        return
    for axis in filter(None, (region.axis, region.across)):
        if axis not in item.node.type.axes:
            yield f"is in a loop over `{axis}`, and does not run over that"
    if (item.start, item.stop) != (region.start, region.stop):
        yield "runs for other steps than its loop"


def _piece(graph: Graph, node: Node) -> Iterator[str]:
    """The flaws of a node that is specialized to some steps."""
    others = [other for other in graph.nodes if other.name != node.name]
    found = verify(graph.with_nodes([*others, node]), wider=True)
    yield from (flaw.problem for flaw in found if flaw.node == node.name)


@dataclass(frozen=True, slots=True)
class _Position:
    """The position of an item in a schedule: that of its region, and its own in that."""

    region: int
    number: int
    item: Item


class _Order:
    """The order of execution of a schedule whose items are nodes of its graph."""

    def __init__(self, scheduled: Schedule) -> None:
        self.graph = scheduled.graph
        self.regions = scheduled.regions
        self.end = ENDLESS if scheduled.graph.steps is None else scheduled.graph.steps
        self.guarded: Mapping[str, str] = scheduled.guarded
        self.by_name: dict[str, list[_Position]] = {}
        for region_number, region in enumerate(self.regions):
            for number, item in enumerate(region.items):
                position = _Position(region_number, number, item)
                self.by_name.setdefault(item.node.name, []).append(position)

    def flaws(self) -> Iterator[Flaw]:
        """Nodes that are computed twice, read before they are computed, or not at all."""
        for name, positions in self.by_name.items():
            yield from (Flaw(name, text) for text in self._once(self.graph[name], positions))
            for position in positions:
                yield from (Flaw(name, text) for text in dict.fromkeys(self._reads(position)))
        yield from self._results()

    def _once(self, node: Node, positions: Sequence[_Position]) -> Iterator[str]:
        """No step is computed by two items; dead code need not be computed."""
        if node.type.static:
            if len(positions) > 1:
                yield "is computed more than once"
            return
        spans = sorted(self._span(position.item) for position in positions)
        if any(later[0] < earlier[1] for earlier, later in pairwise(spans)):
            yield "is computed more than once at some steps"

    def _span(self, item: Item) -> tuple[int, int]:
        return item.start, self.end if item.stop is None else item.stop

    def _reads(self, reader: _Position) -> Iterator[str]:
        """The dependences of an item that are not computed before it."""
        start, stop = self._span(reader.item)
        for edge in needed(self.graph, reader.item.node, self.guarded):
            sources = self.by_name.get(edge.source, ())
            met = [source for source in sources if reader.item.meets(source.item, edge.delay)]
            if not sources:
                yield f"reads `{edge.source}`, which nothing computes"
            elif not all(self._is_before(reader, source, edge) for source in met):
                yield f"reads `{edge}` before it is computed"
            elif not self.graph[edge.source].type.static:
                first, last = max(start - edge.delay, 0), min(stop - edge.delay, self.end)
                if missing := self._missing(sources, first, last):
                    yield f"reads `{edge}` at the step {missing[0]}, where it is not computed"

    def _missing(self, positions: Sequence[_Position], first: int, last: int) -> range:
        """Of the steps from ``first`` to before ``last``, those from the first missing one on."""
        for low, high in sorted(self._span(position.item) for position in positions):
            if low <= first < high:
                first = high
        return range(first, last)

    def _is_before(self, reader: _Position, source: _Position, edge: Edge) -> bool:
        """Whether the source of a read is computed before its reader."""
        region = self.regions[reader.region]
        outer = region.outer
        if outer is not None and self.regions[source.region].outer == outer:
            along = edge.delay if edge.axis == outer.axis else 0
            if along:
                return along > 0 if outer.kind == "forward" else along < 0
        if source.region != reader.region:
            return source.region < reader.region
        earlier = source.number < reader.number
        if region.kind == "free":
            return earlier
        if edge.axis not in (region.axis, region.across):
            edge = replace(edge, delay=0, axis="")
        lag = region.lag(reader.item, source.item, edge)
        distance = lag if region.kind == "forward" else -lag
        return earlier if distance == 0 else distance > 0

    def _results(self) -> Iterator[Flaw]:
        """Results that are not computed, or only in a later phase than theirs."""
        graph = self.graph
        wanted = [(name, 0) for _, name in graph.outputs]
        wanted += [(graph.loss, 0)] if graph.loss is not None else []
        for label, name in graph.gradients:
            leaf = graph.by_name.get(label)
            wanted.append((name, 2 if leaf is not None and leaf.operation == "input" else 1))
        for name, latest in dict.fromkeys(wanted):
            positions = self.by_name.get(name, [])
            if not positions:
                yield Flaw(name, "is a result, and nothing computes it")
            elif not graph[name].type.static and (missing := self._missing(positions, 0, self.end)):
                yield Flaw(name, f"is a result, and is not computed at the step {missing[0]}")
            for position in positions:
                phase = self.regions[position.region].phase
                if PHASES.index(phase) > latest:
                    yield Flaw(
                        name, f"is a result of the phase {PHASES[latest]}, and is in {phase}"
                    )
