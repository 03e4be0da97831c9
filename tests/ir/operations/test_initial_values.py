"""Initial values that a spec computes, and those of complex parameters."""

from __future__ import annotations

import numpy as np
import pytest

from rollc.driver.sources import read_spec
from rollc.ir.operations.initial_values import MOST_WORDS, is_expression
from rollc.ir.text import parse_graph, print_graph
from rollc.network.parameters import initial_parameters

SPEC = """
net start
dim N = 400, D = 2
const r = 0.9
input x: [N]
param a: [N] = log(-0.5 * log(uniform(r ** 2, 0.999 ** 2))), b: [D, N] = -0.5 + 3 * range(N)
param c: complex[N] = complex(-0.5, 2 * range(N)), d: complex[N] = normal(2)
param e: complex[N, D], f: complex[D, D] = identity, g: [N] = 1 / sqrt(size(b))
output y
y = a * x + sum(b @ real(c + d)) + real(sum(e) + sum(f)) + g
"""


def test_values_are_those_of_the_expression() -> None:
    graph, _ = read_spec(SPEC, "start.roll")
    assert parse_graph(print_graph(graph)) == graph
    found = initial_parameters(graph, 3, np.float64)
    radius = np.exp(-np.exp(found["a"]))
    assert 0.9 <= radius.min() < 0.91
    assert 0.99 < radius.max() <= 0.999
    np.testing.assert_array_equal(found["b"], [-0.5 + 3 * np.arange(400)] * 2)
    np.testing.assert_array_equal(found["c're"], np.full(400, -0.5))
    np.testing.assert_array_equal(found["c'im"], 2 * np.arange(400))
    np.testing.assert_allclose(found["g"], np.full(400, 2**-0.5))
    # What is drawn has the mean square of a real parameter, half of it in each part.
    assert np.isclose((found["d're"] ** 2).mean(), 2, rtol=0.2)
    assert np.isclose((found["d'im"] ** 2).mean(), 2, rtol=0.2)
    square = (found["e're"] ** 2 + found["e'im"] ** 2).mean()
    assert np.isclose(square, 2 / 402, rtol=0.1)
    np.testing.assert_array_equal(found["f're"], np.eye(2))
    assert not found["f'im"].any()


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        (("1", "2", "add"), True),
        (("range", "exp"), True),
        (("0", "1", "uniform"), True),
        (("1", "2"), False),
        (("add",), False),
        (("nan",), False),
        (("1", "matmul"), False),
        (("1", "where"), False),
        ((), False),
        (("1",) + ("negate",) * MOST_WORDS, False),
        ("range", False),
        ((1, 2), False),
    ],
)
def test_what_an_expression_in_postfix_order_is(words: object, is_one: bool) -> None:
    assert is_expression(words) == is_one
