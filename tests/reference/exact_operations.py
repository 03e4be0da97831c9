"""What operations are in arithmetic of any precision: values, slopes, and points to try them at.

An :class:`Exact` gives each number with its *terms*: the size of what is added up for it, where a
result can be small because these cancel.  ``grammar/README.md`` says which of the two an error is
relative to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from mpmath import mp, mpf
from numpy.typing import NDArray

from rollc.ir.graph import Attribute, Type
from tests.helpers.operation_cases import INDEX, NUMBER, SQUARE, VECTOR, Case

Array = NDArray[Any]
Number = Any  # mpf
Pair = tuple[Number, Number]  # a number and its terms
Point = tuple[Any, ...]  # an operand each

mp.dps = 40
INF, NAN = float("inf"), float("nan")
PAST = 1000000.0  # of a standard deviation: nothing is left there


@dataclass(frozen=True)
class Exact:
    """An operation at points.

    ``value(*operands)`` gives a pair for each element of the result, ``slopes(g, *operands)`` a
    list of pairs for each operand that has a slope, where g are the cotangents of the elements.
    ``limits`` are points with the value and the slopes there, where arithmetic does not say them.
    """

    operands: tuple[Type, ...]
    points: Callable[[Any, np.random.Generator], list[Point]]
    value: Callable[..., Sequence[Pair]]
    slopes: Callable[..., Sequence[Sequence[Pair]]]
    limits: tuple[tuple[Point, Any, tuple[Any, ...]], ...] = ()
    options: dict[str, Attribute] = field(default_factory=dict)

    @property
    def case(self) -> Case:
        return Case(self.operands, self.options)


def alone(x: Number) -> Pair:
    """A number that an error is relative to."""
    return x, abs(x)


# Functions of one number ----------------------------------------------------------------


def numbers(dtype: Any, rng: np.random.Generator) -> Array:
    """From the smallest to the largest, the ends among them."""
    info = np.finfo(dtype)
    sizes = np.exp2(rng.uniform(np.log2(float(info.smallest_subnormal)), info.maxexp, 60))
    ends = [float(end) for end in (info.smallest_subnormal, info.tiny, info.max, info.eps)]
    far = float(-np.log(info.tiny))  # where exp leaves the numbers
    found = [
        *rng.normal(size=60),
        *(rng.normal(size=60) * 8),
        *rng.uniform(-far, far, 60),
        *np.linspace(0.95, 1.05, 20) * far,
        *np.linspace(-1.05, -0.95, 20) * far,
        *sizes[:30],
        *-sizes[30:],
        *ends,
        *(-end for end in ends),
        *(0.5, 1.0, -1.0, 2.0, 1 - info.eps, 1 + info.eps),
        *rng.uniform(0.6, 1.6, 20),
    ]
    return np.clip(found, float(info.min), float(info.max)).astype(dtype)


def one(
    value: Callable[[Number], Number | Pair],
    slope: Callable[[Number], Number | Pair],
    *limits: tuple[float, float, float],
    positive: bool = False,
    of_none: float = NAN,
) -> Exact:
    """``of_none`` is the slope at what is no number."""

    def paired(x: Any) -> Pair:
        return x if isinstance(x, tuple) else alone(x)

    def points(dtype: Any, rng: np.random.Generator) -> list[Point]:
        found = numbers(dtype, rng)
        zeros = np.array([0.0, -0.0], dtype)
        return [(x,) for x in (np.abs(found) if positive else np.append(found, zeros))]

    return Exact(
        (NUMBER,),
        points,
        lambda x: [paired(value(x))],
        lambda g, x: [[paired(slope(x))]],
        (*((((x,), y, (s,))) for x, y, s in limits), ((NAN,), NAN, (of_none,))),
    )


def sigmoid(x: Number) -> Number:
    return 1 / (1 + mp.exp(-x))


def sech2(x: Number) -> Number:
    return 4 / (mp.exp(x) + mp.exp(-x)) ** 2


def density(x: Number) -> Number:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi) if abs(x) < PAST else mpf(0)


def mills(t: Number) -> Number:
    """What lies beyond t, over the density."""
    if t < 60:
        return mp.erfc(t / mp.sqrt(2)) / 2 / density(t)
    found = t
    for k in range(100, 0, -1):
        found = t + k / found
    return 1 / found


def beyond(x: Number) -> Number:
    t = abs(x)
    return density(t) * mills(t) if t < PAST else mpf(0)


def cdf(x: Number) -> Number:
    return beyond(x) if x < 0 else 1 - beyond(x)


def log_cdf(x: Number) -> Number:
    if x < 0:
        return mp.log(mills(-x)) - x * x / 2 - mp.log(2 * mp.pi) / 2
    return mp.log1p(-beyond(x))


def cdf_ratio(x: Number) -> Number:
    return 1 / mills(-x) if x < 0 else density(x) / cdf(x)


def gelu_slope(x: Number) -> Pair:
    one, two = cdf(x), x * density(x)
    return one + two, one + abs(two)


def silu_slope(x: Number) -> Pair:
    s = sigmoid(x)
    two = x * s * sigmoid(-x)
    return s + two, s + abs(two)


def softplus(x: Number) -> Number:
    return max(x, 0) + mp.log1p(mp.exp(-abs(x)))


def only(inside: Callable[[Number], bool], function: Callable[[Number], Number]) -> Any:
    """A function that is no number elsewhere."""
    return lambda x: function(x) if inside(x) else mpf("nan")


def over(above: Callable[[Number], Number]) -> Callable[[Number], Number]:
    """1 over a number, infinite where that is 0."""
    return lambda x: 1 / above(x) if above(x) else mpf("inf")


def unit(x: Number) -> bool:
    return abs(x) <= 1


def leg(x: Number) -> Number:
    return mp.sqrt((1 - x) * (1 + x))


def cube_root(x: Number) -> Number:
    return mp.sign(x) * mp.cbrt(abs(x))


def erfc(x: Number) -> Number:
    return mp.erfc(x) if abs(x) < PAST else mpf(0 if x > 0 else 2)


def erf_slope(x: Number) -> Number:
    return 2 / mp.sqrt(mp.pi) * mp.exp(-x * x) if abs(x) < PAST else mpf(0)


def digamma(x: Number) -> Pair:
    return mp.digamma(x), 1 + abs(mp.log(x)) + 1 / x


def nearest(x: Number) -> Number:
    below = mp.floor(x)
    rest = x - below
    return below if rest < 0.5 or (rest == 0.5 and below % 2 == 0) else below + 1


def nothing(x: Number) -> Number:
    return mpf(0)


def softsign_slope(x: Number) -> Number:
    return 1 / (1 + abs(x)) ** 2


ONE = {
    "tan": one(mp.tan, lambda x: 1 / mp.cos(x) ** 2, (INF, NAN, NAN), (0, 0, 1)),
    "rsqrt": one(
        lambda x: 1 / mp.sqrt(x),
        lambda x: -1 / (2 * x * mp.sqrt(x)),
        (INF, 0, 0),
        (0, INF, -INF),
        positive=True,
    ),
    "elu": one(
        lambda x: x if x > 0 else mp.expm1(x),
        lambda x: mpf(1) if x > 0 else mp.exp(x),
        (INF, INF, 1),
        (-INF, -1, 0),
        (0, 0, 1),
    ),
    "leaky_relu": one(
        lambda x: x if x > 0 else x * mpf(0.01),
        lambda x: mpf(1) if x > 0 else mpf(0.01),
        (INF, INF, 1),
        (-INF, -INF, 0.01),
        (0, 0, 0.01),
        of_none=0.01,
    ),
    "hard_sigmoid": one(
        lambda x: min(max(x / 6 + 0.5, mpf(0)), mpf(1)),
        lambda x: mpf(1) / 6 if abs(x) < 3 else mpf(0),
        (INF, 1, 0),
        (-INF, 0, 0),
        (3, 1, 0),
        (-3, 0, 0),
        of_none=1 / 6,
    ),
    "hard_tanh": one(
        lambda x: min(max(x, mpf(-1)), mpf(1)),
        lambda x: mpf(abs(x) < 1),
        (INF, 1, 0),
        (-INF, -1, 0),
        (1, 1, 0),
        of_none=1,
    ),
    "softsign": one(
        lambda x: x / (1 + abs(x)), softsign_slope, (INF, 1, 0), (-INF, -1, 0), (0, 0, 1)
    ),
    "floor": one(mp.floor, nothing, (INF, INF, 0), (-INF, -INF, 0), of_none=0),
    "ceil": one(mp.ceil, nothing, (INF, INF, 0), (-INF, -INF, 0), of_none=0),
    "round": one(
        nearest,
        nothing,
        (INF, INF, 0),
        *((x + 0.5, x + x % 2, 0) for x in (-2, -1, 0, 1, 2)),
        of_none=0,
    ),
    "atan": one(mp.atan, lambda x: 1 / (1 + x * x), (INF, np.pi / 2, 0), (-INF, -np.pi / 2, 0)),
    "asin": one(only(unit, mp.asin), only(unit, over(leg)), (INF, NAN, NAN)),
    "acos": one(
        only(unit, mp.acos), only(unit, lambda x: -over(leg)(x)), (INF, NAN, NAN), (1, 0, -INF)
    ),
    "sinh": one(mp.sinh, mp.cosh, (INF, INF, INF), (-INF, -INF, INF)),
    "cosh": one(mp.cosh, mp.sinh, (INF, INF, INF), (-INF, INF, -INF)),
    "log1p": one(
        lambda x: mp.log1p(x) if x > -1 else mpf("-inf" if x == -1 else "nan"),
        over(lambda x: 1 + x),
        (INF, INF, 0),
        (-1, -INF, INF),
    ),
    "expm1": one(mp.expm1, mp.exp, (INF, INF, INF), (-INF, -1, 0)),
    "cbrt": one(cube_root, over(lambda x: 3 * cube_root(x) ** 2), (INF, INF, 0), (-INF, -INF, 0)),
    "erf": one(lambda x: mp.erf(x) if abs(x) < PAST else mp.sign(x), erf_slope, (INF, 1, 0)),
    "erfc": one(erfc, lambda x: -erf_slope(x), (INF, 0, 0), (-INF, 2, 0)),
    "lgamma": one(
        mp.loggamma, digamma, (INF, INF, INF), (0, INF, -INF), (-1.5, NAN, NAN), positive=True
    ),
    "digamma": one(
        digamma,
        lambda x: mp.polygamma(1, x),
        (INF, INF, 0),
        (0, -INF, INF),
        (-1.5, NAN, NAN),
        positive=True,
    ),
    "tanh": one(mp.tanh, sech2, (INF, 1, 0), (-INF, -1, 0)),
    "sigmoid": one(
        sigmoid, lambda x: sigmoid(x) * sigmoid(-x), (INF, 1, 0), (-INF, 0, 0), (0, 0.5, 0.25)
    ),
    "relu": one(
        lambda x: max(x, mpf(0)),
        lambda x: mpf(x > 0),
        (INF, INF, 1),
        (-INF, 0, 0),
        (0, 0, 0),
        of_none=1,
    ),
    "softplus": one(softplus, sigmoid, (INF, INF, 1), (-INF, 0, 0)),
    "log_sigmoid": one(
        lambda x: -softplus(-x), lambda x: sigmoid(-x), (INF, 0, 0), (-INF, -INF, 1)
    ),
    "silu": one(lambda x: x * sigmoid(x), silu_slope, (INF, INF, 1), (-INF, 0, 0), (0, 0, 0.5)),
    "gelu": one(lambda x: x * cdf(x), gelu_slope, (INF, INF, 1), (-INF, 0, 0), (0, 0, 0.5)),
    "normal_cdf": one(cdf, density, (INF, 1, 0), (-INF, 0, 0)),
    "log_normal_cdf": one(log_cdf, cdf_ratio, (INF, 0, 0), (-INF, -INF, INF)),
    "exp": one(mp.exp, mp.exp, (INF, INF, INF), (-INF, 0, 0), (0, 1, 1)),
    "log": one(
        mp.log, lambda x: 1 / x, (INF, INF, 0), (0, -INF, INF), (-1, NAN, -1), positive=True
    ),
    "sqrt": one(mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x)), (INF, INF, 0), (0, 0, INF), positive=True),
    "sin": one(mp.sin, mp.cos, (INF, NAN, NAN), (0, 0, 1)),
    "cos": one(mp.cos, lambda x: -mp.sin(x), (-INF, NAN, NAN), (0, 1, 0)),
    "abs": one(abs, lambda x: mpf((x > 0) - (x < 0)), (INF, INF, 1), (-INF, INF, -1), (0, 0, 0)),
}


# Functions of two numbers ---------------------------------------------------------------


def pairs(dtype: Any, rng: np.random.Generator) -> list[Point]:
    a, b = numbers(dtype, rng), numbers(dtype, rng)
    rng.shuffle(b)
    near = a[:60] * dtype(1) + np.spacing(a[:60])
    return [*zip(a, b, strict=True), *zip(a[:60], near, strict=True), *zip(a[:9], a, strict=False)]


def two(
    value: Callable[..., Number],
    *slopes: Callable[..., Number | Pair],
    points: Callable[[Any, np.random.Generator], list[Point]] = pairs,
    limits: tuple[tuple[Point, Any, tuple[Any, ...]], ...] = (),
) -> Exact:
    def slopes_at(g: Sequence[Number], *x: Number) -> list[list[Pair]]:
        found = [slope(*x) for slope in slopes]
        return [[each if isinstance(each, tuple) else alone(each)] for each in found]

    return Exact((NUMBER, NUMBER), points, lambda *x: [alone(value(*x))], slopes_at, limits)


def powers(dtype: Any, rng: np.random.Generator) -> list[Point]:
    info = np.finfo(dtype)
    size = float(np.log(info.max))
    a = np.exp2(rng.uniform(np.log2(float(info.smallest_subnormal)), info.maxexp - 0.01, 150))
    logs = np.log(a.astype(dtype).astype(float))
    b = rng.uniform(-size, size, 150) / np.where(abs(logs) < 1e-9, 1, logs)
    near = 1 + rng.uniform(-1, 1, 60) * np.exp2(rng.uniform(np.log2(float(info.eps)) + 1, -1, 60))
    below = rng.uniform(0.9999999, 1.0000001, 60) * size  # where the result is the largest
    bases = rng.uniform(1.5, 9, 60)
    whole = rng.integers(-6, 7, 40)
    found = [
        *zip(a, b, strict=True),
        *zip(near, rng.normal(size=60) * 30, strict=True),
        *zip(bases, below / np.log(bases.astype(dtype).astype(float)), strict=True),
        *zip(-rng.uniform(0.1, 9, 40), whole, strict=True),
    ]
    # Not those whose slope passes through what is no number any more.
    return [
        (dtype(x), dtype(y))
        for x, y in found
        if dtype(x) != 0 and (abs(y) >= 1 or abs((y - 1) * np.log(abs(x))) < 0.99 * size)
    ]


def power_slope(a: Number, b: Number) -> Pair:
    if not b:
        return mpf(0), mpf(0)
    found = b * mp.power(a, b - 1)
    return found, abs(found) * (1 + abs((b - 1) * mp.log(abs(a))))  # b - 1 is rounded first


def power_second(a: Number, b: Number) -> Number:
    return mp.power(a, b) * mp.log(a) if a > 0 else mpf("nan")


def half_if_equal(first: bool, larger: bool) -> Callable[[Number, Number], Number]:
    def slope(a: Number, b: Number) -> Number:
        return mpf(0.5) if a == b else mpf(first == ((a > b) == larger))

    return slope


def divided(a: Number, b: Number) -> Number:
    return -a / (b * b)


def logistic_points(dtype: Any, rng: np.random.Generator) -> list[Point]:
    scores = numbers(dtype, rng)
    targets = rng.choice([0.0, 1.0, 0.0, 1.0, 0.25, 0.9, 1e-6, 1 - 1e-6], len(scores))
    return list(zip(scores, targets.astype(dtype), strict=True))


def logistic(score: Number, target: Number) -> Number:
    weight = target if score < 0 else 1 - target
    return abs(score) * weight + mp.log1p(mp.exp(-abs(score)))


def logistic_slope(score: Number, target: Number) -> Pair:
    small = sigmoid(-abs(score))
    rest = target if score < 0 else 1 - target
    return (small - rest if score < 0 else rest - small), small + rest


def remainder(a: Number, b: Number) -> Number:
    # Exact, whatever the quotient.
    found = Fraction(float(a)) % Fraction(float(b))
    return mpf(found.numerator) / found.denominator


def quotient(a: Number, b: Number) -> Number:
    return -mpf(Fraction(float(a)) // Fraction(float(b)))


TWO = {
    "mod": two(
        remainder,
        lambda a, b: mpf(1),
        quotient,
        limits=(
            ((1, 0), NAN, (1, NAN)),
            ((INF, 1), NAN, (1, NAN)),
            ((1, INF), 1, (1, 0)),
            ((-7, 3), 2, (1, 3)),
            ((7, -3), -2, (1, 3)),
            ((6, 3), 0, (1, -2)),
        ),
    ),
    "atan2": two(
        mp.atan2,
        lambda a, b: b / (a * a + b * b),
        lambda a, b: -a / (a * a + b * b),
        limits=(
            ((INF, 1), np.pi / 2, (0, 0)),
            ((1, INF), 0, (0, 0)),
            ((-1, -INF), -np.pi, (0, 0)),
            ((INF, INF), np.pi / 4, (0, 0)),
            ((INF, -INF), 3 * np.pi / 4, (0, 0)),
            ((0, 0), 0, (0, 0)),
            ((0.0, -1), np.pi, (-1, 0)),
            ((-0.0, -1), np.pi, (-1, 0)),
            ((0, -0.0), 0, (0, 0)),
            ((NAN, 1), NAN, (NAN, NAN)),
            ((NAN, 0), NAN, (NAN, NAN)),
            ((0, NAN), NAN, (NAN, NAN)),
        ),
    ),
    "add": two(lambda a, b: a + b, lambda a, b: mpf(1), lambda a, b: mpf(1)),
    "subtract": two(lambda a, b: a - b, lambda a, b: mpf(1), lambda a, b: mpf(-1)),
    "multiply": two(
        lambda a, b: a * b,
        lambda a, b: b,
        lambda a, b: a,
        limits=(((INF, 0), NAN, (0, INF)), ((INF, -2), -INF, (-2, INF))),
    ),
    "divide": two(
        lambda a, b: a / b,
        lambda a, b: 1 / b,
        divided,
        limits=(((1, 0), INF, (INF, -INF)), ((0, 0), NAN, (INF, NAN)), ((2, INF), 0, (0, 0))),
    ),
    "power": two(
        mp.power,
        power_slope,
        power_second,
        points=powers,
        limits=(
            *(((0, b), 0, (0, 0)) for b in (2, 2.5)),
            ((0, 1), 0, (1, 0)),
            ((0, 0.5), 0, (INF, 0)),
            ((0, 0), 1, (0, 0)),
            ((3, 0), 1, (0, float(np.log(3)))),
            ((0, -1), INF, (-INF, -INF)),
            ((0, INF), 0, (0, 0)),
            ((0, -INF), INF, (-INF, -INF)),
            ((0.5, INF), 0, (0, 0)),
            ((0.5, -INF), INF, (-INF, -INF)),
            ((1, INF), 1, (INF, 0)),
            ((1, -INF), 1, (-INF, 0)),
            ((2, INF), INF, (INF, INF)),
            ((2, -INF), 0, (0, 0)),
            *(((INF, b), INF, (slope, INF)) for b, slope in ((2, INF), (1, 1), (0.5, 0))),
            ((INF, 0), 1, (0, INF)),
            *(((INF, b), 0, (0, 0)) for b in (-0.5, -2, -INF)),
            ((INF, INF), INF, (INF, INF)),
            ((-0.5, INF), 0, (0, NAN)),
            ((-INF, 3), -INF, (INF, NAN)),
            ((-INF, -1), 0, (0, NAN)),
            ((-2, 0.5), NAN, (NAN, NAN)),
            ((NAN, 1), NAN, (1, NAN)),
            ((2, NAN), NAN, (NAN, NAN)),
        ),
    ),
    "minimum": two(min, half_if_equal(True, False), half_if_equal(False, False)),
    "maximum": two(
        max,
        half_if_equal(True, True),
        half_if_equal(False, True),
        limits=(((INF, INF), INF, (0.5, 0.5)), ((INF, 3), INF, (1, 0)), ((-INF, 3), 3, (0, 1))),
    ),
    "binary_cross_entropy": two(
        logistic,
        logistic_slope,
        lambda score, target: -score,
        points=logistic_points,
        limits=(
            ((INF, 0), INF, (1, -INF)),
            ((INF, 1), 0, (0, -INF)),
            ((-INF, 0), 0, (0, INF)),
            ((-INF, 1), INF, (-1, INF)),
            ((INF, 0.25), INF, (0.75, -INF)),
            ((-INF, 0.25), INF, (-0.25, INF)),
            ((NAN, 0), NAN, (NAN, NAN)),
            ((NAN, 1), NAN, (NAN, NAN)),
            ((1, NAN), NAN, (NAN, -1)),
        ),
    ),
}


# Functions of vectors -------------------------------------------------------------------


def vectors(count: int) -> Callable[[Any, np.random.Generator], list[Point]]:
    """Ordinary ones, with what all elements have in common, far apart, and equal ones."""

    def points(dtype: Any, rng: np.random.Generator) -> list[Point]:
        digits = np.finfo(dtype).nmant
        found = []
        for size in range(120):
            offset = 2.0 ** rng.uniform(0, digits + 4) if size % 4 == 1 else 0.0
            spread = 2.0 ** rng.uniform(-12, 6)
            operands = rng.normal(size=(count, 3)) * spread + offset
            if size % 4 == 2:
                operands[:, 1] = operands[:, 0]
            if size % 8 == 3:
                operands[:, :] = operands[:, :1]
            found.append(tuple(operands.astype(dtype)))
        return found

    return points


def parts(x: Sequence[Number]) -> tuple[list[Number], Number, list[Number]]:
    """How far each element is below the largest, the logarithm of the sum, and the shares."""
    top = max(x)
    below = [each - top for each in x]
    rest = sum(map(mp.exp, sorted(below)[:-1]))
    return below, mp.log1p(rest), [mp.exp(each) / (1 + rest) for each in below]


def apart(below: Number) -> Number:
    """A difference is rounded once, and exp makes that a relative error."""
    return 1 + abs(below)


def softmax(x: Any) -> list[Pair]:
    below, _, shares = parts(x)
    return [(p, p * apart(d)) for d, p in zip(below, shares, strict=True)]


def softmax_slopes(g: Any, x: Any) -> list[list[Pair]]:
    below, _, shares = parts(x)
    middle = sum(a * p for a, p in zip(g, shares, strict=True))
    size = sum(abs(a) * p for a, p in zip(g, shares, strict=True))
    return [
        [
            (p * (a - middle), p * (abs(a) + size) * apart(d))
            for a, d, p in zip(g, below, shares, strict=True)
        ]
    ]


def rise_of(x: Any) -> Pair:
    """The logarithm of the sum of exp(x - top)."""
    below, rise, _ = parts(x)
    return rise, sum(mp.exp(d) * apart(d) for d in sorted(below)[:-1])


def log_softmax(x: Any) -> list[Pair]:
    rise, terms = rise_of(x)
    return [(d - rise, abs(d) + terms) for d in parts(x)[0]]


def log_softmax_slopes(g: Any, x: Any) -> list[list[Pair]]:
    below, rise, shares = parts(x)
    total, size = sum(g), sum(map(abs, g))
    return [
        [
            (a - p * total, abs(a) + p * size * apart(d - rise))
            for a, d, p in zip(g, below, shares, strict=True)
        ]
    ]


def cross_entropy(x: Any, target: int) -> list[Pair]:
    found, terms = log_softmax(x)[target]
    return [(-found, terms)]


def cross_entropy_slopes(g: Any, x: Any, target: int) -> list[list[Pair]]:
    return [
        [
            (g[0] * (p - (k == target)), abs(g[0]) * (size + (k == target)))
            for k, (p, size) in enumerate(softmax(x))
        ],
    ]


def scores(dtype: Any, rng: np.random.Generator) -> list[Point]:
    return [(x, int(rng.integers(3))) for (x,) in vectors(1)(dtype, rng)]


def extreme(largest: bool) -> Exact:
    def slopes(g: Any, x: Any) -> list[list[Pair]]:
        best = max(x) if largest else min(x)
        return [[alone(g[0] * (each == best) / list(x).count(best)) for each in x]]

    return Exact(
        (VECTOR,),
        vectors(1),
        lambda x: [alone(max(x) if largest else min(x))],
        slopes,
        (((np.array([NAN, 1, 2]),), NAN, (np.array([1, 0, 0]),)),),
    )


def summed(x: Sequence[Number]) -> Pair:
    return sum(x), sum(map(abs, x))


def squares(a: Any, b: Any) -> list[Number]:
    return [(p - q) ** 2 for p, q in zip(a, b, strict=True)]


def error_slopes(g: Any, a: Any, b: Any) -> list[list[Pair]]:
    found = [2 * g[0] * (p - q) / 3 for p, q in zip(a, b, strict=True)]
    return [list(map(alone, found)), [alone(-each) for each in found]]


EPSILON = 1e-5


def normal(x: Any) -> tuple[list[Number], Number, Number]:
    """The normalised elements, the deviation, and how exact the elements can be."""
    middle = sum(x) / 3
    centred = [each - middle for each in x]
    root = mp.sqrt(sum(each * each for each in centred) / 3 + mpf(EPSILON))
    return [each / root for each in centred], root, (max(x) - min(x)) / root


def layer_norm(x: Any, gain: Any, bias: Any) -> list[Pair]:
    y, _, size = normal(x)
    return [(a * w + c, size * abs(w) + abs(c)) for a, w, c in zip(y, gain, bias, strict=True)]


def layer_norm_slopes(g: Any, x: Any, gain: Any, bias: Any) -> list[list[Pair]]:
    y, root, size = normal(x)
    h = [a * w for a, w in zip(g, gain, strict=True)]
    middle, along = sum(h) / 3, sum(a * b for a, b in zip(h, y, strict=True)) / 3
    terms = sum(map(abs, h)) * (1 + size) ** 2 / root
    return [
        [((a - middle - b * along) / root, terms) for a, b in zip(h, y, strict=True)],
        [(a * b, abs(a) * size) for a, b in zip(g, y, strict=True)],
        list(map(alone, g)),
    ]


NONE, SOME = np.full(3, -INF), np.array([0.0, INF, -1.0])
TIE, LOST = np.array([INF, 1.0, INF]), np.array([-INF, 0.0, 0.0])
VECTORS = {
    "sum": Exact((VECTOR,), vectors(1), lambda x: [summed(x)], lambda g, x: [[alone(g[0])] * 3]),
    "mean": Exact(
        (VECTOR,),
        vectors(1),
        lambda x: [tuple(each / 3 for each in summed(x))],
        lambda g, x: [[alone(g[0] / 3)] * 3],
    ),
    "max": extreme(True),
    "min": extreme(False),
    "dot": Exact(
        (VECTOR, VECTOR),
        vectors(2),
        lambda a, b: [summed([p * q for p, q in zip(a, b, strict=True)])],
        lambda g, a, b: [[alone(g[0] * q) for q in b], [alone(g[0] * p) for p in a]],
    ),
    "softmax": Exact(
        (VECTOR,),
        vectors(1),
        softmax,
        softmax_slopes,
        (
            ((NONE,), [0, 0, 0], ([0, 0, 0],)),
            ((SOME,), [0, 1, 0], ([0, 0, 0],)),
            ((LOST,), [0, 0.5, 0.5], (None,)),
            ((TIE,), [0.5, 0, 0.5], (None,)),
        ),
    ),
    "log_softmax": Exact(
        (VECTOR,),
        vectors(1),
        log_softmax,
        log_softmax_slopes,
        (
            ((NONE,), NONE, (None,)),
            ((SOME,), [-INF, 0, -INF], (None,)),
            ((np.array([NAN, 0, 0]),), np.full(3, NAN), (np.full(3, NAN),)),
        ),
    ),
    "logsumexp": Exact(
        (VECTOR,),
        vectors(1),
        lambda x: [(max(x) + rise_of(x)[0], abs(max(x)) + rise_of(x)[1])],
        lambda g, x: [[(g[0] * p, abs(g[0]) * size) for p, size in softmax(x)]],
        (
            ((NONE,), -INF, ([0, 0, 0],)),
            ((SOME,), INF, (None,)),
            ((np.array([NAN, 0, INF]),), NAN, (np.full(3, NAN),)),
        ),
    ),
    "cross_entropy": Exact(
        (VECTOR, INDEX),
        scores,
        cross_entropy,
        cross_entropy_slopes,
        (
            ((NONE, 1), INF, ([0, -1, 0],)),
            ((SOME, 1), 0, ([0, 0, 0],)),
            ((SOME, 0), INF, ([-1, 1, 0],)),
            ((LOST, 0), INF, ([-1, 0.5, 0.5],)),
            ((np.array([0, NAN, 0]), 0), NAN, (np.full(3, NAN),)),
        ),
    ),
    "layer_norm": Exact(
        (VECTOR, VECTOR, VECTOR),
        lambda dtype, rng: [
            (x, gain, bias)
            for (x,), (gain, bias) in zip(
                vectors(1)(dtype, rng), rng.normal(size=(120, 2, 3)).astype(dtype), strict=True
            )
        ],
        layer_norm,
        layer_norm_slopes,
        options={"epsilon": EPSILON},
    ),
    "mse": Exact(
        (VECTOR, VECTOR),
        vectors(2),
        lambda a, b: [alone(sum(squares(a, b)) / 3)],
        error_slopes,
    ),
}


def lengths(dtype: Any, rng: np.random.Generator) -> list[Point]:
    """Vectors of any length, to the ends of the numbers."""
    found = []
    for (x,) in vectors(1)(dtype, rng):
        size = 2.0 ** rng.uniform(-np.finfo(dtype).maxexp + 30, np.finfo(dtype).maxexp - 90)
        found.append((x, (x * dtype(size)))[len(found) % 2])
    return [(x,) for x in found]


def length(x: Any) -> Number:
    return mp.sqrt(sum(each * each for each in x))


def averaged(each: Callable[..., Pair], *operands: Any) -> Pair:
    """The mean of elements, and that of their terms."""
    pairs = [each(*some) for some in zip(*operands, strict=True)]
    return tuple(sum(part) / len(pairs) for part in zip(*pairs, strict=True))  # type: ignore


def loss(
    value: Callable[..., Pair],
    *slopes: Callable[..., Pair],
    points: Callable[[Any, np.random.Generator], list[Point]],
    limits: tuple[Any, ...] = (),
    count: int = 2,
) -> Exact:
    """The mean over elements, each with its value and its slopes."""
    return Exact(
        (VECTOR,) * count,
        points,
        lambda *x: [averaged(value, *x)],
        lambda g, *x: [
            [(g[0] * found / 3, abs(g[0]) * terms / 3) for found, terms in map(slope, *x)]
            for slope in slopes
        ],
        limits,
    )


def huber(a: Number, b: Number) -> Pair:
    d = abs(a - b)
    return alone(d * d / 2 if d <= 1 else d - 0.5)


def huber_slope(a: Number, b: Number) -> Pair:
    return alone(min(max(a - b, mpf(-1)), mpf(1)))


def yes_or_no(dtype: Any, rng: np.random.Generator) -> list[Point]:
    return [(x, rng.choice([-1, 1], 3).astype(dtype)) for (x,) in vectors(1)(dtype, rng)]


def counts(dtype: Any, rng: np.random.Generator) -> list[Point]:
    return [
        (rng.normal(size=3).astype(dtype) * 3, rng.integers(0, 20, 3).astype(dtype))
        for _ in range(60)
    ]


def shares(dtype: Any, rng: np.random.Generator) -> list[Point]:
    """Scores and probabilities, some of which are 0."""
    found = []
    for number, (x,) in enumerate(vectors(1)(dtype, rng)):
        p = rng.dirichlet([0.3] * 3)
        p[number % 3] *= number % 2
        found.append((x, p.astype(dtype)))
    return found


def densities(dtype: Any, rng: np.random.Generator) -> list[Point]:
    found = rng.normal(size=(60, 3, 3))
    found[:, 1] = np.exp(3 * found[:, 1])
    return [tuple(each) for each in found.astype(dtype)]


def mixtures(dtype: Any, rng: np.random.Generator) -> list[Point]:
    return [
        (rng.normal(size=3).astype(dtype), mean, variance, dtype(rng.normal()))
        for mean, variance, _ in densities(dtype, rng)
    ]


LOG_TWO_PI = mp.log(2 * mp.pi)


def normal_terms(mean: Number, variance: Number, y: Number) -> Pair:
    """-2 log of the density, and its terms."""
    square, log = (mean - y) ** 2 / variance, mp.log(variance)
    return square + log + LOG_TWO_PI, square + abs(log) + LOG_TWO_PI


def gaussian(mean: Number, variance: Number, y: Number) -> Pair:
    found, terms = normal_terms(mean, variance, y)
    return found / 2, terms / 2


def gaussian_variance(mean: Number, variance: Number, y: Number) -> Pair:
    square = (mean - y) ** 2 / variance
    return (1 - square) / (2 * variance), (1 + square) / (2 * variance)


def logs_of(scores: Any, means: Any, variances: Any, y: Number) -> list[Pair]:
    """The logarithms of the shares times the densities, and their terms."""
    logs = log_softmax(scores)
    each = [normal_terms(m, v, y) for m, v in zip(means, variances, strict=True)]
    return [(p - d / 2, s + t / 2) for (p, s), (d, t) in zip(logs, each, strict=True)]


def mixture(scores: Any, means: Any, variances: Any, y: Number) -> list[Pair]:
    logs = logs_of(scores, means, variances, y)
    top = max(each for each, _ in logs)
    weights = [mp.exp(each - top) for each, _ in logs]
    terms = sum(w * t for w, (_, t) in zip(weights, logs, strict=True)) / sum(weights)
    return [(-top - mp.log(sum(weights)), abs(top) + terms + 1)]


def mixture_slopes(g: Any, scores: Any, means: Any, variances: Any, y: Number) -> list[list[Pair]]:
    logs = logs_of(scores, means, variances, y)
    top = max(each for each, _ in logs)
    weights = [mp.exp(each - top) for each, _ in logs]
    parts_of = [w / sum(weights) for w in weights]
    prior = [p for p, _ in softmax(scores)]
    size = 1 + max(t for _, t in logs)  # how much of exp is lost
    means_, variances_ = [], []
    for r, m, v in zip(parts_of, means, variances, strict=True):
        d = (m - y) / v
        means_.append((g[0] * r * d, abs(g[0] * r * d) * size))
        of_v = r * (1 / v - d * d) / 2
        variances_.append((g[0] * of_v, abs(g[0]) * r * (1 / v + d * d) / 2 * size))
    y_slope = (-sum(p for p, _ in means_), sum(t for _, t in means_))
    return [
        [
            (g[0] * (p - r), abs(g[0]) * (p + r) * size)
            for p, r in zip(prior, parts_of, strict=True)
        ],
        means_,
        variances_,
        [y_slope],
    ]


def divergence(scores: Any, y: Any) -> list[Pair]:
    pairs = [
        (t * (mp.log(t) - s), t * (abs(mp.log(t)) + size))
        for t, (s, size) in zip(y, log_softmax(scores), strict=True)
        if t
    ]
    return [tuple(map(sum, zip(*pairs, strict=True)))]  # type: ignore


def divergence_slopes(g: Any, scores: Any, y: Any) -> list[list[Pair]]:
    total, logs = sum(y), log_softmax(scores)
    of_scores = [
        (g[0] * (p * total - t), abs(g[0]) * (size * total + t))
        for t, (p, size) in zip(y, softmax(scores), strict=True)
    ]
    of_y = [
        (g[0] * (mp.log(t) - s + 1), abs(g[0]) * (abs(mp.log(t)) + size + 1))
        if t
        else (mpf(0), mpf(0))
        for t, (s, size) in zip(y, logs, strict=True)
    ]
    return [of_scores, of_y]


def overlap(p: Any, y: Any) -> list[Pair]:
    both = 2 * sum(a * b for a, b in zip(p, y, strict=True)) + 1
    all_ = sum(p) + sum(y) + 1
    return [(1 - both / all_, 1 + both / all_)]


def overlap_slopes(g: Any, p: Any, y: Any) -> list[list[Pair]]:
    both = 2 * sum(a * b for a, b in zip(p, y, strict=True)) + 1
    all_ = sum(p) + sum(y) + 1

    def of(other: Any) -> list[Pair]:
        return [
            (
                g[0] * (both / all_ - 2 * each) / all_,
                abs(g[0]) * (both / all_ + 2 * abs(each)) / all_,
            )
            for each in other
        ]

    return [of(y), of(p)]


def products_to(x: Any) -> list[Number]:
    """The products of the elements up to each."""
    found = [mpf(1)]
    for each in x:
        found.append(found[-1] * each)
    return found[1:]


def products_slopes(g: Any, x: Any) -> list[list[Pair]]:
    found = []
    for k in range(len(x)):
        without = products_to([mpf(1) if place == k else each for place, each in enumerate(x)])
        terms = [a * p for a, p in list(zip(g, without, strict=True))[k:]]
        found.append(summed(terms))
    return [found]


def others(g: Any, x: Any) -> list[list[Pair]]:
    a, b, c = x
    return [[alone(g[0] * b * c), alone(g[0] * a * c), alone(g[0] * a * b)]]


def convolved(x: Any, kernel: Any) -> list[Pair]:
    size = len(x) + len(kernel) - 1
    return [
        summed([x[i] * kernel[k - i] for i in range(len(x)) if 0 <= k - i < len(kernel)])
        for k in range(size)
    ]


def convolved_slopes(g: Any, x: Any, kernel: Any) -> list[list[Pair]]:
    def of(size: int, other: Any) -> list[Pair]:
        return [summed([g[k + i] * other[i] for i in range(len(other))]) for k in range(size)]

    return [of(len(x), kernel), of(len(kernel), x)]


ZEROS = np.array([0.0, 2.0, 3.0])
ALONG = {
    "prod": Exact(
        (VECTOR,),
        vectors(1),
        lambda x: [alone(products_to(x)[-1])],
        others,
        (
            ((ZEROS,), 0, (np.array([6, 0, 0]),)),
            ((np.array([0.0, 0, 3]),), 0, (np.zeros(3),)),
            ((np.array([NAN, 1, 2]),), NAN, (np.array([2, NAN, NAN]),)),
        ),
    ),
    "cumprod": Exact(
        (VECTOR,),
        vectors(1),
        lambda x: list(map(alone, products_to(x))),
        products_slopes,
        (
            ((ZEROS,), [0, 0, 0], (np.array([9, 0, 0]),)),
            ((np.array([1.0, INF, 2.0]),), [1, INF, INF], (np.array([INF, 3, INF]),)),
        ),
    ),
    "cumsum": Exact(
        (VECTOR,),
        vectors(1),
        lambda x: [summed(list(x[: k + 1])) for k in range(len(x))],
        lambda g, x: [[summed(list(g[k:])) for k in range(len(x))]],
        (((np.array([1.0, INF, 2.0]),), [1, INF, INF], (np.array([3, 2, 1]),)),),
    ),
    "convolve": Exact((VECTOR, VECTOR), vectors(2), convolved, convolved_slopes),
    "sort": Exact(
        (VECTOR,),
        vectors(1),
        lambda x: list(map(alone, sorted(x))),
        lambda g, x: [[alone(g[place]) for place in places(x)]],
        (
            ((np.array([NAN, INF, -1]),), [-1, INF, NAN], (np.ones(3),)),
            ((np.array([0.0, -INF, -0.0]),), [-INF, 0, 0], (np.ones(3),)),
        ),
    ),
    "argsort": Exact(
        (VECTOR,),
        vectors(1),
        lambda x: [alone(sorted(range(len(x)), key=lambda k: x[k])[k]) for k in range(len(x))],
        lambda g, x: [[alone(0 * g[k]) for k in range(len(x))]],
        (((np.array([NAN, INF, -1]),), [2, 1, 0], (np.zeros(3),)),),
    ),
    "top_k": Exact(
        (VECTOR,),
        vectors(1),
        lambda x: [alone(max(x))],
        lambda g, x: [[alone(g[0] * (k == list(x).index(max(x)))) for k in range(3)]],
    ),
}


def places(x: Any) -> list[int]:
    """Where each element is when they are sorted."""
    order = sorted(range(len(x)), key=lambda k: x[k])
    return [order.index(k) for k in range(len(x))]


LOSSES = {
    "norm": Exact(
        (VECTOR,),
        lengths,
        lambda x: [alone(length(x))],
        lambda g, x: [[alone(g[0] * each / length(x) if length(x) else mpf(0)) for each in x]],
        (
            ((np.zeros(3),), 0, (np.zeros(3),)),
            ((np.array([INF, 1, 2]),), INF, (np.zeros(3),)),
            ((np.array([NAN, 1, 2]),), NAN, (np.full(3, NAN),)),
        ),
    ),
    "huber": loss(
        huber,
        huber_slope,
        lambda a, b: alone(-huber_slope(a, b)[0]),
        points=vectors(2),
        limits=(
            (
                (np.array([INF, 0, 0]), np.zeros(3)),
                INF,
                (np.array([1 / 3, 0, 0]), np.array([-1 / 3, 0, 0])),
            ),
        ),
    ),
    "hinge": loss(
        lambda s, y: (max(1 - s * y, mpf(0)), 1 + abs(s * y)),
        lambda s, y: alone(-y if s * y < 1 else mpf(0)),
        lambda s, y: alone(-s if s * y < 1 else mpf(0)),
        points=yes_or_no,
    ),
    "poisson_nll": loss(
        lambda s, y: (
            mp.exp(s) - y * s + mp.loggamma(y + 1),
            mp.exp(s) + abs(y * s) + mp.loggamma(y + 1),
        ),
        lambda s, y: (mp.exp(s) - y, mp.exp(s) + y),
        lambda s, y: (mp.digamma(y + 1) - s, abs(s) + digamma(y + 1)[1]),
        points=counts,
    ),
    "gaussian_nll": loss(
        gaussian,
        lambda m, v, y: alone((m - y) / v),
        gaussian_variance,
        lambda m, v, y: alone((y - m) / v),
        points=densities,
        count=3,
    ),
    "mixture_nll": Exact((VECTOR, VECTOR, VECTOR, NUMBER), mixtures, mixture, mixture_slopes),
    "kl_divergence": Exact((VECTOR, VECTOR), shares, divergence, divergence_slopes),
    "dice": Exact(
        (VECTOR, VECTOR),
        lambda dtype, rng: [
            (p.astype(dtype), y.astype(dtype))
            for p, y in zip(rng.uniform(size=(60, 3)), rng.integers(0, 2, (60, 3)), strict=True)
        ],
        overlap,
        overlap_slopes,
    ),
}


# Matrices -------------------------------------------------------------------------------


def squares_at(dtype: Any, rng: np.random.Generator) -> list[Point]:
    found = rng.normal(size=(40, 3, 3))
    found[::4, 2] = found[::4, 0] + rng.normal(size=(10, 3)) * 0.01  # nearly singular
    return [(each.astype(dtype),) for each in found]


def definite_at(dtype: Any, rng: np.random.Generator) -> list[Point]:
    found = rng.normal(size=(40, 3, 3))
    found = found @ found.swapaxes(1, 2) + 10.0 ** -rng.integers(0, 4, (40, 1, 1)) * np.eye(3)
    return [(each.astype(dtype),) for each in found]


def factored(a: Any) -> Any:
    return mp.cholesky((a + a.T) / 2)


def factor_slopes(g: Any, a: Any) -> list[list[Pair]]:
    """Murray, Differentiation of the Cholesky decomposition (2016), equation 10."""
    found, given = factored(a), mp.matrix(3, 3)
    for place, each in enumerate(g):
        given[place // 3, place % 3] = each
    whole, inverse = found.T * given, found**-1
    for i in range(3):
        whole[i, i] /= 2
        for j in range(i + 1, 3):
            whole[i, j] = 0
    slopes = inverse.T * whole * inverse
    terms = inverted(a)[1] * size_of(inverse) ** 2 * size_of(found) * size_of(given)
    return [elements((slopes + slopes.T) / 2, terms)]


def product(a: Any, b: Any) -> list[Pair]:
    return [
        summed([a[i, k] * b[k, j] for k in range(a.cols)])
        for i in range(a.rows)
        for j in range(b.cols)
    ]


def products(dtype: Any, rng: np.random.Generator) -> list[Point]:
    return [tuple(each) for each in rng.normal(size=(40, 2, 3, 3)).astype(dtype)]


def size_of(a: Any) -> Number:
    return max(sum(abs(a[i, j]) for j in range(a.cols)) for i in range(a.rows))


def inverted(a: Any) -> tuple[Any, Number]:
    """The inverse, and the condition: how much larger a relative error becomes."""
    found = a**-1
    return found, size_of(a) * size_of(found)


def elements(a: Any, terms: Number) -> list[Pair]:
    return [(a[i, j], terms) for i in range(a.rows) for j in range(a.cols)]


def inverse_slopes(g: Any, a: Any) -> list[list[Pair]]:
    found, condition = inverted(a)
    given = mp.matrix(3, 3)
    for place, each in enumerate(g):
        given[place // 3, place % 3] = each
    terms = condition * size_of(found) ** 2 * size_of(given)
    return [elements(-(found.T * given * found.T), terms)]


def product_slopes(g: Any, a: Any, b: Any) -> list[list[Pair]]:
    given = mp.matrix(3, 3)
    for place, each in enumerate(g):
        given[place // 3, place % 3] = each
    return [product(given, b.T), product(a.T, given)]


MATRICES = {
    "matmul": Exact((SQUARE, SQUARE), products, product, product_slopes),
    "inverse": Exact(
        (SQUARE,),
        squares_at,
        lambda a: elements(inverted(a)[0], inverted(a)[1] * size_of(inverted(a)[0])),
        inverse_slopes,
    ),
    "cholesky": Exact(
        (SQUARE,),
        definite_at,
        lambda a: elements(factored(a), inverted(a)[1] * size_of(factored(a))),
        factor_slopes,
    ),
    "log_det": Exact(
        (SQUARE,),
        squares_at,
        lambda a: [(mp.log(abs(mp.det(a))), inverted(a)[1])],
        lambda g, a: [
            [
                (g[0] * each, abs(g[0]) * terms)
                for each, terms in elements(
                    inverted(a)[0].T, inverted(a)[1] * size_of(inverted(a)[0])
                )
            ]
        ],
    ),
}

EXACT: dict[str, Exact] = {**ONE, **TWO, **VECTORS, **ALONG, **LOSSES, **MATRICES}
