"""erf, sine, cosine and powers as arithmetic, as :mod:`rollc.kernel.elementary` has exp.

erf(x) is x times a polynomial in x**2 up to 1, and from there 1 - exp(-x**2) times one in
(x - c) / (x + k).  Angles are reduced by multiples of pi / 2, whose first parts are so short
that the products are exact (Cody and Waite); of those of millions, the turns that their last
bit makes are looked up, to three times the precision (Payne and Hanek).  In single precision,
angles and powers are computed in double, and powers of double precision from a logarithm with
as many digits again (Dekker).  The polynomials are those of Chebyshev's interpolation, found in
40 digits.  Muller, Elementary Functions (third edition, 2016), chapters 2 and 11.
``tests/test_elementary.py`` measures the errors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable

from rollc.kernel.elementary import (
    HIGH_8,
    LOW_8,
    OPTIONS,
    WHOLE_8,
    exp,
    exponent_8,
    log,
    mantissa_8,
)

F, D = np.float32, np.float64

# They are long, and a call that stays one keeps a loop scalar.
_INLINE: Any = {**OPTIONS, "forceinline": True}


# The error function -----------------------------------------------------------------------


def erf(x: Any) -> Any:
    """The error function."""
    return type(x)(math.erf(x))


def _erf_4(x: Any) -> Any:
    z = x * x
    p = F(0.000078758750626854883)
    p = p * z + F(-0.00080168642871658695)
    p = p * z + F(0.005189087423433974)
    p = p * z + F(-0.026854212010626412)
    p = p * z + F(0.11283594715160218)
    p = p * z + F(-0.3761262666672033)
    p = p * z + F(1.128379165848351)
    y = abs(x)
    y = F(4) if y > F(4) else y
    v = (y - F(2)) / (y + F(2))
    q = F(-0.00094415963408727357)
    q = q * v + F(-0.00083658997364860578)
    q = q * v + F(0.0069948554135999576)
    q = q * v + F(0.0037321413513030097)
    q = q * v + F(-0.078978523272533492)
    q = q * v + F(0.24165821109072445)
    q = q * v + F(-0.42718584761434302)
    q = q * v + F(0.25539567625190335)
    far = F(1) - exp(-y * y) * q
    far = -far if x < F(0) else far
    return p * x if z < F(1) else far


def _erf_8(x: Any) -> Any:
    z = x * x
    p = D(5.9571761477489114044e-11)
    p = p * z + D(-1.137284885679167367e-9)
    p = p * z + D(1.4659775274047435814e-8)
    p = p * z + D(-1.6350312701054695011e-7)
    p = p * z + D(1.6461000484121368033e-6)
    p = p * z + D(-0.000014925595266831181565)
    p = p * z + D(0.00012055331111642710923)
    p = p * z + D(-0.00085483269808337899052)
    p = p * z + D(0.0052239776248180144673)
    p = p * z + D(-0.026866170645076793248)
    p = p * z + D(0.11283791670954878666)
    p = p * z + D(-0.37612638903183748056)
    p = p * z + D(1.1283791670955125738)
    y = abs(x)
    y = D(6.1) if y > D(6.1) else y
    v = (y - D(2.5)) / (y + D(3))
    q = D(-8.235128562698848862e-7)
    q = q * v + D(9.941466856108690373e-8)
    q = q * v + D(4.77348423714552996e-6)
    q = q * v + D(1.1738052481809559375e-6)
    q = q * v + D(-0.000026905672295426996011)
    q = q * v + D(-8.2161957317168250827e-6)
    q = q * v + D(0.00017235422715397002667)
    q = q * v + D(-0.000038113961164457981593)
    q = q * v + D(-0.0012215036618792739047)
    q = q * v + D(0.002113470986919924971)
    q = q * v + D(0.006200459800850351067)
    q = q * v + D(-0.04105645390757440441)
    q = q * v + D(0.11792238659657313155)
    q = q * v + D(-0.2314226895482848943)
    q = q * v + D(0.34546400452750071259)
    q = q * v + D(-0.40891040734387068262)
    q = q * v + D(0.21080636406114358058)
    far = D(1) - exp(-y * y) * q
    far = -far if x < D(0) else far
    return p * x if z < D(1) else far


@overload(erf, jit_options=_INLINE)
def _erf(x: Any) -> Any:
    return _erf_4 if x == types.float32 else _erf_8


# Angles -----------------------------------------------------------------------------------

_WHOLE = D(1.5 * 2**52)  # x + WHOLE rounds x to a whole number
# pi / 2 in three parts; the first two have 33 bits.
_FIRST, _SECOND, _THIRD = (
    D(1.57079632673412561417),
    D(6.07710050630396597660e-11),
    D(2.02226624879595063154e-21),
)


def _turns() -> list[Any]:
    """What powers of two are in turns, without whole ones, in three parts: of the last bit of a
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


