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

from rollc.backends.numba.library.dots import dot, vecdot, vecdot_of_each
from rollc.backends.numba.library.gemm.packing import pack
from rollc.backends.numba.library.gemm.products import (
    matmul,
    matmul_steps,
    matmul_strided,
    sum_outer_products,
    sum_outer_products_strided,
    work_for_team,
)
from rollc.backends.numba.library.gemm.steps import matmul_apart
from rollc.backends.numba.library.reductions import (
    argmax,
    draw,
    extreme_along,
    sum_along,
    sum_of_zeros,
    sum_row,
)
from rollc.backends.numba.library.rows import (
    arrange,
    clear,
    copy_block,
    element,
    embed,
    embed_adjoint,
    move_rows,
    one_hot,
    permute,
)
from rollc.backends.numba.library.scores import (
    cross_entropy,
    deviation,
    log_softmax,
    logsumexp,
    normalise,
    softmax,
)
from rollc.backends.numba.library.sequences import (
    convolve,
    correlate,
    linear_scan,
)
from rollc.backends.numba.library.small_matrices import (
    cholesky,
    gauss_jordan,
    outer,
    small_matmul,
    transpose,
)

__all__ = [
    "argmax",
    "arrange",
    "cholesky",
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
    "matmul_apart",
    "matmul_steps",
    "matmul_strided",
    "move_rows",
    "normalise",
    "one_hot",
    "outer",
    "pack",
    "permute",
    "small_matmul",
    "softmax",
    "sum_along",
    "sum_of_zeros",
    "sum_outer_products",
    "sum_outer_products_strided",
    "sum_row",
    "transpose",
    "vecdot",
    "vecdot_of_each",
    "work_for_team",
]
