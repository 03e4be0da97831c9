"""Elements moved along a dimension: shifts, rolls and padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.sources import read_spec
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph, print_graph
from rollc.kernel.passes import lowered
from rollc.transforms.canonicalize import canonicalize

Array = NDArray[Any]

M = np.arange(1.0, 13).reshape(3, 4)
X = np.array([1.0, 2, 3])


def value(text: str) -> Array:
    head = "net n\ndim N = 3, K = 1\nparam x: [N], m: [N, 4]"
    graph, _ = read_spec(f"{head}\no = {text}\noutput o", "n.roll")
    assert parse_graph(print_graph(graph)) == graph
    given, sizes = {"x": X, "m": M}, {"t": 1, "batch": 1}
    found = interpret(graph, given, sizes)["o"]
    kernel = lowered(canonicalize(graph))
    np.testing.assert_array_equal(interpret(kernel, given, sizes)["o"], found)
    return found


def shifted(x: Array, by: int, axis: int = 0) -> Array:
    found, size = np.zeros_like(x), x.shape[axis]
    for place in range(size):
        if 0 <= place - by < size:
            at = (slice(None),) * axis
            found[(*at, place)] = x[(*at, place - by)]
    return found


@pytest.mark.parametrize("by", range(-2, 3))
def test_a_shift_brings_zeros_in(by: int) -> None:
    np.testing.assert_array_equal(value(f"shift(x, {by})"), shifted(X, by))
    for axis in (0, 1):
        np.testing.assert_array_equal(value(f"shift(m, {by}, axis={axis})"), shifted(M, by, axis))


@pytest.mark.parametrize("by", [-7, -1, 0, 1, 3, 4, 5])
def test_a_roll_is_that_of_numpy(by: int) -> None:
    np.testing.assert_array_equal(value(f"roll(x, {by})"), np.roll(X, by))
    for axis in (0, 1):
        np.testing.assert_array_equal(value(f"roll(m, {by}, axis={axis})"), np.roll(M, by, axis))


def test_padding_is_of_zeros() -> None:
    np.testing.assert_array_equal(value("pad(x, K, 2 * K)"), np.pad(X, (1, 2)))
    np.testing.assert_array_equal(value("pad(m, 0, N, axis=1)"), np.pad(M, ((0, 0), (0, 3))))
    np.testing.assert_array_equal(value("pad(x, 0, 0)"), X)


def test_the_numbers_are_sizes() -> None:
    np.testing.assert_array_equal(value("roll(m, size(x) - 1 - K, axis=K)"), np.roll(M, 1, 1))
