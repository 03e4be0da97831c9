"""The error function, and the gamma function of positive numbers with its derivatives.

In NumPy, in double precision.  From 10 on Stirling's series says what the logarithm of gamma is;
up to there its series of zeta functions around 2 is, after steps by one.  Its derivatives,
polygamma functions, are steps by one and an asymptotic series.
(Abramowitz and Stegun, Handbook of Mathematical Functions (1964), chapter 6.)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rollc.ir.attributes import SIZE
from rollc.ir.expressions import call
from rollc.ir.operations.elementwise.arithmetic import infer_numeric, unary
from rollc.ir.operations.operation import Array, Frame, Operation, Options

FAR = 10.0  # from here on the series of Stirling has the precision of float64
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
_NUMBERED = [*enumerate(BERNOULLI, 1)]
_LOG_ROOT = 0.5 * math.log(2 * math.pi)
_EULER = 0.57721566490153286061


def _above_one(k: int) -> float:
    """The zeta function of k from 2 on, less 1: terms, and what follows by Euler and Maclaurin."""
    n = 50.0
    rest, term = n ** (1 - k) / (k - 1) - 0.5 * n**-k, k * n ** (-k - 1)
    for place, factor in enumerate((1 / 12, -1 / 720, 1 / 30240)):
        rest += factor * term
        term *= (k + 2 * place + 1) * (k + 2 * place + 2) / (n * n)
    return math.fsum([*(m**-k for m in range(2, 51)), rest])


_AROUND_TWO = (1 - _EULER, *((-1) ** k * _above_one(k) / k for k in range(2, 40)))


def log_gamma(x: Array) -> Array:
    """The logarithm of gamma of what is positive; NaN below 0."""
    x = np.asarray(x, np.float64)
    y, product = np.minimum(x, FAR), np.ones_like(x)
    for _ in range(8):  # gamma(y) = (y - 1) gamma(y - 1)
        down = y > 2.5
        y = np.where(down, y - 1, y)
        product = np.where(down, product * y, product)
    # gamma(y) = gamma(y + 1) / y; z is exact, which y + 2 would not be.
    z = np.where(x < 0.5, x, np.where(x < 1.5, x - 1, y - 2))
    divisor = np.where(x < 0.5, x * (x + 1), np.where(x < 1.5, x, 1.0))
    near = np.log(product) - np.log(divisor) + z * np.polyval(_AROUND_TWO[::-1], z)
    t = np.maximum(x, FAR)
    series = np.polyval([b / (2 * k * (2 * k - 1)) for k, b in _NUMBERED[::-1]], 1 / (t * t)) / t
    far = (t - 0.5) * (np.log(t) - 1) + (_LOG_ROOT - 0.5) + series
    return np.where(x < 0, math.nan, np.where(x < FAR, near, np.where(np.isinf(x), x, far)))


def digamma(x: Array) -> Array:
    """Its derivative."""
    x = np.asarray(x, np.float64)
    y, steps = x, np.zeros_like(x)
    for _ in range(10):
        near = y < FAR
        steps = np.where(near, steps + 1 / y, steps)
        y = np.where(near, y + 1, y)
    square = 1 / (y * y)
    series = np.polyval([*(b / (2 * k) for k, b in _NUMBERED[::-1]), 0.0], square)
    return np.where(x < 0, math.nan, np.log(y) - 0.5 / y - series - steps)


def polygamma(order: int, x: float) -> float:
    """The derivative of that order, from 1 on, of digamma at a number."""
    if not x >= 0:
        return math.nan
    if x == 0:
        return math.inf if order % 2 else -math.inf
    below = 1.0  # (order - 1)!
    for k in range(1, order):
        below *= k
    y, steps = x, 0.0
    while y < 20.0:
        steps += inverse_power(y, order + 1)
        y += 1
    power = inverse_power(y, order)
    found = below * order * (steps + 0.5 * power / y) + below * power
    factor = below * order * (order + 1) / 2  # (2 k + order - 1)! / (2 k)!
    for k, number in enumerate(BERNOULLI, 1):
        power /= y * y
        found += number * factor * power
        factor *= (2 * k + order) * (2 * k + order + 1) / ((2 * k + 1) * (2 * k + 2))
    return found if order % 2 else -found


def inverse_power(y: float, order: int) -> float:
    """1 / y to a power; infinite, where Python's own power raises."""
    found = 1.0
    for _ in range(order):
        found /= y
    return found


def erf_slope(x: Array) -> Array:
    """The derivative of erf, exact in its tails."""
    t = np.minimum(np.abs(np.asarray(x, np.float64)), 30.0)
    short = np.round(t * 16) / 16  # its square is exact
    return np.asarray(
        2 / math.sqrt(math.pi) * np.exp(-short * short) * np.exp((short - t) * (t + short))
    )


def _exact(function: Any) -> Any:
    """A function of arrays in double precision, as one of either precision."""
    return lambda x: np.asarray(function(x)).astype(x.dtype)


def _polygamma(frame: Frame, options: Options, x: Array) -> Array:
    order = options["order"]
    assert isinstance(order, int)
    found = np.vectorize(lambda each: polygamma(order, float(each)), otypes=[frame.dtype])
    return np.asarray(found(x))


def _of(name: str) -> Any:
    return np.vectorize(getattr(math, name), otypes=[float])


_POSITIVE = "{} of what is not positive: keep its argument above 0"

SPECIAL: tuple[Operation, ...] = (
    unary(
        "erf",
        _exact(_of("erf")),
        lambda g, y, x: [g * call("erf_slope", x)],
        "the error function",
        zero=True,
        finite=True,
    ),
    unary(
        "erfc",
        _exact(_of("erfc")),
        lambda g, y, x: [-(g * call("erf_slope", x))],
        "1 - erf(x), exact where that is small",
        finite=True,
    ),
    unary(
        "erf_slope",
        _exact(erf_slope),
        lambda g, y, x: [-(g * (2 * (x * y)))],
        "the derivative of erf",
        internal=True,
        finite=True,
    ),
    unary(
        "lgamma",
        _exact(log_gamma),
        lambda g, y, x: [g * call("digamma", x)],
        "the logarithm of the gamma function of what is positive",
        slope="infinite",
        domain=_POSITIVE.format("the gamma function"),
    ),
    unary(
        "digamma",
        _exact(digamma),
        lambda g, y, x: [g * call("polygamma", x, order=1)],
        "the derivative of lgamma",
        slope="infinite",
        domain=_POSITIVE.format("a derivative of the gamma function"),
    ),
    Operation(
        "polygamma",
        ("x",),
        infer_numeric,
        _polygamma,
        lambda g, y, x, order: [g * call("polygamma", x, order=order + 1)],
        elementwise=True,
        internal=True,
        summary="the derivative of that order of digamma",
        required={"order": SIZE},
    ),
)
