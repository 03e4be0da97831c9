"""Algebraic identities: neutral elements, signs, powers, and choices by known conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite

from rollc.ir.graph import Edge, Node
from rollc.transforms.patterns.pattern import Rule, Workspace, changed, without_sign
from rollc.transforms.patterns.sums import sum_of_terms

_FACTORS = range(2, 17)
"""Exponents of powers that become products (strength reduction, by repeated squaring)."""


def _identity(work: Workspace, node: Node) -> Edge:
    return node.operands[0]


def _add(work: Workspace, node: Node) -> Node | Edge | None:
    a, b = node.operands
    if work.known(a) == 0:
        return b
    if work.known(b) == 0:
        return a
    for x, y in ((a, b), (b, a)):
        negative = work.defined(y)
        if negative is not None and negative.operation == "negate":
            return changed(node, "subtract", x, negative.operands[0])
    return sum_of_terms(work, node)


def _subtract(work: Workspace, node: Node) -> Node | Edge | None:
    a, b = node.operands
    if work.known(b) == 0:
        return a
    if work.known(a) == 0 and work.type(b) == node.type:
        return changed(node, "negate", b)
    negative = work.defined(b)
    if negative is not None and negative.operation == "negate":
        return changed(node, "add", a, negative.operands[0])
    return None


def _multiply(work: Workspace, node: Node) -> Node | Edge | None:
    a, b = node.operands
    for x, y in ((a, b), (b, a)):
        factor = work.known(x)
        if factor == 1:
            return y
        if factor == -1 and work.type(y) == node.type:
            return changed(node, "negate", y)
    first, second = work.defined(a), work.defined(b)
    if first is not None and second is not None and first.operation == second.operation == "negate":
        return changed(node, "multiply", first.operands[0], second.operands[0])
    return without_sign(work, node)


def _divide(work: Workspace, node: Node) -> Edge | None:
    a, b = node.operands
    return a if work.known(b) == 1 else None


def _power(work: Workspace, node: Node) -> Node | Edge | None:
    a, b = node.operands
    exponent = work.known(b)
    if exponent == 1:
        return a
    if exponent is None or work.type(a) != node.type or exponent not in _FACTORS:
        return None
    if exponent % 2:
        return changed(node, "multiply", a, work.make("power", a, work.number(exponent - 1)))
    half = a if exponent == 2 else work.make("power", a, work.number(exponent / 2))
    return changed(node, "multiply", half, half)


def _negate(work: Workspace, node: Node) -> Node | Edge | None:
    inner = work.defined(node.operands[0])
    if inner is not None and inner.operation == "negate":
        return inner.operands[0]
    if inner is not None and inner.operation == "subtract":
        return changed(node, "subtract", *reversed(inner.operands))
    return None


def _reached(work: Workspace, node: Node) -> Node | Edge | None:
    value, cotangent = node.operands
    if work.known(cotangent) is not None or _is_zero_with(work, value, cotangent):
        return value
    inner = work.defined(value)
    if inner is not None and inner.operation == "negate":
        return changed(node, "negate", work.make("reached", inner.operands[0], cotangent))
    size = work.defined(cotangent)
    if size is not None and size.operation in ("negate", "abs"):
        return changed(node, "reached", value, size.operands[0])
    return None


def _is_zero_with(work: Workspace, value: Edge, cotangent: Edge) -> bool:
    """Whether a value is a finite multiple of a cotangent, so that it is zero where that is."""
    node = work.defined(value)
    if value == cotangent or node is None:
        return value == cotangent
    numbers = [work.known(edge) for edge in node.operands]
    scales = node.operation == "multiply" or (node.operation == "divide" and numbers[1] != 0)
    if node.operation == "reached" and node.operands[1] == cotangent:
        return True
    if node.operation in ("negate", "identity"):
        return _is_zero_with(work, node.operands[0], cotangent)
    if scales and numbers[1] is not None and isfinite(numbers[1]):
        return _is_zero_with(work, node.operands[0], cotangent)
    if node.operation == "multiply" and numbers[0] is not None and isfinite(numbers[0]):
        return _is_zero_with(work, node.operands[1], cotangent)
    return False


def _where(work: Workspace, node: Node) -> Edge | None:
    condition, then, otherwise = node.operands
    number = work.known(condition)
    if number is not None:
        return then if number else otherwise
    return then if then == otherwise else None


def _combination(work: Workspace, node: Node) -> Node | Edge | None:
    operands = node.operands
    if node.operation == "sum_of":
        operands = tuple(edge for edge in operands if work.known(edge) != 0)
    if len(operands) == 1:
        return operands[0]
    if node.operation == "sum_of" and len(set(operands)) == 1 and len(operands) > 1:
        return changed(node, "multiply", work.number(float(len(operands))), operands[0])
    return None if operands == node.operands else replace(node, operands=operands)


ARITHMETIC: Mapping[str, tuple[Rule, ...]] = {
    "identity": (_identity,),
    "add": (_add,),
    "subtract": (_subtract,),
    "multiply": (_multiply,),
    "divide": (_divide,),
    "power": (_power,),
    "negate": (_negate,),
    "reached": (_reached,),
    "where": (_where,),
    "sum_of": (_combination,),
    "max_of": (_combination,),
    "min_of": (_combination,),
}
