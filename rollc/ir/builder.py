"""A graph under construction: fresh names, inferred types, and hash consing of equal nodes."""

from __future__ import annotations

from collections.abc import Iterable

from rollc.ir.expressions import Value
from rollc.ir.graph import Attribute, Edge, Node, Type, attributes, ordered_axes
from rollc.ir.operations import OPERATIONS


class Builder:
    """Collects the nodes of a graph under construction.

    Equal nodes are made once (hash consing).  Nodes made while :attr:`prefix` is ``p`` are
    called ``p'1``, ``p'2`` … (``mark`` is the apostrophe) and carry :attr:`line`.
    """

    def __init__(self, nodes: Iterable[Node] = (), mark: str = "'") -> None:
        self.mark = mark
        self.nodes: dict[str, Node] = {node.name: node for node in nodes}
        self.promised: dict[str, Type] = {}
        self.prefix = "v"
        self.line = 0
        self._made: dict[tuple[object, ...], str] = {}
        self._counts: dict[str, int] = {}

    def type_of(self, edge: Edge) -> Type:
        """The type of a read: a delayed one runs over the axis of its delay."""
        node = self.nodes.get(edge.source)
        found = node.type if node is not None else self.promised[edge.source]
        if edge.delay and edge.axis not in found.axes:
            axes = ordered_axes((*found.axes, edge.axis))
            return Type(found.kind, found.shape, axes, found.bound)
        return found

    def read(self, name: str, delay: int = 0, axis: str = "") -> Value:
        """A node as an operand; it may be one that is only promised."""
        edge = Edge(name, delay, axis if delay else "")
        return Value(edge, self.type_of(edge), self)

    def promise(self, name: str, type_: Type) -> None:
        """Announce a node that closes a cycle: it can be read before it is made."""
        self.promised[name] = type_

    def fresh(self) -> str:
        """A name with the current prefix that no node has."""
        while True:
            self._counts[self.prefix] = self._counts.get(self.prefix, 0) + 1
            name = f"{self.prefix}{self.mark}{self._counts[self.prefix]}"
            if name not in self.nodes:
                return name

    def define(
        self,
        name: str,
        operation: str,
        operands: tuple[Value, ...],
        **options: Attribute,
    ) -> Value:
        """Make a node under a given name; its type is inferred."""
        edges = tuple(operand.edge for operand in operands)
        types = [operand.type for operand in operands]
        found = OPERATIONS[operation].infer(types, options)
        assert found is not None
        self.nodes[name] = Node(
            name, operation, edges, found, attributes(**options), line=self.line
        )
        return self.read(name)

    def leaf(self, name: str, operation: str, type_: Type, **options: Attribute) -> Value:
        """Make a leaf under a given name, of a given type."""
        self.nodes[name] = Node(name, operation, (), type_, attributes(**options), line=self.line)
        return self.read(name)

    def make(self, operation: str, operands: tuple[Value, ...], **options: Attribute) -> Value:
        """The node of an operation on operands, under a fresh name where it is new."""
        key = (operation, tuple(operand.edge for operand in operands), attributes(**options))
        if key not in self._made:
            self._made[key] = self.define(self.fresh(), operation, operands, **options).edge.source
        return self.read(self._made[key])

    def number(self, value: float) -> Value:
        """A real constant."""
        key = ("constant", repr(float(value)))
        if key not in self._made:
            self._made[key] = self.leaf(
                self.fresh(), "constant", Type("float"), value=float(value)
            ).edge.source
        return self.read(self._made[key])

    def index(self, value: int) -> Value:
        """A constant of the kind index."""
        key = ("constant", value)
        if key not in self._made:
            self._made[key] = self.leaf(
                self.fresh(), "constant", Type("index", (), (), value + 1), value=float(value)
            ).edge.source
        return self.read(self._made[key])
