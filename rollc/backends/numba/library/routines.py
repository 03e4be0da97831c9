"""The routines that kernels call: matrix products (:mod:`.gemm`), small matrices, and others.

Every buffer is an array of two dimensions: a row for each step and sequence, and in it the
elements of one value (a matrix in row-major order); numbers are contiguous in one row.

A call has arrays first, then sizes and offsets by their names.  The value in an array ``x``
begins at ``x[x_row, x_column]``, which are 0 by default.  Nothing is allocated, nothing can raise,
and the interpreter's lock is not held.  NaN propagates: no compiler flag assumes its absence.

A kernel calls a routine through its symbol: routines are compiled once for each precision,
and saved as object code (:mod:`rollc.backends.numba.jit.routine`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from rollc.backends.numba.jit.routine import Array, Triple, routine, shared, uint
from rollc.backends.numba.library.gemm import (
    dot,
    matmul,
    matmul_steps,
    matmul_strided,
    sum_outer_products,
    sum_outer_products_strided,
    vecdot,
    work_for_team,
)
from rollc.backends.numba.library.gemm_packing import pack
from rollc.backends.numba.library.small_matrices import (
    gauss_jordan,
    outer,
    small_matmul,
    transpose,
)
from rollc.backends.numba.library.vector_math import OPTIONS, exp, log1p

__all__ = [
    "argmax",
    "arrange",
    "clear",
    "convolve",
    "copy_block",
    "correlate",
    "cross_entropy",
    "deviation",
    "dot",
    "draw",
    "element",
    "embed",
    "embed_adjoint",
    "extreme_along",
    "gauss_jordan",
    "linear_scan",
    "log_softmax",
    "logsumexp",
    "matmul",
    "matmul_steps",
    "matmul_strided",
    "move_rows",
    "normalise",
    "one_hot",
    "outer",
    "pack",
    "small_matmul",
    "softmax",
    "sum_along",
    "sum_outer_products",
    "sum_outer_products_strided",
    "sum_row",
    "transpose",
    "vecdot",
    "work_for_team",
]


@routine
def element(x: Array, size: int, index: int, x_row: int = 0, x_column: int = 0) -> Any:
    """``x[index]`` of ``size`` elements, or zero where there is no such element."""
    if index < size:
        return x[x_row, uint(x_column + index)]
    return x.dtype.type(0)


@routine
def embed(
    table: Array,
    out: Array,
    index: int,
    size: int,
    table_row: int = 0,
    table_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """The row ``index`` of a table whose rows have ``size`` elements."""
    for k in range(size):
        value = table[table_row, uint(table_column + index * size + k)]
        out[out_row, uint(out_column + k)] = value


@routine
def embed_adjoint(
    cotangent: Array,
    out: Array,
    index: int,
    rows: int,
    size: int,
    cotangent_row: int = 0,
    cotangent_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
    accumulate: bool = False,
) -> None:
    """Add a vector to the row ``index`` of a table of ``rows`` rows, or make it the only one."""
    if not accumulate:
        for k in range(rows * size):
            out[out_row, uint(out_column + k)] = 0
    for k in range(size):
        value = cotangent[cotangent_row, uint(cotangent_column + k)]
        out[out_row, uint(out_column + index * size + k)] += value


@routine
def one_hot(out: Array, index: int, size: int, out_row: int = 0, out_column: int = 0) -> None:
    """A vector of zeros with a one at an index."""
    for k in range(size):
        out[out_row, uint(out_column + k)] = 0
    out[out_row, uint(out_column + index)] = 1


@routine
def copy_block(
    x: Array,
    out: Array,
    count: int,
    x_shape: Triple,
    out_shape: Triple,
    x_start: int = 0,
    out_start: int = 0,
    x_row: int = 0,
    x_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """``out[:, out_start : out_start + count, :] = x[:, x_start : x_start + count, :]``

    of the values seen as arrays of three dimensions, which differ in the second one.
    """
    outer_size, length, inner_size = x_shape
    space = out_shape[1]
    for i in range(outer_size):
        for j in range(count):
            for k in range(inner_size):
                source = x_column + (i * length + x_start + j) * inner_size + k
                target = out_column + (i * space + out_start + j) * inner_size + k
                out[out_row, uint(target)] = x[x_row, uint(source)]


@routine
def move_rows(
    x: Array,
    rows: int,
    size: int,
    from_row: int = 0,
    from_column: int = 0,
    to_row: int = 0,
    to_column: int = 0,
) -> None:
    """Copy rows to other rows of the same array, or numbers along a row; they may overlap."""
    if from_row < to_row or from_column < to_column:
        for i in range(rows):
            for k in range(size):
                r, c = rows - 1 - i, size - 1 - k
                x[to_row + r, uint(to_column + c)] = x[from_row + r, uint(from_column + c)]
    else:
        for i in range(rows):
            for k in range(size):
                x[to_row + i, uint(to_column + k)] = x[from_row + i, uint(from_column + k)]


@routine
def clear(out: Array, size: int, out_row: int = 0, out_column: int = 0) -> None:
    """Write zeros."""
    for k in range(size):
        out[out_row, uint(out_column + k)] = 0


@routine
def sum_along(
    x: Array,
    out: Array,
    shape: Triple,
    mean: bool,
    x_row: int = 0,
    x_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """The sum, or the mean, of an array of three dimensions along the second one."""
    outer_size, length, inner_size = shape
    count = out.dtype.type(length if mean else 1)
    for i in range(outer_size):
        for k in range(inner_size):
            total = out.dtype.type(0)
            start = x_column + i * length * inner_size + k
            if inner_size == 1:  # contiguous, so that it vectorizes
                for j in range(length):
                    total += x[x_row, uint(start + j)]
            else:
                for j in range(length):
                    total += x[x_row, uint(start + j * inner_size)]
            out[out_row, uint(out_column + i * inner_size + k)] = total / count


@routine
def sum_row(x: Array, size: int, x_row: int = 0, x_column: int = 0) -> Any:
    """The sum of contiguous numbers."""
    total = x.dtype.type(0)
    for k in range(size):
        total += x[x_row, uint(x_column + k)]
    return total


@routine
def extreme_along(
    x: Array,
    out: Array,
    shape: Triple,
    largest: bool,
    x_row: int = 0,
    x_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """The largest, or the smallest, along the second of three dimensions; NaN propagates."""
    outer_size, length, inner_size = shape
    for i in range(outer_size):
        for k in range(inner_size):
            best = x[x_row, uint(x_column + i * length * inner_size + k)]
            for j in range(1, length):
                value = x[x_row, uint(x_column + (i * length + j) * inner_size + k)]
                better = value > best if largest else value < best
                if better or value != value:
                    best = value
            out[out_row, uint(out_column + i * inner_size + k)] = best


@routine
def argmax(x: Array, size: int, x_row: int = 0, x_column: int = 0) -> int:
    """The index of the largest element, the first of equal ones; that of a NaN if there is one."""
    best = 0
    for k in range(1, size):
        value, most = x[x_row, uint(x_column + k)], x[x_row, uint(x_column + best)]
        if value > most or (value != value and most == most):
            best = k
    return best


@routine
def draw(p: Array, size: int, number: float, p_row: int = 0, p_column: int = 0) -> int:
    """The index whose interval of the cumulative sum of ``p`` contains a number from 0 to 1."""
    total = p[p_row, uint(p_column)]
    last = 0 if total > 0 else size - 1
    for k in range(1, size):
        total += p[p_row, uint(p_column + k)]
        if p[p_row, uint(p_column + k)] > 0:
            last = k
    below = p[p_row, uint(p_column)]
    for k in range(size):
        if k > 0:
            below += p[p_row, uint(p_column + k)]
        if number * total < below:
            return k
    return last


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


@routine
def linear_scan(
    factor: Array,
    term: Array,
    out: Array,
    size: int,
    start: float,
    reverse: bool,
    factor_row: int = 0,
    factor_column: int = 0,
    term_row: int = 0,
    term_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """At each element, factor times the one before plus term; ``start`` is before them."""
    value = factor.dtype.type(start)
    for step in range(size):
        k = size - 1 - step if reverse else step
        value = factor[factor_row, uint(factor_column + k)] * value
        value += term[term_row, uint(term_column + k)]
        out[out_row, uint(out_column + k)] = value


@routine
def arrange(
    x: Array,
    keys: Array,
    out: Array,
    size: int,
    back: bool,
    x_row: int = 0,
    x_column: int = 0,
    keys_row: int = 0,
    keys_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """x in the order of its keys, or ``back`` from it: each is counted, since nothing is allocated.

    NaN is the largest; equal keys stay as they stand.
    """
    for k in range(size):
        key = keys[keys_row, uint(keys_column + k)]
        rank = 0
        for other in range(size):
            value = keys[keys_row, uint(keys_column + other)]
            less = value < key or (key != key and value == value)
            equal = value == key or (key != key and value != value)
            rank += less or (equal and other < k)
        place, source = (k, rank) if back else (rank, k)
        out[out_row, uint(out_column + place)] = x[x_row, uint(x_column + source)]


@routine
def convolve(
    x: Array,
    kernel: Array,
    out: Array,
    size: int,
    many: int,
    x_row: int = 0,
    x_column: int = 0,
    kernel_row: int = 0,
    kernel_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """The convolution of a vector of ``size`` with a kernel of ``many`` elements."""
    for k in range(size + many - 1):
        out[out_row, uint(out_column + k)] = 0
    for i in range(many):
        factor = kernel[kernel_row, uint(kernel_column + i)]
        for k in range(size):
            out[out_row, uint(out_column + i + k)] += factor * x[x_row, uint(x_column + k)]


@routine
def correlate(
    x: Array,
    kernel: Array,
    out: Array,
    size: int,
    many: int,
    x_row: int = 0,
    x_column: int = 0,
    kernel_row: int = 0,
    kernel_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """Sums of products with a kernel of ``many`` elements, at the ``size`` places where it fits."""
    for k in range(size):
        out[out_row, uint(out_column + k)] = 0
    for i in range(many):
        factor = kernel[kernel_row, uint(kernel_column + i)]
        for k in range(size):
            out[out_row, uint(out_column + k)] += factor * x[x_row, uint(x_column + i + k)]
