"""Linear algebra of small matrices, one for each step and sequence.

:mod:`rollc.backends.numba.library.routines` explains the arguments.
"""

from __future__ import annotations

import numpy as np

from rollc.backends.numba.jit.routine import Array, routine, uint


@routine
def small_matmul(
    a: Array,
    b: Array,
    out: Array,
    rows: int,
    inner: int,
    columns: int,
    transpose_a: bool = False,
    transpose_b: bool = False,
    a_row: int = 0,
    a_column: int = 0,
    b_row: int = 0,
    b_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """``out = a @ b``, each of them transposed or not; a vector is a matrix of one column."""
    for i in range(rows):
        for j in range(columns):
            total = out.dtype.type(0)
            for k in range(inner):
                left = k * rows + i if transpose_a else i * inner + k
                right = j * inner + k if transpose_b else k * columns + j
                total += a[a_row, uint(a_column + left)] * b[b_row, uint(b_column + right)]
            out[out_row, uint(out_column + i * columns + j)] = total


@routine
def outer(
    a: Array,
    b: Array,
    out: Array,
    rows: int,
    columns: int,
    a_row: int = 0,
    a_column: int = 0,
    b_row: int = 0,
    b_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
    accumulate: bool = False,
) -> None:
    """The outer product of two vectors."""
    for i in range(rows):
        for j in range(columns):
            value = a[a_row, uint(a_column + i)] * b[b_row, uint(b_column + j)]
            k = out_column + i * columns + j
            out[out_row, k] = out[out_row, k] + value if accumulate else value


@routine
def transpose(
    a: Array,
    out: Array,
    rows: int,
    columns: int,
    a_row: int = 0,
    a_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """The transpose of a matrix."""
    for i in range(rows):
        for j in range(columns):
            value = a[a_row, uint(a_column + i * columns + j)]
            out[out_row, uint(out_column + j * rows + i)] = value


@routine
def cholesky(
    a: Array,
    out: Array,
    size: int,
    a_row: int = 0,
    a_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """The lower triangle whose product with its transpose is the symmetric part of a matrix.

    NaN where there is none.  (Golub and Van Loan, Matrix computations, section 4.2.)
    """
    regular = True
    for i in range(size):
        for j in range(size):
            out[out_row, out_column + i * size + j] = 0
    for j in range(size):
        for i in range(j, size):
            left, right = a_column + i * size + j, a_column + j * size + i
            total = (a[a_row, left] + a[a_row, right]) * out.dtype.type(0.5)
            for k in range(j):
                upper = out[out_row, out_column + j * size + k]
                total -= out[out_row, out_column + i * size + k] * upper
            if i == j:
                regular = regular and total > 0 and np.isfinite(total)
                total = np.sqrt(total) if regular else out.dtype.type(1)
            else:
                total /= out[out_row, out_column + j * size + j]
            regular = regular and np.isfinite(total)
            out[out_row, out_column + i * size + j] = total
    if not regular:
        for k in range(size * size):
            out[out_row, out_column + k] = np.nan


@routine
def gauss_jordan(
    a: Array,
    out: Array,
    size: int,
    a_row: int = 0,
    a_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """The inverse by Gauss-Jordan elimination with partial pivoting, and below it log |det a|.

    In place: the row below holds the pivots until all columns are eliminated.
    (Golub and Van Loan, Matrix computations, fourth edition, 2013, section 3.4.)
    """
    below = out_column + size * size
    finite = True
    for k in range(size * size):
        out[out_row, out_column + k] = a[a_row, a_column + k]
        finite = finite and np.isfinite(a[a_row, a_column + k])
    for k in range(size):
        out[out_row, below + k] = k
    total = out.dtype.type(0)
    for k in range(size):
        pivot = k
        for i in range(k, size):
            value = abs(out[out_row, out_column + i * size + k])
            most = abs(out[out_row, out_column + pivot * size + k])
            if value > most:
                pivot = i
        out[out_row, below + k] = pivot
        for j in range(size):
            here, other = out_column + k * size + j, out_column + pivot * size + j
            out[out_row, here], out[out_row, other] = out[out_row, other], out[out_row, here]
        divisor = out[out_row, out_column + k * size + k]
        total += np.log(abs(divisor))
        if divisor == 0:
            break
        out[out_row, out_column + k * size + k] = 1
        for j in range(size):
            out[out_row, out_column + k * size + j] /= divisor
        for i in range(size):
            if i != k:
                row, pivot_row = out_column + i * size, out_column + k * size
                factor = out[out_row, row + k]
                out[out_row, row + k] = 0
                for j in range(size):
                    out[out_row, row + j] -= factor * out[out_row, pivot_row + j]
    # Exchanges of rows are undone by exchanges of columns of the inverse, in reverse order.
    for back in range(size):
        k = size - 1 - back
        pivot = int(out[out_row, below + k])
        for i in range(size):
            here, other = out_column + i * size + k, out_column + i * size + pivot
            out[out_row, here], out[out_row, other] = out[out_row, other], out[out_row, here]
        out[out_row, below + k] = 0
    out[out_row, below] = total if finite else np.nan
    if not (finite and np.isfinite(total)):
        for k in range(size * size):
            out[out_row, out_column + k] = np.nan
