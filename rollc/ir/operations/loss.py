"""Losses of one step, from scores (logits): stable where probabilities would be 0 or 1.

Each gives one number a step; ``mean(…, over t)`` makes one number of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rollc.ir.expressions import Value, call
from rollc.ir.graph import Type
from rollc.ir.operations.elementwise.arithmetic import infer_numeric
from rollc.ir.operations.operation import (
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
from rollc.ir.operations.vectors.reductions import stable_log_softmax


def _infer_pair(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    if types[0].shape != types[1].shape:
        raise TypeMismatch("two values of one shape", [0, 1])
    return Type("float", (), union(types))


def _own(frame: Frame, x: Array) -> tuple[int, ...]:
    return tuple(range(len(frame.axes), x.ndim))


def _mse(frame: Frame, options: Options, a: Array, b: Array) -> Array:
    difference = a.astype(frame.dtype, copy=False) - b.astype(frame.dtype, copy=False)
    return np.asarray((difference * difference).mean(axis=_own(frame, difference)))


def _mse_adjoint(g: Value, y: Value, a: Value, b: Value) -> list[Value | None]:
    cotangent = g * (2.0 / a.type.size) * (a - b)
    return [cotangent, -cotangent]


def _logistic(frame: Frame, options: Options, score: Array, target: Array) -> Array:
    score = score.astype(frame.dtype, copy=False)
    # softplus(score) - score * target without cancellation; an infinite score has the loss 0
    # where the target is the limit of its sigmoid.
    weight = np.where(score < 0, target, 1 - target).astype(frame.dtype, copy=False)
    linear = np.where(weight != 0, np.abs(score) * weight, 0)
    return np.asarray((linear + np.log1p(np.exp(-np.abs(score)))).astype(frame.dtype, copy=False))


def _square(x: Value) -> Value:
    return x * x


def _mean_loss(loss: Value) -> Value:
    return call("mean", loss, axis=-1) if loss.type.shape else call("identity", loss)


def _logistic_derivative(score: Value, target: Value) -> Value:
    """sigmoid(score) - target, by the smaller of sigmoid and 1 - sigmoid: no cancellation.

    At 0, where the two meet, each has the slope of the other one, which `abs` would not.
    """
    below = call("less", score, 0.0)
    small = call("sigmoid", call("where", below, score, -score))
    return call("where", below, small - target, (1 - target) - small)


def _binary_cross_entropy(frame: Frame, options: Options, score: Array, target: Array) -> Array:
    loss = _logistic(frame, options, score, target)
    return np.asarray(loss.mean(axis=_own(frame, loss)))


def _binary_cross_entropy_adjoint(
    g: Value, y: Value, score: Value, target: Value
) -> list[Value | None]:
    mean = g * (1.0 / score.type.size)
    return [mean * _logistic_derivative(score, target), -(mean * score)]


def _infer_cross_entropy(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    score, target = types
    need_numbers(types, [0])
    need_vector(types, 0)
    if target.kind != "index" or target.shape:
        hint = f"declare it as `target {{1:name}}: index({score.shape[0]})`"
        raise TypeMismatch("an index", [1], hint)
    if target.bound is not None and target.bound > score.shape[0]:
        raise TypeMismatch(f"a score for each of {target.bound} classes", [0, 1])
    return Type("float", (), union(types))


def _cross_entropy(frame: Frame, options: Options, score: Array, target: Array) -> Array:
    score = score.astype(frame.dtype, copy=False)
    with np.errstate(invalid="ignore"):
        logs = stable_log_softmax(score)
    lead = np.broadcast_shapes(score.shape[:-1], target.shape)
    chosen = np.take_along_axis(
        np.broadcast_to(logs, lead + score.shape[-1:]),
        np.broadcast_to(target, lead)[..., None],
        axis=-1,
    )
    return np.asarray(-chosen[..., 0])


def _cross_entropy_adjoint(g: Value, y: Value, score: Value, target: Value) -> list[Value | None]:
    picked = call("one_hot", target, size=score.type.shape[0])
    return [g * (call("softmax", score) - picked), None]


def _infer_average(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    return Type("float", (), types[0].axes)


def _average(frame: Frame, options: Options, x: Array) -> Array:
    return np.asarray(x.astype(frame.dtype, copy=False).mean(axis=_own(frame, x)))


def _average_adjoint(g: Value, y: Value, x: Value) -> list[Value | None]:
    share = g * (1.0 / x.type.size)
    return [call("fill", share, shape=x.type.shape) if x.type.shape else share]


LOSS = (
    Operation(
        "mse",
        ("a", "b"),
        _infer_pair,
        _mse,
        _mse_adjoint,
        summary="the mean of the squared differences",
        compares="numbers",
        decompose=lambda a, b: _mean_loss(_square(a - b)),
        slope="finite",
    ),
    Operation(
        "cross_entropy",
        ("scores", "target"),
        _infer_cross_entropy,
        _cross_entropy,
        _cross_entropy_adjoint,
        summary="-log softmax(scores)[target]: the loss of a choice among classes",
        compares="classes",
        slope="finite",
    ),
    Operation(
        "binary_cross_entropy",
        ("score", "target"),
        _infer_pair,
        _binary_cross_entropy,
        _binary_cross_entropy_adjoint,
        summary="the loss of a yes or no, from its score; targets are 0 to 1",
        compares="yes",
        decompose=lambda score, target: _mean_loss(call("logistic_loss", score, target)),
        slope="finite",
    ),
    Operation(
        "logistic_loss",
        ("score", "target"),
        infer_numeric,
        _logistic,
        lambda g, y, score, target: [g * _logistic_derivative(score, target), -(g * score)],
        elementwise=True,
        internal=True,
        summary="the binary cross entropy of each element",
        compares="yes",
        slope="finite",
    ),
    Operation(
        "average",
        ("x",),
        _infer_average,
        _average,
        _average_adjoint,
        internal=True,
        summary="the mean of the elements, or the number itself",
        decompose=_mean_loss,
        slope="constant",
        linear="jointly",
        finite=True,
    ),
)
