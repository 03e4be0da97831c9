"""Adam against numbers worked out by hand and against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

from rollc.optimise import adam, adam_start


def test_the_first_update_is_the_rate_in_every_element() -> None:
    params = {"w": np.array([1.0, -2.0]), "b": np.array(3.0)}
    gradients = {"w": np.array([1e-3, -5.0]), "b": np.array(0.2), "x": np.array(1.0)}
    updated, state = adam(params, gradients, adam_start(params), rate=0.1)
    np.testing.assert_allclose(updated["w"], [0.9, -1.9], rtol=1e-5)
    np.testing.assert_allclose(updated["b"], 2.9, rtol=1e-6)
    assert updated.keys() == params.keys()
    assert state.count == 1


def test_arguments_stay_and_dtypes_too() -> None:
    params = {"w": np.ones(3, np.float32)}
    start = adam_start(params)
    updated, state = adam(params, {"w": np.ones(3, np.float32)}, start)
    assert updated["w"].dtype == state.mean["w"].dtype == np.float32
    np.testing.assert_array_equal(params["w"], np.ones(3))
    np.testing.assert_array_equal(start.mean["w"], np.zeros(3))


def test_against_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    random = np.random.default_rng(0)
    params = {"w": random.normal(size=(3, 2))}
    weight = torch.tensor(params["w"].copy(), requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=0.05, betas=(0.8, 0.99), eps=1e-6)
    state = adam_start(params)
    for _ in range(20):
        gradient = random.normal(size=(3, 2))
        weight.grad = torch.tensor(gradient)
        optimiser.step()
        params, state = adam(params, {"w": gradient}, state, 0.05, decay=(0.8, 0.99), epsilon=1e-6)
    np.testing.assert_allclose(params["w"], weight.detach().numpy(), rtol=1e-12)
