"""Recurrences and convolutions along a vector.

:mod:`rollc.backends.numba.library.routines` explains the arguments.
"""

from __future__ import annotations

from rollc.backends.numba.jit.routine import Array, routine, uint


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
