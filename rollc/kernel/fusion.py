"""Loop fusion: from the items of a region to groups that become one statement each.

Within a region, elementwise nodes of one iteration space (the same axes and the same shape) that
can be fused form one group, a *nest*; matrix products of one operand form one group, a *stack*;
every other node is a group of its own.  Products and other nodes that are ready go first, so that
nests grow as large as possible (greedy fusion in topological order).  A cheap node that has nothing
to do with the others of a nest waits for that of its readers, and is not stored.

Cheap elementwise nodes of a free region whose only readers are in one loop are sunk into that
loop: to compute them there, from values that are stored anyway, costs less than to store them.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Literal, get_args

from rollc.ir.graph import LEAVES, Edge, Graph
from rollc.ir.operations import operation_of
from rollc.ir.traversal import users
from rollc.kernel.schedule import Item, Region, Schedule, needed
from rollc.transforms.predicate.predicate import is_weight_product, reads

GroupKind = Literal["nest", "stack", "single", "leaf", "alias"]
_FIRST: tuple[tuple[GroupKind, GroupKind], ...] = (("leaf", "alias"), ("stack", "single"))


@dataclass(frozen=True, slots=True)
class Group:
    """Items that are fused into one statement."""

    kind: GroupKind
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A region whose items are grouped."""

    region: Region
    groups: tuple[Group, ...]


def order(plan: Schedule) -> tuple[Section, ...]:
    """The groups of every region, in the order of execution."""
    graph = plan.graph
    regions = _sink(graph, plan.regions, plan.guarded)
    delayed = set(graph.reach)
    items = (item for region in regions for item in region.items)
    readers = users(items, lambda item: reads(item.node, plan.guarded))
    return tuple(
        Section(region, tuple(_Grouper(graph, region, readers, delayed, plan.guarded).groups()))
        for region in regions
    )


def _sink(graph: Graph, regions: Sequence[Region], guarded: Mapping[str, str]) -> list[Region]:
    """Sink cheap elementwise nodes into the loop that has all their readers."""
    results = set(graph.results())
    initials = {node.initial for node in graph.nodes if node.initial is not None}
    region_of = {
        id(item): position for position, region in enumerate(regions) for item in region.items
    }
    items = [item for region in regions for item in region.items]
    readers = users(items, lambda item: reads(item.node, guarded))
    pieces = Counter(item.node.name for item in items)
    moved: dict[int, list[Item]] = {}
    shift = {id(item): item.shift for region in regions for item in region.items}
    for position in reversed(range(len(regions))):
        region = regions[position]
        if region.bound:
            continue
        for item in reversed(region.items):
            node = item.node
            mine = readers.get(node.name, [])
            targets = {region_of[id(reader)] for reader, _ in mine}
            target = targets.pop() if len(targets) == 1 else position
            shifts = {shift[id(reader)] for reader, _ in mine}
            if (
                operation_of(node).cheap
                and node.name not in results
                and node.name not in initials
                and pieces[node.name] == 1
                and item.whole
                and len(shifts) == 1
                and regions[target].kind != "free"
                and regions[target].outer is None
                and {regions[target].axis, regions[target].across} <= {*node.type.time, ""}
                and all(
                    edge.delay == 0 and regions[target].axis in reader.node.type.time
                    for reader, edge in mine
                )
            ):
                region_of[id(item)], shift[id(item)] = target, shifts.pop()
                moved.setdefault(target, []).append(item)
    found = []
    for position, region in enumerate(regions):
        stay = tuple(item for item in region.items if region_of[id(item)] == position)
        if region.kind != "free":
            sunk = (
                replace(item, start=region.start, stop=region.stop, shift=shift[id(item)])
                for item in reversed(moved.get(position, []))
            )
            stay = (*sunk, *stay)
        if stay:
            found.append(replace(region, items=stay))
    return found


