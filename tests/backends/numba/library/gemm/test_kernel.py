"""The micro-kernel against its meaning, for every number of rows and of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from rollc.backends.numba.jit.target import host
from rollc.backends.numba.library.gemm import products as gemm
from rollc.backends.numba.library.gemm.kernel import micro_kernel, plain_micro_kernel


@njit
def run(a: Any, panel: Any, out: Any, width: int, rows: int, columns: int, add: bool) -> None:
    micro_kernel(
        a, panel, out, 1, a.shape[1], 1, 0, width, a.shape[1] - 1,
        2, out.shape[1], rows, columns, add,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("add", [False, True])
def test_a_tile_is_its_meaning_and_writes_nothing_else(dtype: Any, add: bool) -> None:
    width = host().tile_width(np.dtype(dtype).itemsize)
    random = np.random.default_rng(0)
    a = random.normal(size=(host().tile_rows, 8)).astype(dtype)
    panel = random.normal(size=(7, width)).astype(dtype)
    for rows in range(1, host().tile_rows + 1):
        for columns in (1, width // 2, width - 1, width):
            out = np.full((host().tile_rows + 1, width + 4), 3 if add else np.nan, dtype=dtype)
            expected = out.copy()
            run(a, panel, out, width, rows, columns, add)
            plain_micro_kernel(
                a, panel, expected, 1, 8, 1, 0, width, 7, 2, width + 4, rows, columns, add
            )
            np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


@njit
def run_product(a: Any, height: int, b: Any, width: int, out: Any, accumulate: bool) -> None:
    gemm.sum_outer_products(
        a, b, out, a.shape[0] - 1, height, width, 1, 2, 0, 3, accumulate=accumulate
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("accumulate", [False, True])
def test_a_sum_of_products_is_whole_in_parts_of_rows_and_of_columns(
    dtype: Any, accumulate: bool
) -> None:
    """More rows, and a higher matrix, than stay in the cache at once."""
    count, height, width = 2 * gemm._DEPTH + 5, 2 * gemm._PART // 4 + 13, 37
    random = np.random.default_rng(0)
    a = random.normal(size=(count + 1, height + 4)).astype(dtype)
    b = random.normal(size=(count, width + 3)).astype(dtype)
    out = np.full((1, height * width), 3 if accumulate else np.nan, dtype)
    run_product(a, height, b, width, out, accumulate)
    expected = a[1:, 2 : 2 + height].astype(float).T @ b[:, 3:].astype(float) + 3 * accumulate
    np.testing.assert_allclose(out.reshape(height, width), expected, rtol=1e-3, atol=1e-3)
