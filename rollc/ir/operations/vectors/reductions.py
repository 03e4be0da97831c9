"""Reductions of a vector's elements: sums, extremes, and the softmax family.

Reductions are over every element, or over one dimension with ``axis=k``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rollc.ir.attributes import DIMENSION_OR_ALL
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Type
from rollc.ir.operations.elementwise.arithmetic import extremes
from rollc.ir.operations.operation import (
    Array,
    Choices,
    Frame,
    Operation,
    Options,
    TypeMismatch,
    along_last,
    known,
    need_numbers,
    need_vectors,
)

EVERY = -1  # as ``axis``: all dimensions


def _dimensions(frame: Frame, options: Options, x: Array) -> tuple[int, ...]:
    """The dimensions of the array that an operation reduces."""
    axis = options.get("axis", EVERY)
    assert isinstance(axis, int)
    own = range(len(frame.axes), x.ndim)
    return tuple(own) if axis == EVERY else (own[axis],)


def _infer_reduction(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    (x,) = types
    axis = options.get("axis", EVERY)
    assert isinstance(axis, int)
    if not x.shape or not EVERY <= axis < len(x.shape):
        expected = "a vector" if axis == EVERY else f"at least {axis + 1} dimensions"
        raise TypeMismatch(expected, [0])
    shape = () if axis == EVERY else x.shape[:axis] + x.shape[axis + 1 :]
    return Type("float", shape, x.axes)


def _reduction(
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
        return np.asarray(function(x, axis=_dimensions(frame, options, x)))

    return Operation(
        name,
        ("x",),
        _infer_reduction,
        evaluate,
        adjoint,
        choices,
        slope="constant",
        picks=picks,
        defaults=(("axis", EVERY),),
        summary=summary,
        allowed={"axis": DIMENSION_OR_ALL},
        **facts,
    )


def _expand(value: Value, like: Value, axis: int) -> Value:
    """A reduced value, broadcast to the shape that it was reduced from."""
    if axis == EVERY:
        return value
    return call("expand", value, axis=axis, size=like.type.shape[axis])


def _sum_adjoint(g: Value, y: Value, x: Value, axis: int = EVERY) -> list[Value | None]:
    if axis == EVERY:
        return [call("fill", g, shape=x.type.shape)]
    return [_expand(g, x, axis)]


def sum_last(x: Value) -> Value:
    """The sum along the last dimension."""
    rank = len(x.type.shape)
    return call("sum", x) if rank == 1 else call("sum", x, axis=rank - 1)


def _mean_adjoint(g: Value, y: Value, x: Value, axis: int = EVERY) -> list[Value | None]:
    count = x.type.size if axis == EVERY else x.type.shape[axis]
    return _sum_adjoint(g * (1.0 / count), y, x, axis)


def _extreme_adjoint(g: Value, y: Value, x: Value, axis: int = EVERY) -> list[Value | None]:
    # Equal extremes share the gradient.
    taken = extremes(x, _expand(y, x, axis))
    share = g / call("sum", taken, axis=axis)
    return [call("where", call("greater", taken, 0.0), _expand(share, x, axis), 0.0)]


def _extreme_choices(y: Value, x: Value, axis: int = EVERY) -> list[Value]:
    return [call("equal", x, _expand(y, x, axis))]


def infer_same_vector(operands: Sequence[Type | None], options: Options) -> Type | None:
    """A vector to a vector of the same length; or vectors along the last dimension."""
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    need_vectors(types, 0)
    return Type("float", types[0].shape, types[0].axes)


def infer_to_number(operands: Sequence[Type | None], options: Options) -> Type | None:
    """A vector to a number; or vectors along the last dimension to a number each."""
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    need_vectors(types, 0)
    return Type("float", types[0].shape[:-1], types[0].axes)


def _infer_argmax(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    need_vectors(types, 0)
    return Type("index", types[0].shape[:-1], types[0].axes, types[0].shape[-1])


def below_top(x: Array, axis: int | tuple[int, ...] = -1) -> tuple[Array, Array]:
    """Each element less the largest, and the largest; equal infinities differ by 0."""
    top = x.max(axis=axis, keepdims=True)
    return np.where(x == top, x.dtype.type(0), x - top), top


def stable_softmax(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    """softmax(x); all zeros where all of x is -inf, and there is no probability to share out."""
    below, top = below_top(x, axis)
    e = np.exp(below)
    total = np.where(top == -np.inf, x.dtype.type(np.inf), e.sum(axis=axis, keepdims=True))
    return np.asarray(e / total)


def _log_rise(below: Array) -> Array:
    """The logarithm of the sum of exp(x - top), by log1p: one of the terms is exactly 1."""
    top = below == 0
    rest = np.where(top, below.dtype.type(0), np.exp(below)).sum(axis=-1, keepdims=True)
    return np.asarray(np.log1p(rest + (top.sum(axis=-1, keepdims=True) - 1).astype(below.dtype)))


def _logsumexp(x: Array) -> Array:
    below, top = below_top(x)
    return np.asarray((top + _log_rise(below))[..., 0])


def stable_log_softmax(x: Array) -> Array:
    """log_softmax(x); all -inf where all of x is."""
    below, top = below_top(x)
    return np.where(top == -np.inf, x.dtype.type(-np.inf), below - _log_rise(below))


def _on_vector(function: Callable[[Array], Array]) -> Callable[[Frame, Options, Array], Array]:
    def evaluate(frame: Frame, options: Options, x: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return function(x.astype(frame.dtype, copy=False))

    return evaluate


REDUCTIONS = (
    _reduction(
        "sum",
        np.sum,
        _sum_adjoint,
        "the sum of a vector's elements",
        linear="jointly",
        finite=True,
        reduces="sum",
    ),
    _reduction(
        "mean",
        np.mean,
        _mean_adjoint,
        "the mean of a vector's elements",
        linear="jointly",
        finite=True,
        reduces="mean",
    ),
    _reduction(
        "max",
        np.max,
        _extreme_adjoint,
        "the largest element; equal ones share the gradient",
        _extreme_choices,
        picks=True,
        zero=True,
        finite=True,
        reduces="max",
    ),
    _reduction(
        "min",
        np.min,
        _extreme_adjoint,
        "the smallest element; equal ones share the gradient",
        _extreme_choices,
        picks=True,
        zero=True,
        finite=True,
        reduces="min",
    ),
    Operation(
        "argmax",
        ("x",),
        _infer_argmax,
        lambda frame, options, x: np.asarray(x.argmax(axis=-1)),
        None,
        summary="the index of the largest element, the first of equal ones; no gradient passes",
        core=1,
        gives="index",
        answers="choice",
    ),
    Operation(
        "softmax",
        ("x",),
        infer_same_vector,
        _on_vector(stable_softmax),
        lambda g, y, x: [y * (g - along_last(call("dot", g, y), y))],
        summary="exp(x), scaled to the sum 1",
        core=1,
        slope="finite",
        answers="probabilities",
    ),
    Operation(
        "log_softmax",
        ("x",),
        infer_same_vector,
        _on_vector(stable_log_softmax),
        lambda g, y, x: [g - call("softmax", x) * along_last(sum_last(g), x)],
        summary="the logarithm of softmax(x)",
        core=1,
        slope="finite",
        answers="scores",
    ),
    Operation(
        "logsumexp",
        ("x",),
        infer_to_number,
        _on_vector(_logsumexp),
        lambda g, y, x: [along_last(g, x) * call("softmax", x)],
        summary="the logarithm of the sum of exp(x)",
        core=1,
        picks=True,
    ),
)
