"""The normal distribution and the error function as arithmetic, exact in both tails.

All but erf near 0 follow from the probability beyond t = |x|, without its exponential factor:

    beyond(t) = exp(-t**2 / 2) w(t) / 2    w(t) = exp(t**2 / 2) erfc(t / sqrt(2))

(t + 4) w(t) is smooth from 0 to infinity, and a polynomial in u = (t - 4) / (t + 4): that of
Chebyshev's interpolation, found in 40 digits from erfc and, from 60 on, its continued fraction
(Shepherd and Laframboise, Chebyshev approximation of (1 + 2x) exp(x**2) erfc x (1981)).  Its
error is 4e-9 of the value in single precision and 1.2e-17 in double.  A square loses as much
of exp(-t**2 / 2) as it is large: what its rounding leaves goes into exp too.  Up to 0.75 erf(x) / x
is a polynomial in the square of x, found in the same way.
``tests/ir/operations/test_exactness.py`` measures the errors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from rollc.backends.numba.library.vector_math.functions import (
    WHOLE_4,
    WHOLE_8,
    exp_of_sum_4,
    exp_of_sum_8,
    exponent_4,
    exponent_8,
    log_near_one_4,
    log_near_one_8,
    mantissa_4,
    mantissa_8,
)
from rollc.backends.numba.library.vector_math.special import (
    INLINE,
    two_product_4,
    two_product_8,
)
from rollc.ir.operations.elementwise import distribution, special

F, D = np.float32, np.float64

# The density and the probability beyond are zero from here on.
_FAR_4, _FAR_8 = F(15), D(40)
_HEIGHT = 0.3989422804014327  # of the density: 1 / sqrt(2 pi)


@register_jitable(**INLINE)
def _bell_4(t: Any) -> Any:
    """exp(-t**2 / 2)."""
    t = _FAR_4 if t > _FAR_4 else t
    square, rest = two_product_4(t, t)
    return exp_of_sum_4(F(-0.5) * square, F(-0.5) * rest)


@register_jitable(**INLINE)
def _bell_8(t: Any) -> Any:
    t = _FAR_8 if t > _FAR_8 else t
    square, rest = two_product_8(t, t)
    return exp_of_sum_8(D(-0.5) * square, D(-0.5) * rest)


@register_jitable(**INLINE)
def _scaled_4(t: Any) -> Any:
    """(t + 4) w(t), and 1 / (t + 4)."""
    share = F(1) / (t + F(4))
    u = F(1) - F(8) * share
    p = F(4.3958086829223307e-5)
    p = p * u + F(-3.4519845845788693e-6)
    p = p * u + F(-0.00043554213130223593)
    p = p * u + F(0.00026728085246789766)
    p = p * u + F(0.0032484952745233580)
    p = p * u + F(-0.0069598860516006698)
    p = p * u + F(-0.015077377559903564)
    p = p * u + F(0.12079328799635105)
    p = p * u + F(-0.37304396985546050)
    p = p * u + F(0.77427478883822706)
    p = p * u + F(-1.2157932804255667)
    p = p * u + F(1.5105702610092677)
    return p, share


@register_jitable(**INLINE)
def _scaled_8(t: Any) -> Any:
    share = D(1) / (t + D(4))
    u = D(1) - D(8) * share
    p = D(7.0313848533618601365e-10)
    p = p * u + D(-2.3484215078494131347e-10)
    p = p * u + D(-7.5960837199148986184e-9)
    p = p * u + D(-1.2042007455902952977e-9)
    p = p * u + D(4.3208853685440809746e-8)
    p = p * u + D(3.5763744819006832584e-8)
    p = p * u + D(-1.7426589242934980820e-7)
    p = p * u + D(-3.1965353220877354616e-7)
    p = p * u + D(5.4543521665247702900e-7)
    p = p * u + D(2.0496650121892646096e-6)
    p = p * u + D(-1.2599948530328443579e-6)
    p = p * u + D(-0.000011843277603957632656)
    p = p * u + D(1.4334527957410031418e-6)
    p = p * u + D(0.000070290245120251625266)
    p = p * u + D(-3.8165301706853574319e-6)
    p = p * u + D(-0.00046219003998401295046)
    p = p * u + D(0.00026668862540061567496)
    p = p * u + D(0.0032616369356128890508)
    p = p * u + D(-0.0069593847347768314924)
    p = p * u + D(-0.015080377934839130457)
    p = p * u + D(0.12079314978187214218)
    p = p * u + D(-0.37304371591927064762)
    p = p * u + D(0.77427480148442907345)
    p = p * u + D(-1.2157932839437846289)
    p = p * u + D(1.5105702608315029867)
    return p, share


def normal_density(x: Any) -> Any:
    """exp(-x**2 / 2) / sqrt(2 pi)."""
    return type(x)(distribution.density(x))


def _density_4(x: Any) -> Any:
    return F(_HEIGHT) * _bell_4(abs(x))


def _density_8(x: Any) -> Any:
    return D(_HEIGHT) * _bell_8(abs(x))


@overload(normal_density, jit_options=INLINE)
def _density(x: Any) -> Any:
    return _density_4 if x == types.float32 else _density_8


def normal_cdf(x: Any) -> Any:
    """The normal distribution function."""
    return type(x)(distribution.cdf(x))


def _cdf_4(x: Any) -> Any:
    t = abs(x)
    p, share = _scaled_4(t)
    beyond = F(0.5) * p * share * _bell_4(t)
    return beyond if x < F(0) else F(1) - beyond


def _cdf_8(x: Any) -> Any:
    t = abs(x)
    p, share = _scaled_8(t)
    beyond = D(0.5) * p * share * _bell_8(t)
    return beyond if x < D(0) else D(1) - beyond


@overload(normal_cdf, jit_options=INLINE)
def _cdf(x: Any) -> Any:
    return _cdf_4 if x == types.float32 else _cdf_8


def log_normal_cdf(x: Any) -> Any:
    """The logarithm of the normal distribution function."""
    return type(x)(distribution.log_cdf(x))


def _log_cdf_4(x: Any) -> Any:
    left = x < F(0)
    t = abs(x)
    p, share = _scaled_4(t)
    half = F(0.5) * p * share
    beyond = half * _bell_4(t)
    # On the left log(w / 2) - x**2 / 2.  On the right log(1 - beyond), where 1 - beyond is
    # (1 + f) / 2, with an f that is exact, if that is nearer to 1 / 2.
    low = beyond > F(0.29289322)
    f = F(1) - F(2) * beyond if low else -beyond
    n = F(-1) if low else F(0)
    f = mantissa_4(half) - F(1) if left else f
    n = exponent_4(half) - WHOLE_4 if left else n
    return log_near_one_4(f, n) - (F(0.5) * x * x if left else F(0))


def _log_cdf_8(x: Any) -> Any:
    left = x < D(0)
    t = abs(x)
    p, share = _scaled_8(t)
    half = D(0.5) * p * share
    beyond = half * _bell_8(t)
    low = beyond > D(0.2928932188134525)
    f = D(1) - D(2) * beyond if low else -beyond
    n = D(-1) if low else D(0)
    f = mantissa_8(half) - D(1) if left else f
    n = exponent_8(half) - WHOLE_8 if left else n
    return log_near_one_8(f, n) - (D(0.5) * x * x if left else D(0))


@overload(log_normal_cdf, jit_options=INLINE)
def _log_cdf(x: Any) -> Any:
    return _log_cdf_4 if x == types.float32 else _log_cdf_8


def normal_ratio(x: Any) -> Any:
    """The density over the distribution function: the derivative of the latter's logarithm."""
    return type(x)(distribution.ratio(x))


