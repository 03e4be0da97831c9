"""Normalisation of a vector: shifted to mean 0, and divided by its standard deviation.

Ba, Kiros and Hinton, Layer normalization (2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rollc.ir.attributes import NOT_NEGATIVE
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Type
from rollc.ir.operations.operation import (
    Array,
    Frame,
    Operation,
    Options,
    TypeMismatch,
    along_last,
    known,
    need_numbers,
    need_vectors,
    union,
)
from rollc.ir.operations.vectors.reductions import infer_same_vector, infer_to_number, sum_last


def _infer_layer_norm(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    need_vectors(types, 0)
    for position in (1, 2):
        if types[position].shape not in ((), types[0].shape[-1:], types[0].shape):
            expected = "a gain and a bias of the vector's shape, or of that of what is normalised"
            raise TypeMismatch(expected, [0, position])
    return Type("float", types[0].shape, union(types))


def _centred(x: Array) -> Array:
    # Less the first element beforehand: a large common offset would cost the mean its precision.
    shifted = x - x[..., :1]
    return np.asarray(shifted - shifted.mean(axis=-1, keepdims=True))


def _deviation(frame: Frame, options: Options, x: Array) -> Array:
    epsilon = options["epsilon"]
    assert isinstance(epsilon, float)
    centred = _centred(x.astype(frame.dtype, copy=False))
    return np.asarray(np.sqrt((centred * centred).mean(axis=-1) + frame.dtype.type(epsilon)))


def _normalise(frame: Frame, options: Options, x: Array) -> Array:
    centred = _centred(x.astype(frame.dtype, copy=False))
    return np.asarray(centred / _deviation(frame, options, x)[..., None])


def _layer_norm(frame: Frame, options: Options, x: Array, gain: Array, bias: Array) -> Array:
    lead = len(frame.axes)
    gain, bias = (
        p.reshape(p.shape[:lead] + (1,) * (x.ndim - p.ndim) + p.shape[lead:]) for p in (gain, bias)
    )
    return np.asarray(_normalise(frame, options, x) * gain + bias)


def _for_each(parameter: Value, x: Value) -> Value:
    """A gain or a bias of one vector, the same for all; or of all of them."""
    before = x.type.shape[:-1]
    if not parameter.type.shape and before:
        return call("fill", parameter, shape=x.type.shape)
    if parameter.type.shape == x.type.shape:
        return parameter
    for length in reversed(before):
        parameter = call("expand", parameter, axis=0, size=length)
    return parameter


def _scaled(x: Value, gain: Value, bias: Value, epsilon: float) -> Value:
    return call("normalise", x, epsilon=epsilon) * _for_each(gain, x) + _for_each(bias, x)


def _normalise_adjoint(g: Value, y: Value, x: Value, epsilon: float) -> list[Value | None]:
    part = 1.0 / x.type.shape[-1]
    mean, slope = sum_last(g) * part, call("dot", g, y) * part
    rest = g - along_last(mean, x) - y * along_last(slope, x)
    return [rest / along_last(call("deviation", x, epsilon=epsilon), x)]


def _deviation_adjoint(g: Value, y: Value, x: Value, epsilon: float) -> list[Value | None]:
    share = g * (1.0 / x.type.shape[-1])
    return [call("normalise", x, epsilon=epsilon) * along_last(share, x)]


def _layer_norm_adjoint(
    g: Value, y: Value, x: Value, gain: Value, bias: Value, epsilon: float
) -> list[Value | None]:
    normal = call("normalise", x, epsilon=epsilon)
    dx = _normalise_adjoint(g * _for_each(gain, x), normal, x, epsilon)[0]
    return [dx, _of_each(g * normal, gain), _of_each(g, bias)]


def _of_each(g: Value, parameter: Value) -> Value:
    """The cotangent of a gain or a bias: the sum of those of all vectors."""
    for _ in g.type.shape[len(parameter.type.shape) :] if parameter.type.shape else ():
        g = call("sum", g, axis=0)
    return g


NORMALIZATION: tuple[Operation, ...] = (
    Operation(
        "layer_norm",
        ("x", "gain", "bias"),
        _infer_layer_norm,
        _layer_norm,
        _layer_norm_adjoint,
        defaults=(("epsilon", 1e-5),),
        summary="x, shifted and scaled to mean 0 and variance 1; times gain plus bias",
        decompose=_scaled,
        slope="finite",
        required={"epsilon": NOT_NEGATIVE},
    ),
    Operation(
        "normalise",
        ("x",),
        infer_same_vector,
        _normalise,
        _normalise_adjoint,
        core=1,
        internal=True,
        summary="x, shifted and scaled to mean 0 and variance 1",
        slope="finite",
        required={"epsilon": NOT_NEGATIVE},
    ),
    Operation(
        "deviation",
        ("x",),
        infer_to_number,
        _deviation,
        _deviation_adjoint,
        core=1,
        internal=True,
        summary="the square root of the variance of a vector's elements plus `epsilon`",
        required={"epsilon": NOT_NEGATIVE},
    ),
)
