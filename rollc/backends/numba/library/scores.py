"""Softmax and normalisation of a vector.

:mod:`rollc.backends.numba.library.routines` explains the arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from rollc.backends.numba.jit.routine import Array, routine, shared, uint
from rollc.backends.numba.library.vector_math.functions import OPTIONS, exp, log1p


@shared
def largest(x: Array, size: int, x_row: int, x_column: int) -> Any:
    """The largest element; NaN propagates."""
    best = x[x_row, uint(x_column)]
    for k in range(1, size):
        value = x[x_row, uint(x_column + k)]
        if value > best or value != value:
            best = value
    return best


# Unlike in other routines, sums may not be reassociated here.
@register_jitable(**OPTIONS)
def below(x: Any, top: Any, zero: Any) -> Any:
    """x minus the largest element; 0 for equal infinities."""
    return zero if x == top else x - top


@shared
def log_sum(x: Array, size: int, x_row: int, x_column: int, top: Any) -> Any:
    """The logarithm of the sum of exp(x - top).

    One of the terms is 1: log1p of the others is exact where these are small.
    """
    zero, one = x.dtype.type(0), x.dtype.type(1)
    others, tops = zero, zero
    for k in range(size):
        value = x[x_row, uint(x_column + k)]
        e = exp(value - top)
        others += zero if value == top else e
        tops += one if value == top else zero
    return log1p(others + (tops - one))


@routine
def logsumexp(x: Array, size: int, x_row: int = 0, x_column: int = 0) -> Any:
    """The logarithm of the sum of exp(x)."""
    top = largest(x, size, x_row, x_column)
    return top + log_sum(x, size, x_row, x_column, top)


@routine
def softmax(
    x: Array,
    out: Array,
    size: int,
    x_row: int = 0,
    x_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """exp(x), scaled to the sum 1; zeros where all elements are -inf."""
    top, zero = largest(x, size, x_row, x_column), x.dtype.type(0)
    total = zero
    for k in range(size):
        value = exp(below(x[x_row, uint(x_column + k)], top, zero))
        out[out_row, uint(out_column + k)] = value
        total += value
    if top == -np.inf:
        total = x.dtype.type(np.inf)
    for k in range(size):
        out[out_row, uint(out_column + k)] /= total


@routine
def log_softmax(
    x: Array,
    out: Array,
    size: int,
    x_row: int = 0,
    x_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """The logarithm of :func:`softmax`; -inf where all elements are."""
    top, zero = largest(x, size, x_row, x_column), x.dtype.type(0)
    log_of_sum = log_sum(x, size, x_row, x_column, top)
    if top == -np.inf:
        log_of_sum = x.dtype.type(np.inf)
    for k in range(size):
        value = below(x[x_row, uint(x_column + k)], top, zero)
        out[out_row, uint(out_column + k)] = value - log_of_sum


@routine
def cross_entropy(
    scores: Array, target: int, size: int, scores_row: int = 0, scores_column: int = 0
) -> Any:
    """-log softmax(scores)[target]."""
    top, zero = largest(scores, size, scores_row, scores_column), scores.dtype.type(0)
    log_of_sum = log_sum(scores, size, scores_row, scores_column, top)
    if top == -np.inf:
        log_of_sum = scores.dtype.type(np.inf)
    return log_of_sum - below(scores[scores_row, uint(scores_column + target)], top, zero)


@register_jitable(**OPTIONS)
def centred(x: Any, start: Any, mean: Any) -> Any:
    """x - (start + mean), whose first difference is exact if x is near the start."""
    return (x - start) - mean


@shared
def mean_from(x: Array, size: int, x_row: int, x_column: int, start: Any) -> Any:
    """The mean, less one of the elements: no sum contains a common offset."""
    total = x.dtype.type(0)
    for k in range(size):
        total += x[x_row, uint(x_column + k)] - start
    return total / x.dtype.type(size)


@shared
def deviation_from(
    x: Array, size: int, epsilon: float, x_row: int, x_column: int, start: Any, mean: Any
) -> Any:
    """The square root of the variance plus ``epsilon``."""
    total = x.dtype.type(0)
    for k in range(size):
        difference = centred(x[x_row, uint(x_column + k)], start, mean)
        total += difference * difference
    return np.sqrt(total / x.dtype.type(size) + x.dtype.type(epsilon))


@routine
def deviation(x: Array, size: int, epsilon: float, x_row: int = 0, x_column: int = 0) -> Any:
    """The standard deviation: the square root of the variance plus ``epsilon``."""
    start = x[x_row, uint(x_column)]
    mean = mean_from(x, size, x_row, x_column, start)
    return deviation_from(x, size, epsilon, x_row, x_column, start, mean)


@routine
def normalise(
    x: Array,
    out: Array,
    size: int,
    epsilon: float,
    x_row: int = 0,
    x_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """x, shifted and scaled to mean 0 and variance 1."""
    start = x[x_row, uint(x_column)]
    mean = mean_from(x, size, x_row, x_column, start)
    scale = deviation_from(x, size, epsilon, x_row, x_column, start, mean)
    for k in range(size):
        value = centred(x[x_row, uint(x_column + k)], start, mean) / scale
        out[out_row, uint(out_column + k)] = value
