"""Where every value lives: in a local of its nest, in a buffer, or as a view of one.

A value that only its own nest reads is a local.  One that only its own loop reads, at the
same step, has a buffer without a time dimension.  Everything else has a value a step: what
is read with a delay, what leaves the loop, and with that what the adjoint needs, the tape.

A slice is a view of its source.  What a concatenation joins is written to its place at
once, where nothing forbids it.  Products of one operand share the buffer of their stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollc.graph.graph import LEAVES, Edge, Graph, Node, Reach
from rollc.kernel.order import Group, Section
from rollc.kernel.program import Buffer, Local, Number, Operand, Ref, Role
from rollc.kernel.schedule import Item


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a node is computed: a section, a group in it, and how many pieces it has."""

    section: int
    group: int
    kind: str
    pieces: int


class Places:
    """The buffers of a program, and the reference to each node's value."""

    def __init__(self, graph: Graph, sections: Sequence[Section]) -> None:
        self.graph = graph
        self.sections = sections
        self.results = set(graph.results())
        self.initials = {node.initial for node in graph.nodes if node.initial is not None}
        self.homes: dict[str, _Home] = {}
        self.readers: dict[str, list[tuple[Node, Edge]]] = {}
        self.buffers: dict[str, Buffer] = {}
        self.refs: dict[str, Ref] = {}
        self._find_homes()
        self.joined = self._joined()
        self._place()

    def operand(self, edge: Edge, reader: Node) -> Operand:
        """What a node's read becomes inside the reader's statement."""
        source = self.graph[edge.source]
        if source.operation == "constant":
            value = source.options["value"]
            assert isinstance(value, float)
            return Number(value)
        home = self.homes[source.name]
        together = home == self.homes[reader.name] and home.kind == "nest" and home.pieces == 1
        if together and edge.delay == 0:
            return Local(source.name)
        return self.read(edge)

    def read(self, edge: Edge) -> Ref:
        """A read of a buffer, at the row of its delay."""
        ref = self.refs[edge.source]
        return replace(ref, shift=ref.shift - edge.delay)

    def is_local(self, name: str) -> bool:
        """Whether a node never leaves its nest."""
        home = self.homes[name]
        if home.kind != "nest" or home.pieces > 1:
            return False
        if name in self.results or name in self.initials or name in self.joined:
            return False
        return all(
            edge.delay == 0 and self.homes[reader.name] == home
            for reader, edge in self.readers.get(name, [])
        )

    def _find_homes(self) -> None:
        for index, section in enumerate(self.sections):
            for position, group in enumerate(section.groups):
                for item in group.items:
                    name = item.node.name
                    earlier = self.homes.get(name)
                    pieces = 1 if earlier is None else earlier.pieces + 1
                    self.homes[name] = _Home(index, position, group.kind, pieces)
                    for edge in item.node.operands:
                        self.readers.setdefault(edge.source, []).append((item.node, edge))

    def _joined(self) -> dict[str, tuple[str, int]]:
        """The nodes that are written straight into a concatenation: its name, the offset."""
        found: dict[str, tuple[str, int]] = {}
        delayed = self.graph.reach
        for section in self.sections:
            for group in section.groups:
                for item in group.items:
                    node = item.node
                    if node.operation != "concat" or len(node.type.shape) != 1 or not item.whole:
                        continue
                    offset = 0
                    for edge in node.operands:
                        source = self.graph[edge.source]
                        home = self.homes.get(edge.source)
                        if (
                            home is not None
                            and home.kind in ("nest", "single")
                            and home.pieces == 1
                            and home.section == self.homes[node.name].section
                            and edge.delay == 0
                            and source.type.kind == "float"
                            and source.type.axes == node.type.axes
                            and edge.source not in delayed
                            and edge.source not in found
                            and edge.source not in self.initials
                            and source.operation != "concat"
                        ):
                            found[edge.source] = (node.name, offset)
                        offset += source.type.size
        return found

    def needs_time(self, name: str) -> bool:
        """Whether a node with a time axis needs a value a step."""
        node = self.graph[name]
        if node.type.static:
            return False
        home = self.homes[name]
        if name in self.results or name in self.graph.reach or home.pieces > 1:
            return True
        if self.sections[home.section].region.kind == "free" or node.operation in LEAVES:
            return True
        for reader, _ in self.readers.get(name, []):
            reading = self.homes[reader.name]
            if reading.section != home.section or reading.pieces > 1:
                return True
            through = reading.kind == "alias" or self.joined.get(name, ("",))[0] == reader.name
            if through and self.needs_time(reader.name):
                return True
        return False

    def _place(self) -> None:
        late: list[Node] = []
        for section in self.sections:
            for group in section.groups:
                if group.kind == "stack" and len(group.items) > 1:
                    self._place_stack(group)
                    continue
                for item in group.items:
                    node = item.node
                    if node.operation == "constant" or node.name in self.refs:
                        continue
                    if group.kind == "alias" or node.name in self.joined:
                        late.append(node)
                    elif not self.is_local(node.name):
                        self._place_alone(item)
        for node in late:
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
            offset = node.options["start"]
            assert isinstance(offset, int)
            start = offset
        return replace(whole, offset=whole.offset + start, shape=node.type.shape)

    def _place_alone(self, item: Item) -> None:
        node = item.node
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
            time=self.needs_time(node.name),
            batch="batch" in node.type.axes,
            before=reach.past,
            after=reach.future,
        )
        self.refs[node.name] = Ref(node.name, node.type.shape, shift=reach.past)

    def _place_stack(self, group: Group) -> None:
        first = group.items[0].node
        name = f"{first.name}:stack"
        nodes = [item.node for item in group.items]
        self.buffers[name] = Buffer(
            name,
            "scratch",
            "float",
            (sum(node.type.size for node in nodes),),
            time=any(self.needs_time(node.name) for node in nodes),
            batch="batch" in first.type.axes,
        )
        offset = 0
        for node in nodes:
            self.refs[node.name] = Ref(name, node.type.shape, offset=offset)
            offset += node.type.size