def _write_whole(typing_context: Any, x: Any) -> Any:
    """The bits of a positive number as a whole number."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits = builder.bitcast(values[0], _WORD)
        digits = builder.and_(bits, _WORD(2**52 - 1))
        number = builder.or_(digits, _WORD((1023 + 52) << 52))
        return builder.bitcast(number, ir.DoubleType())

    return types.float64(types.float64), generate


def _write_place(typing_context: Any, x: Any) -> Any:
    """Where a positive number's power of two is in the tables; the first one if below."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        exponent = builder.lshr(builder.bitcast(values[0], _WORD), _WORD(52))
        place = builder.sub(exponent, _WORD(1023 + _FROM))
        below = builder.icmp_signed("<", place, _WORD(0))
        return builder.select(below, _WORD(0), place)

    return types.uint64(types.float64), generate


def _write_multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    return types.float64(types.float64, types.float64, types.float64), generate


_WORD = ir.IntType(64)
_whole: Any = intrinsic(_write_whole)
_place: Any = intrinsic(_write_place)
_multiply_add: Any = intrinsic(_write_multiply_add)


@register_jitable(**_INLINE)
def _exact_product(a: Any, b: Any) -> Any:
    """A product, and what its rounding leaves."""
    total = _multiply_add(a, b, D(-0.0))  # not one that may become part of a sum
    return total, _multiply_add(a, b, -total)


@register_jitable(**_INLINE)
def _exact_sum(a: Any, b: Any) -> Any:
    """A sum, and what its rounding leaves (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


@register_jitable(**_INLINE)
def _turned(x: Any, quarter: Any) -> Any:
    """The sine of a positive angle and so many quarters of a turn."""
    n = (x * D(0.63661977236758134308) + _WHOLE) - _WHOLE
    r = ((x - n * _FIRST) - n * _SECOND) - n * _THIRD
    # Of a large one: products and sums with what their rounding leaves.
    place, m = _place(x), _whole(x)
    one, rest = _exact_product(m, _TURN_1[place])
    two, tail = _exact_product(m, _TURN_2[place])
    tail += m * _TURN_3[place]
    one, more = _exact_sum(one - np.floor(one), rest)
    one, less = _exact_sum(one, two)
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
    y = F(_turned(abs(D(x)), D(0)))
    return -y if x < F(0) else y if x > F(0) else x


def _sin_8(x: Any) -> Any:
    y = _turned(abs(x), D(0))
    return -y if x < D(0) else y if x > D(0) else x


@overload(sin, jit_options=_INLINE)
def _sin(x: Any) -> Any:
    return _sin_4 if x == types.float32 else _sin_8


def cos(x: Any) -> Any:
    """The cosine of an angle in radians."""
    return np.cos(x)


def _cos_4(x: Any) -> Any:
    return F(_turned(abs(D(x)), D(1)))


def _cos_8(x: Any) -> Any:
    return _turned(abs(x), D(1))


@overload(cos, jit_options=_INLINE)
def _cos(x: Any) -> Any:
    return _cos_4 if x == types.float32 else _cos_8


# Powers -----------------------------------------------------------------------------------


def power(a: Any, b: Any) -> Any:
    """a to the b; what IEEE 754 says of zeros, infinities and NaN."""
    return np.power(a, b)


@register_jitable(**_INLINE)
def _with_sign(a: Any, b: Any, y: Any) -> Any:
    """a to the b, where y is that of the size of a."""
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
    # The logarithm with what is left of each sum and product, by the series in s = f / (2 + f).
    g, g_rest = _exact_sum(D(2), f)
    s = f / g
    s_rest = (_multiply_add(-s, g, f) - s * g_rest) / g
    z, z_rest = _exact_product(s, s)
    z_rest += D(2) * s * s_rest
    p = D(0.11730107861893891006)
    p = p * z + D(0.11705571895677941267)
    p = p * z + D(0.13334829573907240582)
    p = p * z + D(0.15384594503810555533)
    p = p * z + D(0.18181818339698247557)
    p = p * z + D(0.22222222221637389316)
    p = p * z + D(0.28571428571429841867)
    p = p * z + D(0.40000000000000285523)
    t, t_rest = _exact_product(z, D(0.6666666666666666))
    t_rest += z * D(3.7007434154171884681e-17) + z_rest * D(0.6666666666666666)
    v, v_rest = _exact_sum(t, p * (z * z))
    v_rest += t_rest
    q, q_rest = _exact_product(s, v)
    h, h_rest = _exact_sum(D(2) * s, q)
    h_rest += q_rest + D(2) * s_rest + s * v_rest + s_rest * v
    high, rest = _exact_sum(n * HIGH_8, h)
    low, low_rest = _exact_product(n, LOW_8)
    high, more = _exact_sum(high, low)
    rest += h_rest + low_rest + more
    x, x_rest = _exact_product(b, high)
    x_rest += b * rest
    y = exp(x)
    y = y + y * x_rest if abs(x) < D(745) else y
    # The bits of those are no numbers.
    y = (D(0) if b > D(0) else D(np.inf)) if size == D(0) else y
    y = (D(np.inf) if b > D(0) else D(0)) if size == D(np.inf) else y
    y = a + b if a != a or b != b else y
    return _with_sign(a, b, y)


def _power_any(a: Any, b: Any) -> Any:
    return a**b


@overload(power, jit_options=_INLINE)
def _power(a: Any, b: Any) -> Any:
    if a == b == types.float32:
        return _power_4
    return _power_8 if a == b == types.float64 else _power_any
