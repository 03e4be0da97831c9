"""Scheduling: the strongly connected components of a graph, in topological order, are regions.

A component with a cycle becomes a loop over time, forward where its delays are positive, backward
where they are negative.  Where they are both, its nodes run at shifted steps
(:mod:`rollc.ir.time.retiming`).  All others are *free*: they run for all steps at once, outside
every loop (loop distribution: Kennedy and Allen, Optimizing compilers for modern architectures,
2001, section 2.4).  A component with delays along two axes becomes several regions, each a loop or
free along the inner axis, inside one loop over the steps of the outer axis
(:mod:`rollc.ir.time.loops`); or, where that pays off or nothing else is possible, one loop over the
diagonals of both axes, which computes all steps of a diagonal at once
(:mod:`rollc.ir.time.wavefront`).

Regions belong to phases, which a caller asks for: ``primal`` has the nodes that the loss and the
outputs need, ``adjoint`` those that the gradients of parameters and states need besides, and
``inputs`` those that only the gradients of inputs need.

This pass moves nothing into or out of a cycle and fuses nothing: :mod:`rollc.kernel.fusion` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import networkx

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.time.loops import loop_of, wavefront
from rollc.ir.time.retiming import Timing, Weights, delay_along
from rollc.ir.traversal import in_order, reachable
from rollc.kernel.cost_model import is_by_diagonals
from rollc.kernel.program import PHASES, Phase
from rollc.transforms.predicate.predicate import guards, reads

Kind = Literal["free", "forward", "backward"]


@dataclass(frozen=True, slots=True)
class Item:
    """A node at the steps from ``start`` up to ``stop`` (None: the end of the sequence).

    Every node is one item, unless loop peeling specializes it near the ends of the sequence.  In
    iteration t of its loop an item computes the step ``t - shift``.
    """

    node: Node
    start: int = 0
    stop: int | None = None
    shift: int = 0

    @property
    def whole(self) -> bool:
        """Whether this is all of its node."""
        return self.start == 0 and self.stop is None

    def same_iterations(self, other: Item) -> bool:
        """Whether another item runs in the same iterations, with the same shift."""
        mine, theirs = (self.start, self.stop, self.shift), (other.start, other.stop, other.shift)
        return mine == theirs

    def meets(self, other: Item, delay: int) -> bool:
        """Whether a read of the other item, ``delay`` steps ago, falls into its steps."""
        if other.node.type.static or not set(other.node.type.time) <= set(self.node.type.time):
            return True
        low, high = self.start - delay, None if self.stop is None else self.stop - delay
        after = other.stop is not None and low >= other.stop
        return not (after or (high is not None and high <= other.start))


def needed(graph: Graph, node: Node, guarded: Mapping[str, str]) -> Iterator[Edge]:
    """The dependences of a node: its reads, its condition, and initial values.

    A delayed read depends on the source's initial value too.
    """
    yield from reads(node, guarded)
    if node.initial is not None:
        yield Edge(node.initial)
    for edge in node.operands:
        initial = graph[edge.source].initial if edge.delay else None
        if initial is not None:
            yield Edge(initial)


@dataclass(frozen=True, slots=True)
class Outer:
    """A loop around consecutive regions: its number among those of a schedule, and its steps."""

    number: int
    kind: Kind
    axis: str


@dataclass(frozen=True, slots=True)
class Region:
    """Items of one loop over ``axis``, or of a sequence of statements over all steps.

    With ``outer`` they are run at each step of that loop.  With an axis ``across`` the loop is one
    over diagonals of both axes, with these ``weights``: at each of them its items run at all of its
    steps across.
    """

    kind: Kind
    phase: Phase
    items: tuple[Item, ...]
    axis: str = ""
    start: int = 0
    stop: int | None = None
    outer: Outer | None = None
    across: str = ""
    weights: Weights = (0, 1)

    @property
    def bound(self) -> tuple[str, ...]:
        """The axes of the loops around a statement of the region."""
        outer = () if self.outer is None else (self.outer.axis,)
        return outer if self.kind == "free" else (*outer, self.axis)

    def lag(self, reader: Item, source: Item, edge: Edge) -> int:
        """How many iterations of the loop ago an item computed what another one reads."""
        return delay_along(edge, self.across, self.weights) + reader.shift - source.shift


@dataclass(frozen=True)
class Schedule:
    """The regions in the order of execution, and their graph."""

    graph: Graph
    regions: tuple[Region, ...]

    @cached_property
    def guarded(self) -> Mapping[str, str]:
        """The predicated products, each with its condition."""
        return guards(self.graph)


def schedule(graph: Graph, items: Sequence[Item] | None = None) -> Schedule:
    """The schedule of a graph, or of the items of a peeled one."""
    if items is None:
        items = [Item(node) for node in graph.nodes]
    regions = tuple(_Scheduler(graph, items).regions())
    return Schedule(graph.with_nodes(_in_running_order(graph, regions)), regions)


def _in_running_order(graph: Graph, regions: Sequence[Region]) -> list[Node]:
    """The nodes in the order of execution; then those in pieces, and dead code."""
    ordered = [item.node for region in regions for item in region.items if item.whole]
    found = {node.name for node in ordered}
    return [*ordered, *(node for node in graph.nodes if node.name not in found)]


class _Scheduler:
    def __init__(self, graph: Graph, items: Sequence[Item]) -> None:
        self.graph = graph
        self.items = items
        self.by_name: dict[str, list[int]] = {}
        for position, item in enumerate(items):
            self.by_name.setdefault(item.node.name, []).append(position)
        self.guarded = guards(graph)
        self.depends = self._dependencies()
        self.phase = self._phases(graph)
        self.outer = 0  # the loops around regions so far

    def _dependencies(self) -> networkx.DiGraph[int]:
        depends: networkx.DiGraph[int] = networkx.DiGraph()
        depends.add_nodes_from(range(len(self.items)))
        for position, item in enumerate(self.items):
            for edge in needed(self.graph, item.node, self.guarded):
                depends.add_edges_from((source, position) for source in self._met(item, edge))
        return depends

    def _met(self, item: Item, edge: Edge) -> Iterable[int]:
        """The items that a read depends on."""
        for position in self.by_name[edge.source]:
            if item.meets(self.items[position], edge.delay):
                yield position

    def _phases(self, graph: Graph) -> list[Phase | None]:
        """The first phase whose results need each item; None for dead code."""
        values = [name for _, name in graph.outputs]
        if graph.loss is not None:
            values.append(graph.loss)
        wanted = [name for label, name in graph.gradients if graph[label].operation != "input"]
        found: list[Phase | None] = [None] * len(self.items)
        names: list[tuple[Phase, Sequence[str]]] = [
            ("inputs", graph.results()),
            ("adjoint", [*values, *wanted]),
            ("primal", values),
        ]
        for phase, results in names:
            positions = (position for name in results for position in self.by_name[name])
            for position in reachable(positions, self.depends.predecessors):
                found[position] = phase
        return found

    def regions(self) -> Iterable[Region]:
        condensed = networkx.condensation(self.depends)
        members: dict[int, list[int]] = {
            component: sorted(data["members"]) for component, data in condensed.nodes(data=True)
        }
        missing = {component: condensed.in_degree(component) for component in members}
        for phase in PHASES:
            mine = [c for c, inside in members.items() if self.phase[inside[0]] == phase]
            mine.sort(key=lambda component: members[component][0])
            pending = list(mine)
            while pending:
                free: list[int] = []
                found = True
                while found:
                    # All free components that are ready, and those that they make ready.
                    found = False
                    for component in list(pending):
                        if missing[component] == 0 and not self._is_loop(members[component]):
                            free.extend(members[component])
                            pending.remove(component)
                            self._done(condensed, component, missing)
                            found = True
                if free:
                    yield Region("free", phase, tuple(self.items[position] for position in free))
                if not pending:
                    break
                # The condensation is acyclic: some component is ready.
                loop = next(component for component in pending if missing[component] == 0)
                pending.remove(loop)
                self._done(condensed, loop, missing)
                yield from self._loop(members[loop], phase)

    @staticmethod
    def _done(condensed: networkx.DiGraph[int], component: int, missing: dict[int, int]) -> None:
        for reader in condensed.successors(component):
            missing[reader] -= 1

    def _is_loop(self, positions: Sequence[int]) -> bool:
        first = positions[0]
        return len(positions) > 1 or self.depends.has_edge(first, first)

    def _loop(self, positions: Sequence[int], phase: Phase) -> Iterator[Region]:
        """The loop of a component, or its parts in a loop over another axis."""
        loop = self._loop_of(positions)
        if not loop.parts:
            yield self._along_one_axis(positions, loop, phase)
            return
        self.outer += 1
        outer = Outer(self.outer, _kind(loop), loop.axis)
        free: list[Item] = []
        for part in loop.parts:
            mine = [position for node in part.nodes for position in self.by_name[node.name]]
            if part.loop is None:
                free.extend(self.items[position] for position in mine)
                continue
            if free:
                yield Region("free", phase, tuple(free), outer=outer)
                free = []
            yield replace(self._along_one_axis(mine, part.loop, phase), outer=outer)
        if free:
            yield Region("free", phase, tuple(free), outer=outer)

    def _loop_of(self, positions: Iterable[int]) -> Timing:
        """The loop of a component: over diagonals where it would have loops in it."""
        nodes = [self.items[position].node for position in positions]
        loop = loop_of(nodes)
        front = wavefront(nodes) if any(part.loop for part in loop.parts) else None
        return front if front is not None and is_by_diagonals(front.weights) else loop

    def _along_one_axis(self, positions: Sequence[int], loop: Timing, phase: Phase) -> Region:
        """The loop of a component, its items in the topological order of an iteration."""
        names = {self.items[position].node.name for position in positions}

        def before(position: int) -> Iterator[int]:
            node = self.items[position].node
            for edge in node.operands:
                here = edge.axis in ("", loop.axis, loop.across)
                if edge.source in names and here and loop.distance(node.name, edge) == 0:
                    yield from self.by_name[edge.source]

        items = tuple(
            replace(item, shift=loop.shifts.get(item.node.name, 0))
            for item in (self.items[position] for position in in_order(positions, before))
        )
        span = items[0].start, items[0].stop
        return Region(
            _kind(loop), phase, items, loop.axis, *span, across=loop.across, weights=loop.weights
        )


def _kind(loop: Timing) -> Kind:
    return "forward" if loop.direction == 1 else "backward"
