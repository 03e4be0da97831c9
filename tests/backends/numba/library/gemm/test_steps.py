"""Products of rows that are not contiguous, for few rows a step and for many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from rollc.backends.numba.jit.target import host
from rollc.backends.numba.library.gemm.packing import pack
from rollc.backends.numba.library.gemm.steps import matmul_apart


@njit
def run(a: Any, weights: Any, panel: Any, out: Any, steps: int, rows: int, apart: int) -> None:
    shape = weights.shape
    pack(weights, panel, shape=shape, transposed=False, panel_shape=shape)
    matmul_apart(
        a, panel, out, steps, rows, shape[0], shape[1], apart, rows + 1,
        a_row=2, a_column=1, out_row=1, out_column=3,
    )  # fmt: skip


@pytest.mark.parametrize("rows", [1, 2, host().tile_rows + 1])
@pytest.mark.parametrize("steps", [0, 3, host().tile_rows + 2])
def test_rows_of_several_steps(rows: int, steps: int) -> None:
    random = np.random.default_rng(0)
    inner, columns, apart = 5, 2 * host().tile_width(8) + 3, rows + 4
    weights = random.normal(size=(inner, columns))
    panel = np.zeros((1, inner * (columns + 2 * host().tile_width(8))))
    a = random.normal(size=(2 + (steps + 1) * apart, inner + 3))
    out = np.full((3 + (steps + 1) * (rows + 1), columns + 4), 7.0)
    run(a, weights, panel, out, steps, rows, apart)
    expected = np.full_like(out, 7.0)
    for step in range(steps):
        read = a[2 + step * apart :][:rows, 1 : 1 + inner]
        expected[1 + step * (rows + 1) :][:rows, 3 : 3 + columns] = read @ weights
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
