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

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rollc.ir.graph import LEAVES, Edge, Graph
from rollc.ir.operations import operation_of
from rollc.ir.traversal import users
from rollc.kernel.schedule import Item, Region, Schedule, needed
from rollc.transforms.predicate.predicate import is_weight_product, reads

GroupKind = Literal["nest", "stack", "single", "leaf", "alias"]


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
        self.pending = list(region.items)
        self.waiting = set(map(id, self.pending))
        self.earlier = self._earlier()
        self.readers = readers
        self.fixed = {*graph.results(), *delayed, *(node.initial for node in graph.nodes)}

    def groups(self) -> Iterable[Group]:
        while self.pending:
            group = self._next()
            self.waiting.difference_update(map(id, group.items))
            self.pending = [item for item in self.pending if id(item) in self.waiting]
            yield group

    def _earlier(self) -> Mapping[int, Sequence[tuple[Item, bool]]]:
        """Of each item those that are computed before it, and whether it can be in their nest."""
        by_name: dict[str, list[Item]] = {}
        for item in self.pending:
            by_name.setdefault(item.node.name, []).append(item)
        return {id(item): tuple(self._sources(item, by_name)) for item in self.pending}

    def _sources(
        self, item: Item, by_name: Mapping[str, Sequence[Item]]
    ) -> Iterator[tuple[Item, bool]]:
        loop, outer = self.region.kind != "free", self.region.outer
        for edge in needed(self.graph, item.node, self.guarded):
            if outer is not None and edge.delay and edge.axis == outer.axis:
                continue
            for source in by_name.get(edge.source, ()):
                if loop and self.region.lag(item, source, edge):
                    continue
                if source is not item and item.meets(source, edge.delay):
                    yield source, edge in item.node.operands and not edge.delay

    def _ready(self, item: Item, nest: Mapping[str, Item] | None = None) -> bool:
        """Whether the operands of an item at this step are computed before, or in the nest."""
        for source, fusable in self.earlier[id(item)]:
            if id(source) in self.waiting and not (
                fusable and nest is not None and nest.get(source.node.name) is source
            ):
                return False
        return True

    def _next(self) -> Group:
        ready = [item for item in self.pending if self._ready(item)]
        for item in ready:
            if item.node.operation in LEAVES:
                return Group("leaf", (item,))
            if self._is_alias(item):
                return Group("alias", (item,))
        for item in ready:
            if is_weight_product(self.graph, item.node):
                return Group("stack", tuple(self._stack(item, ready)))
            if not operation_of(item.node).fusable:
                return Group("single", (item,))
        return Group("nest", self._soonest(ready))

    def _soonest(self, ready: Sequence[Item]) -> tuple[Item, ...]:
        """The first nest that has more in it than values for later nests."""
        tried: set[int] = set()
        for first in ready:
            if id(first) not in tried:
                nest = tuple(self._nest(first))
                tried.update(map(id, nest))
                connected = {id(item) for item in nest} - self._early(nest)
                if connected:
                    return tuple(item for item in nest if id(item) in connected)
        return tuple(self._nest(ready[0]))

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

    def _stack(self, first: Item, ready: Sequence[Item]) -> Iterable[Item]:
        """The ready products of the operand of one: one product with a wider matrix."""
        yield first
        if not self._stackable(first):
            return
        for item in ready:
            same = item.node.operands[-1:] == first.node.operands[-1:]
            product = same and is_weight_product(self.graph, item.node)
            compatible = item.same_iterations(first) and (
                self.guarded.get(item.node.name) == self.guarded.get(first.node.name)
            )
            if item is not first and product and compatible and self._stackable(item):
                yield item

    def _stackable(self, item: Item) -> bool:
        return item.node.name not in self.delayed and item.whole

    def _nest(self, first: Item) -> Iterable[Item]:
        nest: dict[str, Item] = {}
        space = (first.node.type.axes, first.node.type.shape)
        grown = True
        while grown:
            grown = False
            for item in self.pending:
                node = item.node
                if node.name in nest or not operation_of(node).fusable:
                    continue
                if (node.type.axes, node.type.shape) != space or not item.same_iterations(first):
                    continue
                if self._ready(item, nest):
                    nest[node.name] = item
                    grown = True
        return nest.values()
