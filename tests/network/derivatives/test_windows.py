"""Windows of a sequence: the state and its cotangent handed on, or cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.driver.stages import KERNELS
from rollc.entries.graphs import kernel_graphs
from rollc.errors import InputError
from rollc.ir.time.causality import check
from rollc.ir.verifier import verify
from rollc.network.network import Network
from tests.helpers.compiled_networks import network_of
from tests.helpers.forward_gradients import uncompiled

pytestmark = [pytest.mark.usefixtures("each_backend"), pytest.mark.sampled(4, among="windows")]

Array = NDArray[Any]

SPEC = """
net deep
dim D = 3, H = 4
input x: [D]
target y: [H]
param U: [H, D], W: [H, H], P: [H, H], b: [H], h0: [H] = 0.2
h = tanh(U @ x + W @ h[t-1] + 0.5 * P @ h[t-3] + b)
c = 0.9 * c[t-2] + h
init h = h0
output c, h
loss sum(mse(c, y), over t)
"""
STEPS, BATCH = 10, 2


def arrays() -> dict[str, Array]:
    random = np.random.default_rng(1)
    return {
        "x": random.normal(size=(STEPS, BATCH, 3)),
        "y": random.normal(size=(STEPS, BATCH, 4)),
    }


def windows(size: int) -> list[slice]:
    return [slice(start, min(start + size, STEPS)) for start in range(0, STEPS, size)]


@pytest.fixture(scope="module")
def whole(each_backend: str) -> Network:
    return network_of(SPEC, "float64")


def close(found: Array, expected: Array, name: str = "") -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("size", [1, 2, 4, 10])
def test_cotangents_carried_backwards_give_the_gradient_of_the_whole(
    whole: Network, size: int
) -> None:
    params, x = whole.init(3), arrays()["x"]
    cotangent = np.random.default_rng(2).normal(size=(STEPS, BATCH, 4))
    outputs, pullback = whole.vjp(params, {"x": x})
    expected = pullback({"c": cotangent})

    state = whole.initial_state(params, {"x": x})
    pullbacks = []
    for window in windows(size):
        found, back = whole.vjp(params, {"x": x[window]}, state=state)
        close(found["c"], outputs["c"][window])
        state = {name: found[f"state.{name}"] for name in state}
        pullbacks.append((window, back))
    assert state["h"].shape == (3, BATCH, 4)
    handed: dict[str, Array] = {}
    sums = {name: np.zeros_like(array) for name, array in params.items()}
    for window, back in reversed(pullbacks):
        gradients = back({"c": cotangent[window], **handed})
        handed = {name: gradients[name] for name in gradients if name.startswith("state.")}
        close(gradients["x"], expected["x"][window])
        for name in sums:
            sums[name] += gradients[name]
    # What the initial state was made of.
    sums["h0"] += handed["state.h"].sum(axis=(0, 1))
    for name, total in sums.items():
        close(total, expected[name], name)


def by_windows(network: Network, size: int) -> tuple[float, dict[str, Array], dict[str, Array]]:
    """The loss, and the gradients of all windows without what comes after each."""
    params, data = network.init(3), arrays()
    state = network.initial_state(params, data)
    total, first = 0.0, {}
    sums = {name: np.zeros_like(array) for name, array in params.items()}
    for window in windows(size):
        part = {name: array[window] for name, array in data.items()}
        loss, gradients, state = network.value_and_grad(params, part, state=state)
        first = first or gradients
        total += loss
        for name in sums:
            sums[name] += gradients[name]
    sums["h0"] += first["state.h"].sum(axis=(0, 1))
    return total, sums, state


@pytest.mark.parametrize("size", [1, 2, 4])
def test_truncation_is_windows_with_nothing_handed_back(whole: Network, size: int) -> None:
    cut = uncompiled(read_spec(SPEC, "deep")[0], truncate=size)
    params, data = whole.init(3), arrays()
    total, sums, state = by_windows(whole, size)
    loss, gradients = cut.value_and_grad(params, data)
    assert loss == pytest.approx(total, rel=1e-12)
    assert loss == pytest.approx(whole.loss(params, data), rel=1e-12)
    for name, expected in sums.items():
        close(gradients[name], expected, name)
    full = whole.value_and_grad(params, data)[1]
    assert np.abs(gradients["W"] - full["W"]).max() > 1e-3
    last = whole.forward(params, data, state=whole.initial_state(params, data))
    for name, rows in state.items():
        close(rows, last[f"state.{name}"], name)


def test_a_window_as_long_as_the_sequence_cuts_nothing(whole: Network) -> None:
    cut = uncompiled(read_spec(SPEC, "deep")[0], truncate=STEPS)
    params, data = whole.init(3), arrays()
    _, expected = whole.value_and_grad(params, data)
    _, found = cut.value_and_grad(params, data)
    for name, gradient in expected.items():
        close(found[name], gradient, name)


def test_a_window_with_lengths(whole: Network) -> None:
    params, data = whole.init(3), arrays()
    state = whole.initial_state(params, data)
    for array in data.values():
        array[6:, 1] = np.nan
    loss, gradients, last = whole.value_and_grad(params, data, state=state, lengths=[STEPS, 6])
    total = 0.0
    for sequence, length in enumerate([STEPS, 6]):
        own = {name: array[:length, sequence] for name, array in data.items()}
        start = {name: rows[:, sequence] for name, rows in state.items()}
        value, slopes, end = whole.value_and_grad(params, own, state=start)
        total += value / 2
        for name, rows in end.items():
            close(last[name][:, sequence], rows, name)
            close(gradients[f"state.{name}"][:, sequence] * 2, slopes[f"state.{name}"], name)
    assert loss == pytest.approx(total, rel=1e-12)


def test_a_wrong_cotangent_of_the_state_is_named(whole: Network) -> None:
    params, data = whole.init(3), arrays()
    state = whole.initial_state(params, data)
    _, pullback = whole.vjp(params, {"x": data["x"]}, state=state)
    with pytest.raises(InputError, match=r"cotangent `state.h`: expected \[3, 2, 4\]"):
        pullback({"state.h": np.zeros((2, 2, 4))})
    with pytest.raises(InputError, match=r"unknown cotangent `state.q`"):
        pullback({"state.q": np.zeros(3)})


@pytest.mark.parametrize("picked", ["last(x[t-1])", "first(abs(x[t+1]))", "last(sin(x[t-1]))"])
def test_a_read_is_cut_whatever_picks_it(picked: str) -> None:
    """What is simplified must not decide which reads cross a border."""
    graph, _ = read_spec(f"net picked\ninput x\nv = {picked}\noutput v\nloss v\n", "picked.roll")
    data = {"x": np.full((3, 1), 0.5)}
    for window, passes in ((1, False), (3, True)):
        for lengths in (None, [3]):
            net = uncompiled(graph, truncate=window)
            _, gradients = net.value_and_grad({}, data, lengths=lengths)
            assert gradients["x"].any() == passes, (window, lengths)


def test_windows_have_at_least_one_step() -> None:
    with pytest.raises(InputError, match="`truncate`: expected a whole number from 1 to"):
        build_source(SPEC, truncate=0)


def test_gradients_by_mean_are_those_by_sum_over_the_steps(whole: Network) -> None:
    mean = uncompiled(read_spec(SPEC, "deep")[0], combine="mean")
    params, data = whole.init(3), arrays()
    loss, summed = whole.value_and_grad(params, data)
    value, found = mean.value_and_grad(params, data)
    assert value == pytest.approx(loss, rel=1e-12)
    for name in ("U", "W", "P", "b"):
        close(found[name] * STEPS, summed[name], name)
    for name in ("h0", "x"):  # read once, and no parameter
        close(found[name], summed[name], name)
    with pytest.raises(InputError, match="expected combine sum or mean, found `max`"):
        build_source(SPEC, combine="max")


@pytest.mark.parametrize("shape", ["[2]", "[3, 2]"])
def test_by_mean_an_initial_value_is_read_once_with_lengths_too(shape: str) -> None:
    """The one of a read of the future is chosen at the own end, step by step."""
    graph, _ = read_spec(
        f"""
