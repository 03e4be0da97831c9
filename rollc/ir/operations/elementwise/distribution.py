"""The normal distribution, exact in both tails, and functions made of it.

In NumPy: beyond t = |x| lies density(t) / f(t), where f is the continued fraction
t + 1 / (t + 2 / (t + 3 / …)) of Laplace, whose first 128 terms are exact from 2 on; up to
there the C library's erfc is.  All is computed in double precision.
(Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.2.14.)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rollc.ir.expressions import Value, call
from rollc.ir.operations.elementwise.arithmetic import unary
from rollc.ir.operations.operation import Array, Operation

_HEIGHT = 1 / math.sqrt(2 * math.pi)
_LOG_HEIGHT = -0.5 * math.log(2 * math.pi)
_TERMS = 128
_NEAR = 2.0
_FAR = 40.0  # the density is zero there


def density(x: Array) -> Array:
    """The density of the normal distribution."""
    t = np.minimum(np.abs(np.asarray(x, np.float64)), _FAR)
    # The square of a number of few bits is exact; the rest is small.
    short = np.round(t * 16) / 16
    return np.asarray(
        _HEIGHT * np.exp(-0.5 * short * short) * np.exp(-0.5 * (t - short) * (t + short))
    )


def cdf(x: Array) -> Array:
    """The normal distribution function."""
    x = np.asarray(x, np.float64)
    beyond = density(x) / _fraction(x)
    return np.where(x < 0, beyond, 1 - beyond)


def log_cdf(x: Array) -> Array:
    """Its logarithm, exact in both tails."""
    x = np.asarray(x, np.float64)
    fraction = _fraction(x)
    with np.errstate(over="ignore"):
        left = _LOG_HEIGHT - 0.5 * x * x - np.log(fraction)
    return np.where(x < 0, left, np.log1p(-density(x) / fraction))


def ratio(x: Array) -> Array:
    """The density over the distribution function: the derivative of the latter's logarithm.

    It is the inverse Mills ratio of ``-x``.
    """
    x = np.asarray(x, np.float64)
    fraction, height = _fraction(x), density(x)
    return np.where(x < 0, fraction, height / (1 - height / fraction))


def _fraction(x: Array) -> Array:
    """The density over the probability beyond |x|: the inverse Mills ratio."""
    t = np.abs(x)
    far, near = np.maximum(t, _NEAR), np.minimum(t, _NEAR)
    found = far
    for k in range(_TERMS, 0, -1):
        found = far + k / found
    beyond = 0.5 * np.vectorize(math.erfc, otypes=[float])(near * math.sqrt(0.5))
    return np.where(t < _NEAR, density(near) / beyond, found)


def _gelu_adjoint(g: Value, y: Value, x: Value) -> list[Value | None]:
    # Where x is infinite the density is zero: x is kept finite.
    near = call("clip", x, -_FAR, _FAR)
    return [g * (call("normal_cdf", x) + near * call("normal_density", x))]


def _operation(name: str, function: Any, adjoint: Any, summary: str, **options: Any) -> Operation:
    def evaluate(x: Array) -> Array:
        return np.asarray(function(x)).astype(x.dtype)

    return unary(name, evaluate, adjoint, summary, **options)


DISTRIBUTION = (
    _operation(
        "gelu",
        lambda x: np.maximum(x, -_FAR) * cdf(x),
        _gelu_adjoint,
        "x times the normal distribution function (the exact form)",
        zero=True,
        finite=True,
    ),
    _operation(
        "normal_cdf",
        cdf,
        lambda g, y, x: [g * call("normal_density", x)],
        "the normal distribution function",
        finite=True,
    ),
    _operation(
        "log_normal_cdf",
        log_cdf,
        lambda g, y, x: [g * call("normal_ratio", x)],
        "the logarithm of normal_cdf(x), exact where that is 0 or 1",
        slope="infinite",
    ),
    _operation(
        "normal_density",
        density,
        lambda g, y, x: [-(g * (x * y))],
        "the density of the normal distribution",
        internal=True,
        finite=True,
    ),
    _operation(
        "normal_ratio",
        ratio,
        lambda g, y, x: [-(g * (y * (x + y)))],
        "normal_density(x) / normal_cdf(x), exact where these are 0",
        internal=True,
    ),
)
