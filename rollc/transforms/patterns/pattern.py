"""What a rule is: what it may ask, what it answers, and what number a node is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from rollc.ir.constant_folding import evaluated
from rollc.ir.graph import Attribute, Edge, Node, Type, attributes
from rollc.ir.operations import OPERATIONS, operation_of


class Workspace(Protocol):
    """What a rule may ask and make."""

    def type(self, edge: Edge) -> Type: ...

    def defined(self, edge: Edge) -> Node | None: ...

    def known(self, edge: Edge) -> float | None: ...

    def is_term(self, name: str) -> bool: ...

    def is_shared(self, edge: Edge) -> bool: ...

    def inside_loop(self, reader: str, edge: Edge) -> bool: ...

    def number(self, value: float) -> Edge: ...

    def make(self, operation: str, *operands: Edge, **options: Attribute) -> Edge: ...


Rule = Callable[[Workspace, Node], "Node | Edge | None"]


def changed(node: Node, operation: str, *operands: Edge, **options: Attribute) -> Node:
    """A node that computes its value in another way."""
    return replace(node, operation=operation, operands=operands, attributes=attributes(**options))


def without_sign(work: Workspace, node: Node) -> Node | None:
    """A product or a sum of what a node negates, negated itself.

    A product only where others read that value too: it is kept for them, and its negative need
    not be.
    """
    always = operation_of(node).reduces == "sum"
    for place, edge in enumerate(node.operands):
        negative = work.defined(edge)
        if negative is not None and negative.operation == "negate":
            (value,) = negative.operands
            if not value.delay and (always or work.is_shared(value)):
                operands = (*node.operands[:place], value, *node.operands[place + 1 :])
                return changed(node, "negate", work.make(node.operation, *operands, **node.options))
    return None


def known_number(work: Workspace, node: Node) -> float | None:
    """The one number that a node holds at every place, where it follows from its operands'."""
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
