"""Sums along rows against their meaning, for every width that a vector can be left over by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from rollc.backends.numba.jit.target import host
from rollc.backends.numba.library import dots
from rollc.backends.numba.library.gemm import products as gemm
from rollc.backends.numba.library.row_kernels import (
    dot_kernel,
    gemv_kernel,
    gemv_width,
    plain_dot_kernel,
    plain_gemv_kernel,
)

Array = np.ndarray[Any, Any]


@njit
def run_dot_kernel(a: Any, b: Any, a_start: int, b_start: int, size: int) -> Any:
    return dot_kernel(a, b, a_start, b_start, size)


@njit
def run_gemv_kernel(a: Any, b: Any, out: Any, inner: int, columns: int, add: bool) -> None:
    gemv_kernel(a, b, out, 2, 3, 1, b.shape[1], inner, 2, columns, add)


@njit
def run_vecdot(a: Any, b: Any, out: Any, size: int, m: int, n: int) -> None:
    dots.vecdot(
        a, b, out, size, shape=(m, n), a_strides=(n, 1), b_strides=(0, 1), out_strides=(1, m),
        a_row=1, a_column=2, b_column=1, out_column=3,
    )  # fmt: skip


@njit
def run_vecdot_of_each(a: Any, b: Any, out: Any, size: int, m: int, n: int) -> None:
    dots.vecdot_of_each(
        a, b, out, size, 3, shape=(m, n), a_strides=(n, 1), b_strides=(0, 1), out_strides=(1, m),
        a_row=1, a_column=2, b_column=1, out_row=1, out_column=2,
    )  # fmt: skip


@njit
def run_matmul_strided(a: Any, b: Any, out: Any, columns: int, inner: int, add: bool) -> None:
    gemm.matmul_strided(
        a, b, out, 1, inner, columns, a_strides=(0, 3), b_stride=2,
        a_column=2, b_row=1, b_column=3, out_row=1, out_column=2, accumulate=add,
    )  # fmt: skip


def bound(dtype: Any) -> dict[str, float]:
    return {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_product_of_two_rows(dtype: Any) -> None:
    lanes = host().lanes(np.dtype(dtype).itemsize)
    random = np.random.default_rng(0)
    for size in range(4 * lanes + 2):
        # What lies beside the rows is no number.
        a, b = (np.full((2, size + 9), np.nan, dtype) for _ in range(2))
        a.reshape(-1)[3 : 3 + size] = random.normal(size=size)
        b.reshape(-1)[5 : 5 + size] = random.normal(size=size)
        found = run_dot_kernel(a, b, 3, 5, size)
        np.testing.assert_allclose(found, plain_dot_kernel(a, b, 3, 5, size), **bound(dtype))
    a[...] = 1
    a[0, 3 + size - 1] = np.nan
    b[...] = 1
    assert np.isnan(run_dot_kernel(a, b, 3, 5, size))
    assert not np.isnan(run_dot_kernel(a, b, 3, 5, size - 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("add", [False, True])
def test_a_sum_of_rows_is_its_meaning_and_writes_nothing_else(dtype: Any, add: bool) -> None:
    itemsize = np.dtype(dtype).itemsize
    lanes, most = host().lanes(itemsize), gemv_width(itemsize)
    random = np.random.default_rng(0)
    widths = (1, lanes - 1, lanes, lanes + 1, 2 * lanes, 3 * lanes + 2, 5 * lanes, most - 3, most)
    for columns in widths:
        for inner in (0, 1, 3, 8, 21):
            a = random.normal(size=(1, 3 * inner + 3)).astype(dtype)
            b = np.full((inner + 1, columns + 3), np.nan, dtype)
            b[:inner, 1 : 1 + columns] = random.normal(size=(inner, columns))
            out = np.full((1, columns + 5), 3 if add else np.nan, dtype)
            expected = out.copy()
            run_gemv_kernel(a, b, out, inner, columns, add)
            plain_gemv_kernel(a, b, expected, 2, 3, 1, b.shape[1], inner, 2, columns, add)
            np.testing.assert_allclose(out, expected, **bound(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_all_rows_along_two_axes(dtype: Any) -> None:
    """The second broadcasts along the outer axis, and results lie transposed."""
    random = np.random.default_rng(0)
    count, inner, size = 5, 3, 37
    a = random.normal(size=(1 + count * inner, size + 3)).astype(dtype)
    b = random.normal(size=(inner, size + 2)).astype(dtype)
    out = np.full((1, 3 + count * inner + 1), np.nan, dtype)
    run_vecdot(a, b, out, size, count, inner)
    rows = a[1:, 2 : 2 + size].reshape(count, inner, size)
    expected = np.einsum("ijk,jk->ji", rows, b[:, 1 : 1 + size]).reshape(-1)
    np.testing.assert_allclose(out[0, 3:-1], expected, **bound(dtype))
    assert np.isnan(out[0, [0, 1, 2, -1]]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_several_vectors_of_all_rows(dtype: Any) -> None:
    random = np.random.default_rng(0)
    count, inner, size = 5, 3, 7
    a = random.normal(size=(1 + count * inner, 3 * size + 3)).astype(dtype)
    b = random.normal(size=(inner, 3 * size + 2)).astype(dtype)
    out = np.full((2 + count * inner, 6), np.nan, dtype)
    run_vecdot_of_each(a, b, out, size, count, inner)
    rows = a[1:, 2 : 2 + 3 * size].reshape(count, inner, 3, size)
    others = b[:, 1 : 1 + 3 * size].reshape(inner, 3, size)
    expected = np.einsum("ijhk,jhk->jih", rows, others).reshape(-1, 3)
    np.testing.assert_allclose(out[1:-1, 2:5], expected, **bound(dtype))
    out[1:-1, 2:5] = np.nan
    assert np.isnan(out).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("add", [False, True])
def test_a_row_that_is_wider_than_the_registers(dtype: Any, add: bool) -> None:
    random = np.random.default_rng(0)
    width, inner = 2 * gemv_width(np.dtype(dtype).itemsize) + 5, 11
    a = random.normal(size=(1, 3 * inner + 3)).astype(dtype)
    b = random.normal(size=(1 + 2 * inner, width + 4)).astype(dtype)
    out = np.full((3, width + 4), 3 if add else np.nan, dtype)
    run_matmul_strided(a, b, out, width, inner, add)
    expected = a[0, 2 : 2 + 3 * inner : 3] @ b[1 : 1 + 2 * inner : 2, 3 : 3 + width] + 3 * add
    np.testing.assert_allclose(out[1, 2 : 2 + width], expected, **bound(dtype))
    out[1, 2 : 2 + width] = out[0, 0]
    np.testing.assert_array_equal(out, np.full_like(out, out[0, 0]))
