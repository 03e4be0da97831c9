"""Patterns of reductions of broadcasts, over elements or along an axis."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from rollc.ir.graph import Edge, Node
from rollc.ir.operations.vectors.reductions import EVERY
from rollc.transforms.patterns.pattern import Rule, Workspace, changed, without_sign
from rollc.transforms.patterns.slices import axis_of, option_of


def _sum(work: Workspace, node: Node) -> Node | Edge | None:
    inner = work.defined(node.operands[0])
    if inner is None:
        return None
    axis = node.options.get("axis", EVERY)
    if inner.operation == "fill" and axis == EVERY:
        size = prod(work.type(node.operands[0]).shape)
        return changed(node, "multiply", inner.operands[0], work.number(float(size)))
    if inner.operation == "expand" and axis == axis_of(inner):
        size = work.type(node.operands[0]).shape[axis_of(inner)]
        return changed(node, "multiply", inner.operands[0], work.number(float(size)))
    if inner.operation == "slice" and axis == axis_of(inner) == 0:
        start, stop = option_of(inner, "start"), option_of(inner, "stop")
        stack = work.defined(inner.operands[0])
        if stop == start + 1 and stack is not None and stack.operation == "stack":
            return stack.operands[start]
    return None


def _mean(work: Workspace, node: Node) -> Node | Edge | None:
    inner = work.defined(node.operands[0])
    axis = node.options.get("axis", EVERY)
    if inner is not None and inner.operation == "fill" and axis == EVERY:
        return inner.operands[0]
    if inner is not None and inner.operation == "stack" and axis == 0:
        total = work.make("sum", *node.operands, axis=0)
        return changed(node, "divide", total, work.number(float(len(inner.operands))))
    return None


def _stacked(work: Workspace, node: Node) -> Node | None:
    """A sum of values that are stacked for nothing else."""
    inner = work.defined(node.operands[0])
    if inner is None or inner.operation != "stack" or node.options.get("axis", EVERY) != 0:
        return None
    if work.is_shared(node.operands[0]) or len(inner.operands) < 2:
        return None
    total, *between, last = inner.operands
    for edge in between:
        total = work.make("add", total, edge)
    return changed(node, "add", total, last)


def _of_one(work: Workspace, node: Node) -> Node | None:
    """A reduction along a dimension of one element, which then is a view and no loop."""
    axis = node.options.get("axis", EVERY)
    if axis == EVERY or not node.type.shape:
        return None
    if work.type(node.operands[0]).shape[option_of(node, "axis")] != 1:
        return None
    return changed(node, "reshape", *node.operands, shape=node.type.shape)


def _over(work: Workspace, node: Node) -> Node | Edge | None:
    """A reduction over an axis of a spread, or a sum of an impulse."""
    over = node.options["over"]
    inner = work.defined(node.operands[0])
    assert isinstance(over, tuple)
    if not over:
        return node.operands[0]
    if inner is None or inner.operation not in ("spread", "impulse"):
        return None
    axis = inner.options["axis"]
    if axis not in over or (inner.operation == "impulse" and node.operation != "sum_over"):
        return None
    (value,) = inner.operands
    rest = tuple(str(other) for other in over if other != axis)
    if inner.operation == "spread" and node.operation == "sum_over":
        extent = work.make("extent", axis=str(axis))
        if not rest:
            return changed(node, "multiply", value, extent)
        value = work.make("multiply", value, extent)
    return changed(node, node.operation, value, over=rest) if rest else value


def _end(work: Workspace, node: Node) -> Edge | None:
    """The first or last step of a spread, or of an impulse at that step."""
    inner = work.defined(node.operands[0])
    if inner is None or inner.options.get("axis") != node.options["axis"]:
        return None
    impulse = inner.operation == "impulse" and inner.options["at"] == node.operation
    return inner.operands[0] if inner.operation == "spread" or impulse else None


REDUCTIONS: Mapping[str, tuple[Rule, ...]] = {
    "sum": (_sum, _of_one, _stacked, without_sign),
    "mean": (_of_one, _mean),
    "max": (_of_one,),
    "min": (_of_one,),
    "sum_over": (_over, without_sign),
    "mean_over": (_over,),
    "max_over": (_over,),
    "min_over": (_over,),
    "first": (_end,),
    "last": (_end,),
}
