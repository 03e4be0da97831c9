"""What is learned of the training part: means and spreads, of what there is alone."""

from __future__ import annotations

import numpy as np
import pytest

from rollc.network.network import Network
from rollc.training.data.preparation import Preparation, standardised
from rollc.training.data.sequences import Sequences
from tests.helpers.training import tiny_network

TEXT = """net several
input x: [2], k: index(3)
static input z
target y
param a: [2] = normal(0.5)
o = dot(a, x) + z + where(k == 1, 1.0, 0.0)
output o
loss mean(mse(o, y), over t)
"""
LENGTHS = np.array([9, 4, 6])


@pytest.fixture(scope="module")
def several() -> Network:
    return tiny_network(TEXT)


def sequences() -> Sequences:
    """Of three lengths, with anything behind their ends, and some cells missing."""
    random = np.random.default_rng(0)
    x = random.normal(3, [2, 50], size=(9, 3, 2))
    x[2, 1, 0] = x[5, 0, 1] = np.nan
    y, behind = random.normal(-1, 5, size=(9, 3)), np.arange(9)[:, None] >= LENGTHS
    x[behind], y[behind] = 1e6, -1e6
    k, z = random.integers(3, size=(9, 3)), random.normal(size=3)
    return Sequences({"x": x, "y": y, "k": k, "z": z}, LENGTHS, frozenset({"x", "y"}))


@pytest.mark.parametrize("by_axis", [False, True])
def test_what_is_behind_an_end_or_missing_does_not_count(several: Network, by_axis: bool) -> None:
    data = sequences()
    lengths = {several.axes[0]: LENGTHS} if by_axis else LENGTHS
    found = standardised(several, Sequences(data.arrays, lengths))
    there = np.arange(9)[:, None] < LENGTHS
    x, y = data.arrays["x"][there], data.arrays["y"][there]
    np.testing.assert_allclose(found["x"].mean, np.nanmean(x, axis=0))
    np.testing.assert_allclose(found["x"].spread, np.nanstd(x, axis=0))
    np.testing.assert_allclose((found["y"].mean, found["y"].spread), (y.mean(), y.std()))
    np.testing.assert_allclose(found["z"].mean, data.arrays["z"].mean())
    assert found.keys() == {"x", "y", "z"}  # and no index
    assert standardised(several, data, but=["x", "z"]).keys() == {"y"}


def test_what_never_changes_is_moved_and_not_stretched(several: Network) -> None:
    x = np.stack([np.full((9, 3), 1e9 + 0.1), np.arange(27.0).reshape(9, 3)], axis=-1)
    scale = standardised(several, Sequences({"x": x}))["x"]
    np.testing.assert_allclose(scale.to(x)[..., 0], 0, atol=1e-6)
    assert scale.spread[0] == 1 and scale.spread[1] == pytest.approx(np.arange(27).std())
    np.testing.assert_allclose(scale.back(scale.to(x)), x)
    scale = standardised(several, Sequences({"x": np.full((9, 3, 2), np.nan)}))["x"]
    np.testing.assert_array_equal([scale.mean, scale.spread], [[0, 0], [1, 1]])


def test_a_cell_that_is_masked_is_the_mean(several: Network) -> None:
    data = sequences()
    scales = standardised(several, data)
    found = Preparation(scales)(data).arrays
    missing = np.isnan(data.arrays["x"])
    np.testing.assert_array_equal(found["x"][missing], 0)
    np.testing.assert_allclose(found["x"][~missing], scales["x"].to(data.arrays["x"])[~missing])
    plain = Preparation()(data).arrays
    np.testing.assert_array_equal(plain["x"][missing], 0)
    np.testing.assert_array_equal(plain["x"][~missing], data.arrays["x"][~missing])
