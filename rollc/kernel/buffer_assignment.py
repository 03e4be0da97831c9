"""Buffer assignment: each value is a local of its nest, in a buffer, or a view of one.

A value that only its own nest reads is a local.  One that only its own loop reads, at the
same step of the loop, has a buffer without a time dimension.  All others have a value a step:
those that are read with a delay or a shift, and those that leave the loop, among them the tape,
which the adjoint reads.

A slice is a view of its source.  Parts of a concatenation are written into its buffer directly,
where that is legal.  Stacked products of one operand share a buffer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rollc.ir.graph import LEAVES, Edge, Graph, Node, Reach
from rollc.ir.traversal import users
from rollc.kernel.fusion import Group, Section
from rollc.kernel.program import Buffer, Local, Number, Operand, Ref, Role
from rollc.kernel.schedule import Item
from rollc.transforms.predicate.predicate import reads


@dataclass(frozen=True, slots=True)
class _Location:
    """Where an item runs: a section and a group in it."""

    section: int
    group: int
    kind: str


class BufferAssignment:
    """The buffers of a program, and the reference to each node's value."""

    def __init__(
        self, graph: Graph, sections: Sequence[Section], guarded: Mapping[str, str]
    ) -> None:
        self.graph = graph
        self.sections = sections
        self.results = set(graph.results())
        self.initials = {node.initial for node in graph.nodes if node.initial is not None}
        self.guarded = guarded
        self.items: dict[str, list[Item]] = {}  # of each node, one a piece
        items = [item for section in sections for group in section.groups for item in group.items]
        self.readers = users(items, lambda item: reads(item.node, guarded))
        self.buffers: dict[str, Buffer] = {}
        self.refs: dict[str, Ref] = {}
        self._locations: dict[int, _Location] = {}  # by the identity of an item
        self._locate()
        self.joined = self._joined()
        self.clusters = self._clusters()
        self.locals = {name for name in self.items if self._stays_local(name)}
        self._assign()

    def location(self, item: Item) -> _Location:
        """Where an item runs."""
        return self._locations[id(item)]

    def operand(self, edge: Edge, reader: Item) -> Operand:
        """The operand of an item's statement that a read becomes."""
        location = self.location(reader)
        if location.kind == "nest" and edge.delay == 0:
            met = [item for item in self.items.get(edge.source, ()) if reader.meets(item, 0)]
            if met and all(self.location(item) == location for item in met):
                return Local(edge.source)
        if edge.delay == 0:
            return self.static(self.graph[edge.source])
        return self.read(edge)

    def static(self, node: Node) -> Operand:
        """A read without a delay."""
        if node.operation == "constant":
            value = node.options["value"]
            assert isinstance(value, float)
            return Number(value)
        return self.refs[node.name]

    def read(self, edge: Edge) -> Ref:
        """A read of a buffer, with its delay."""
        ref = self.refs[edge.source]
        return replace(ref, shift=ref.shift - edge.delay)

    def _stays_local(self, name: str) -> bool:
        """Whether all readers of a node are in its own nest."""
        if name in self.results or name in self.initials or name in self.joined:
            return False
        if name in self.graph.reach:
            return False
        if any(self.location(item).kind != "nest" for item in self.items[name]):
            return False
        return all(
            self.location(source) == self.location(reader)
            for reader, _ in self.readers.get(name, [])
            for source in self.items[name]
            if reader.meets(source, 0)
        )

    def _locate(self) -> None:
        for index, section in enumerate(self.sections):
            for position, group in enumerate(section.groups):
                for item in group.items:
                    self._locations[id(item)] = _Location(index, position, group.kind)
                    self.items.setdefault(item.node.name, []).append(item)

    def _joined(self) -> dict[str, tuple[str, int]]:
        """The nodes that are written into the buffer of a concatenation: its name, the offset."""
        found: dict[str, tuple[str, int]] = {}
        for name, items in self.items.items():
            node = self.graph[name]
            if node.operation != "concat" or len(node.type.shape) != 1 or len(items) > 1:
                continue
            offset = 0
            for edge in node.operands:
                if edge.source not in found and self._can_join(edge, items[0]):
                    found[edge.source] = (name, offset)
                offset += self.graph[edge.source].type.size
        return found

    def _can_join(self, edge: Edge, concat: Item) -> bool:
        source = self.graph[edge.source]
        items = self.items[edge.source]
        if edge.delay or len(items) > 1 or source.operation == "concat":
            return False
        location = self.location(items[0])
        return (
            location.kind in ("nest", "single")
            and location.section == self.location(concat).section
            and source.type.kind == "float"
            and source.type.axes == concat.node.type.axes
            and edge.source not in self.graph.reach
            and edge.source not in self.initials
        )

    def axes(self, name: str) -> tuple[str, ...]:
        """The time axes of a node's buffer.

        A value that only its own iteration reads has no dimension for the axis of the loop.
        """
        node = self.graph[name]
        items = self.items.get(name, [])
        if not items or self.outlives_step(name):
            return node.type.time
        region = self.sections[self.location(items[0]).section].region
        return tuple(axis for axis in node.type.time if axis not in region.bound)

    def outlives_step(self, name: str) -> str:
        """Why a value in a node's buffer is live after its iteration; "" if it is not."""
        reasons = (self._escapes(member) for member in self.clusters[self.root(name)])
        return next(filter(None, reasons), "")

    def _escapes(self, name: str) -> str:
        items = self.items[name]
        if name in self.results:
            return "leaves the kernel"
        if name in self.initials:
            return "is read outside the sequence"
        if name in self.graph.reach:
            reach = self.graph.reach[name]
            return f"read at {reach.axis}{-reach.past or reach.future:+d}"
        if len(items) > 1:
            return "computed in pieces"
        location = self.location(items[0])
        if self.sections[location.section].region.kind == "free":
            return "free of time"
        for reader, _ in self.readers.get(name, []):
            if self.location(reader).section != location.section or reader.shift != items[0].shift:
                return f"{reader.node.name} reads it"
        return ""

    def root(self, name: str) -> str:
        """The node whose buffer holds a node's value."""
        while True:
            items = self.items[name]
            if name in self.joined:
                name = self.joined[name][0]
            elif len(items) == 1 and self.location(items[0]).kind == "alias":
                name = items[0].node.operands[0].source
            else:
                return name

    def _clusters(self) -> dict[str, list[str]]:
        """The nodes that share a buffer, by the node that it belongs to."""
        found: dict[str, list[str]] = {}
        for name in self.items:
            found.setdefault(self.root(name), []).append(name)
        return found

    def _assign(self) -> None:
        views: list[Node] = []
        for section in self.sections:
            for group in section.groups:
                if group.kind == "stack" and len(group.items) > 1:
                    self._assign_stack(group)
                    continue
                for item in group.items:
                    node = item.node
                    if node.operation == "constant" or node.name in self.refs:
                        continue
                    if group.kind == "alias" or node.name in self.joined:
                        views.append(node)
                    elif node.name not in self.locals:
                        self._assign_buffer(self.graph[node.name])
        for name in self.graph.reach:
            # A node that no item computes has a buffer if its initial value is read.
            if name in self.readers and name not in self.items:
                self._assign_buffer(self.graph[name])
        for node in views:
            self.refs[node.name] = self._view(node)

    def _view(self, node: Node) -> Ref:
        if node.name in self.refs:
            return self.refs[node.name]
        if node.name in self.joined:
            target, start = self.joined[node.name]
            whole = self._view(self.graph[target])
        else:
            (edge,) = node.operands
            whole = self._view(self.graph[edge.source])
            whole = replace(whole, shift=whole.shift - edge.delay)
            offset = node.options.get("start", 0)
            assert isinstance(offset, int)
            start = offset
        return replace(whole, offset=whole.offset + start, shape=node.type.shape)

    def _assign_buffer(self, node: Node) -> None:
        reach = self.graph.reach.get(node.name, Reach())
        role: Role = "scratch"
        if node.operation in LEAVES:
            role = "leaf"
        elif node.name in self.results:
            role = "result"
        self.buffers[node.name] = Buffer(
            node.name,
            role,
            node.type.kind,
            node.type.shape,
            axes=self.axes(node.name),
            batch="batch" in node.type.axes,
            axis=reach.axis,
            before=reach.past,
            after=reach.future,
        )
        self.refs[node.name] = Ref(node.name, node.type.shape, shift=reach.past)

    def _assign_stack(self, group: Group) -> None:
        first = group.items[0].node
        name = f"{first.name}@stack"  # no node has such a name
        nodes = [item.node for item in group.items]
        self.buffers[name] = Buffer(
            name,
            "scratch",
            "float",
            (sum(node.type.size for node in nodes),),
            axes=max((self.axes(node.name) for node in nodes), key=len),
            batch="batch" in first.type.axes,
        )
        offset = 0
        for node in nodes:
            self.refs[node.name] = Ref(name, node.type.shape, offset=offset)
            offset += node.type.size
