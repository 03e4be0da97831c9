"""Inverse trigonometric and hyperbolic functions, roots, exp and log near 1."""

from __future__ import annotations

import numpy as np

from rollc.ir.expressions import Value, call
from rollc.ir.operations.elementwise.arithmetic import binary, pick, unary
from rollc.ir.operations.operation import Array, Operation


def _arctan2(a: Array, b: Array) -> Array:
    return np.asarray(np.arctan2(a + 0.0, b + 0.0))  # the sign of a zero says nothing


def _atan2_adjoint(g: Value, y: Value, a: Value, b: Value) -> list[Value | None]:
    """b and -a over their squared length: neither square leaves the numbers.

    It is 0 far away and, as the angle there has no limit, at (0, 0).
    """
    size = call("maximum", call("abs", a), call("abs", b))
    nothing = call("or", call("equal", size, 0.0), call("equal", 1 / size, 0.0))
    u, v = a / size, b / size
    length = size * (u * u + v * v)
    return [g * pick(nothing, 0.0, v / length), -(g * pick(nothing, 0.0, u / length))]


def _root(x: Value) -> Value:
    """The square root of 1 - x**2."""
    return call("sqrt", (1 - x) * (1 + x))


_OUTSIDE = "an angle whose {} is not from -1 to 1, or the slope at an end: bound it by `clip`"
_LARGE = "{} that is too large: bound its argument, such as by `clip`"

ELEMENTARY: tuple[Operation, ...] = (
    unary(
        "atan",
        np.arctan,
        lambda g, y, x: [g / (1 + x * x)],
        "the angle whose tangent is x",
        zero=True,
        finite=True,
    ),
    binary(
        "atan2",
        _arctan2,
        _atan2_adjoint,
        "the angle of the point (b, a), from -pi to pi; of (0, 0) it is 0, with slope 0",
        slope="infinite",
        zero=True,
        finite=True,
    ),
    unary(
        "asin",
        np.arcsin,
        lambda g, y, x: [g / _root(x)],
        "the angle whose sine is x",
        slope="infinite",
        zero=True,
        domain=_OUTSIDE.format("sine"),
    ),
    unary(
        "acos",
        np.arccos,
        lambda g, y, x: [-(g / _root(x))],
        "the angle whose cosine is x, from 0 to pi",
        slope="infinite",
        domain=_OUTSIDE.format("cosine"),
    ),
    unary(
        "sinh",
        np.sinh,
        lambda g, y, x: [g * call("cosh", x)],
        "the hyperbolic sine",
        slope="infinite",
        zero=True,
        domain=_LARGE.format("a hyperbolic sine"),
    ),
    unary(
        "cosh",
        np.cosh,
        lambda g, y, x: [g * call("sinh", x)],
        "the hyperbolic cosine",
        slope="infinite",
        domain=_LARGE.format("a hyperbolic cosine"),
    ),
    unary(
        "log1p",
        np.log1p,
        lambda g, y, x: [g / (1 + x)],
        "log(1 + x), exact where x is small",
        slope="infinite",
        zero=True,
        domain="the logarithm of 0 or less: keep its argument above -1",
    ),
    unary(
        "expm1",
        np.expm1,
        lambda g, y, x: [g * call("exp", x)],
        "exp(x) - 1, exact where x is small",
        slope="infinite",
        zero=True,
        domain=_LARGE.format("an exponential"),
    ),
    unary(
        "cbrt",
        np.cbrt,
        lambda g, y, x: [g / (3 * (y * y))],
        "the cube root, negative where x is",
        slope="infinite",
        zero=True,
        finite=True,
    ),
)
