"""The interface of patterns: a rule, its workspace, and what several rules share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from rollc.ir.constant_folding import evaluated
from rollc.ir.graph import Attribute, Edge, Node, Type, attributes
from rollc.ir.operations import OPERATIONS, operation_of


class Workspace(Protocol):
    """The graph as a rule sees it, and the nodes that it can make."""

    def type(self, edge: Edge) -> Type:
        """The type of a read."""
        ...

    def defined(self, edge: Edge) -> Node | None:
        """The node that a read without a delay is of."""
        ...

    def known(self, edge: Edge) -> float | None:
        """The value of a uniform read, where it is known."""
        ...

    def is_term(self, name: str) -> bool:
        """Whether a node's only reader is an addition at the same step."""
        ...

    def is_shared(self, edge: Edge) -> bool:
        """Whether a value has several readers, or is a result."""
        ...

    def inside_loop(self, reader: str, edge: Edge) -> bool:
        """Whether a read is of the reader's own cycle."""
        ...

    def number(self, value: float) -> Edge:
        """A constant."""
        ...

    def make(self, operation: str, *operands: Edge, **options: Attribute) -> Edge:
        """A node of an operation on operands."""
        ...


Rule = Callable[[Workspace, Node], "Node | Edge | None"]


def changed(node: Node, operation: str, *operands: Edge, **options: Attribute) -> Node:
    """A node with another operation on other operands."""
    return replace(node, operation=operation, operands=operands, attributes=attributes(**options))


def without_sign(work: Workspace, node: Node) -> Node | None:
    """A product or a sum with the negation of its operand moved to the result.

    Of a product only where the value has other readers: then its negative need not be kept.
    """
    always = operation_of(node).reduces == "sum"
    for position, edge in enumerate(node.operands):
        negative = work.defined(edge)
        if negative is not None and negative.operation == "negate":
            (value,) = negative.operands
            if not value.delay and (always or work.is_shared(value)):
                operands = (*node.operands[:position], value, *node.operands[position + 1 :])
                return changed(node, "negate", work.make(node.operation, *operands, **node.options))
    return None


def known_number(work: Workspace, node: Node) -> float | None:
    """The value of a uniform node, where it follows from those of its operands."""
    entry = OPERATIONS.get(node.operation)
    if entry is None or not node.operands:
        return None
    numbers = [work.known(edge) for edge in node.operands]
    if entry.finite and entry.is_zero([number == 0 for number in numbers]):
        return 0.0
    present = [number for number in numbers if number is not None]
    if len(present) < len(numbers):
        return None
    if entry.moves or entry.reduces in ("mean", "max", "min"):
        return present[0] if len({repr(number) for number in present}) == 1 else None
    if entry.elementwise and node.type.kind != "index":
        return evaluated(node, present)
    return None
