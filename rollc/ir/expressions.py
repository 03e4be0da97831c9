"""Arithmetic that builds nodes: what adjoint rules and rewrites are written in.

A :class:`Value` is an edge together with the builder of nodes; ``g * (1 - y * y)`` makes the
nodes of the table's operations, by overloaded operators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rollc.ir.graph import Attribute, Edge, Type


class Maker(Protocol):
    """What turns an operation and its operands into a node: a builder or a rewriter."""

    def make(self, operation: str, operands: tuple[Value, ...], **options: Attribute) -> Value:
        """The node of an operation on operands."""
        ...

    def number(self, value: float) -> Value:
        """A real constant."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A read of a node, with the arithmetic of the table."""

    edge: Edge
    type: Type
    maker: Maker

    def __add__(self, other: Value | float) -> Value:
        return call("add", self, other)

    def __radd__(self, other: float) -> Value:
        return call("add", other, self)

    def __sub__(self, other: Value | float) -> Value:
        return call("subtract", self, other)

    def __rsub__(self, other: float) -> Value:
        return call("subtract", other, self)

    def __mul__(self, other: Value | float) -> Value:
        return call("multiply", self, other)

    def __rmul__(self, other: float) -> Value:
        return call("multiply", other, self)

    def __truediv__(self, other: Value | float) -> Value:
        return call("divide", self, other)

    def __rtruediv__(self, other: float) -> Value:
        return call("divide", other, self)

    def __neg__(self) -> Value:
        return call("negate", self)


def call(operation: str, *operands: Value | float, **options: Attribute) -> Value:
    """The node of an operation; at least one operand must be a :class:`Value`."""
    maker = next(operand.maker for operand in operands if isinstance(operand, Value))
    values = tuple(
        operand if isinstance(operand, Value) else maker.number(operand) for operand in operands
    )
    return maker.make(operation, values, **options)


def spread(value: Value, axes: tuple[str, ...]) -> Value:
    """A value, broadcast along those of ``axes`` that it does not run over."""
    for axis in axes:
        if axis not in value.type.axes:
            value = call("spread", value, axis=axis)
    return value


def broadcast(value: Value, like: Type) -> Value:
    """A value, broadcast to the shape and all the axes of a type."""
    if value.type.shape != like.shape:
        value = call("fill", value, shape=like.shape)
    return spread(value, like.axes)


def cut_read(read: Value, steps: int) -> Value:
    """A delayed read that no gradient passes where it crosses a boundary of windows.

    The windows are of ``steps`` steps each, from the first step on (truncated
    backpropagation through time).
    """
    make, edge = read.maker.make, read.edge
    distance = abs(edge.delay)
    step = make("step", (), axis=edge.axis, period=steps)
    if edge.delay > 0:
        outside = call("less", make("step", (), axis=edge.axis), float(steps))
        crosses = call("less", step, float(distance))
    else:
        ahead = make("step", (), axis=edge.axis, shift=distance)
        outside = call("greater_equal", ahead, make("extent", (), axis=edge.axis))
        crosses = call("greater_equal", step, float(steps - distance))
    return call("where", outside, read, call("where", crosses, call("stop", read), read))
