"""Operations over an axis: over the steps of the sequence, or over the batch.

A value that does not run over an axis is constant along it, so the adjoint of a sum over an
axis is its cotangent as it is.  ``extent`` is the length of an axis, and ``step`` the position
along it: an index, so that comparing it is exact at any length.  A delayed read under ``first``
or ``last`` reaches any single step: ``first(x[t+2])`` is x at the third.  ``rename_axis`` gives
what its operand is at a step of one axis at the same step of another.

On an axis of length 0 every reduction is 0 here; what a mean or an extreme of nothing means is
decided by :mod:`rollc.transforms.empty_axes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, Literal

import numpy as np

from rollc.ir.attributes import ANY_AXIS, AXES, AXIS, COUNT, END, SIZE
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Type, ordered_axes
from rollc.ir.operations.elementwise.arithmetic import extremes
from rollc.ir.operations.operation import (
    Array,
    Choices,
    Frame,
    Operation,
    Options,
    TypeMismatch,
    axis_option,
    known,
    need_numbers,
)
from rollc.ir.operations.vectors.linear import over_axes, without
from rollc.ir.operations.vectors.reductions import stable_softmax

MOST_STEPS = 2**31


def _infer_over(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    (x,) = types
    missing = [axis for axis in over_axes(options) if axis not in x.axes]
    if missing:
        raise TypeMismatch(f"a value that changes over `{missing[0]}`", [0])
    return Type("float", x.shape, without(x.axes, over_axes(options)))


def _over(
    name: str,
    function: Any,
    adjoint: Any,
    summary: str,
    choices: Choices | None = None,
    picks: bool = False,
    **facts: Any,
) -> Operation:
    def evaluate(frame: Frame, options: Options, x: Array) -> Array:
        x = x.astype(frame.dtype, copy=False)
        positions = frame.positions(over_axes(options))
        if not x.size:
            return np.asarray(np.sum(x, axis=positions))
        return np.asarray(function(x, axis=positions))

    return Operation(
        name,
        ("x",),
        _infer_over,
        evaluate,
        adjoint,
        choices=choices,
        slope="constant",
        picks=picks,
        summary=summary,
        required={"over": AXES},
        **facts,
    )


def _mean_over_adjoint(g: Value, y: Value, x: Value, over: tuple[str, ...]) -> list[Value | None]:
    for axis in over:
        g = g / call_extent(g, axis)
    return [g]


def call_extent(near: Value, axis: str) -> Value:
    """A node that holds the length of an axis."""
    return near.maker.make("extent", (), axis=axis)


def _extreme_over_adjoint(
    g: Value, y: Value, x: Value, over: tuple[str, ...]
) -> list[Value | None]:
    taken = extremes(x, y)
    share = g / call("sum_over", taken, over=over)
    return [call("where", call("greater", taken, 0.0), share, 0.0)]


def _extreme_over_choices(y: Value, x: Value, over: tuple[str, ...]) -> list[Value]:
    return [call("equal", x, y)]


def _softmax_over(frame: Frame, options: Options, x: Array) -> Array:
    x = x.astype(frame.dtype, copy=False)
    if not x.size:
        return x
    with np.errstate(invalid="ignore"):
        return stable_softmax(x, frame.positions(over_axes(options)))


def softmax_parts(x: Value, over: tuple[str, ...]) -> tuple[Value, Value]:
    """Numerator and denominator of softmax_over, differentiable: exp(x - top) and its sum.

    No gradient passes through the maximum: a softmax is invariant under a common offset.  Where
    the maximum is inf, the steps that reach it share the probability; where it is -inf, all is
    zero.
    """
    top = call("stop", call("max_over", x, over=over))
    base = call("where", call("equal", top, -inf), 0.0, top)
    infinite = call("where", call("equal", x, inf), 0.0, -inf)
    e = call("exp", call("where", call("equal", top, inf), infinite, x - base))
    total = call("sum_over", e, over=over)
    return e, call("where", call("equal", total, 0.0), 1.0, total)


def _infer_softmax_over(operands: Sequence[Type | None], options: Options) -> Type | None:
    reduced = _infer_over(operands, options)
    (x,) = operands
    return None if reduced is None or x is None else Type("float", x.shape, x.axes)


def _infer_step(operands: Sequence[Type | None], options: Options) -> Type | None:
    period = options.get("period", MOST_STEPS)
    assert isinstance(period, int)
    return Type("index", (), (axis_option(options),), period)


def step_number(step: int, options: Options) -> int:
    """The value of the operation ``step`` at a step."""
    shift, period = options.get("shift", 0), options.get("period", MOST_STEPS)
    assert isinstance(shift, int) and isinstance(period, int)
    return (step + shift) % period


def step_numbers(first: int, last: int, options: Options) -> Array:
    """Its values from the step ``first`` up to the one before ``last``."""
    return np.array([step_number(step, options) for step in range(first, last)], dtype=np.int64)


def _step(frame: Frame, options: Options) -> Array:
    return step_numbers(0, frame.sizes[axis_option(options)], options)


def _infer_end(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    (x,) = types
    axis = axis_option(options)
    if axis not in x.axes:
        raise TypeMismatch(f"a value that changes over `{axis}`", [0])
    return Type(x.kind, x.shape, without(x.axes, [axis]), x.bound)


def _end(name: Literal["first", "last"], index: int, summary: str, **facts: Any) -> Operation:
    def evaluate(frame: Frame, options: Options, x: Array) -> Array:
        position = frame.axes.index(axis_option(options))
        if not x.shape[position]:
            return np.zeros((*x.shape[:position], *x.shape[position + 1 :]), x.dtype)
        return np.asarray(np.take(x, index, axis=position))

    return Operation(
        name,
        ("x",),
        _infer_end,
        evaluate,
        lambda g, y, x, axis: [call("impulse", g, axis=axis, at=name)],
        slope="constant",
        gives="operand",
        end=name,
        picks=True,
        summary=summary,
        required={"axis": AXIS},
        **facts,
    )


def _infer_with_axis(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    (x,), axis = types, axis_option(options)
    if axis in x.axes:
        raise TypeMismatch(f"a value that is the same all along `{axis}`", [0])
    return Type(x.kind, x.shape, ordered_axes((*x.axes, axis)), x.bound)


def _spread_out(frame: Frame, options: Options, x: Array) -> tuple[Array, int]:
    axis = axis_option(options)
    position = frame.result.axes.index(axis) if axis not in frame.axes else frame.axes.index(axis)
    if axis not in frame.axes:
        x = np.expand_dims(x, position)
    return np.repeat(x, frame.sizes[axis], axis=position), position


def _spread(frame: Frame, options: Options, x: Array) -> Array:
    return _spread_out(frame, options, x)[0]


def _impulse(frame: Frame, options: Options, x: Array) -> Array:
    spread, position = _spread_out(frame, options, x)
    out = np.zeros_like(spread)
    if out.size:
        index = (slice(None),) * position + (0 if options["at"] == "first" else -1,)
        out[index] = spread[index]
    return out


def _impulse_adjoint(g: Value, y: Value, x: Value, axis: str, at: str) -> list[Value | None]:
    # With the reader's axes, as every rule gives it; the sum over the axis is taken later.
    return [call("impulse", call(at, g, axis=axis), axis=axis, at=at)]


def _to(options: Options) -> str:
    to = options["to"]
    assert isinstance(to, str)
    return to


def _infer_renamed(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    (x,), axis, to = types, axis_option(options), _to(options)
    if axis not in x.axes:
        raise TypeMismatch(f"a value that changes over `{axis}`", [0])
    if to in x.axes:
        raise TypeMismatch(f"a value that does not change over `{to}`", [0])
    return Type(x.kind, x.shape, ordered_axes((*without(x.axes, [axis]), to)), x.bound)


def _renamed(frame: Frame, options: Options, x: Array) -> Array:
    axes = [_to(options) if axis == axis_option(options) else axis for axis in frame.axes]
    lead = [axes.index(axis) for axis in ordered_axes(axes)]
    return x.transpose((*lead, *range(len(axes), x.ndim)))


def _infer_extent(operands: Sequence[Type | None], options: Options) -> Type | None:
    return Type("float")


def _extent(frame: Frame, options: Options) -> Array:
    return np.asarray(frame.sizes[axis_option(options)], dtype=frame.dtype)


def _mean_over_parts(x: Value, over: tuple[str, ...]) -> Value:
    total = call("sum_over", x, over=over)
    for axis in over:
        total = total / call_extent(total, axis)
    return total


def _softmax_over_parts(x: Value, over: tuple[str, ...]) -> Value:
    e, total = softmax_parts(x, over)
    return e / total


TIME_AXIS = (
    _over(
        "sum_over",
        np.sum,
        lambda g, y, x, over: [g],
        "the sum along axes",
        linear="jointly",
        finite=True,
        whole=True,
        reduces="sum",
        neutral=0.0,
        combine="sum_of",
    ),
    _over(
        "mean_over",
        np.mean,
        _mean_over_adjoint,
        "the mean along axes",
        decompose=_mean_over_parts,
        linear="jointly",
        finite=True,
        whole=True,
        reduces="mean",
        neutral=0.0,
    ),
    _over(
        "max_over",
        np.max,
        _extreme_over_adjoint,
        "the largest along axes",
        _extreme_over_choices,
        picks=True,
        zero=True,
        finite=True,
        whole=True,
        reduces="max",
        neutral=-inf,
        combine="max_of",
    ),
    _over(
        "min_over",
        np.min,
        _extreme_over_adjoint,
        "the smallest along axes",
        _extreme_over_choices,
        picks=True,
        zero=True,
        finite=True,
        whole=True,
        reduces="min",
        neutral=inf,
        combine="min_of",
    ),
    Operation(
        "softmax_over",
        ("x",),
        _infer_softmax_over,
        _softmax_over,
        lambda g, y, x, over: [y * (g - call("sum_over", g * y, over=over))],
        internal=True,
        summary="exp(x), scaled to the sum 1 along axes",
        decompose=_softmax_over_parts,
        slope="finite",
        whole=True,
        neutral=-inf,
        required={"over": AXES},
    ),
    _end(
        "last",
        -1,
        "the value at the last step",
        linear="jointly",
        finite=True,
        moves=True,
        selects=True,
        whole=True,
    ),
    _end(
        "first",
        0,
        "the value at the first step",
        linear="jointly",
        finite=True,
        moves=True,
        selects=True,
        whole=True,
    ),
    Operation(
        "impulse",
        ("x",),
        _infer_with_axis,
        _impulse,
        _impulse_adjoint,
        internal=True,
        summary="x at the first or the last step, zero at the others",
        slope="constant",
        gives="operand",
        linear="jointly",
        finite=True,
        cheap=True,
        selects=True,
        sees_end=True,
        required={"axis": AXIS, "at": END},
    ),
    Operation(
        "spread",
        ("x",),
        _infer_with_axis,
        _spread,
        lambda g, y, x, axis: [g],
        internal=True,
        summary="x at every step",
        slope="constant",
        gives="operand",
        broadcasts=True,
        linear="jointly",
        finite=True,
        cheap=True,
        moves=True,
        selects=True,
        required={"axis": ANY_AXIS},
    ),
    Operation(
        "rename_axis",
        ("x",),
        _infer_renamed,
        _renamed,
        lambda g, y, x, axis, to: [call("rename_axis", g, axis=to, to=axis)],
        internal=True,
        summary="x, its steps along one axis as those along another",
        slope="constant",
        gives="operand",
        linear="jointly",
        finite=True,
        moves=True,
        renames=True,
        required={"axis": AXIS, "to": AXIS},
    ),
    Operation(
        "extent",
        (),
        _infer_extent,
        _extent,
        None,
        internal=True,
        summary="the number of steps, or of sequences",
        selects=True,
        counts=True,
        sees_end=True,
        required={"axis": ANY_AXIS},
    ),
    Operation(
        "step",
        (),
        _infer_step,
        _step,
        None,
        internal=True,
        summary="the number of the step, from 0; `shift` steps later, and modulo `period`",
        gives="index",
        selects=True,
        counts=True,
        required={"axis": AXIS},
        allowed={"shift": COUNT, "period": SIZE},
    ),
)
