"""Sums, extremes, and what is counted along a vector.

:mod:`rollc.backends.numba.library.routines` explains the arguments.
"""

from __future__ import annotations

from typing import Any

from rollc.backends.numba.jit.routine import Array, Triple, routine, uint


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
def sum_of_zeros(x: Array, rows: int) -> Any:
    """The sum of the first rows of an array, times 0: 0 if all is finite, and else NaN."""
    total = x.dtype.type(0)
    for row in range(rows):
        for k in range(x.shape[1]):
            total += x[row, uint(k)] * x.dtype.type(0)
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
