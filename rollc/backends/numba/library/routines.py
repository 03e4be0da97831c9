"""The routines that kernels call: linear algebra (:mod:`.gemm`), and the rest.

Every buffer is an array of two dimensions: a row for each step and sequence, and in it the
elements of one value (a matrix row by row); numbers lie side by side in one row.  A value is
given by its array, its row and its first column.  Nothing is allocated, nothing can raise,
and the interpreter's lock is not held.  NaN in, NaN out: no compiler flag assumes it away.

A kernel calls a routine through its symbol: routines are compiled once for each precision,
and kept as object code (:mod:`rollc.backends.numba.jit.routine`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from rollc.backends.numba.jit.routine import Array, at, routine, shared
from rollc.backends.numba.library.gemm import (
    dot,
    dots,
    gauss_jordan,
    help_team,
    matrix_product,
    outer,
    product,
    steps_times,
    times,
    transpose,
    weighted_rows,
)
from rollc.backends.numba.library.gemm_packing import pack
from rollc.backends.numba.library.vector_math import OPTIONS, exp, log_one_plus

__all__ = [
    "argmax",
    "carry",
    "clear",
    "copy_block",
    "cross_entropy",
    "deviation",
    "dot",
    "dots",
    "draw",
    "element",
    "embed",
    "embed_adjoint",
    "extreme_along",
    "gauss_jordan",
    "help_team",
    "log_softmax",
    "logsumexp",
    "matrix_product",
    "normalise",
    "one_hot",
    "outer",
    "pack",
    "product",
    "softmax",
    "steps_times",
    "sum_along",
    "times",
    "total",
    "transpose",
    "weighted_rows",
]


@routine
def element(x: Array, row: int, first: int, size: int, index: int) -> Any:
    if index < size:
        return x[row, at(first + index)]
    return x.dtype.type(0)


@routine
def embed(
    table: Array, row: int, first: int, index: int, out: Array, target: int, place: int, size: int
) -> None:
    for k in range(size):
        out[target, at(place + k)] = table[row, at(first + index * size + k)]


@routine
def embed_adjoint(
    cotangent: Array,
    row: int,
    first: int,
    index: int,
    out: Array,
    target: int,
    place: int,
    rows: int,
    size: int,
    accumulate: bool,
) -> None:
    if not accumulate:
        for k in range(rows * size):
            out[target, at(place + k)] = 0
    for k in range(size):
        out[target, at(place + index * size + k)] += cotangent[row, at(first + k)]


@routine
def one_hot(index: int, out: Array, target: int, place: int, size: int) -> None:
    for k in range(size):
        out[target, at(place + k)] = 0
    out[target, at(place + index)] = 1


@routine
def copy_block(
    x: Array,
    row: int,
    first: int,
    length: int,
    start: int,
    out: Array,
    target: int,
    place: int,
    space: int,
    into: int,
    outside: int,
    count: int,
    inside: int,
) -> None:
    """Copy ``count`` places along one dimension of a value to another value.

    The dimension has ``length`` places in x and ``space`` in out; the dimensions before it
    together have ``outside`` places, those after it ``inside``.
    """
    for i in range(outside):
        for j in range(count):
            for k in range(inside):
                source = (i * length + start + j) * inside + k
                out[target, at(place + (i * space + into + j) * inside + k)] = x[
                    row, at(first + source)
                ]


@routine
def carry(x: Array, row: int, first: int, target: int, place: int, rows: int, size: int) -> None:
    """Copy rows to other rows of the same array, or numbers along a row; they may overlap."""
    if row < target or first < place:
        for i in range(rows):
            for k in range(size):
                r, c = rows - 1 - i, size - 1 - k
                x[target + r, at(place + c)] = x[row + r, at(first + c)]
    else:
        for i in range(rows):
            for k in range(size):
                x[target + i, at(place + k)] = x[row + i, at(first + k)]


@routine
def clear(out: Array, target: int, place: int, size: int) -> None:
    for k in range(size):
        out[target, at(place + k)] = 0


@routine
def sum_along(
    x: Array,
    row: int,
    first: int,
    out: Array,
    target: int,
    place: int,
    outside: int,
    length: int,
    inside: int,
    mean: bool,
) -> None:
    """The sum, or the mean, along one dimension (see :func:`copy_block`)."""
    count = out.dtype.type(length if mean else 1)
    for i in range(outside):
        for k in range(inside):
            found = out.dtype.type(0)
            start = first + i * length * inside + k
            if inside == 1:  # side by side: in vectors
                for j in range(length):
                    found += x[row, at(start + j)]
            else:
                for j in range(length):
                    found += x[row, at(start + j * inside)]
            out[target, at(place + i * inside + k)] = found / count


@routine
def total(x: Array, row: int, first: int, size: int) -> Any:
    """The sum of numbers that lie side by side, in several partial sums."""
    found = x.dtype.type(0)
    for k in range(size):
        found += x[row, at(first + k)]
    return found


@routine
def extreme_along(
    x: Array,
    row: int,
    first: int,
    out: Array,
    target: int,
    place: int,
    outside: int,
    length: int,
    inside: int,
    largest: bool,
) -> None:
    """The largest, or the smallest, along one dimension; a NaN wins."""
    for i in range(outside):
        for k in range(inside):
            best = x[row, at(first + i * length * inside + k)]
            for j in range(1, length):
                value = x[row, at(first + (i * length + j) * inside + k)]
                better = value > best if largest else value < best
                if better or value != value:
                    best = value
            out[target, at(place + i * inside + k)] = best


@routine
def argmax(x: Array, row: int, first: int, size: int) -> int:
    best = 0
    for k in range(1, size):
        value, most = x[row, at(first + k)], x[row, at(first + best)]
        if value > most or (value != value and most == most):
            best = k
    return best


@routine
def draw(p: Array, row: int, first: int, size: int, number: float) -> int:
    """The index whose share of the sum of ``p`` holds a number from 0 to 1; never outside."""
    total = p[row, at(first)]
    last = 0 if total > 0 else size - 1
    for k in range(1, size):
        total += p[row, at(first + k)]
        if p[row, at(first + k)] > 0:
            last = k
    below = p[row, at(first)]
    for k in range(size):
        if k > 0:
            below += p[row, at(first + k)]
        if number * total < below:
            return k
    return last


@shared
def largest(x: Array, row: int, first: int, size: int) -> Any:
    best = x[row, at(first)]
    for k in range(1, size):
        value = x[row, at(first + k)]
        if value > best or value != value:
            best = value
    return best


# Sums may be reordered in routines, and in these they may not.
@register_jitable(**OPTIONS)
def below(x: Any, top: Any, zero: Any) -> Any:
    """How far x is below the largest; equal infinities are 0 apart."""
    return zero if x == top else x - top


@shared
def log_rise(x: Array, row: int, first: int, size: int, top: Any) -> Any:
    """The logarithm of the sum of exp(x - top).

    One of the terms is 1: the logarithm of 1 and the others is exact where these are small.
    """
    zero, one = x.dtype.type(0), x.dtype.type(1)
    rest, tops = zero, zero
    for k in range(size):
        value = x[row, at(first + k)]
        e = exp(value - top)
        rest += zero if value == top else e
        tops += one if value == top else zero
    return log_one_plus(rest + (tops - one))


@routine
def logsumexp(x: Array, row: int, first: int, size: int) -> Any:
    top = largest(x, row, first, size)
    return top + log_rise(x, row, first, size, top)


@routine
def softmax(x: Array, row: int, first: int, out: Array, target: int, place: int, size: int) -> None:
    """The shares; zeros where all elements are -inf, for there is nothing to share."""
    top, zero = largest(x, row, first, size), x.dtype.type(0)
    total = zero
    for k in range(size):
        value = exp(below(x[row, at(first + k)], top, zero))
        out[target, at(place + k)] = value
        total += value
    if top == -np.inf:
        total = x.dtype.type(np.inf)
    for k in range(size):
        out[target, at(place + k)] /= total


@routine
def log_softmax(
    x: Array, row: int, first: int, out: Array, target: int, place: int, size: int
) -> None:
    top = largest(x, row, first, size)
    rise = log_rise(x, row, first, size, top)
    if top == -np.inf:
        rise = x.dtype.type(np.inf)
    for k in range(size):
        out[target, at(place + k)] = below(x[row, at(first + k)], top, x.dtype.type(0)) - rise


@routine
def cross_entropy(scores: Array, row: int, first: int, target: int, size: int) -> Any:
    top = largest(scores, row, first, size)
    rise = log_rise(scores, row, first, size, top)
    if top == -np.inf:
        rise = scores.dtype.type(np.inf)
    return rise - below(scores[row, at(first + target)], top, scores.dtype.type(0))


@register_jitable(**OPTIONS)
def apart(x: Any, start: Any, middle: Any) -> Any:
    """x - (start + middle), where the first difference is exact if x is near the start."""
    return (x - start) - middle


@shared
def middle_from(x: Array, row: int, first: int, start: Any, size: int) -> Any:
    """How far the mean is from one of the elements: what all have in common is in no sum."""
    found = x.dtype.type(0)
    for k in range(size):
        found += x[row, at(first + k)] - start
    return found / x.dtype.type(size)


@shared
def deviation_from(
    x: Array, row: int, first: int, start: Any, middle: Any, epsilon: float, size: int
) -> Any:
    """The root of the variance and a little more."""
    variance = x.dtype.type(0)
    for k in range(size):
        distance = apart(x[row, at(first + k)], start, middle)
        variance += distance * distance
    return np.sqrt(variance / x.dtype.type(size) + x.dtype.type(epsilon))


@routine
def deviation(x: Array, row: int, first: int, epsilon: float, size: int) -> Any:
    """The root of the variance and a little more."""
    start = x[row, at(first)]
    middle = middle_from(x, row, first, start, size)
    return deviation_from(x, row, first, start, middle, epsilon, size)


@routine
def normalise(
    x: Array, row: int, first: int, epsilon: float, out: Array, target: int, place: int, size: int
) -> None:
    """x, shifted and scaled to mean 0 and variance 1."""
    start = x[row, at(first)]
    middle = middle_from(x, row, first, start, size)
    root = deviation_from(x, row, first, start, middle, epsilon, size)
    for k in range(size):
        out[target, at(place + k)] = apart(x[row, at(first + k)], start, middle) / root
