"""exp, log, tanh, sigmoid, softplus … as arithmetic, so that loops over them vectorize.

A loop with a call of the C library is not vectorized.  These are branch-free: both sides of a
choice are computed, and one is selected.  NaN gives NaN, infinities give their limits.

exp and tanh reduce x to n log(2) + r with |r| <= log(2) / 2; the rest is a polynomial for
(exp(r) - 1 - r) / r**2.  log reduces x to 2**n m with m around 1.  The polynomials are
minimax approximations, found with the exchange algorithm of Remez in 60 digits; the
reduction follows Muller, Elementary Functions (third edition, 2016), chapter 11.
``tests/backends/numba/library/test_vector_math.py`` measures the errors over the whole range of
both precisions.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable

# Python's floats are of double precision: single needs its own constants.
F, D = np.float32, np.float64

# A product and a sum may be contracted.  Nothing else is relaxed, whatever the flags of the caller:
# rounding to a whole number relies on the order of two sums.  Numba's cache keeps the code.
OPTIONS: Any = {
    "fastmath": {"contract"},
    "error_model": "numpy",
    "cache": os.access(Path(__file__).parent, os.W_OK),
}

# x + WHOLE rounds x to a whole number, which then is in the lowest bits.
WHOLE_4, WHOLE_8 = F(1.5 * 2**23), D(1.5 * 2**52)
_LOG2E = 1.4426950408889634
# log(2) in two parts; the product of the first with a whole number is exact.
_HIGH_4, _LOW_4 = F(0.693145751953125), F(1.42860682030941723212e-6)
HIGH_8, LOW_8 = D(6.93145751953125e-1), D(1.42860682030941723212e-6)


def _of_bits(number: Any, integer: Any, kind: Any, build: Any) -> Any:
    """A function of numbers that works on their bits: ``build(builder, *bits)``."""

    def typed(typing_context: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            bits = builder.bitcast(values[0], integer)
            return builder.bitcast(build(builder, bits, integer), kind)

        return number(number), generate

    return intrinsic(typed)


def _power(shift: int, one: int) -> Any:
    """Two to the whole number that is in the lowest bits."""
    return lambda builder, bits, integer: builder.add(
        builder.shl(bits, integer(shift)), integer(one)
    )


def _power_of(part: Any, shift: int, one: int, whole: int) -> Any:
    """Two to a part of the whole number that is in the lowest bits."""

    def build(builder: Any, bits: Any, integer: Any) -> Any:
        number = builder.sub(bits, integer(whole))
        half = builder.ashr(number, integer(1))
        chosen = half if part == "half" else builder.sub(number, half)
        return builder.add(builder.shl(chosen, integer(shift)), integer(one))

    return build


def _mantissa(shift: int, root: int) -> Any:
    """m of x = 2**n m, from the root of a half to the root of two."""

    def build(builder: Any, bits: Any, integer: Any) -> Any:
        exponent = builder.ashr(builder.sub(bits, integer(root)), integer(shift))
        return builder.sub(bits, builder.shl(exponent, integer(shift)))

    return build


def _exponent(shift: int, root: int, whole: int) -> Any:
    """n of x = 2**n m, added to WHOLE."""

    def build(builder: Any, bits: Any, integer: Any) -> Any:
        exponent = builder.ashr(builder.sub(bits, integer(root)), integer(shift))
        return builder.add(exponent, integer(whole))

    return build


def _both(make: Any, four: tuple[Any, ...], eight: tuple[Any, ...]) -> tuple[Any, Any]:
    single = _of_bits(types.float32, ir.IntType(32), ir.FloatType(), make(*four))
    double = _of_bits(types.float64, ir.IntType(64), ir.DoubleType(), make(*eight))
    return single, double


_ONE_4, _ONE_8 = 127 << 23, 1023 << 52
_BITS_4, _BITS_8 = 0x4B400000, 0x4338000000000000  # of WHOLE
_ROOT_4, _ROOT_8 = 0x3F3504F3, 0x3FE6A09E667F3BCD  # of the root of a half
_power_4, _power_8 = _both(_power, (23, _ONE_4), (52, _ONE_8))
_half_4, _half_8 = _both(_power_of, ("half", 23, _ONE_4, _BITS_4), ("half", 52, _ONE_8, _BITS_8))
_rest_4, _rest_8 = _both(_power_of, ("rest", 23, _ONE_4, _BITS_4), ("rest", 52, _ONE_8, _BITS_8))
mantissa_4, mantissa_8 = _both(_mantissa, (23, _ROOT_4), (52, _ROOT_8))
exponent_4, exponent_8 = _both(_exponent, (23, _ROOT_4, _BITS_4), (52, _ROOT_8, _BITS_8))


@register_jitable(**OPTIONS)
def _expm1_4(r: Any) -> Any:
    """exp(r) - 1 for |r| up to log(2) / 2; the error is 1.4e-8 of it."""
    p = F(0.0013946647079736141)
    p = p * r + F(0.008366642398853774)
    p = p * r + F(0.0416662792221408)
    p = p * r + F(0.1666654256445946)
    p = p * r + F(0.500000006262657)
    return p * (r * r) + r


@register_jitable(**OPTIONS)
def _expm1_8(r: Any) -> Any:
    """exp(r) - 1 for |r| up to log(2) / 2; the error is 1.8e-17 of it."""
    p = D(2.5114556195979796797e-8)
    p = p * r + D(2.7626447473118321905e-7)
    p = p * r + D(2.755722771145110427e-6)
    p = p * r + D(0.00002480150415728499913)
    p = p * r + D(0.00019841269903276499403)
    p = p * r + D(0.0013888888932603898773)
    p = p * r + D(0.0083333333333144920592)
    p = p * r + D(0.041666666666572993966)
    p = p * r + D(0.16666666666666686126)
    p = p * r + D(0.50000000000000055952)
    return p * (r * r) + r


def exp(x: Any) -> Any:
    """e to the x."""
    return np.exp(x)


def _exp_4(x: Any) -> Any:
    x = F(89) if x > F(89) else x
    x = F(-104) if x < F(-104) else x
    whole = x * F(_LOG2E) + WHOLE_4
    n = whole - WHOLE_4
    r = x - n * _HIGH_4 - n * _LOW_4
    # Two factors, for the results that no single power of two reaches.
    return (_expm1_4(r) + F(1)) * _half_4(whole) * _rest_4(whole)


def _exp_8(x: Any) -> Any:
    x = D(710) if x > D(710) else x
    x = D(-746) if x < D(-746) else x
    whole = x * D(_LOG2E) + WHOLE_8
    n = whole - WHOLE_8
    r = x - n * HIGH_8 - n * LOW_8
    return (_expm1_8(r) + D(1)) * _half_8(whole) * _rest_8(whole)


@overload(exp, jit_options=OPTIONS)
def _exp(x: Any) -> Any:
    return _exp_4 if x == types.float32 else _exp_8


@register_jitable(**OPTIONS)
def exp_of_sum_4(x: Any, rest: Any) -> Any:
    """exp(x + rest), with a rest that is less than the rounding of x."""
    rest = rest if x < F(89) and x > F(-104) else F(0)
    x = F(89) if x > F(89) else x
    x = F(-104) if x < F(-104) else x
    whole = x * F(_LOG2E) + WHOLE_4
    n = whole - WHOLE_4
    r = x - n * _HIGH_4 - n * _LOW_4 + rest
    return (_expm1_4(r) + F(1)) * _half_4(whole) * _rest_4(whole)


@register_jitable(**OPTIONS)
def exp_of_sum_8(x: Any, rest: Any) -> Any:
    """The same in double precision."""
    rest = rest if x < D(710) and x > D(-746) else D(0)
    x = D(710) if x > D(710) else x
    x = D(-746) if x < D(-746) else x
    whole = x * D(_LOG2E) + WHOLE_8
    n = whole - WHOLE_8
    r = x - n * HIGH_8 - n * LOW_8 + rest
    return (_expm1_8(r) + D(1)) * _half_8(whole) * _rest_8(whole)


def expm1(x: Any) -> Any:
    """exp(x) - 1."""
    return np.expm1(x)


def _expm1_any_4(x: Any) -> Any:
    x = F(89) if x > F(89) else x
    x = F(-20) if x < F(-20) else x
    whole = x * F(_LOG2E) + WHOLE_4
    n = whole - WHOLE_4
    # Half of the power of two, which is a number where all of it is not.
    half = _power_4(whole - F(1))
    p = _expm1_4(x - n * _HIGH_4 - n * _LOW_4) * half + (half - F(0.5))
    return p + p


def _expm1_any_8(x: Any) -> Any:
    x = D(710) if x > D(710) else x
    x = D(-40) if x < D(-40) else x
    whole = x * D(_LOG2E) + WHOLE_8
    n = whole - WHOLE_8
    half = _power_8(whole - D(1))
    p = _expm1_8(x - n * HIGH_8 - n * LOW_8) * half + (half - D(0.5))
    return p + p


@overload(expm1, jit_options=OPTIONS)
def _expm1(x: Any) -> Any:
    return _expm1_any_4 if x == types.float32 else _expm1_any_8


def tanh(x: Any) -> Any:
    """The hyperbolic tangent: u / (u + 2) with u = exp(2 x) - 1."""
    return np.tanh(x)


def _tanh_4(x: Any) -> Any:
    x = F(9.1) if x > F(9.1) else x
    x = F(-9.1) if x < F(-9.1) else x
    x = x + x
    whole = x * F(_LOG2E) + WHOLE_4
    n = whole - WHOLE_4
    scale = _power_4(whole)
    u = _expm1_4(x - n * _HIGH_4 - n * _LOW_4) * scale + (scale - F(1))
    return u / (u + F(2))


def _tanh_8(x: Any) -> Any:
    x = D(19.1) if x > D(19.1) else x
    x = D(-19.1) if x < D(-19.1) else x
    x = x + x
    whole = x * D(_LOG2E) + WHOLE_8
    n = whole - WHOLE_8
    scale = _power_8(whole)
    u = _expm1_8(x - n * HIGH_8 - n * LOW_8) * scale + (scale - D(1))
    return u / (u + D(2))


@overload(tanh, jit_options=OPTIONS)
def _tanh(x: Any) -> Any:
    return _tanh_4 if x == types.float32 else _tanh_8


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    with np.errstate(over="ignore"):
        return type(x)(1) / (type(x)(1) + np.exp(-x))


def _sigmoid_4(x: Any) -> Any:
    # At the upper end the power of two is infinite, and the result 0.
    x = -x
    x = F(88.8) if x > F(88.8) else x
    x = F(-87) if x < F(-87) else x
    whole = x * F(_LOG2E) + WHOLE_4
    n = whole - WHOLE_4
    e = _expm1_4(x - n * _HIGH_4 - n * _LOW_4) + F(1)
    return F(1) / (F(1) + e * _power_4(whole))


def _sigmoid_8(x: Any) -> Any:
    x = -x
    x = D(709.8) if x > D(709.8) else x
    x = D(-708) if x < D(-708) else x
    whole = x * D(_LOG2E) + WHOLE_8
    n = whole - WHOLE_8
    e = _expm1_8(x - n * HIGH_8 - n * LOW_8) + D(1)
    return D(1) / (D(1) + e * _power_8(whole))


@overload(sigmoid, jit_options=OPTIONS)
def _sigmoid(x: Any) -> Any:
    return _sigmoid_4 if x == types.float32 else _sigmoid_8


@register_jitable(**OPTIONS)
def log_near_one_4(f: Any, n: Any) -> Any:
    """log(2**n (1 + f)) for f from the root of a half less 1 to the root of two less 1."""
    p = F(0.06927891126530796)
    p = p * f + F(-0.1180832071888857)
    p = p * f + F(0.1187719321115139)
    p = p * f + F(-0.12381676541163163)
    p = p * f + F(0.14217807304944076)
    p = p * f + F(-0.16669367837871705)
    p = p * f + F(0.2000226818119402)
    p = p * f + F(-0.24999985047789639564)
    p = p * f + F(0.33333309909440258)
    z = f * f
    tail = p * (z * f) + n * _LOW_4 - F(0.5) * z
    return n * _HIGH_4 + (f + tail)


@register_jitable(**OPTIONS)
def log_near_one_8(f: Any, n: Any) -> Any:
    """The same in double precision, by the series of the inverse hyperbolic tangent."""
    s = f / (f + D(2))
    z = s * s
    p = D(0.14811459032369961755)
    p = p * z + D(0.15312578542359339046)
    p = p * z + D(0.18183618623048611682)
    p = p * z + D(0.22222197595029223675)
    p = p * z + D(0.28571428751219296029)
    p = p * z + D(0.39999999999378414941)
    p = p * z + D(0.66666666666667392984)
    # log(1 + f) = f - (h - s (h + z p)) with h = f**2 / 2: f is exact, the rest is small.
    h = D(0.5) * f * f
    tail = s * (h + z * p) + n * LOW_8 - h
    return n * HIGH_8 + (f + tail)


def log(x: Any) -> Any:
    """The natural logarithm."""
    return np.log(x)


def _log_4(x: Any) -> Any:
    small = x < F(1.17549435e-38)
    y = x * F(2**24) if small else x
    n = exponent_4(y) - WHOLE_4
    n = n - F(24) if small else n
    result = log_near_one_4(mantissa_4(y) - F(1), n)
    result = x if x == F(np.inf) else result
    result = F(-np.inf) if x == F(0) else result
    return result if x >= F(0) else F(np.nan)


def _log_8(x: Any) -> Any:
    small = x < D(2.2250738585072014e-308)
    y = x * D(2**54) if small else x
    n = exponent_8(y) - WHOLE_8
    n = n - D(54) if small else n
    result = log_near_one_8(mantissa_8(y) - D(1), n)
    result = x if x == D(np.inf) else result
    result = D(-np.inf) if x == D(0) else result
    return result if x >= D(0) else D(np.nan)


@overload(log, jit_options=OPTIONS)
def _log(x: Any) -> Any:
    return _log_4 if x == types.float32 else _log_8


def softplus(x: Any) -> Any:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


def _softplus_4(x: Any) -> Any:
    e = exp(-abs(x))
    high = e > F(0.41421356)
    # 1 + e = 2 (1 + f) with an f that is exact.
    f = F(0.5) * (e - F(1)) if high else e
    tail = log_near_one_4(f, F(1) if high else F(0))
    return tail + (F(0) if x < F(0) else x)


def _softplus_8(x: Any) -> Any:
    e = exp(-abs(x))
    high = e > D(0.41421356237309503)
    f = D(0.5) * (e - D(1)) if high else e
    tail = log_near_one_8(f, D(1) if high else D(0))
    return tail + (D(0) if x < D(0) else x)


@overload(softplus, jit_options=OPTIONS)
def _softplus(x: Any) -> Any:
    return _softplus_4 if x == types.float32 else _softplus_8


def log1p(x: Any) -> Any:
    """log(1 + x)."""
    return np.log1p(x)


def _log1p_4(x: Any) -> Any:
    far = x > F(0.41421356) or x < F(-0.29289322)
    return log(F(1) + x) if far else log_near_one_4(x, F(0))


def _log1p_8(x: Any) -> Any:
    far = x > D(0.41421356237309503) or x < D(-0.2928932188134525)
    return log(D(1) + x) if far else log_near_one_8(x, D(0))


@overload(log1p, jit_options=OPTIONS)
def _log1p(x: Any) -> Any:
    return _log1p_4 if x == types.float32 else _log1p_8


def logistic_loss(score: Any, target: Any) -> Any:
    """softplus(score) - score * target = |score| w + log(1 + exp(-|score|)), where w is 1 - target
    of a positive score and target of a negative one: no large numbers cancel.
    """
    kind = type(score)
    weight = target if score < 0 else kind(1) - target
    # An infinite score has the loss 0 where the target is the limit of its sigmoid.
    rest = abs(score) * weight if weight != 0 else kind(0)
    return rest + softplus(-abs(score))


def _logistic_loss_4(score: Any, target: Any) -> Any:
    weight = target if score < F(0) else F(1) - target
    rest = abs(score) * weight if weight != F(0) else F(0)
    return rest + softplus(-abs(score))


def _logistic_loss_8(score: Any, target: Any) -> Any:
    weight = target if score < D(0) else D(1) - target
    rest = abs(score) * weight if weight != D(0) else D(0)
    return rest + softplus(-abs(score))


@overload(logistic_loss, jit_options=OPTIONS)
def _logistic_loss(score: Any, target: Any) -> Any:
    return _logistic_loss_4 if score == types.float32 else _logistic_loss_8
