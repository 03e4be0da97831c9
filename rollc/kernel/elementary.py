"""exp, tanh and sigmoid as arithmetic, so that loops around them vectorise.

A call of the C library in a loop keeps it scalar.  These are branch-free: both sides of a
choice are computed, and one is selected.  NaN gives NaN, infinities give their limits.

Range reduction and coefficients: Moshier, Cephes Mathematical Library (1989), exp and tanh.
``tests/test_elementary.py`` measures the errors over the whole range of both precisions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

# Python's floats are of double precision: single needs its own constants.
F, D = np.float32, np.float64


def _of_bits(integer: Any, number: Any, kind: Any) -> Any:
    """The number whose bits are those of an integer."""

    def typed(typing_context: Any, bits: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.bitcast(values[0], kind)

        return number(integer), generate

    return intrinsic(typed)


# Numba does arithmetic on int32 in int64: these convert back.
_float32_of_bits = _of_bits(types.int32, types.float32, ir.FloatType())
_float64_of_bits = _of_bits(types.int64, types.float64, ir.DoubleType())


def exp(x: Any) -> Any:
    """e to the x."""
    return np.exp(x)


def _exp_float32(x: Any) -> Any:
    x = F(89) if x > F(89) else x
    x = F(-104) if x < F(-104) else x
    n = np.rint(x * F(1.4426950408889634))
    r = x - n * F(0.693359375)
    r = r + n * F(2.12194440e-4)
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    p = p * r * r + r + F(1)
    # Two factors, for the results that no single power of two reaches; 0 stands in for NaN.
    k = np.int32(n if n == n else F(0))
    half = k >> np.int32(1)
    low = _float32_of_bits((half + np.int32(127)) << np.int32(23))
    high = _float32_of_bits((k - half + np.int32(127)) << np.int32(23))
    return p * low * high


def _exp_float64(x: Any) -> Any:
    x = D(710) if x > D(710) else x
    x = D(-746) if x < D(-746) else x
    n = np.rint(x * D(1.4426950408889634))
    r = x - n * D(6.93145751953125e-1)
    r = r - n * D(1.42860682030941723212e-6)
    z = r * r
    p = D(1.26177193074810590878e-4)
    p = p * z + D(3.02994407707441961300e-2)
    p = (p * z + D(9.99999999999999999910e-1)) * r
    q = D(3.00198505138664455042e-6)
    q = q * z + D(2.52448340349684104192e-3)
    q = q * z + D(2.27265548208155028766e-1)
    q = q * z + D(2.00000000000000000009e0)
    p = D(1) + D(2) * p / (q - p)
    k = np.int64(np.int32(n if n == n else D(0)))
    half = k >> np.int64(1)
    low = _float64_of_bits((half + np.int64(1023)) << np.int64(52))
    high = _float64_of_bits((k - half + np.int64(1023)) << np.int64(52))
    return p * low * high


@overload(exp)
def _exp(x: Any) -> Any:
    return _exp_float32 if x == types.float32 else _exp_float64


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return np.tanh(x)


def _tanh_float32(x: Any) -> Any:
    z = x * x
    p = F(-5.70498872745e-3)
    p = p * z + F(2.06390887954e-2)
    p = p * z + F(-5.37397155531e-2)
    p = p * z + F(1.33314422036e-1)
    p = p * z + F(-3.33332819422e-1)
    small = p * z * x + x
    size = abs(x)
    large = F(1) - F(2) / (exp(size + size) + F(1))
    large = -large if x < F(0) else large
    return small if size < F(0.625) else large


def _tanh_float64(x: Any) -> Any:
    z = x * x
    p = D(-9.64399179425052238628e-1)
    p = p * z + D(-9.92877231001918586564e1)
    p = p * z + D(-1.61468768441708447952e3)
    q = z + D(1.12811678491632931402e2)
    q = q * z + D(2.23548839060100448583e3)
    q = q * z + D(4.84406305325125486048e3)
    small = x + x * z * (p / q)
    size = abs(x)
    large = D(1) - D(2) / (exp(size + size) + D(1))
    large = -large if x < D(0) else large
    return small if size < D(0.625) else large


@overload(tanh)
def _tanh(x: Any) -> Any:
    return _tanh_float32 if x == types.float32 else _tanh_float64


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    with np.errstate(over="ignore"):
        return type(x)(1) / (type(x)(1) + np.exp(-x))


def _sigmoid_float32(x: Any) -> Any:
    return F(1) / (F(1) + exp(-x))


def _sigmoid_float64(x: Any) -> Any:
    return D(1) / (D(1) + exp(-x))


@overload(sigmoid)
def _sigmoid(x: Any) -> Any:
    return _sigmoid_float32 if x == types.float32 else _sigmoid_float64
