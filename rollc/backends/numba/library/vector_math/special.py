"""Sine, cosine and powers as arithmetic, as :mod:`.functions` has exp.

Angles are reduced by multiples of pi / 2 in three parts, the first of which are short, so that
the products are exact (Cody and Waite); angles of millions are reduced by a table of powers of
two over 2 pi in three parts (Payne and Hanek).  In single precision, angles and powers are
computed in double; powers in double precision come from a logarithm in double-double arithmetic
(Dekker), both parts of which enter exp.  The polynomials are those of Chebyshev's
interpolation, found in 40 digits.  Muller, Elementary Functions (third edition, 2016), chapters
2 and 11.
``tests/backends/numba/library/test_vector_math.py`` measures the errors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable

from rollc.backends.numba.library.vector_math.functions import (
    HIGH_8,
    LOW_8,
    OPTIONS,
    WHOLE_8,
    exp,
    exp_of_sum_8,
    exponent_8,
    log,
    mantissa_8,
)

F, D = np.float32, np.float64

# A loop with a call that is not inlined does not vectorize, and these are long.
INLINE: Any = {**OPTIONS, "forceinline": True}


# Angles -----------------------------------------------------------------------------------

_WHOLE = D(1.5 * 2**52)  # x + WHOLE rounds x to a whole number
# pi / 2 in three parts; the first two have 33 bits.
_FIRST, _SECOND, _THIRD = (
    D(1.57079632673412561417),
    D(6.07710050630396597660e-11),
    D(2.02226624879595063154e-21),
)


def _turns() -> list[Any]:
    """Powers of two over 2 pi, modulo 1, in three parts (Payne and Hanek): of the last bit of a
    number, by the exponent of its first one from that of NEAR on.  There are none of infinity.
    """
    bits = 1300
    # pi by Machin's formula, in units of 2**-bits.
    pi = sum(
        sign * factor * (-1) ** k * (1 << bits) // ((2 * k + 1) * root ** (2 * k + 1))
        for sign, factor, root in ((1, 16, 5), (-1, 4, 239))
        for k in range(bits // 4)
    )
    turn = (1 << (2 * bits)) // (2 * pi)
    parts: list[list[float]] = [[], [], []]
    for last in range(_FROM - 52, 1024 - 52):
        rest = (turn << last if last > 0 else turn >> -last) % (1 << bits)
        for number, part in enumerate(parts, 1):
            unit = bits - 53 * number
            part.append(math.ldexp(rest >> unit, -53 * number))
            rest %= 1 << unit
    return [np.array([*part, math.nan]) for part in parts]


_FROM = 20
_NEAR = D(2**_FROM)  # up to here the products of multiples with the first parts are exact
_TURN_1, _TURN_2, _TURN_3 = _turns()


def _write_significand(typing_context: Any, x: Any) -> Any:
    """The significand of a positive number as an integer."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits = builder.bitcast(values[0], _WORD)
        digits = builder.and_(bits, _WORD(2**52 - 1))
        number = builder.or_(digits, _WORD((1023 + 52) << 52))
        return builder.bitcast(number, ir.DoubleType())

    return types.float64(types.float64), generate


