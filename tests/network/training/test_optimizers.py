"""The methods against numbers worked out by hand and against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.errors import InputError
from rollc.network.training.optimizers import (
    OPTIMISERS,
    adagrad,
    adagrad_start,
    adam,
    adam_start,
    clipped,
    optimiser,
    sgd,
    sgd_start,
)


def test_the_first_update_of_adam_is_the_rate_in_every_element() -> None:
    params = {"w": np.array([1.0, -2.0]), "b": np.array(3.0)}
    gradients = {"w": np.array([1e-3, -5.0]), "b": np.array(0.2), "x": np.array(1.0)}
    updated, state = adam(params, gradients, adam_start(params), rate=0.1)
    np.testing.assert_allclose(updated["w"], [0.9, -1.9], rtol=1e-5)
    np.testing.assert_allclose(updated["b"], 2.9, rtol=1e-6)
    assert updated.keys() == params.keys()
    assert state.count == 1


def test_sgd_by_hand() -> None:
    params, gradients = {"w": np.array([1.0, -2.0])}, {"w": np.array([0.5, -1.0])}
    updated, state = sgd(params, gradients, sgd_start(params), rate=0.1)
    np.testing.assert_allclose(updated["w"], [0.95, -1.9])
    updated, state = sgd(updated, gradients, state, rate=0.1, momentum=0.9)
    np.testing.assert_allclose(updated["w"], [0.855, -1.71])  # a step of 0.1 * (1 + 0.9) * g


def test_adagrad_by_hand() -> None:
    params, gradients = {"w": np.array([1.0, -2.0])}, {"w": np.array([3.0, -0.1])}
    updated, state = adagrad(params, gradients, adagrad_start(params), rate=0.1)
    np.testing.assert_allclose(updated["w"], [0.9, -1.9])
    updated, _ = adagrad(updated, gradients, state, rate=0.1)
    np.testing.assert_allclose(updated["w"], [0.9 - 0.1 / 2**0.5, -1.9 + 0.1 / 2**0.5])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_arguments_stay_and_dtypes_too(name: str) -> None:
    params = {"w": np.ones(3, np.float32)}
    method = OPTIMISERS[name]
    start = method.start(params)
    updated, state = method.update(params, {"w": np.ones(3, np.float32)}, start)
    _, after = method.update(updated, {"w": np.ones(3, np.float32)}, state)
    for kept in (state, after):
        arrays = [each["w"] for each in vars(kept).values() if isinstance(each, dict)]
        assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    assert updated["w"].dtype == np.float32
    np.testing.assert_array_equal(params["w"], np.ones(3))
    assert repr(start) == repr(method.start(params))


@pytest.mark.parametrize(
    ("name", "theirs", "numbers", "their_numbers"),
    [
        ("sgd", "SGD", {}, {}),
        ("sgd", "SGD", {"momentum": 0.8}, {"momentum": 0.8}),
        ("adagrad", "Adagrad", {}, {}),
        ("adagrad", "Adagrad", {"epsilon": 1e-2}, {"eps": 1e-2}),
        ("adam", "Adam", {}, {}),
        (
            "adam",
            "Adam",
            {"decay": (0.8, 0.99), "epsilon": 1e-6},
            {"betas": (0.8, 0.99), "eps": 1e-6},
        ),
    ],
)
def test_against_pytorch(
    name: str, theirs: str, numbers: dict[str, Any], their_numbers: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    random = np.random.default_rng(0)
    params = {"w": random.normal(size=(3, 2)), "b": random.normal(size=3)}
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    reference = getattr(torch.optim, theirs)(tensors.values(), lr=0.05, **their_numbers)
    method = optimiser(name, rate=0.05, **numbers)
    state = method.start(params)
    for _ in range(20):
        gradients = {name: random.normal(size=value.shape) for name, value in params.items()}
        for each, tensor in tensors.items():
            tensor.grad = torch.tensor(gradients[each])
        reference.step()
        params, state = method.update(params, gradients, state)
    for each, tensor in tensors.items():
        np.testing.assert_allclose(params[each], tensor.detach().numpy(), rtol=1e-12)


def test_the_usual_rates_are_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for name, theirs in (("adam", "Adam"), ("adagrad", "Adagrad"), ("sgd", "SGD")):
        start, gradient = np.array([1.0, 2.0]), np.array([0.3, -0.1])
        weight = torch.tensor(start.copy(), requires_grad=True)
        weight.grad = torch.tensor(gradient)
        rate = {} if name != "sgd" else {"lr": 1e-2}  # of old it had none
        getattr(torch.optim, theirs)([weight], **rate).step()
        method = optimiser(name)
        updated, _ = method.update({"w": start}, {"w": gradient}, method.start({"w": start}))
        np.testing.assert_allclose(updated["w"], weight.detach().numpy(), rtol=1e-12)


def test_clipping_scales_all_gradients_of_parameters_together() -> None:
    params = {"w": np.zeros(2), "b": np.zeros(())}
    gradients = {"w": np.array([3.0, 0.0]), "b": np.array(4.0), "x": np.array(1e9)}
    found = clipped(params, gradients, 1.0)
    assert found.keys() == params.keys()
    np.testing.assert_allclose(found["w"], [0.6, 0.0])
    np.testing.assert_allclose(found["b"], 0.8)
    np.testing.assert_array_equal(clipped(params, gradients, 5.0)["w"], gradients["w"])
    small = {"w": np.full(2, 300.0, np.float16), "b": np.array(0, np.float16)}
    assert clipped(params, small, 1.0)["w"].dtype == np.float16  # whose squares overflow
    np.testing.assert_allclose(clipped(params, small, 1.0)["w"], 0.5**0.5, rtol=1e-3)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(InputError, match="unknown optimiser `adma`: expected adam, adagrad, sgd"):
        optimiser("adma")
