"""The methods and schedules against numbers worked out by hand and against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.errors import InputError
from rollc.training.updates.optimizers import METHODS, clip_norm, clip_value, optimizer
from rollc.training.updates.schedules import Plateau, Schedule

METHODS_OF_TORCH: list[tuple[str, dict[str, Any], str, dict[str, Any], float]] = [
    ("sgd", {}, "SGD", {}, 0.0),
    ("sgd", {"momentum": 0.8}, "SGD", {"momentum": 0.8}, 0.1),
    ("sgd", {"momentum": 0.8, "nesterov": True}, "SGD", {"momentum": 0.8, "nesterov": True}, 0.1),
    ("adagrad", {}, "Adagrad", {}, 0.0),
    ("adagrad", {"epsilon": 1e-2}, "Adagrad", {"eps": 1e-2}, 0.1),
    ("rmsprop", {}, "RMSprop", {}, 0.0),
    ("rmsprop", {"alpha": 0.9, "momentum": 0.5}, "RMSprop", {"alpha": 0.9, "momentum": 0.5}, 0.1),
    ("adam", {}, "Adam", {}, 0.0),
    (
        "adam",
        {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6},
        "Adam",
        {"betas": (0.8, 0.99), "eps": 1e-6},
        0.1,
    ),
    ("adamw", {}, "AdamW", {"weight_decay": 0.0}, 0.0),
    ("adamw", {"beta1": 0.8}, "AdamW", {"betas": (0.8, 0.999)}, 0.1),
]


@pytest.mark.parametrize(("name", "numbers", "theirs", "their_numbers", "decay"), METHODS_OF_TORCH)
def test_against_pytorch(
    name: str, numbers: dict[str, Any], theirs: str, their_numbers: dict[str, Any], decay: float
) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    random = np.random.default_rng(0)
    values = random.normal(size=7)
    tensor = torch.tensor(values.copy(), requires_grad=True)
    given = {"weight_decay": decay, **their_numbers} if decay else their_numbers
    reference = getattr(torch.optim, theirs)([tensor], lr=0.05, **given)
    method = optimizer(name, rate=0.05, **numbers)
    state = method.start(7, "float64")
    for _ in range(20):
        gradient = random.normal(size=7)
        before = gradient.copy()
        tensor.grad = torch.tensor(gradient)
        reference.step()
        method.update(values, gradient, state, method.rate, decay)
        np.testing.assert_array_equal(gradient, before)
    np.testing.assert_allclose(values, tensor.detach().numpy(), rtol=1e-12)
    assert state.count == 20


def test_the_usual_rates_are_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for name, theirs in (
        *(("adam", "Adam"), ("adamw", "AdamW"), ("adagrad", "Adagrad"), ("rmsprop", "RMSprop")),
        ("sgd", "SGD"),
    ):
        start, gradient = np.array([1.0, 2.0]), np.array([0.3, -0.1])
        weight = torch.tensor(start.copy(), requires_grad=True)
        weight.grad = torch.tensor(gradient)
        rate = {} if name != "sgd" else {"lr": 1e-2}  # of old it had none
        rate |= {"weight_decay": 0.0} if name == "adamw" else {}
        getattr(torch.optim, theirs)([weight], **rate).step()
        method = optimizer(name)
        method.update(start, gradient, method.start(2, "float64"), method.rate)
        np.testing.assert_allclose(start, weight.detach().numpy(), rtol=1e-12)


def test_a_decay_of_each_parameter_is_that_of_groups() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    values, gradient = np.array([1.0, -2.0, 3.0]), np.array([0.1, 0.2, -0.3])
    decayed, kept = torch.tensor([1.0, -2.0]).double(), torch.tensor([3.0]).double()
    groups = [{"params": [decayed], "weight_decay": 0.1}, {"params": [kept], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.01)
    decayed.grad, kept.grad = torch.tensor(gradient[:2]), torch.tensor(gradient[2:])
    reference.step()
    method = optimizer("adamw", rate=0.01)
    method.update(values, gradient, method.start(3, "float64"), 0.01, np.array([0.1, 0.1, 0.0]))
    np.testing.assert_allclose(values, np.concatenate([decayed, kept]), rtol=1e-12)


def test_adam_by_hand() -> None:
    values = np.array([1.0, -2.0, 3.0])
    method = optimizer("adam", rate=0.1)
    method.update(values, np.array([1e-3, -5.0, 0.2]), method.start(3, "float64"), 0.1)
    np.testing.assert_allclose(values, [0.9, -1.9, 2.9], rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_single_precision_stays(name: str) -> None:
    method = optimizer(name)
    values, state = np.ones(3, np.float32), method.start(3, "float32")
    for decay in (0.1, np.full(3, 0.1, np.float32)):
        method.update(values, np.ones(3, np.float32), state, 0.1, decay)
    assert {array.dtype for array in (values, *state.arrays.values())} == {np.dtype("float32")}


def test_clipping() -> None:
    gradient = np.array([3.0, 0.0, 4.0])
    np.testing.assert_allclose(clip_norm(gradient, 1.0), [0.6, 0.0, 0.8])
    np.testing.assert_array_equal(clip_norm(gradient, 5.0), gradient)
    small = np.full(2, 300.0, np.float16)  # whose squares overflow
    assert clip_norm(small, 1.0).dtype == np.float16
    np.testing.assert_allclose(clip_norm(small, 1.0), 0.5**0.5, rtol=1e-3)
    np.testing.assert_array_equal(clip_value(gradient, 2.0), [2.0, 0.0, 2.0])


def test_what_is_no_method_is_named() -> None:
    with pytest.raises(InputError, match="unknown optimiser `adma`: expected sgd, adagrad"):
        optimizer("adma")
    with pytest.raises(InputError, match="adam has no `momentum`: expected rate, beta1"):
        optimizer("adam", momentum=0.9)
    for rate in (0, -1.0, np.nan):
        with pytest.raises(InputError, match="`rate`: expected a number more than 0"):
            optimizer("sgd", rate=rate)
    for name, numbers in (("sgd", {"momentum": 1}), ("adam", {"beta2": -0.1})):
        with pytest.raises(InputError, match="expected a number from 0 on, and less than 1"):
            optimizer(name, **numbers)
    with pytest.raises(InputError, match="`epsilon`: expected a number from 0 on, found -1"):
        optimizer("adam", epsilon=-1)
    with pytest.raises(InputError, match="`nesterov` needs a `momentum`"):
        optimizer("sgd", nesterov=True)


# Schedules ---------------------------------------------------------------------------------


def test_schedules_are_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    schedulers = torch.optim.lr_scheduler
    weight = torch.zeros(1, requires_grad=True)

    def theirs(make: Any, count: int) -> list[float]:
        steps = torch.optim.SGD([weight], lr=1.0)
        scheduler, found = make(steps), []
        for _ in range(count):
            found.append(steps.param_groups[0]["lr"])
            steps.step()
            scheduler.step()
        return found

    cosine = theirs(lambda steps: schedulers.CosineAnnealingLR(steps, 20), 20)
    np.testing.assert_allclose(
        [Schedule("cosine").at(update, 20, 0) for update in range(20)], cosine, atol=1e-12
    )
    stairs = theirs(lambda steps: schedulers.StepLR(steps, 3, 0.5), 10)
    chosen = Schedule("step", every=3, factor=0.5)
    np.testing.assert_allclose([chosen.at(0, 1, epoch) for epoch in range(10)], stairs)
    rising = theirs(lambda steps: schedulers.LinearLR(steps, 0.2, 1.0, 4), 8)
    chosen = Schedule(warmup=5)
    np.testing.assert_allclose([chosen.at(update, 8, 0) for update in range(8)], rising)


def test_a_cosine_begins_after_the_warmup() -> None:
    chosen = Schedule("cosine", warmup=4)
    rising = [0.25, 0.5, 0.75, 1.0]
    falling = [0.5 * (1 + np.cos(np.pi * number / 6)) for number in range(6)]
    found = [chosen.at(update, 10, 0) for update in range(10)]
    np.testing.assert_allclose(found, [*rising, *falling])


def test_a_plateau_is_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    losses = [3.0, 2.0, 2.5, 2.2, 2.1, 1.9, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    steps = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(steps, factor=0.5, patience=2, threshold=0)
    chosen, plateau = Schedule("plateau", factor=0.5, patience=2), Plateau()
    for loss in losses:
        theirs.step(loss)
        plateau.see(loss, chosen)
        assert plateau.factor == steps.param_groups[0]["lr"], loss


def test_a_schedule_that_is_none() -> None:
    with pytest.raises(InputError, match="expected `schedule` constant, cosine, step or plateau"):
        Schedule("linear")
    with pytest.raises(InputError, match="`factor`: expected a number between 0 and 1, found 2"):
        Schedule("step", factor=2)