def _ratio_4(x: Any) -> Any:
    left = x < F(0)
    t = abs(x)
    p, share = _scaled_4(t)
    bell = _bell_4(t)
    above = F(2 * _HEIGHT) * (t + F(4)) if left else F(_HEIGHT) * bell
    return above / (p if left else F(1) - F(0.5) * p * share * bell)


def _ratio_8(x: Any) -> Any:
    left = x < D(0)
    t = abs(x)
    p, share = _scaled_8(t)
    bell = _bell_8(t)
    above = D(2 * _HEIGHT) * (t + D(4)) if left else D(_HEIGHT) * bell
    return above / (p if left else D(1) - D(0.5) * p * share * bell)


@overload(normal_ratio, jit_options=INLINE)
def _ratio(x: Any) -> Any:
    return _ratio_4 if x == types.float32 else _ratio_8


# The error function -----------------------------------------------------------------------

_ROOT_OF_TWO = 1.4142135623730951


@register_jitable(**INLINE)
def _gauss_4(t: Any) -> Any:
    """exp(-t**2)."""
    t = _FAR_4 if t > _FAR_4 else t
    square, rest = two_product_4(t, t)
    return exp_of_sum_4(-square, -rest)


@register_jitable(**INLINE)
def _gauss_8(t: Any) -> Any:
    t = _FAR_8 if t > _FAR_8 else t
    square, rest = two_product_8(t, t)
    return exp_of_sum_8(-square, -rest)