def _write_table_index(typing_context: Any, x: Any) -> Any:
    """The index of a positive number's exponent in the tables; 0 if below."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        exponent = builder.lshr(builder.bitcast(values[0], _WORD), _WORD(52))
        index = builder.sub(exponent, _WORD(1023 + _FROM))
        below = builder.icmp_signed("<", index, _WORD(0))
        return builder.select(below, _WORD(0), index)

    return types.uint64(types.float64), generate


def _write_fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    return a(a, b, c), generate


_WORD = ir.IntType(64)
_significand: Any = intrinsic(_write_significand)
_table_index: Any = intrinsic(_write_table_index)
_fma: Any = intrinsic(_write_fma)


@register_jitable(**INLINE)
def two_product_4(a: Any, b: Any) -> Any:
    """A product and its rounding error."""
    total = _fma(a, b, F(-0.0))
    return total, _fma(a, b, -total)


@register_jitable(**INLINE)
def two_product_8(a: Any, b: Any) -> Any:
    """A product and its rounding error."""
    total = _fma(a, b, D(-0.0))  # not one that may become part of a sum
    return total, _fma(a, b, -total)


@register_jitable(**INLINE)
def two_sum(a: Any, b: Any) -> Any:
    """A sum and its rounding error (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


@register_jitable(**INLINE)
def _sine(x: Any, quarter: Any) -> Any:
    """The sine of a positive angle plus a number of quarter turns."""
    n = (x * D(0.63661977236758134308) + _WHOLE) - _WHOLE
    r = ((x - n * _FIRST) - n * _SECOND) - n * _THIRD
    # A large angle: products and sums with their rounding errors.
    index, m = _table_index(x), _significand(x)
    one, rest = two_product_8(m, _TURN_1[index])
    two, tail = two_product_8(m, _TURN_2[index])
    tail += m * _TURN_3[index]
    one, more = two_sum(one - np.floor(one), rest)
    one, less = two_sum(one, two)
    many = np.floor(D(4) * one + D(0.5))
    part = (D(4) * one - many) + D(4) * (more + less + tail)
    far = x >= _NEAR
    n = many if far else n
    r = part * D(1.57079632679489661923) if far else r
    z = r * r
    s = D(1.5917771759341688128e-10)
    s = s * z + D(-2.5051126876085333639e-8)
    s = s * z + D(2.7557316078680670594e-6)
    s = s * z + D(-0.00019841269836712494384)
    s = s * z + D(0.0083333333333309179878)
    s = s * z + D(-0.16666666666666664592)
    s = s * (z * r) + r
    c = D(-1.1382408754010808959e-11)
    c = c * z + D(2.0876143159907016048e-9)
    c = c * z + D(-2.755731725679602558e-7)
    c = c * z + D(0.000024801587298736861426)
    c = c * z + D(-0.0013888888888887378158)
    c = c * z + D(0.041666666666666665369)
    c = c * (z * z) + (D(1) - D(0.5) * z)
    quarters = (n + quarter) * D(0.25)
    quarters -= np.floor(quarters)
    y = c if quarters == D(0.25) or quarters == D(0.75) else s
    return -y if quarters >= D(0.5) else y


def sin(x: Any) -> Any:
    """The sine of an angle in radians."""
    return np.sin(x)


def _sin_4(x: Any) -> Any:
    y = F(_sine(abs(D(x)), D(0)))
    return -y if x < F(0) else y if x > F(0) else x


def _sin_8(x: Any) -> Any:
    y = _sine(abs(x), D(0))
    return -y if x < D(0) else y if x > D(0) else x


@overload(sin, jit_options=INLINE)
def _sin(x: Any) -> Any:
    return _sin_4 if x == types.float32 else _sin_8


def cos(x: Any) -> Any:
    """The cosine of an angle in radians."""
    return np.cos(x)


def _cos_4(x: Any) -> Any:
    return F(_sine(abs(D(x)), D(1)))


def _cos_8(x: Any) -> Any:
    return _sine(abs(x), D(1))


@overload(cos, jit_options=INLINE)
def _cos(x: Any) -> Any:
    return _cos_4 if x == types.float32 else _cos_8


# Powers -----------------------------------------------------------------------------------


def power(a: Any, b: Any) -> Any:
    """a to the b, with the special values of IEEE 754."""
    return np.power(a, b)


@register_jitable(**INLINE)
def _with_sign(a: Any, b: Any, y: Any) -> Any:
    """a to the b, where y is |a| to the b."""
    half = b * D(0.5)
    whole = np.floor(b) == b
    odd = whole and np.floor(half) != half
    below = a < D(0) or (a == D(0) and D(1) / a < D(0))
    y = -y if odd and below else y
    y = D(np.nan) if a < D(0) and not whole and a != D(-np.inf) else y
    return D(1) if b == D(0) or a == D(1) or (a == D(-1) and abs(b) == D(np.inf)) else y


def _power_4(a: Any, b: Any) -> Any:
    exponent = D(b)
    return F(_with_sign(D(a), exponent, exp(exponent * log(abs(D(a))))))


def _power_8(a: Any, b: Any) -> Any:
    size = abs(a)
    small = size < D(2.2250738585072014e-308)
    normal = size * D(2**54) if small else size
    n = exponent_8(normal) - WHOLE_8
    n = n - D(54) if small else n
    f = mantissa_8(normal) - D(1)
    # The logarithm with the rounding errors of sums and products, by the series in s = f / (2 + f).
    g, g_rest = two_sum(D(2), f)
    s = f / g
    s_rest = (_fma(-s, g, f) - s * g_rest) / g
    z, z_rest = two_product_8(s, s)
    z_rest += D(2) * s * s_rest
    p = D(0.11730107861893891006)
    p = p * z + D(0.11705571895677941267)
    p = p * z + D(0.13334829573907240582)
    p = p * z + D(0.15384594503810555533)
    p = p * z + D(0.18181818339698247557)
    p = p * z + D(0.22222222221637389316)
    p = p * z + D(0.28571428571429841867)
    p = p * z + D(0.40000000000000285523)
    t, t_rest = two_product_8(z, D(0.6666666666666666))
    t_rest += z * D(3.7007434154171884681e-17) + z_rest * D(0.6666666666666666)
    v, v_rest = two_sum(t, p * (z * z))
    v_rest += t_rest
    q, q_rest = two_product_8(s, v)
    h, h_rest = two_sum(D(2) * s, q)
    h_rest += q_rest + D(2) * s_rest + s * v_rest + s_rest * v
    high, rest = two_sum(n * HIGH_8, h)
    low, low_rest = two_product_8(n, LOW_8)
    high, more = two_sum(high, low)
    rest += h_rest + low_rest + more
    x, x_rest = two_product_8(b, high)
    x_rest += b * rest
    y = exp_of_sum_8(x, x_rest)
    # The special values, whose bits the logarithm does not take.
    y = (D(0) if b > D(0) else D(np.inf)) if size == D(0) else y
    y = (D(np.inf) if b > D(0) else D(0)) if size == D(np.inf) else y
    y = a + b if a != a or b != b else y
    return _with_sign(a, b, y)


def _power_any(a: Any, b: Any) -> Any:
    return a**b


@overload(power, jit_options=INLINE)
def _power(a: Any, b: Any) -> Any:
    if a == b == types.float32:
        return _power_4
    return _power_8 if a == b == types.float64 else _power_any
