"""Arrays that do not fit in a way that many do: the message says what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.driver.build import build_source
from rollc.errors import InputError
from rollc.network.network import Network

TEXT = """net small
dim D = 3, H = 4
input x: [D]
target y: index(5)
param W: [H, D], U: [H, H], V: [5, H]
h = tanh(W @ x + U @ h[t-1])
o = V @ h
output o
loss mean(cross_entropy(o, y), over t)
"""
X, Y = np.zeros((7, 3)), np.arange(7) % 5
BATCH = {"x": np.zeros((7, 2, 3)), "y": np.zeros((7, 2), int)}


@pytest.fixture(scope="module")
def net() -> Network:
    return build_source(TEXT, backend="reference")[0]


@pytest.mark.parametrize(
    ("arrays", "hint", "mended"),
    [
        ({"x": X.T, "y": Y}, "time comes first: `np.transpose(array, (1, 0))`", {"x": X}),
        (
            {**BATCH, "x": np.zeros((2, 3, 7))},
            "time comes first: `np.transpose(array, (2, 0, 1))`",
            {"x": np.transpose(np.zeros((2, 3, 7)), (2, 0, 1))},
        ),
        ({"x": X, "y": Y + 0.5}, "0.5 is no class", {"y": Y}),
        ({"x": X, "y": Y * 1.0}, "they are whole: give `array.astype(int)`", {"y": Y}),
        ({"x": X, "y": np.eye(5)[Y]}, "of one-hot rows give the places", {"y": Y}),
        ({"x": X, "y": Y + 1}, "counted from 0: give `array - 1`", {"y": Y}),
    ],
)
def test_inputs(net: Network, arrays: dict[str, Any], hint: str, mended: dict[str, Any]) -> None:
    params = net.init(seed=0)
    with pytest.raises(InputError) as raised:
        net.loss(params, arrays)
    assert hint in str(raised.value)
    assert np.isfinite(net.loss(params, arrays | mended)).all()


def test_parameters_of_another_size(net: Network) -> None:
    other = build_source(TEXT, sets={"H": 6}, backend="reference")[0].init(seed=0)
    with pytest.raises(InputError, match=r"found \[6, 3\]; .* is built with `--set H=6`$"):
        net.loss(other, {"x": X, "y": Y})


def test_a_parameter_the_other_way_round(net: Network) -> None:
    params = net.init(seed=0)
    with pytest.raises(InputError, match=r"`np.transpose\(array, \(1, 0\)\)` has this order"):
        net.loss(params | {"W": params["W"].T}, {"x": X, "y": Y})


def test_nothing_is_said_where_nothing_can_be_told(net: Network) -> None:
    with pytest.raises(InputError, match=r"found \[7, 4\]$"):
        net.loss(net.init(seed=0), {"x": np.zeros((7, 4)), "y": Y})
