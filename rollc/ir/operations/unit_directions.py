"""Unit directions of forward mode (one-hot tangents), and the products with them.

The directions of a leaf follow each other along an axis, one for each element.  ``position``
is the element, row or column of the leaf that a direction belongs to, ``at`` the value that is
zero but there, and ``element`` the one number that such a unit selects.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from rollc.ir.attributes import AXIS, COUNT, SHAPE, SIZE
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Type
from rollc.ir.operations.operation import (
    FIRST,
    Array,
    Frame,
    Operation,
    Options,
    TypeMismatch,
    known,
    need_numbers,
    need_vector,
    union,
)


def _whole(options: Options, name: str) -> int:
    value = options[name]
    assert isinstance(value, int)
    return value


def _shape(options: Options) -> tuple[int, ...]:
    shape = options["shape"]
    assert isinstance(shape, tuple)
    return tuple(int(size) for size in shape)


def _infer_position(operands: Sequence[Type | None], options: Options) -> Type | None:
    return Type("index", (), (str(options["axis"]),), _whole(options, "modulo") + 1)


def _position(frame: Frame, options: Options) -> Array:
    element = np.arange(frame.sizes[str(options["axis"])]) - _whole(options, "start")
    inside = (element >= 0) & (element < _whole(options, "size"))
    modulo = _whole(options, "modulo")
    return np.where(inside, element // _whole(options, "divide") % modulo, modulo)


def _need_index(type_: Type) -> None:
    if type_.kind != "index" or type_.shape:
        raise TypeMismatch("an index", [1])


def _infer_at(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types, [0])
    _need_index(types[1])
    if types[0].shape:
        raise TypeMismatch("a number", [0])
    return Type("float", _shape(options), union(types))


def _at(frame: Frame, options: Options, x: Array, index: Array) -> Array:
    shape = _shape(options)
    taken = index[..., None] == np.arange(prod(shape))
    # Selected and not multiplied: 0 times what is not finite would be NaN everywhere.
    found = np.where(taken, x[..., None], frame.dtype.type(0)).astype(frame.dtype, copy=False)
    return found.reshape(*found.shape[:-1], *shape)


def _at_adjoint(
    g: Value, y: Value, x: Value, index: Value, shape: tuple[int, ...]
) -> list[Value | None]:
    taken = g * call("at", g.maker.number(1.0), index, shape=shape)
    return [call("sum", taken) if shape else taken, None]


def _infer_element(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types, [0])
    need_vector(types, 0)
    _need_index(types[1])
    return Type("float", (), union(types))


def _element(frame: Frame, options: Options, x: Array, index: Array) -> Array:
    common = np.broadcast_shapes(x.shape[:-1], index.shape)
    size = x.shape[-1]
    x, index = np.broadcast_to(x, (*common, size)), np.broadcast_to(index, common)
    found = np.take_along_axis(x, np.minimum(index, size - 1)[..., None], axis=-1)[..., 0]
    return np.where(index < size, found, frame.dtype.type(0)).astype(frame.dtype, copy=False)


UNIT_DIRECTIONS = (
    Operation(
        "position",
        (),
        _infer_position,
        _position,
        None,
        internal=True,
        summary="the position counted from `start`, divided by `divide` and modulo `modulo`;"
        " `modulo` itself for positions outside the `size` that are counted",
        gives="index",
        selects=True,
        sees_end=True,
        required={"axis": AXIS, "start": COUNT, "size": SIZE, "divide": SIZE, "modulo": SIZE},
    ),
    Operation(
        "at",
        ("x", "index"),
        _infer_at,
        _at,
        _at_adjoint,
        internal=True,
        summary="x at the element of a shape that the index names, zero at the others",
        slope="constant",
        picks=True,
        linear=FIRST,
        finite=True,
        cheap=True,
        selects=True,
        required={"shape": SHAPE},
    ),
    Operation(
        "element",
        ("x", "index"),
        _infer_element,
        _element,
        lambda g, y, x, index: [call("at", g, index, shape=x.type.shape), None],
        internal=True,
        summary="the element of a vector that the index names, zero if there is none",
        slope="constant",
        picks=True,
        linear=FIRST,
        finite=True,
    ),
)