@register_jitable(**INLINE)
def _beyond_4(t: Any) -> Any:
    """erfc(t)."""
    p, share = _scaled_4(F(_ROOT_OF_TWO) * t)
    return p * share * _gauss_4(t)


@register_jitable(**INLINE)
def _beyond_8(t: Any) -> Any:
    p, share = _scaled_8(D(_ROOT_OF_TWO) * t)
    return p * share * _gauss_8(t)


def erf(x: Any) -> Any:
    """The error function."""
    return math.erf(x)


def _erf_4(x: Any) -> Any:
    t = abs(x)
    far = F(1) - _beyond_4(t)
    z = t * t
    p = F(0.000094704617815938251369)
    p = p * z + F(-0.00083569279200141980591)
    p = p * z + F(0.0052167894899210392134)
    p = p * z + F(-0.026864771802052338698)
    p = p * z + F(0.11283778642917985509)
    p = p * z + F(-0.3761263844667973939)
    p = p * z + F(1.1283791670693271075)
    return p * x if t < F(0.75) else far if x > F(0) else -far


def _erf_8(x: Any) -> Any:
    t = abs(x)
    far = D(1) - _beyond_8(t)
    z = t * t
    p = D(-9.5028408947746610845e-10)
    p = p * z + D(1.4413879289095014594e-8)
    p = p * z + D(-1.6333229343433697952e-7)
    p = p * z + D(1.6460383209858148515e-6)
    p = p * z + D(-0.000014925589383821142871)
    p = p * z + D(0.00012055331545294116432)
    p = p * z + D(-0.00085483270011359461396)
    p = p * z + D(0.0052239776252221918701)
    p = p * z + D(-0.026866170645118444826)
    p = p * z + D(0.11283791670955087198)
    p = p * z + D(-0.37612638903183752009)
    p = p * z + D(1.1283791670955125739)
    return p * x if t < D(0.75) else far if x > D(0) else -far


@overload(erf, jit_options=INLINE)
def _erf(x: Any) -> Any:
    return _erf_4 if x == types.float32 else _erf_8


def erfc(x: Any) -> Any:
    """1 - erf(x)."""
    return math.erfc(x)


def _erfc_4(x: Any) -> Any:
    beyond = _beyond_4(abs(x))
    return F(2) - beyond if x < F(0) else beyond


def _erfc_8(x: Any) -> Any:
    beyond = _beyond_8(abs(x))
    return D(2) - beyond if x < D(0) else beyond


@overload(erfc, jit_options=INLINE)
def _erfc(x: Any) -> Any:
    return _erfc_4 if x == types.float32 else _erfc_8


def erf_slope(x: Any) -> Any:
    """The derivative of the error function."""
    return type(x)(special.erf_slope(x))


def _erf_slope_4(x: Any) -> Any:
    return F(1.1283791670955126) * _gauss_4(abs(x))


def _erf_slope_8(x: Any) -> Any:
    return D(1.1283791670955126) * _gauss_8(abs(x))


@overload(erf_slope, jit_options=INLINE)
def _erf_slope(x: Any) -> Any:
    return _erf_slope_4 if x == types.float32 else _erf_slope_8
