"""Elements and rows, moved from one place to another.

:mod:`rollc.backends.numba.library.routines` explains the arguments.
"""

from __future__ import annotations

from typing import Any

from rollc.backends.numba.jit.routine import Array, Quadruple, Triple, routine, uint


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
def permute(
    x: Array,
    out: Array,
    shape: Quadruple,
    strides: Quadruple,
    x_row: int = 0,
    x_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """A value of ``shape``, whose elements lie in ``x`` with ``strides``."""
    target = out_column
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                source = x_column + i * strides[0] + j * strides[1] + k * strides[2]
                for m in range(shape[3]):
                    out[out_row, uint(target)] = x[x_row, uint(source + m * strides[3])]
                    target += 1


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
