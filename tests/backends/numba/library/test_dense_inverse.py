"""The inverse of a matrix, its determinant and its factor, in kernels, against LAPACK."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from rollc.backends.numba.library import routines
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Type
from rollc.ir.operations import OPERATIONS, Frame
from rollc.kernel.passes import scheduled

Array = NDArray[Any]


@njit
def eliminated(a: Any, size: Any, out: Any) -> Any:
    routines.gauss_jordan(a, out, size, a_row=1, a_column=2, out_column=1)


@njit
def factored(a: Any, size: Any, out: Any) -> Any:
    routines.cholesky(a, out, size, a_row=1, a_column=2, out_column=1)


def of_kernel(matrix: Array) -> tuple[Array, float]:
    """The inverse and log |det|, from somewhere inside larger arrays."""
    size = len(matrix)
    given = np.full((2, size * size + 3), np.nan, matrix.dtype)
    given[1, 2:-1] = matrix.ravel()
    out = np.full((1, size * (size + 1) + 2), 7, matrix.dtype)
    eliminated(given, size, out)
    assert out[0, 0] == out[0, -1] == 7
    found = out[0, 1:-1].reshape(size + 1, size)
    assert not found[size, 1:].any()
    return found[:size], float(found[size, 0])


def of_meaning(matrix: Array) -> tuple[Array, float]:
    frame = Frame((), {}, matrix.dtype, Type("float"))
    found = [OPERATIONS[name].evaluate(frame, {}, matrix) for name in ("inverse", "log_det")]
    return found[0], float(found[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 2, 3, 8, 40])
def test_an_inverse(size: int, dtype: str) -> None:
    """The diagonal is zero, so that no row can stay where it is."""
    random = np.random.default_rng(size)
    q, _ = np.linalg.qr(random.normal(size=(size, size)))
    matrix = np.roll(np.diag(2 * np.arange(1, size + 1)) + 0.5 * q, size // 2, axis=0)
    if size > 1:
        np.fill_diagonal(matrix, 0)
    matrix = matrix.astype(dtype)
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    for inverse, log_det in (of_kernel(matrix), of_meaning(matrix)):
        assert inverse.dtype == matrix.dtype
        np.testing.assert_allclose(inverse, np.linalg.inv(matrix.astype(float)), atol=tolerance)
        expected = np.linalg.slogdet(matrix.astype(float))[1]
        np.testing.assert_allclose(log_det, expected, atol=10 * tolerance)


@pytest.mark.parametrize(
    ("matrix", "log_det"),
    [
        ([[0.0]], -np.inf),
        ([[1.0, 2.0], [2.0, 4.0]], -np.inf),
        ([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [0.0, 1.0, 0.0]], -np.inf),
        ([[np.nan, 1.0], [1.0, 1.0]], np.nan),
        ([[np.inf, 0.0], [0.0, 1.0]], np.nan),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_has_no_inverse(matrix: list[list[float]], log_det: float, dtype: str) -> None:
    for inverse, found in (of_kernel(np.array(matrix, dtype)), of_meaning(np.array(matrix, dtype))):
        assert np.isnan(inverse).all()
        np.testing.assert_equal(found, log_det)


def test_one_elimination_for_both() -> None:
    text = "\n".join(
        [
            "net both",
            "input x: [3]",
            "A = outer(x, x) + 1",
            "y = inverse(A) @ x",
            "z = log_det(A)",
            "output y, z",
            "loss mean(z + sum(y), over t)",
        ]
    )
    graph, _ = read_spec(text, "both.roll")
    for kernel in ("forward", "gradient"):
        lowered = scheduled(kernel_graphs(graph)[kernel]()).graph
        assert [node.operation for node in lowered.nodes].count("gauss_jordan") == 1


def factors(matrix: Array) -> list[Array]:
    """The factor by a kernel, from somewhere inside larger arrays, and by its meaning."""
    size = len(matrix)
    given = np.full((2, size * size + 3), np.nan, matrix.dtype)
    given[1, 2:-1] = matrix.ravel()
    out = np.full((1, size * size + 2), 7, matrix.dtype)
    factored(given, size, out)
    assert out[0, 0] == out[0, -1] == 7
    frame = Frame((), {}, matrix.dtype, Type("float"))
    return [out[0, 1:-1].reshape(size, size), OPERATIONS["cholesky"].evaluate(frame, {}, matrix)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 2, 3, 8, 40])
def test_a_factor_is_that_of_the_symmetric_part(size: int, dtype: str) -> None:
    half = np.random.default_rng(size).normal(size=(2, size, size))
    symmetric = half[0] @ half[0].T + np.eye(size)
    matrix = (symmetric + half[1] - half[1].T).astype(dtype)
    for found in factors(matrix):
        assert found.dtype == matrix.dtype
        expected = np.linalg.cholesky(symmetric)
        np.testing.assert_allclose(found, expected, atol=1e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize(
    "matrix",
    [
        [[0.0]],
        [[-1.0]],
        [[1.0, 2.0], [2.0, 4.0]],
        [[1.0, 2.0], [2.0, 1.0]],
        [[1.0, 0.0], [0.0, np.nan]],
        [[np.nan, 0.0], [0.0, 1.0]],
        [[1.0, np.inf], [np.inf, 1.0]],
        [[np.inf, 0.0], [0.0, 1.0]],
    ],
)
def test_what_has_no_factor(matrix: list[list[float]]) -> None:
    for found in factors(np.array(matrix)):
        assert np.isnan(found).all()
