"""Elementwise functions of one operand."""

from __future__ import annotations

import numpy as np

from rollc.ir.expressions import Value, call
from rollc.ir.operations.elementwise.arithmetic import compared, pick, unary
from rollc.ir.operations.operation import Array, Operation


def _kink(y: Value, x: Value) -> list[Value]:
    """The sign of the argument, for functions with a kink at zero."""
    return compared(x, 0.0)


def _sigmoid(x: Array) -> Array:
    # exp of a number that is not positive does not overflow.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), np.where(np.isnan(x), x, e / (1 + e)))


def _softplus(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


_FAR = 1000.0  # sigmoid is 0 or 1 beyond: the product is that of a finite x


def _silu(x: Array) -> Array:
    return np.asarray(np.maximum(x, -_FAR) * _sigmoid(x))


def _silu_adjoint(g: Value, y: Value, x: Value) -> list[Value | None]:
    s = call("sigmoid", x)
    return [g * (s + call("minimum", y, _FAR) * (1 - s))]


FUNCTIONS: tuple[Operation, ...] = (
    unary(
        "tanh",
        np.tanh,
        lambda g, y, x: [g * (1 - y * y)],
        "tanh",
        zero=True,
        finite=True,
    ),
    unary(
        "sigmoid",
        _sigmoid,
        lambda g, y, x: [g * (y * (1 - y))],
        "1 / (1 + exp(-x))",
        finite=True,
        answers="probability",
    ),
    unary(
        "relu",
        lambda x: np.maximum(x, 0),
        lambda g, y, x: [pick(call("less_equal", x, 0.0), 0.0, g)],
        "x where it is positive, else 0",
        _kink,
        slope="constant",
        picks=True,
        zero=True,
        finite=True,
        cheap=True,
    ),
    unary(
        "softplus",
        _softplus,
        lambda g, y, x: [g * call("sigmoid", x)],
        "log(1 + exp(x))",
        finite=True,
    ),
    unary(
        "log_sigmoid",
        lambda x: -_softplus(-x),
        lambda g, y, x: [g * call("sigmoid", -x)],
        "the logarithm of sigmoid(x), exact where that is 0 or 1",
        finite=True,
    ),
    unary(
        "silu",
        _silu,
        _silu_adjoint,
        "x times sigmoid(x)",
        zero=True,
        finite=True,
    ),
    unary(
        "exp",
        np.exp,
        lambda g, y, x: [g * y],
        "e to the x",
        domain="an exponential that is too large: bound its argument, such as by `minimum`",
        slope="infinite",
    ),
    unary(
        "log",
        np.log,
        lambda g, y, x: [g / x],
        "the natural logarithm",
        domain="the logarithm of 0 or less: keep its argument positive, such as `log(x + 1e-6)`",
        slope="infinite",
    ),
    unary(
        "sqrt",
        np.sqrt,
        lambda g, y, x: [g * 0.5 / y],
        "the square root",
        domain="a root of less than 0, or the slope of one at 0: keep its argument positive",
        slope="infinite",
        zero=True,
    ),
    unary(
        "sin",
        np.sin,
        lambda g, y, x: [g * call("cos", x)],
        "the sine, in radians",
        zero=True,
        finite=True,
    ),
    unary(
        "cos",
        np.cos,
        lambda g, y, x: [-(g * call("sin", x))],
        "the cosine, in radians",
        finite=True,
    ),
    unary(
        "abs",
        np.abs,
        lambda g, y, x: [g * call("sign", x)],
        "the absolute value",
        _kink,
        zero=True,
        finite=True,
        cheap=True,
    ),
    unary(
        "sign",
        np.sign,
        None,
        "-1, 0 or 1; no gradient passes",
        _kink,
        zero=True,
        finite=True,
        cheap=True,
    ),
)