net n
input x: [2]
param p: {shape}, k: [2]
b: [2] = tanh(k * b[t+1] + b[t+3] + x)
init b = p
loss mean(sum(b), over t)
""",
        "n.roll",
    )
    nets = {how: uncompiled(graph, combine=how) for how in ("sum", "mean")}
    random = np.random.default_rng(1)
    params = {name: random.normal(size=spec.shape) for name, spec in nets["sum"].params.items()}
    data = {"x": random.normal(size=(5, 2, 2))}
    _, summed = nets["sum"].value_and_grad(params, data)
    for lengths in (None, [5, 5], [3, 5]):
        if lengths is not None:
            _, summed = nets["sum"].value_and_grad(params, data, lengths=lengths)
        _, found = nets["mean"].value_and_grad(params, data, lengths=lengths)
        close(found["p"], summed["p"], "p")
        close(found["k"] * 5, summed["k"], "k")


def test_every_variant_is_a_graph_that_can_be_run() -> None:
    graph, _ = read_spec(SPEC, "deep.roll")
    made = kernel_graphs(graph, truncate=2, combine="mean")
    assert sorted(made) == sorted(
        name for name in KERNELS if not name.startswith(("hvp", "gradient_vjp", "by_sequence"))
    )
    assert {*KERNELS} <= {*kernel_graphs(graph)}
    for name, make in made.items():
        found = make()
        assert verify(found) == [], name
        assert check(found).findings == (), name
        cut = any("period" in node.options for node in found.nodes)
        assert cut == name.startswith(("gradient", "vjp", "jvp")), name


@pytest.mark.parametrize(("truncate", "combine"), [(None, "sum"), (2, "sum"), (None, "mean")])
def test_windows_give_whole_gradients_alone(truncate: int | None, combine: str) -> None:
    graph, _ = read_spec(SPEC, "deep.roll")
    made = kernel_graphs(graph, truncate, combine)
    assert ("window" in made) == (truncate is None and combine == "sum")