class _Grouper:
    def __init__(
        self,
        graph: Graph,
        region: Region,
        readers: Mapping[str, Sequence[tuple[Item, Edge]]],
        delayed: set[str],
        guarded: Mapping[str, str],
    ) -> None:
        self.graph = graph
        self.guarded = guarded
        self.region = region
        self.delayed = delayed
        self.readers = readers
        self.fixed = {*graph.results(), *delayed, *(node.initial for node in graph.nodes)}
        self.items = region.items
        self.waiting = set(map(id, self.items))
        self.spaces = [self._space(item) for item in self.items]
        self.followers: list[list[tuple[int, bool]]] = [[] for _ in self.items]
        self.missing = [0] * len(self.items)  # sources that are not computed yet
        self.before = [0] * len(self.items)  # those of them that cannot be in the same nest
        self._connect()
        self.kinds = [self._kind(item) for item in self.items]
        self.ready: dict[GroupKind, list[int]] = {kind: [] for kind in get_args(GroupKind)}
        for place, missing in enumerate(self.missing):
            if not missing:
                self.ready[self.kinds[place]].append(place)

    def groups(self) -> Iterable[Group]:
        while self.waiting:
            group = self._next()
            yield Group(group.kind, tuple(self.items[place] for place in group.places))
            for place in group.places:
                self._compute(place)

    def _connect(self) -> None:
        """Find what each item is computed from, by their places in the region."""
        by_name: dict[str, list[Item]] = {}
        for item in self.items:
            by_name.setdefault(item.node.name, []).append(item)
        places = {id(item): place for place, item in enumerate(self.items)}
        for place, item in enumerate(self.items):
            sources: dict[int, bool] = {}
            for source, fusable in self._sources(item, by_name):
                sources[places[id(source)]] = fusable and sources.get(places[id(source)], True)
            self.missing[place] = len(sources)
            self.before[place] = sum(not fusable for fusable in sources.values())
            for before, fusable in sources.items():
                self.followers[before].append((place, fusable))

    def _compute(self, place: int) -> None:
        """Count an item as computed, and those as ready that it was missing for."""
        self.waiting.remove(id(self.items[place]))
        ready = self.ready[self.kinds[place]]
        if place in ready:
            ready.remove(place)
        for follower, fusable in self.followers[place]:
            self.missing[follower] -= 1
            self.before[follower] -= not fusable
            if not self.missing[follower] and id(self.items[follower]) in self.waiting:
                insort(self.ready[self.kinds[follower]], follower)

    def _kind(self, item: Item) -> GroupKind:
        if item.node.operation in LEAVES:
            return "leaf"
        if self._is_alias(item):
            return "alias"
        if is_weight_product(self.graph, item.node):
            return "stack"
        return "nest" if operation_of(item.node).fusable else "single"

    def _space(self, item: Item) -> Hashable:
        """What items of one nest have in common; None for one that cannot be in a nest."""
        if not operation_of(item.node).fusable:
            return None
        kind = item.node.type
        return kind.axes, kind.shape, item.start, item.stop, item.shift

    def _sources(
        self, item: Item, by_name: Mapping[str, Sequence[Item]]
    ) -> Iterator[tuple[Item, bool]]:
        """Of an item those that are computed before it, and whether it can be in their nest."""
        loop, outer = self.region.kind != "free", self.region.outer
        for edge in needed(self.graph, item.node, self.guarded):
            if outer is not None and edge.delay and edge.axis == outer.axis:
                continue
            for source in by_name.get(edge.source, ()):
                if loop and self.region.lag(item, source, edge):
                    continue
                if source is not item and item.meets(source, edge.delay):
                    yield source, edge in item.node.operands and not edge.delay

    def _next(self) -> _Places:
        # The first of the leaves and views, then of the products and others, then a nest.
        for kinds in _FIRST:
            found = [self.ready[kind][0] for kind in kinds if self.ready[kind]]
            if found:
                place = min(found)
                kind = self.kinds[place]
                return _Places(kind, self._stack(place) if kind == "stack" else (place,))
        return _Places("nest", self._soonest())

    def _soonest(self) -> tuple[int, ...]:
        """The first nest that has more in it than values for later nests."""
        tried: set[int] = set()
        for first in self.ready["nest"]:
            if first not in tried:
                nest = self._nest(first)
                tried.update(nest)
                early = self._early([self.items[place] for place in nest])
                connected = tuple(place for place in nest if id(self.items[place]) not in early)
                if connected:
                    return connected
        return self._nest(self.ready["nest"][0])

    def _early(self, nest: Sequence[Item]) -> set[int]:
        """Cheap items that neither read nor are read in a nest, and can be in one with a reader."""
        names = {item.node.name for item in nest}
        read = {edge.source for item in nest for edge in item.node.operands}
        return {
            id(item)
            for item in nest
            if operation_of(item.node).cheap
            and item.node.name not in read
            and not any(edge.source in names for edge in item.node.operands)
            and self._waits_for_nests(item)
        }

    def _waits_for_nests(self, item: Item) -> bool:
        """Whether all readers of an item can be in a nest with it."""
        node, readers = item.node, self.readers.get(item.node.name, ())
        space = node.type.axes, node.type.shape
        return (
            bool(readers)
            and node.name not in self.fixed
            and all(
                id(reader) in self.waiting
                and edge.delay == 0
                and operation_of(reader.node).fusable
                and (reader.node.type.axes, reader.node.type.shape) == space
                and reader.same_iterations(item)
                for reader, edge in readers
            )
        )

    def _is_alias(self, item: Item) -> bool:
        """Whether an item is a slice of a vector, or a reshaped value, that can be a view of it."""
        node = item.node
        if node.operation not in ("slice", "reshape") or node.name in self.delayed:
            return False
        source = self.graph[node.operands[0].source]
        if not item.whole or source.type.axes != node.type.axes:
            return False
        if node.operation == "reshape":  # what is packed has a buffer of its own
            return bool(node.type.axes)
        return len(source.type.shape) == 1

    def _stack(self, place: int) -> tuple[int, ...]:
        """The ready products of the operand of one: one product with a wider matrix."""
        first = self.items[place]
        if not self._stackable(first):
            return (place,)
        others = []
        for other in self.ready["stack"]:
            item = self.items[other]
            same = item.node.operands[-1:] == first.node.operands[-1:]
            compatible = item.same_iterations(first) and (
                self.guarded.get(item.node.name) == self.guarded.get(first.node.name)
            )
            if other != place and same and compatible and self._stackable(item):
                others.append(other)
        return (place, *others)

    def _stackable(self, item: Item) -> bool:
        return item.node.name not in self.delayed and item.whole

    def _nest(self, first: int) -> tuple[int, ...]:
        """All that can be in one nest with an item, in an order in which it can be computed."""
        space = self.spaces[first]
        # Walks over the region from its beginning, each of which takes all that is ready by then.
        reached = [(0, place) for place in self.ready["nest"] if self.spaces[place] == space]
        nest: dict[str, int] = {}
        inside: Counter[int] = Counter()
        while reached:
            walk, place = heappop(reached)
            nest[self.items[place].node.name] = place
            for follower, _ in self.followers[place]:
                inside[follower] += 1
                if (
                    inside[follower] == self.missing[follower]
                    and not self.before[follower]
                    and self.spaces[follower] == space
                ):
                    heappush(reached, (walk + (follower < place), follower))
        return tuple(nest.values())


@dataclass(frozen=True, slots=True)
class _Places:
    """A group, by the places of its items in their region."""

    kind: GroupKind
    places: tuple[int, ...]
