"""Constants with a shape, and vectors and matrices that are written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.sources import read_spec
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph, print_graph

Array = NDArray[Any]

X = np.array([0.5, -2.0, 3.0])
HEAD = "net n\ndim N = 3, M = 2\ninput x: [N], k: index(2)\n"


def values(*lines: str) -> dict[str, Array]:
    """All values of a spec at the one step of a sequence."""
    graph, _ = read_spec("\n".join([HEAD, *lines, "output o"]), "n.roll")
    assert parse_graph(print_graph(graph)) == graph
    leaves = {"x": X[None, None], "k": np.array([[1]])}
    return interpret(graph, leaves, {"t": 1, "batch": 1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zeros(N)", np.zeros(3)),
        ("ones(M, N)", np.ones((2, 3))),
        ("full(0.5, N, M, 2, 1)", np.full((3, 2, 2, 1), 0.5)),
        ("full(x[1], N)", np.full(3, -2.0)),
        ("eye(N)", np.eye(3)),
        ("eye(1)", np.eye(1)),
        ("range(size(x) + 1)", np.arange(4.0)),
        ("range(1)", np.zeros(1)),
        ("[1, -2, 0.5]", np.array([1.0, -2.0, 0.5])),
        ("[[0, 1], [-1, 0], [N, M]]", np.array([[0.0, 1], [-1, 0], [3, 2]])),
        ("[x, 2 * x]", np.stack([X, 2 * X])),
        ("[sum(x), x[0], 1]", np.array([1.5, 0.5, 1.0])),
        ("[[[1, 2]], [[3, 4]]]", np.array([[[1.0, 2]], [[3, 4]]])),
        ("range(N)[1:]", np.array([1.0, 2.0])),
        ("where([x[0] < 0, x[1] < 0], 1, 2)", np.array([2.0, 1.0])),
        ("[7][0]", np.array(7.0)),
    ],
)
def test_they_are_what_numpy_has(text: str, expected: Array) -> None:
    found = values(f"o = {text}")["o"]
    np.testing.assert_array_equal(found.reshape(found.shape[-expected.ndim :]), expected)
    assert found.shape[found.ndim - expected.ndim :] == expected.shape


def test_they_tell_the_shape_of_a_cycle() -> None:
    found = values("o = 0.5 * o[t-1] + x[0]", "init o = [[1, 2], [3, 4], [5, 6]]")
    np.testing.assert_array_equal(found["o"][0, 0], 0.5 * np.arange(1.0, 7).reshape(3, 2) + 0.5)


def test_a_cell_has_them_by_its_sizes() -> None:
    cell = "cell c(x; H) -> h {\n h = h[t-1] + x[0] * range(H)\n init h = ones(H)\n}"
    np.testing.assert_array_equal(values(cell, "o = c(x; H=3)")["o.h"][0, 0], [1.0, 1.5, 2.0])


@pytest.mark.parametrize("elements", ["0.5, 2", "k == 1, 2", "u, u", "x[0], u"])
def test_one_that_is_written_out_can_be_declared(elements: str) -> None:
    graph, _ = read_spec(f"{HEAD}input u\no: [M] = [{elements}]\noutput o", "n.roll")
    assert graph["o"].type.shape == (2,)
