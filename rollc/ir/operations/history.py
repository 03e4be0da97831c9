"""``tail``: the last rows of a sequence that continues earlier rows; and its two adjoints.

With K rows of ``start`` in front of y, and zeros behind it,

    row      0 … K-1   K     K+1   …   K+T-1   K+T …
    holds    start     y[0]  y[1]  …   y[T-1]  0   …

``tail`` is the K rows from row L on: the K values before step L.  L is the number of steps
T, or the operand ``length``, which may differ from sequence to sequence.  The adjoints scatter
the rows back: ``tail_steps`` to the steps of y and ``tail_start`` to the rows of ``start``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rollc.ir.attributes import AXIS
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Type, ordered_axes
from rollc.ir.operations.operation import (
    FIRST,
    Array,
    Frame,
    Operation,
    Options,
    TypeMismatch,
    axis_option,
    known,
    union,
)
from rollc.ir.operations.vectors.linear import without


def _need_same_along(axis: str, types: Sequence[Type], first: int) -> None:
    """Require that operands from ``first`` on are constant over the axis, and a length an index.

    Raises :class:`TypeMismatch`.
    """
    for position, type_ in enumerate(types[first:], first):
        if axis in type_.axes:
            raise TypeMismatch(f"what is the same at every step over `{axis}`", [position])
    length = types[first + 1 :]
    if length and (length[0].kind != "index" or length[0].shape):
        raise TypeMismatch("an index", [first + 1])


def _infer_tail(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    axis, (y, start) = axis_option(options), types[:2]
    if axis not in y.axes:
        raise TypeMismatch(f"a value that changes over `{axis}`", [0])
    _need_same_along(axis, types, 1)
    row = replace(start, shape=start.shape[1:], axes=y.axes)
    if not start.shape or row != y:
        raise TypeMismatch("rows that each hold a value of the sequence", [1])
    return replace(start, axes=without(union(types), [axis]))


def _infer_rows(operands: Sequence[Type | None], options: Options) -> list[Type] | None:
    """The types of the rows and, if there is one, of the length."""
    types = known(operands)
    if types is None:
        return None
    if not types[0].shape:
        raise TypeMismatch("rows", [0])
    _need_same_along(axis_option(options), types, 0)
    return types


def _infer_steps(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = _infer_rows(operands, options)
    if types is None:
        return None
    rows, axes = types[0], ordered_axes((*union(types), axis_option(options)))
    return replace(rows, shape=rows.shape[1:], axes=axes)


def _infer_start(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = _infer_rows(operands, options)
    return None if types is None else replace(types[0], axes=union(types))


def _gathered(x: Array, first: Array, count: int, dimension: int) -> Array:
    """``count`` rows from ``first`` on, along ``dimension``; zero beyond the ends.

    The dimensions before that one are those of ``first``, where it has any.
    """
    common = np.broadcast_shapes(x.shape[:dimension], first.shape)
    x = np.broadcast_to(x, common + x.shape[dimension:])
    row = np.broadcast_to(first, common)[..., None] + np.arange(count)
    row = row.reshape(row.shape + (1,) * (x.ndim - row.ndim))
    inside = (row >= 0) & (row < x.shape[dimension])
    found = np.take_along_axis(x, np.where(inside, row, 0), axis=dimension)
    return np.where(inside, found, np.zeros((), found.dtype))


def _end(frame: Frame, options: Options, length: Sequence[Array], position: int) -> Array:
    """The step behind the last one, of each sequence or of all.

    ``position`` is the dimension of a length that stands for the axis; -1 where none does.
    """
    if not length:
        return np.asarray(frame.sizes[axis_option(options)])
    return length[0] if position < 0 else np.squeeze(length[0], axis=position)


def _tail(frame: Frame, options: Options, y: Array, start: Array, *length: Array) -> Array:
    position, after = frame.axes.index(axis_option(options)), len(frame.axes) - 1
    y, start = np.moveaxis(y, position, after), np.squeeze(start, axis=position)
    common = np.broadcast_shapes(y.shape[:after], start.shape[:after])
    whole = [np.broadcast_to(part, common + part.shape[after:]) for part in (start, y)]
    rows = np.concatenate(whole, axis=after)
    end = _end(frame, options, length, position)
    return _gathered(rows, end, frame.result.shape[0], after)


def _tail_steps(frame: Frame, options: Options, g: Array, *length: Array) -> Array:
    axis, after = axis_option(options), len(frame.axes)
    first = g.shape[after] - _end(frame, options, length, -1)
    steps = _gathered(g, first, frame.sizes[axis], after)
    return np.moveaxis(steps, after, frame.result.axes.index(axis))


def _tail_start(frame: Frame, options: Options, g: Array, *length: Array) -> Array:
    after = len(frame.axes)
    return _gathered(g, -_end(frame, options, length, -1), g.shape[after], after)


def _tail_adjoint(
    g: Value, y: Value, x: Value, start: Value, *length: Value, axis: str
) -> list[Value | None]:
    steps, rows = (call(name, g, *length, axis=axis) for name in ("tail_steps", "tail_start"))
    return [steps, rows, *(None for _ in length)]


def _steps_adjoint(
    g: Value, y: Value, rows: Value, *length: Value, axis: str
) -> list[Value | None]:
    zeros = call("fill", g.maker.number(0.0), shape=rows.type.shape)
    # With the reader's axes, as every rule gives it; the sum over the axis is taken later.
    passed = call("impulse", call("tail", g, zeros, *length, axis=axis), axis=axis, at="first")
    return [passed, *(None for _ in length)]


def _start_adjoint(
    g: Value, y: Value, rows: Value, *length: Value, axis: str
) -> list[Value | None]:
    zeros = call("fill", g.maker.number(0.0), shape=rows.type.shape[1:])
    passed = call("tail", call("spread", zeros, axis=axis), g, *length, axis=axis)
    return [passed, *(None for _ in length)]


HISTORY = (
    Operation(
        "tail",
        ("y", "start", "length"),
        _infer_tail,
        _tail,
        _tail_adjoint,
        optional=1,
        internal=True,
        summary="as many values as `start` has rows: the last of these rows and the steps of y,"
        " up to step `length`",
        slope="constant",
        gives="operand",
        picks=True,
        linear=((0, 1),),
        finite=True,
        whole=True,
        required={"axis": AXIS},
    ),
    Operation(
        "tail_steps",
        ("rows", "length"),
        _infer_steps,
        _tail_steps,
        _steps_adjoint,
        optional=1,
        internal=True,
        summary="each row at the step that `tail` takes it from, zero at the others",
        slope="constant",
        gives="operand",
        picks=True,
        linear=FIRST,
        finite=True,
        cheap=True,
        selects=True,
        sees_end=True,
        required={"axis": AXIS},
    ),
    Operation(
        "tail_start",
        ("rows", "length"),
        _infer_start,
        _tail_start,
        _start_adjoint,
        optional=1,
        internal=True,
        summary="each row at the row of the start that `tail` takes it from, zero at the others",
        slope="constant",
        gives="operand",
        picks=True,
        linear=FIRST,
        finite=True,
        counts=True,
        sees_end=True,
        required={"axis": AXIS},
    ),
)
