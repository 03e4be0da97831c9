"""Which losses are the likelihood of a normal distribution, and of which variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.driver.sources import read_spec
from rollc.training.data.likelihood import Variance, variance_of
from rollc.training.data.pairs import deviations, pairs_of
from rollc.training.data.preparation import Preparation, Scale
from tests.helpers.training import tiny_network

SPEC = """net g
input x
target y
param a = 1.0, b = 0.7
m = a * x
{spread}
output m, s
loss mean({loss}, over t)
"""
POSITIVE = "s = softplus(b * x) + 0.1"
LIKELIHOODS = [  # and the variance that each means
    (POSITIVE, "gaussian_nll(m, s, y)", lambda s: s),
    (POSITIVE, "gaussian_nll(m, s * s, y)", lambda s: s**2),
    (POSITIVE, "gaussian_nll(m, 3 * s, y)", lambda s: 3 * s),
    (POSITIVE, "(x + 2) * gaussian_nll(m, sqrt(s), y)", lambda s: s**0.5),
    (POSITIVE, "0.5 * ((y - m) / s) ** 2 + log(s) + 0.9", lambda s: s**2),
    (POSITIVE, "(y - m) ** 2 / (2 * s ** 2) + log(s)", lambda s: s**2),
    (POSITIVE, "(m - y) * (m - y) / s + log(s) + b * b", lambda s: s),
    (POSITIVE, "(y - m) * (m - y) / -s + log(s)", lambda s: s),
    (POSITIVE, "((y - m) / s) ** 2 + log(s)", lambda s: s**2 / 2),
    (POSITIVE, "-(-0.5 * (y - m) ** 2 / s - 0.5 * log(s))", lambda s: s),
    ("s = b * x", "(y - m) ** 2 * exp(-s) + s", np.exp),
    ("s = b * x", "((y - m) * exp(-s)) ** 2 / 2 + s", lambda s: np.exp(2 * s)),
    ("s = b * x", "(y - m) ** 2 / exp(s) + s", np.exp),
    ("s = b * x", "gaussian_nll(m, exp(2 * s), y)", lambda s: np.exp(2 * s)),
    ("s = b + 1", "gaussian_nll(m, s, y)", lambda s: s),
]
OTHERS = [
    (POSITIVE, "mse(m, y) + log(s)"),
    (POSITIVE, "(y - m) ** 2 / s"),
    (POSITIVE, "(y - m) ** 2 / s - log(s)"),
    (POSITIVE, "(y - m) ** 2 * s + log(s)"),
    (POSITIVE, "abs(y - m) / s + log(s)"),
    (POSITIVE, "(y - m) ** 2 / (s * x * x) + log(s)"),
    (POSITIVE, "huber(m, y)"),
]


def variance_in(spread: str, loss: str) -> Variance | None:
    graph, _ = read_spec(SPEC.format(spread=spread, loss=loss), "g.roll")
    for node in graph.nodes:
        if node.operation == "subtract" and {each.source for each in node.operands} == {"m", "y"}:
            return variance_of(graph, node.name)
    return None


@pytest.mark.parametrize(("spread", "loss", "variance"), LIKELIHOODS)
def test_a_variance_is_that_of_the_likelihood(spread: str, loss: str, variance: Any) -> None:
    s = np.linspace(0.2, 1.5, 5)
    found = variance_in(spread, loss)
    assert found is not None and found.nodes == {"s"}
    np.testing.assert_allclose(found.of({"s": s}), variance(s))


@pytest.mark.parametrize(("spread", "loss"), OTHERS)
def test_other_losses_have_none(spread: str, loss: str) -> None:
    found = variance_in(spread, loss)
    assert found is None or found.nodes != {"s"}


def test_a_long_loss_takes_no_time() -> None:
    """One whose terms double with each equation, and one of many equations."""
    doubled = [f"e{step + 1} = e{step} + e{step}" for step in range(60)]
    deep = [f"e{step + 1} = e{step} + 0.1 * b" for step in range(600)]
    for lines in (doubled, deep):
        text = "\n".join([POSITIVE, "e0 = abs(m - y)", *lines])
        assert variance_in(text, f"e{len(lines)}") is None


def test_a_deviation_is_in_the_units_of_the_data() -> None:
    net = tiny_network(SPEC.format(spread=POSITIVE, loss="gaussian_nll(m, s, y)"))
    results = net.forward(net.init(0), {"x": np.ones(3)})
    scales = {"y": Scale(np.array(3.0), np.array(10.0))}
    found = deviations(net, net.init(0), results, Preparation(scales))["m"]
    np.testing.assert_allclose(found, 10 * np.sqrt(results["s"]))


def test_a_spread_that_is_no_output_is_not_known() -> None:
    text = SPEC.format(spread=POSITIVE, loss="gaussian_nll(m, s, y)").replace("m, s\n", "m\n")
    net = tiny_network(text)
    results = net.forward(net.init(0), {"x": np.ones(3)})
    assert deviations(net, net.init(0), results, Preparation()) == {}
    assert [pair.output for pair in pairs_of(net)] == ["m"]


def test_a_spread_that_is_learned_itself() -> None:
    """Of vectors, with a deviation for each element, or one for all."""
    vectors = """net g
dim D = 2
input x: [D]
target y: [D]
param a = 1.0, s: [D] = 0.3, c = 0.2
m = a * x
v = {}
output m, v
loss mean(gaussian_nll(m, v, y), over t)
"""
    for variance, expected in (("s", 0.3), ("s * c", 0.06), ("c + 0 * sum(m)", 0.2)):
        net = tiny_network(vectors.format(variance))
        results = net.forward(net.init(0), {"x": np.ones((3, 4, 2))})
        found = deviations(net, net.init(0), results, Preparation())["m"]
        np.testing.assert_allclose(found, np.full((3, 4, 2), expected**0.5), rtol=1e-6)


def test_a_difference_from_an_input_is_compared_in_the_loss_alone() -> None:
    """What the equations of an output read is none."""
    text = """net g
input x, u
param a = 1.0, b = 0.5
d = a * u[t-1] - u
o = x[t-1] + b * d
output o
loss mean(huber(o, x), over t)
"""
    assert [(pair.output, pair.compared) for pair in pairs_of(tiny_network(text))] == [("o", "x")]
