"""Dot products: of two vectors, of all rows along two axes, and of several vectors in each row.

:mod:`rollc.backends.numba.library.routines` explains the arguments.
"""

from __future__ import annotations

from typing import Any

from rollc.backends.numba.jit.routine import Array, Pair, routine, uint
from rollc.backends.numba.library.row_kernels import dot_kernel


@routine
def dot(
    a: Array,
    b: Array,
    size: int,
    a_row: int = 0,
    a_column: int = 0,
    b_row: int = 0,
    b_column: int = 0,
) -> Any:
    """The dot product of two vectors."""
    return dot_kernel(a, b, a_row * a.shape[1] + a_column, b_row * b.shape[1] + b_column, size)


@routine
def vecdot(
    a: Array,
    b: Array,
    out: Array,
    size: int,
    shape: Pair,
    a_strides: Pair,
    b_strides: Pair,
    out_strides: Pair,
    a_row: int = 0,
    a_column: int = 0,
    b_row: int = 0,
    b_column: int = 0,
    out_column: int = 0,
) -> None:
    """:func:`dot` of rows along two axes, of the lengths ``shape``: as ``numpy.vecdot``.

    The strides along both axes are in rows, and those of ``out`` in elements; 0 broadcasts.
    """
    for i in range(shape[0]):
        for j in range(shape[1]):
            a_start = (a_row + i * a_strides[0] + j * a_strides[1]) * a.shape[1] + a_column
            b_start = (b_row + i * b_strides[0] + j * b_strides[1]) * b.shape[1] + b_column
            k = out_column + i * out_strides[0] + j * out_strides[1]
            out[0, uint(k)] = dot_kernel(a, b, a_start, b_start, size)


@routine
def vecdot_of_each(
    a: Array,
    b: Array,
    out: Array,
    size: int,
    count: int,
    shape: Pair,
    a_strides: Pair,
    b_strides: Pair,
    out_strides: Pair,
    a_row: int = 0,
    a_column: int = 0,
    b_row: int = 0,
    b_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """:func:`vecdot` of ``count`` vectors in each row, of a ``size``; all strides are in rows."""
    for i in range(shape[0]):
        for j in range(shape[1]):
            a_start = (a_row + i * a_strides[0] + j * a_strides[1]) * a.shape[1] + a_column
            b_start = (b_row + i * b_strides[0] + j * b_strides[1]) * b.shape[1] + b_column
            row = out_row + i * out_strides[0] + j * out_strides[1]
            for k in range(count):
                out[uint(row), uint(out_column + k)] = dot_kernel(
                    a, b, a_start + k * size, b_start + k * size, size
                )
