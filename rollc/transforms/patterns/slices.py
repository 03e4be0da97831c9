"""Patterns of slices, pads and concatenations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rollc.ir.graph import Edge, Node
from rollc.transforms.patterns.pattern import Rule, Workspace, changed


def option_of(node: Node, name: str) -> int:
    """An attribute that is a whole number, by default 0."""
    value = node.options.get(name, 0)
    assert isinstance(value, int)
    return value


def axis_of(node: Node) -> int:
    """The dimension that a slice, pad or concat works along."""
    return option_of(node, "axis")


def _slice(work: Workspace, node: Node) -> Node | Edge | None:
    (x,) = node.operands
    axis, start, stop = axis_of(node), option_of(node, "start"), option_of(node, "stop")
    if (start, stop) == (0, work.type(x).shape[axis]):
        return x
    inner = work.defined(x)
    if inner is None:
        return None
    if inner.operation == "fill":
        return changed(node, "fill", *inner.operands, shape=node.type.shape)
    if inner.operation not in ("slice", "concat", "pad") or axis_of(inner) != axis:
        return None
    if inner.operation == "slice":
        offset = option_of(inner, "start")
        (source,) = inner.operands
        return changed(node, "slice", source, axis=axis, start=start + offset, stop=stop + offset)
    if inner.operation == "pad":
        pieces = [(option_of(inner, "start"), inner.operands[0])]
    else:
        pieces, end = [], 0
        for piece in inner.operands:
            pieces.append((end, piece))
            end += length_of(work, piece, axis)
    return _cut(work, node, pieces, axis, start, stop)


def length_of(work: Workspace, edge: Edge, axis: int) -> int:
    """The length of a part of a concat along a dimension; a number is one element."""
    shape = work.type(edge).shape
    return shape[axis] if shape else 1


def _cut(
    work: Workspace, node: Node, pieces: list[tuple[int, Edge]], axis: int, start: int, stop: int
) -> Node | Edge | None:
    """A slice that lies within one part, or is a run of whole parts.

    ``pieces`` are the parts, each with the position where it begins.
    """
    whole: list[Edge] = []
    for begin, piece in pieces:
        end = begin + length_of(work, piece, axis)
        if begin <= start and stop <= end and work.type(piece).shape:
            if (begin, end) == (start, stop):
                return piece
            return changed(node, "slice", piece, axis=axis, start=start - begin, stop=stop - begin)
        if start <= begin and end <= stop:
            whole.append(piece)
    if sum(length_of(work, piece, axis) for piece in whole) == stop - start:
        return changed(node, "concat", *whole, axis=axis)
    return None


def _pad_rule(work: Workspace, node: Node) -> Node | Edge | None:
    (x,) = node.operands
    axis = axis_of(node)
    if work.type(x).shape[axis] == option_of(node, "size"):
        return x
    inner = work.defined(x)
    if inner is None or inner.operation != "pad" or axis_of(inner) != axis:
        return None
    start = option_of(node, "start") + option_of(inner, "start")
    size = option_of(node, "size")
    return changed(node, "pad", inner.operands[0], axis=axis, start=start, size=size)


def _concat(work: Workspace, node: Node) -> Node | Edge | None:
    axis = axis_of(node)
    parts: list[Edge] = []
    for edge in node.operands:
        inner = work.defined(edge)
        nested = inner is not None and inner.operation == "concat" and axis_of(inner) == axis
        parts.extend(inner.operands if inner is not None and nested else (edge,))
    joined: list[Edge] = []
    for edge in parts:
        merged = _merged(work, joined[-1], edge, axis) if joined else None
        if merged is None:
            joined.append(edge)
        else:
            joined[-1] = merged
    if len(joined) == 1 and work.type(joined[0]).shape:
        return joined[0]
    operands = tuple(joined)
    return None if operands == node.operands else replace(node, operands=operands)


def _merged(work: Workspace, left: Edge, right: Edge, axis: int) -> Edge | None:
    """Two adjacent slices of one value as a single slice."""
    a, b = work.defined(left), work.defined(right)
    if a is None or b is None or not a.operation == b.operation == "slice":
        return None
    if a.operands != b.operands or not axis_of(a) == axis_of(b) == axis:
        return None
    if option_of(a, "stop") != option_of(b, "start"):
        return None
    start, stop = option_of(a, "start"), option_of(b, "stop")
    (source,) = a.operands
    if (start, stop) == (0, work.type(source).shape[axis]):
        return source
    return work.make("slice", source, axis=axis, start=start, stop=stop)


SLICES: Mapping[str, tuple[Rule, ...]] = {
    "slice": (_slice,),
    "pad": (_pad_rule,),
    "concat": (_concat,),
}
