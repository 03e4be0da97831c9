"""Dimensions as a spec writes them: counted from the end where negative, and any for any function.

The operations of a graph on vectors go along the last dimension.  Along another one they go between
two permutations: :func:`inferred` is what inference sees, and :func:`along` makes the nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rollc.ir.graph import Attribute, Edge, Shape, Type
from rollc.ir.operations import Operation, TypeMismatch
from rollc.lang.inference.broadcasting import Make
from rollc.lang.symbols.builtins import ALONG
from rollc.lang.symbols.untyped_node import Draft

Order = tuple[int, ...]


def dimension(axis: int, count: int) -> int:
    """A dimension of ``count``, counted from 0; raises :class:`TypeMismatch`."""
    if not -count <= axis < count:
        least = -axis if axis < 0 else axis + 1
        expected = "a vector" if least == 1 else f"at least {least} dimensions"
        raise TypeMismatch(expected, [0])
    return axis % count


def inferred(
    draft: Draft, entry: Operation, types: Sequence[Type | None], options: dict[str, Attribute]
) -> Type | None:
    """The type of a node with operands of known types; raises :class:`TypeMismatch`."""
    known = [type_ for type_ in types if type_ is not None]
    if len(known) < len(types):
        return entry.infer(types, options)
    if draft.along is None:
        wrong = [at for at, type_ in enumerate(known) if len(type_.shape) > 1]
        if entry.core == 1 and wrong:
            raise TypeMismatch("a vector", wrong[:1], _hint(draft.operation))
        return entry.infer(known, options)
    if has_axis(entry):
        return entry.infer(known, {**options, "axis": place(draft.along, entry, known)})
    rank = len(known[0].shape)
    order = last(dimension(draft.along, rank), rank)
    found = entry.infer([_moved(type_, order) for type_ in known], options)
    if found is None or len(found.shape) < rank:
        return found
    return _moved(found, inverse(order))


def has_axis(entry: Operation) -> bool:
    """Whether an operation of a graph goes along the dimension that its option says."""
    return "axis" in entry.allowed


def place(axis: int, entry: Operation, types: Sequence[Type]) -> int:
    """The dimension of an operation that has the option, counted from 0."""
    count = max(len(type_.shape) for type_ in types)
    if entry.name == "expand":
        count += 1
    elif entry.variadic:  # numbers are joined to a vector
        count = max(count, 1)
    try:
        return dimension(axis, count)
    except TypeMismatch:
        if axis < 0:
            raise
        return axis  # the operation says what is wrong


def last(axis: int, count: int) -> Order:
    """The order of dimensions in which one is the last."""
    return (*(other for other in range(count) if other != axis), axis)


def inverse(order: Order) -> Order:
    return tuple(order.index(position) for position in range(len(order)))


def permuted(edge: Edge, type_: Type, order: Order, make: Make) -> Edge:
    """A value with its dimensions in another order."""
    if order == tuple(range(len(order))):
        return edge
    found = _moved(type_, order)
    if order == (1, 0):
        return make("transpose", (edge,), found, {})
    return make("permute", (edge,), found, {"order": order})


def along(
    draft: Draft, edges: Sequence[Edge], types: Sequence[Type], make: Make
) -> tuple[tuple[Edge, ...], Order]:
    """The operands with their dimension as the last one, and the order that undoes that.

    The order is empty where nothing is to be undone.
    """
    assert draft.along is not None
    rank = len(types[0].shape)
    order = last(dimension(draft.along, rank), rank)
    moved = tuple(
        permuted(edge, type_, order, make) if len(type_.shape) == rank else edge
        for edge, type_ in zip(edges, types, strict=True)
    )
    return moved, inverse(order) if order != tuple(range(rank)) else ()


def _moved(type_: Type, order: Order) -> Type:
    if len(type_.shape) != len(order):
        return type_
    shape: Shape = tuple(type_.shape[position] for position in order)
    return replace(type_, shape=shape)


def _hint(operation: str) -> str:
    if operation in ALONG:
        return "of a value of more dimensions say which one: `axis=-1` is the last"
    return ""
