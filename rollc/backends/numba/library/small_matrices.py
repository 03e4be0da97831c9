"""Linear algebra of one small matrix: what differs from step to step and sequence to sequence.

See :mod:`rollc.backends.numba.library.routines` for what their arguments are.
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
    """``out = a @ b``, of either or its transpose; a vector is a matrix of one column."""
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
    for i in range(rows):
        for j in range(columns):
            value = a[a_row, uint(a_column + i * columns + j)]
            out[out_row, uint(out_column + j * rows + i)] = value


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
    """The inverse by elimination with row pivots, and in the row below it log |det a|.

    Golub and Van Loan, Matrix computations (fourth edition, 2013), section 3.4; in place, so
    that the row below holds where the pivots came from until all columns are done.
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
    # Rows that were exchanged are columns of the inverse that are to be changed back.
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
