"""Functions of one number, on one element at a time."""

from __future__ import annotations

import numpy as np

from rollc.ir.expressions import Value, call
from rollc.ir.operations.elementwise import compared, pick, unary
from rollc.ir.operations.operation import Array, Operation


def _kink(y: Value, x: Value) -> list[Value]:
    """Which side of zero an argument is on."""
    return compared(x, 0.0)


def _sigmoid(x: Array) -> Array:
    # exp of a negative number only: nothing overflows.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), np.where(np.isnan(x), x, e / (1 + e)))


def _softplus(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


_FAR = 1000.0  # from here on sigmoid is 0 or 1: x is kept finite


def _silu(x: Array) -> Array:
    return np.asarray(np.maximum(x, -_FAR) * _sigmoid(x))


def _silu_adjoint(g: Value, y: Value, x: Value) -> list[Value | None]:
    s = call("sigmoid", x)
    return [g * (s + call("minimum", y, _FAR) * (1 - s))]


FUNCTIONS: tuple[Operation, ...] = (
    unary(
        "tanh",
        np.tanh,
        "tanh({0})",
        lambda g, y, x: [g * (1 - y * y)],
        "tanh",
        zero=True,
        finite=True,
    ),
    unary(
        "sigmoid",
        _sigmoid,
        "sigmoid({0})",
        lambda g, y, x: [g * (y * (1 - y))],
        "1 / (1 + exp(-x))",
        finite=True,
    ),
    unary(
        "relu",
        lambda x: np.maximum(x, 0),
        "(F(0) if {0} <= F(0) else {0})",
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
        "softplus({0})",
        lambda g, y, x: [g * call("sigmoid", x)],
        "log(1 + exp(x))",
        finite=True,
    ),
    unary(
        "log_sigmoid",
        lambda x: -_softplus(-x),
        "-softplus(-{0})",
        lambda g, y, x: [g * call("sigmoid", -x)],
        "the logarithm of sigmoid(x), exact where that is 0 or 1",
        finite=True,
    ),
    unary(
        "silu",
        _silu,
        f"(F(-{_FAR}) if {{0}} < F(-{_FAR}) else {{0}}) * sigmoid({{0}})",
        _silu_adjoint,
        "x times sigmoid(x)",
        zero=True,
        finite=True,
    ),
    unary(
        "exp",
        np.exp,
        "exp({0})",
        lambda g, y, x: [g * y],
        "e to the x",
        slope="infinite",
    ),
    unary(
        "log",
        np.log,
        "log({0})",
        lambda g, y, x: [g / x],
        "the natural logarithm",
        slope="infinite",
    ),
    unary(
        "sqrt",
        np.sqrt,
        "np.sqrt({0})",
        lambda g, y, x: [g * 0.5 / y],
        "the square root",
        slope="infinite",
        zero=True,
    ),
    unary(
        "sin",
        np.sin,
        "sin({0})",
        lambda g, y, x: [g * call("cos", x)],
        "the sine, in radians",
        zero=True,
        finite=True,
    ),
    unary(
        "cos",
        np.cos,
        "cos({0})",
        lambda g, y, x: [-(g * call("sin", x))],
        "the cosine, in radians",
        finite=True,
    ),
    unary(
        "abs",
        np.abs,
        "abs({0})",
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
        "(F(1) if {0} > F(0) else (F(-1) if {0} < F(0) else {0} + F(0)))",
        None,
        "-1, 0 or 1; no gradient passes",
        _kink,
        zero=True,
        finite=True,
        cheap=True,
    ),
)
