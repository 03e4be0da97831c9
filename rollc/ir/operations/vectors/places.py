"""Operations that move elements along a dimension: shifts, rolls and padding on both sides.

They are written by people.  Kernels have slices, pads and concatenations in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rollc.ir.attributes import COUNT, DIMENSION, WHOLE
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Type
from rollc.ir.operations.operation import (
    Array,
    Frame,
    Operation,
    Options,
    TypeMismatch,
    known,
    need_numbers,
    whole_option,
)


def _operand(operands: Sequence[Type | None], options: Options) -> Type | None:
    """The type of the operand, which has the dimension."""
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    axis = whole_option(options, "axis")
    if axis >= len(types[0].shape):
        raise TypeMismatch(f"at least {axis + 1} dimensions" if axis else "a vector", [0])
    return Type("float", types[0].shape, types[0].axes)


def _infer_shift(operands: Sequence[Type | None], options: Options) -> Type | None:
    found = _operand(operands, options)
    by = abs(whole_option(options, "by"))
    if found is not None and by >= found.shape[whole_option(options, "axis")]:
        raise TypeMismatch(f"more than {by} elements", [0])
    return found


def _infer_padded(operands: Sequence[Type | None], options: Options) -> Type | None:
    found = _operand(operands, options)
    if found is None:
        return None
    axis, more = (
        whole_option(options, "axis"),
        whole_option(options, "before") + whole_option(options, "after"),
    )
    shape = found.shape
    return Type("float", (*shape[:axis], shape[axis] + more, *shape[axis + 1 :]), found.axes)


def _shift(frame: Frame, options: Options, x: Array) -> Array:
    by, axis = whole_option(options, "by"), len(frame.axes) + whole_option(options, "axis")
    found = np.roll(x.astype(frame.dtype, copy=False), by, axis)
    gone = slice(by) if by >= 0 else slice(by, None)
    found[(*(slice(None),) * axis, gone)] = 0
    return found


def _roll(frame: Frame, options: Options, x: Array) -> Array:
    axis = len(frame.axes) + whole_option(options, "axis")
    return np.roll(x.astype(frame.dtype, copy=False), whole_option(options, "by"), axis)


def _padded(frame: Frame, options: Options, x: Array) -> Array:
    widths = [(0, 0)] * x.ndim
    place = len(frame.axes) + whole_option(options, "axis")
    widths[place] = whole_option(options, "before"), whole_option(options, "after")
    return np.pad(x.astype(frame.dtype, copy=False), widths)


def _part(x: Value, start: int, stop: int, axis: int) -> Value:
    return call("slice", x, start=start, stop=stop, axis=axis)


def _shift_parts(x: Value, by: int, axis: int = 0) -> Value:
    size = x.type.shape[axis]
    if by == 0:
        return call("identity", x)
    kept = _part(x, 0, size - by, axis) if by > 0 else _part(x, -by, size, axis)
    return call("pad", kept, start=max(by, 0), size=size, axis=axis)


def _roll_parts(x: Value, by: int, axis: int = 0) -> Value:
    size = x.type.shape[axis]
    first = -by % size  # the element that comes to the front
    if first == 0:
        return call("identity", x)
    return call("concat", _part(x, first, size, axis), _part(x, 0, first, axis), axis=axis)


def _padded_parts(x: Value, before: int, after: int, axis: int = 0) -> Value:
    size = before + x.type.shape[axis] + after
    return call("pad", x, start=before, size=size, axis=axis)


def _back(operation: str) -> Callable[..., list[Value | None]]:
    """The adjoint: the cotangent goes back where its element came from."""

    def rule(g: Value, y: Value, x: Value, by: int, axis: int = 0) -> list[Value | None]:
        return [call(operation, g, by=-by, axis=axis)]

    return rule


def _padded_adjoint(
    g: Value, y: Value, x: Value, before: int, after: int, axis: int = 0
) -> list[Value | None]:
    return [_part(g, before, before + x.type.shape[axis], axis)]


PLACES = (
    Operation(
        "shift",
        ("x",),
        _infer_shift,
        _shift,
        _back("shift"),
        internal=True,
        summary="x, moved along a dimension; zeros come in",
        slope="constant",
        picks=True,
        linear="jointly",
        finite=True,
        required={"by": WHOLE},
        allowed={"axis": DIMENSION},
        decompose=_shift_parts,
    ),
    Operation(
        "roll",
        ("x",),
        _operand,
        _roll,
        _back("roll"),
        internal=True,
        summary="x, moved along a dimension; what leaves at one end comes in at the other",
        slope="constant",
        linear="jointly",
        finite=True,
        moves=True,
        required={"by": WHOLE},
        allowed={"axis": DIMENSION},
        decompose=_roll_parts,
    ),
    Operation(
        "zero_pad",
        ("x",),
        _infer_padded,
        _padded,
        _padded_adjoint,
        internal=True,
        summary="x with zeros before and after it",
        slope="constant",
        linear="jointly",
        finite=True,
        required={"before": COUNT, "after": COUNT},
        allowed={"axis": DIMENSION},
        decompose=_padded_parts,
    ),
)
