"""The gamma function of positive numbers as arithmetic, as :mod:`.functions`.

Steps by one lead to an argument around 2, where the logarithm of gamma is a polynomial, that of
Chebyshev's interpolation (found in 45 digits, with an error of 1e-21); from 10 on Stirling's series
is.  Its derivative comes from steps by one and the asymptotic series.  The derivatives of that are
those of :mod:`rollc.ir.operations.elementwise.special`, and no vectors.
``tests/ir/operations/test_exactness.py`` measures the errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from rollc.backends.numba.library.vector_math.elementary import in_double
from rollc.backends.numba.library.vector_math.functions import OPTIONS, log
from rollc.ir.operations.elementwise import special

F, D = np.float32, np.float64


def lgamma(x: Any) -> Any:
    """The logarithm of gamma of what is positive."""
    return type(x)(special.log_gamma(x))


def _lgamma(x: Any) -> Any:
    y = x if x < D(10) else D(2)
    product = D(1)
    for _ in range(8):  # gamma(y) = (y - 1) gamma(y - 1)
        down = y > D(2.5)
        y = y - D(1) if down else y
        product = product * y if down else product
    # gamma(x) = gamma(x + 1) / x; z is exact.
    low, middle = x < D(0.5), x < D(1.5)
    z = x if low else x - D(1) if middle else y - D(2)
    factor = x * (x + D(1)) if low else x if middle else product
    p = D(1.4963664257506094733e-8)
    p = p * z + D(-3.1314310898569290602e-8)
    p = p * z + D(4.5099722619475210844e-8)
    p = p * z + D(-9.5014133951879548241e-8)
    p = p * z + D(2.1296933268739073817e-7)
    p = p * z + D(-4.511181343392837351e-7)
    p = p * z + D(9.549510215659873349e-7)
    p = p * z + D(-2.0388192442278333839e-6)
    p = p * z + D(4.3748925238372282491e-6)
    p = p * z + D(-9.4395419217313024762e-6)
    p = p * z + D(0.000020507210547546375401)
    p = p * z + D(-0.000044926232093532394312)
    p = p * z + D(0.00009945751290179457487)
    p = p * z + D(-0.0002231547587036780805)
    p = p * z + D(0.00050966952473927936593)
    p = p * z + D(-0.0011927539116954179204)
    p = p * z + D(0.0028905103307415837352)
    p = p * z + D(-0.0073855510286741112402)
    p = p * z + D(0.020580808427784547501)
    p = p * z + D(-0.067352301053198094345)
    p = p * z + D(0.32246703342411321824)
    p = p * z + D(0.42278433509846713939)
    t = x if x > D(10) else D(10)
    far = x >= D(10)
    logarithm = log(t if far else factor)
    near = p * z - logarithm if middle else p * z + logarithm
    s = D(1) / (t * t)
    q = D(0.0064102564102564102564)
    q = q * s + D(-0.0019175269175269175269)
    q = q * s + D(0.00084175084175084175084)
    q = q * s + D(-0.00059523809523809523810)
    q = q * s + D(0.00079365079365079365079)
    q = q * s + D(-0.0027777777777777777778)
    q = q * s + D(0.083333333333333333333)
    stirling = (t - D(0.5)) * (logarithm - D(1)) + D(0.41893853320467274178) + q / t
    y = stirling if far else near
    y = x if x == D(np.inf) else y
    return D(np.nan) if x < D(0) or x != x else y


def digamma(x: Any) -> Any:
    """The derivative of lgamma."""
    return type(x)(special.digamma(x))


def _digamma(x: Any) -> Any:
    y, steps = x, D(0)
    for _ in range(10):
        near = y < D(10)
        steps = steps + D(1) / y if near else steps
        y = y + D(1) if near else y
    s = D(1) / (y * y)
    q = D(-0.083333333333333333333)
    q = q * s + D(0.021092796092796092796)
    q = q * s + D(-0.0075757575757575757576)
    q = q * s + D(0.0041666666666666666667)
    q = q * s + D(-0.0039682539682539682540)
    q = q * s + D(0.0083333333333333333333)
    q = q * s + D(-0.083333333333333333333)
    found = log(y) - D(0.5) / y + q * s - steps
    return D(np.nan) if x < D(0) else found


in_double(lgamma, _lgamma)
in_double(digamma, _digamma)


def polygamma(order: Any, x: Any) -> Any:
    """The derivative of digamma of that order."""
    return type(x)(special.polygamma(order, float(x)))


register_jitable(**OPTIONS)(special.inverse_power)
_any_order: Any = register_jitable(**OPTIONS)(special.polygamma)


def _polygamma_4(order: Any, x: Any) -> Any:
    return F(_any_order(order, D(x)))


def _polygamma_8(order: Any, x: Any) -> Any:
    return _any_order(order, x)


@overload(polygamma, jit_options=OPTIONS)
def _polygamma(order: Any, x: Any) -> Any:
    return _polygamma_4 if x == types.float32 else _polygamma_8
