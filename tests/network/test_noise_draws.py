"""Dropout and sampling: chance as leaves of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from rollc.backends.numba.library import routines
from rollc.errors import InputError
from rollc.ir.graph import Type
from rollc.ir.operations import OPERATIONS, Frame
from rollc.network.network import Network
from rollc.network.noise_draws import draw_noise
from tests.helpers.compiled_networks import network_of

Array = NDArray[Any]

DROPPED = """
net dropped
dim D = 40
input x: [D]
a = dropout(x, rate=0.3)
b = dropout(x, rate=0.3, same=1)
h = tanh(0.5 * dropout(h[t-1], rate=0.2) + x)
output a, b, h
loss mean(sum(a * a) + sum(b) + sum(h), over t)
"""
SAMPLED = """
net sampled
dim K = 4
input x: [K]
param E: [K, K]
s = sample(softmax(x + embed(E, s[t-1])))
o = embed(E, s)
output s, o
loss sum(sum(o), over t)
"""


@pytest.fixture(scope="module")
def dropped() -> Network:
    return network_of(DROPPED, "float64")


@pytest.fixture(scope="module")
def sampled() -> Network:
    return network_of(SAMPLED, "float64")


def test_off_outside_training(dropped: Network) -> None:
    x = np.random.default_rng(0).normal(size=(5, 3, 40))
    found = dropped.forward({}, {"x": x})
    np.testing.assert_array_equal(found["a"], x)
    np.testing.assert_array_equal(found["b"], x)
    other = dropped.forward({}, {"x": x}, seed=7)
    np.testing.assert_array_equal(found["h"], other["h"])


def test_masks_have_the_rate_and_keep_the_mean(dropped: Network) -> None:
    found = dropped.forward({}, {"x": np.ones((50, 20, 40))}, training=True)
    for name in ("a", "b"):
        assert sorted(set(found[name].flat)) == [0.0, pytest.approx(1 / 0.7)]
        assert np.mean(found[name] == 0) == pytest.approx(0.3, abs=0.03)
        assert np.mean(found[name]) == pytest.approx(1.0, abs=0.05)
    assert (found["b"] == found["b"][:1]).all()  # the same at every step
    assert (found["b"][0, 0] != found["b"][0, 1]).any()  # for each sequence another
    assert (found["a"][0] != found["a"][1]).any()


def test_the_same_seed_gives_the_same_masks(dropped: Network) -> None:
    x = np.ones((6, 2, 40))
    one = dropped.forward({}, {"x": x}, training=True, seed=3)
    again = dropped.forward({}, {"x": x}, training=True, seed=3)
    other = dropped.forward({}, {"x": x}, training=True, seed=4)
    for name, array in one.items():
        np.testing.assert_array_equal(again[name], array)
        assert (other[name] != array).any()


def test_a_generator_goes_on_from_call_to_call(dropped: Network) -> None:
    x, random = np.ones((6, 2, 40)), np.random.default_rng(3)
    one = dropped.forward({}, {"x": x}, training=True, seed=random)["a"]
    other = dropped.forward({}, {"x": x}, training=True, seed=random)["a"]
    assert (one != other).any()
    np.testing.assert_array_equal(one, dropped.forward({}, {"x": x}, training=True, seed=3)["a"])


def test_the_gradient_is_that_of_the_masks(dropped: Network) -> None:
    x = np.random.default_rng(1).normal(size=(4, 2, 40))
    loss, gradients = dropped.value_and_grad({}, {"x": x}, training=True, seed=5)
    assert loss == dropped.loss({}, {"x": x}, training=True, seed=5)
    way = np.random.default_rng(2).normal(size=x.shape)
    above, below = (
        dropped.loss({}, {"x": x + step * way}, training=True, seed=5) for step in (1e-5, -1e-5)
    )
    assert (above - below) / 2e-5 == pytest.approx(float((gradients["x"] * way).sum()), rel=1e-6)
    outputs, pullback = dropped.vjp({}, {"x": x}, training=True, seed=5)
    slope = pullback({"a": np.ones_like(x)})["x"]
    np.testing.assert_allclose(slope * x, outputs["a"], rtol=1e-12)


@pytest.mark.parametrize("seed", [-1, 0.5, None, "0"])
def test_a_wrong_seed_is_named(dropped: Network, seed: Any) -> None:
    with pytest.raises(InputError, match="`seed`: expected a whole number"):
        dropped.forward({}, {"x": np.ones((2, 40))}, seed=seed)


def test_both_precisions_draw_the_same_numbers(sampled: Network) -> None:
    sizes = {"t": 9, "batch": 3}
    double = draw_noise(sampled.graph, sizes, 1, True, "float64")
    single = draw_noise(sampled.graph, sizes, 1, True, "float32")
    for name, array in double.items():
        np.testing.assert_array_equal(array, single[name])
        assert (array >= 0).all() and (array < 1).all()


def test_samples_have_the_probabilities(sampled: Network) -> None:
    params = {"E": np.zeros((4, 4))}
    p = np.array([0.1, 0.2, 0.0, 0.7])
    with np.errstate(divide="ignore"):
        x = np.broadcast_to(np.log(p), (500, 20, 4))
    found = sampled.forward(params, {"x": x}, seed=2)["s"]
    shares = np.bincount(found.ravel(), minlength=4) / found.size
    np.testing.assert_allclose(shares, p, atol=0.02)
    assert shares[2] == 0
    np.testing.assert_array_equal(found, sampled.forward(params, {"x": x}, seed=2)["s"])


def test_a_sample_feeds_the_next_step(sampled: Network) -> None:
    """Step by step with one generator, the samples are those of all steps at once."""
    params = {"E": np.random.default_rng(3).normal(size=(4, 4)) * 3}
    x = np.random.default_rng(4).normal(size=(8, 2, 4))
    expected = sampled.forward(params, {"x": x}, seed=6)["s"]
    state, random = sampled.initial_state(params, {"x": x}), np.random.default_rng(6)
    for step in range(8):
        outputs, state = sampled.step(params, state, {"x": x[step]}, seed=random)
        np.testing.assert_array_equal(outputs["s"], expected[step])
    assert state["s"].dtype == np.int64


def test_no_gradient_passes_a_sample(sampled: Network) -> None:
    params = sampled.init(0)
    x = np.random.default_rng(4).normal(size=(3, 4))
    loss, gradients = sampled.value_and_grad(params, {"x": x}, seed=1)
    assert not gradients["x"].any()
    counts = np.bincount(sampled.forward(params, {"x": x}, seed=1)["s"], minlength=4)
    np.testing.assert_allclose(gradients["E"], np.repeat(counts[:, None], 4, axis=1))
    assert np.isfinite(loss)


@njit
def compiled_draw(p: Any, number: Any) -> Any:
    return routines.draw(p, 3, number)


@pytest.mark.parametrize(
    "p",
    [
        [0.25, 0.25, 0.5],
        [0.1, 0.2, 0.0],
        [0.0, 0.0, 0.0],
        [np.nan, 0.5, 0.5],
        [0.5, np.nan, 0.5],
        [np.nan, np.nan, np.nan],
        [np.inf, 1.0, 1.0],
        [1e-45, 0.0, 0.0],
        [-1.0, 0.5, 0.2],
    ],
)
@pytest.mark.parametrize("number", [0.0, 0.3, 1 - 2.0**-24, 1.0, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_index_is_never_out_of_range(p: list[float], number: float, dtype: str) -> None:
    array, given = np.array([p], dtype), np.array([number], dtype)
    frame = Frame(("batch",), {"batch": 1}, np.dtype(dtype), Type("index", (), ("batch",), 3))
    with np.errstate(all="ignore"):
        found = OPERATIONS["draw"].evaluate(frame, {}, array, given)
    assert 0 <= found[0] < 3
    if np.isfinite(array).all() and array.max() > 0 and array.min() >= 0 and number < 1:
        assert array[0, found[0]] > 0
    assert found[0] == compiled_draw(array, given[0])
