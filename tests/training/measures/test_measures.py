"""What the loss compares, measured on batches: as from the outputs by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.network.network import Network
from rollc.training.data.batches import Batches
from rollc.training.data.preparation import Preparation, Scale
from rollc.training.measures.measures import Measures
from rollc.training.measures.metrics import of_classes, of_numbers, of_yes_or_no
from tests.helpers.training import SPEC, arrays, tiny_network

HEAD = "net n\ninput x\n"
CLASSES = """{head}dim K = 3
target y: index(K)
param W: [K] = normal(1), b: [K]
o = W * x + b
p = softmax(o)
l = log_softmax(o)
c = argmax(o)
output {left}
loss mean({weight}cross_entropy(o, y), over t)
"""


def measured(net: Network, given: dict[str, Any], size: int | None = None, **more: Any) -> Any:
    data = Batches(net, given, size, shuffle=False, **more)
    return Measures(net)(net.init(0), data)


@pytest.mark.parametrize("size", [None, 1, 3])
def test_numbers_in_batches_of_any_size(size: int | None) -> None:
    net, given = tiny_network(), arrays()
    own = net.forward(net.init(0), given)["o"]
    found = measured(net, given, size)
    assert found == pytest.approx(of_numbers(own.reshape(-1), given["y"].reshape(-1)))


def test_what_is_behind_an_end_or_masked_does_not_count() -> None:
    net = tiny_network(SPEC.replace("mse(o, y)", "m * mse(o, y)").replace("input x", "input x, m"))
    given, lengths = arrays(), np.array([3, 10, 0, 7])
    given["m"] = np.random.default_rng(1).integers(0, 2, size=(10, 4)).astype(float)
    own = net.forward(net.init(0), given, lengths=lengths)["o"]
    there = (np.arange(10)[:, None] < lengths) & (given["m"] > 0)
    given["y"][~there] = 1e9
    for size in (None, 2):
        found = measured(net, given, size, lengths=lengths)
        assert found == pytest.approx(of_numbers(own[there], given["y"][there]))


def test_columns_have_the_units_of_the_data() -> None:
    """The mean over columns, each by its own spread."""
    text = f"{HEAD}target y: [2]\nparam a: [2] = normal(1)\no = a * x\noutput o\n"
    net = tiny_network(f"{text}loss mean(abs(o[0] - y[0]), over t)\n")
    assert not Measures(net).pairs  # compares parts of them: nothing is guessed
    net = tiny_network(f"{text}loss mean(mse(o, y), over t)\n")
    random = np.random.default_rng(0)
    given = {"x": random.normal(size=(9, 2)), "y": random.normal(size=(9, 2, 2))}
    scale = Scale(np.array([5.0, -100.0]), np.array([2.0, 1000.0]))
    found = Measures(net, Preparation({"y": scale}))(net.init(0), Batches(net, given))
    outputs = scale.back(net.forward(net.init(0), given)["o"])
    each = [
        of_numbers(outputs[..., k].ravel(), scale.back(given["y"])[..., k].ravel())
        for k in range(2)
    ]
    for name in ("RMSE", "MAE", "R2"):
        assert found[name] == pytest.approx(np.mean([own[name] for own in each]))


@pytest.mark.parametrize("left", ["o", "p", "l", "c"])
@pytest.mark.parametrize("weight", ["", "m * "])
def test_classes(left: str, weight: str) -> None:
    head = HEAD + ("input m\n" if weight else "")
    net = tiny_network(CLASSES.format(head=head, left=left, weight=weight))
    random = np.random.default_rng(0)
    given = {"x": random.normal(size=(6, 5)), "y": random.integers(3, size=(6, 5))}
    there = np.ones((6, 5), bool)
    if weight:
        there = random.random((6, 5)) > 0.4
        given["m"] = there.astype(float)
    scores = np.multiply.outer(given["x"], net.init(0)["W"])[there]
    powers = np.exp(scores)
    chances = None if left == "c" else powers / powers.sum(-1, keepdims=True)
    expected = of_classes(scores.argmax(-1), given["y"][there], chances)
    assert measured(net, given, 2) == pytest.approx(expected)


@pytest.mark.parametrize("left", ["o", "p"])
def test_yes_or_no(left: str) -> None:
    text = f"{HEAD}target y\nparam a = normal(1), b = 0.3\no = a * x + b\np = sigmoid(o)\n"
    net = tiny_network(f"{text}output {left}\nloss mean(binary_cross_entropy(o, y), over t)\n")
    random = np.random.default_rng(0)
    given = {"x": random.normal(size=(6, 5)), "y": random.integers(2, size=(6, 5)).astype(float)}
    chances = 1 / (1 + np.exp(-(net.init(0)["a"] * given["x"] + 0.3)))
    expected = of_yes_or_no(chances.ravel(), given["y"].ravel())
    found = measured(net, given, 2)
    assert found == pytest.approx(expected)
    shown = Measures(net).shown(found)
    assert shown.startswith("accuracy 0.") and ", F1 0." in shown and "perplexity" not in shown


def test_several_are_told_apart_and_none_is_nothing() -> None:
    text = f"{HEAD}target y, z\nparam a = 1.0, b = 2.0\no = a * x\nq = b * x\noutput o, q\n"
    net = tiny_network(f"{text}loss mean(mse(o, y) + (q - z) * (q - z), over t)\n")
    given = {name: np.random.default_rng(at).normal(size=7) for at, name in enumerate("xyz")}
    found = measured(net, given)
    assert found["y.RMSE"] == pytest.approx(of_numbers(given["x"], given["y"])["RMSE"])
    assert found["z.R2"] == pytest.approx(of_numbers(2 * given["x"], given["z"])["R2"])
    net = tiny_network(f"{HEAD}param a = 1.0\no = a * x\noutput o\nloss mean(o * o, over t)\n")
    assert measured(net, {"x": given["x"]}) == {}
