"""Values of an unrolled graph outside the sequence: zeros and rows of initial values, each once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rollc.ir.graph import (
    BATCH,
    LEAVES,
    Attribute,
    Edge,
    Graph,
    Node,
    Shape,
    Type,
    attributes,
    ordered_axes,
)


class Boundaries:
    """Nodes of values outside, along one axis, made at their first use.

    What depends on leaves alone goes to the end of ``front``, all else to that of ``body``.
    ``made`` are the names of those that the source has already.
    """

    def __init__(
        self,
        source: Graph,
        axis: str,
        front: list[Node],
        body: list[Node],
        made: Iterable[str] = (),
    ) -> None:
        self.axis = axis
        self.front = front
        self.body = body
        self.made = {*made}
        self.early = {node.name for node in source.nodes if node.operation in LEAVES}
        self.number_zero = _zero_constant(source)

    def row(self, initial: Node, row: int) -> tuple[Edge, Type]:
        flat = replace(initial.type, shape=initial.type.shape[1:])
        name, at = f"{initial.name}'row{row}", attributes(at=row)
        return self.once(name, "row", (Edge(initial.name),), flat, at, initial.line), flat

    def everywhere(self, edge: Edge, type_: Type, axes: tuple[str, ...]) -> Edge:
        """A value, broadcast along the axes, so that types are unchanged."""
        # First over the batch: what is spread over the steps after that is no node.
        for axis in sorted(axes, key=lambda axis: axis != BATCH):
            if axis != self.axis and axis not in type_.axes:
                type_ = replace(type_, axes=ordered_axes((*type_.axes, axis)))
                name = f"{edge.source}'{axis}"
                edge = self.once(name, "spread", (edge,), type_, attributes(axis=axis))
        return edge

    def zero(self, like: Type) -> Edge:
        """The zero of a type: zeros, false, or the index 0."""
        type_ = replace(like, axes=())
        return self.everywhere(self.static_zero(type_), type_, like.axes)

    def static_zero(self, type_: Type) -> Edge:
        shape, value = type_.shape, attributes(value=0.0)
        if type_.kind == "index":
            one = replace(type_, shape=())
            zero = self.once(f"zero'index{type_.bound}", "constant", (), one, value)
            if not shape:
                return zero
            # `fill` is of numbers: a choice broadcasts an index.
            choice = (self.static_zero(Type("bool", shape)), zero, zero)
            return self.once(f"{zero.source}of{_times(shape)}", "where", choice, type_, ())
        number = Type("float")
        zero = self.number_zero or self.once("zero'number", "constant", (), number, value)
        if shape:
            zeros, options = Type("float", shape), attributes(shape=shape)
            zero = self.once(f"zero'of{_times(shape)}", "fill", (zero,), zeros, options)
        if type_.kind == "bool":
            return self.once(f"false'of{_times(shape)}", "less", (zero, zero), type_, ())
        return zero

    def once(
        self,
        name: str,
        operation: str,
        operands: tuple[Edge, ...],
        type_: Type,
        options: tuple[tuple[str, Attribute], ...],
        line: int = 0,
    ) -> Edge:
        """A node of a value outside the sequence, made at its first use."""
        if name not in self.made:
            self.made.add(name)
            node = Node(name, operation, operands, type_, options, None, line)
            early = all(edge.source in self.early for edge in operands)
            (self.front if early else self.body).append(node)
            if early:
                self.early.add(name)
        return Edge(name)


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "number"


def _zero_constant(graph: Graph) -> Edge | None:
    """The graph's own constant zero."""
    for node in graph.leaves("constant"):
        if node.type == Type("float") and repr(node.options["value"]) == "0.0":
            return Edge(node.name)
    return None
