"""Angles, hyperbolic functions, cube roots and remainders as arithmetic, as :mod:`.functions`.

All angles come from one: that of a / b, where neither is negative.  The smaller over the larger,
less the tangent of an eighth of pi where it is above that, has an arc tangent that is a polynomial:
that of Chebyshev's interpolation, found in 45 digits, with an error of 2e-19.  In single precision
all is computed in double.  Muller, Elementary Functions (third edition, 2016), chapter 11.
``tests/ir/operations/test_exactness.py`` measures the errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from rollc.backends.numba.library.vector_math.functions import exp, exp_of_sum_8, expm1, log
from rollc.backends.numba.library.vector_math.special import INLINE, two_sum

F, D = np.float32, np.float64


def in_double(function: Any, double: Callable[..., Any], count: int = 1) -> None:
    """Kernels compute a function by that in double precision, which is rounded for single."""
    inner = register_jitable(**INLINE)(double)

    def one(x: Any) -> Any:
        return F(inner(D(x)))

    def two(a: Any, b: Any) -> Any:
        return F(inner(D(a), D(b)))

    single = one if count == 1 else two

    def chosen_one(x: Any) -> Any:
        return single if x == types.float32 else double

    def chosen_two(a: Any, b: Any) -> Any:
        return single if a == b == types.float32 else double

    overload(function, jit_options=INLINE)(chosen_one if count == 1 else chosen_two)


# Angles -----------------------------------------------------------------------------------


@register_jitable(**INLINE)
def _angle(a: Any, b: Any) -> Any:
    """The angle of the point (b, a), where neither is negative."""
    steep = a > b
    low, high = (b, a) if steep else (a, b)
    q = low / high
    q = D(1) if low == high else q
    q = D(0) if high == D(0) and low == D(0) else q
    wide = q > D(0.4142135623730951)
    q = (q - D(1)) / (q + D(1)) if wide else q
    z = q * q
    p = D(0.016258132064892656733)
    p = p * z + D(-0.034545610104772796624)
    p = p * z + D(0.045506220391718465143)
    p = p * z + D(-0.052302411507884938889)
    p = p * z + D(0.058789000323428437136)
    p = p * z + D(-0.066664223640331921762)
    p = p * z + D(0.076922962344915130263)
    p = p * z + D(-0.090909087486352317499)
    p = p * z + D(0.11111111105057569371)
    p = p * z + D(-0.14285714285658822435)
    p = p * z + D(0.19999999999999800521)
    p = p * z + D(-0.33333333333333333214)
    p = p * (z * q) + q
    # A quarter or an eighth of a turn, in two parts.
    part, rest = (D(0.78539816339744831), D(3.0616169978683830e-17)) if wide else (D(0), D(0))
    quarter, more = D(1.5707963267948966), D(6.1232339957367660e-17)
    return (quarter - part) + ((more - rest) - p) if steep else part + (rest + p)


def atan(x: Any) -> Any:
    """The angle whose tangent is x."""
    return np.arctan(x)


def _atan(x: Any) -> Any:
    y = _angle(abs(x), D(1))
    return -y if x < D(0) else y


def atan2(a: Any, b: Any) -> Any:
    """The angle of the point (b, a); the sign of a zero says nothing."""
    return np.arctan2(a + type(a)(0), b + type(b)(0))


def _atan2(a: Any, b: Any) -> Any:
    y = _angle(abs(a), abs(b))
    y = D(3.1415926535897931) - (y - D(1.2246467991473532e-16)) if b < D(0) else y
    return -y if a < D(0) else y


def asin(x: Any) -> Any:
    """The angle whose sine is x."""
    return np.arcsin(x)


def _asin(x: Any) -> Any:
    t = abs(x)
    y = _angle(t, np.sqrt((D(1) - t) * (D(1) + t)))
    return -y if x < D(0) else y


def acos(x: Any) -> Any:
    """The angle whose cosine is x."""
    return np.arccos(x)


def _acos(x: Any) -> Any:
    t = abs(x)
    y = _angle(np.sqrt((D(1) - t) * (D(1) + t)), t)
    return D(3.1415926535897931) - (y - D(1.2246467991473532e-16)) if x < D(0) else y


# Hyperbolic functions ---------------------------------------------------------------------


@register_jitable(**INLINE)
def _half_exp(t: Any) -> Any:
    """exp(t) / 2, which is a number somewhat further than exp(t)."""
    x, rest = two_sum(t, D(-0.69314718055994529))
    return exp_of_sum_8(x, rest)


def sinh(x: Any) -> Any:
    """The hyperbolic sine."""
    return np.sinh(x)


def _sinh(x: Any) -> Any:
    t = abs(x)
    u = expm1(t)
    y = _half_exp(t) if t > D(22) else D(0.5) * (u + u / (u + D(1)))
    return -y if x < D(0) else y


def cosh(x: Any) -> Any:
    """The hyperbolic cosine."""
    return np.cosh(x)


def _cosh(x: Any) -> Any:
    half = _half_exp(abs(x))
    return half + D(0.25) / half


# Roots and remainders ---------------------------------------------------------------------


def cbrt(x: Any) -> Any:
    """The cube root."""
    return np.cbrt(x)


def _cbrt(x: Any) -> Any:
    t = abs(x)
    small, large = t < D(2.0**-900), t > D(2.0**900)
    scale = D(2.0**300) if small else D(2.0**-300) if large else D(1)
    t = t * scale
    y = exp(log(t) * D(0.33333333333333331))
    # One step of Newton's, on what has neither left the numbers nor lost digits.
    y = y - (y * y * y - t) / (D(3) * y * y) if t > D(0) and t < D(np.inf) else y
    y = y * (D(2.0**-100) if small else D(2.0**100) if large else D(1))
    return -y if x < D(0) else y


def mod(a: Any, b: Any) -> Any:
    """a - b * floor(a / b), exact however large the quotient is: a call of the C library."""
    return np.mod(a, b)


def _mod(a: Any, b: Any) -> Any:
    rest = np.fmod(a, b)
    return rest + b if rest != D(0) and (rest < D(0)) != (b < D(0)) else rest


_ONE: Any = {atan: _atan, asin: _asin, acos: _acos, sinh: _sinh, cosh: _cosh, cbrt: _cbrt}
_TWO: Any = {atan2: _atan2, mod: _mod}
for _function, _double in _ONE.items():
    in_double(_function, _double)
for _function, _double in _TWO.items():
    in_double(_function, _double, 2)
