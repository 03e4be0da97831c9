"""Complex arrays at the interface of a network: each way to call it, and what it refuses."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rollc
from rollc.network.network import Network
from tests.helpers.compiled_networks import network_of

T, B = 5, 3
SPEC = """
net rotor
dim D = 2, N = 3
input x: [D], z: complex[N]
target y: [D]
param pole: complex[N] = complex(uniform(-0.5, 0.5), uniform(-0.5, 0.5)), W: complex[N, D]
param V: complex[D, N], b: [D]
h = pole * h[t-1] + W @ x + z
o = real(V @ h) + b
output o, h
loss mean(mse(o, y), over t)
"""


WHOLE: dict[str, Any] = {"dtype": "float64", "backend": "reference"}


@pytest.fixture(scope="module")
def network() -> Network:
    return network_of(SPEC, "float64", backend="reference")


@pytest.fixture(scope="module")
def arrays(network: Network) -> tuple[dict[str, Any], dict[str, Any]]:
    random = np.random.default_rng(0)
    z = random.normal(size=(T, B, 3)) + 1j * random.normal(size=(T, B, 3))
    inputs = {"x": random.normal(size=(T, B, 2)), "z": z, "y": random.normal(size=(T, B, 2))}
    return network.init(1), inputs


def direct(params: Any, inputs: Any, h: Any = 0) -> tuple[Any, Any]:
    states = []
    for x, z in zip(inputs["x"], inputs["z"], strict=True):
        h = params["pole"] * h + x @ params["W"].T + z
        states.append(h)
    return np.array(states), (np.array(states) @ params["V"].T).real + params["b"]


def test_a_text_is_built_as_a_file_is(network: Network, tmp_path: Path) -> None:
    (tmp_path / "rotor.roll").write_text(SPEC)
    path = tmp_path / "rotor.roll"
    for built in (rollc.build_text(SPEC, **WHOLE), rollc.build(path, **WHOLE)):
        assert (built.params.keys(), built.inputs.keys()) == (network.params.keys(), {"x", "z"})


def test_parameters_and_outputs(network: Network, arrays: Any) -> None:
    params, inputs = arrays
    assert {name: array.dtype for name, array in params.items()} == {
        "pole": np.complex128, "W": np.complex128, "V": np.complex128, "b": np.float64,
    }  # fmt: skip
    assert (network.params["pole"].kind, network.params["pole"].dtype) == ("complex", "complex128")
    assert list(network.inputs) == ["x", "z"]
    assert list(network.states) == ["h"]
    outputs = network.forward(params, {"x": inputs["x"], "z": inputs["z"]})
    h, o = direct(params, inputs)
    np.testing.assert_allclose(outputs["h"], h, rtol=1e-12)
    np.testing.assert_allclose(outputs["o"], o, rtol=1e-12)


def test_a_real_array_has_no_imaginary_part(network: Network, arrays: Any) -> None:
    params, inputs = arrays
    given = {"x": inputs["x"], "z": inputs["z"].real}
    found = network.forward(params, given)
    expected = network.forward(params, {**given, "z": inputs["z"].real + 0j})
    np.testing.assert_array_equal(found["h"], expected["h"])


def slope(function: Callable[[Any], float], at: Any, place: tuple[int, ...]) -> complex:
    """dL/dRe + i dL/dIm of one element, by central differences."""
    found = []
    for unit in (1e-6, 1e-6j):
        values = []
        for sign in (1, -1):
            moved = np.array(at)
            moved[place] += sign * unit
            values.append(function(moved))
        found.append((values[0] - values[1]) / 2e-6)
    return complex(*found)


@pytest.mark.parametrize(("name", "place"), [("pole", (1,)), ("W", (2, 0)), ("z", (3, 1, 2))])
def test_gradients_are_those_of_both_parts(
    network: Network, arrays: Any, name: str, place: tuple[int, ...]
) -> None:
    params, inputs = arrays
    loss, gradients = network.value_and_grad(params, inputs)
    assert gradients[name].dtype == np.complex128
    assert loss == network.loss(params, inputs)

    def moved(array: Any) -> float:
        if name in params:
            return network.loss({**params, name: array}, inputs)
        return network.loss(params, {**inputs, name: array})

    expected = slope(moved, params.get(name, inputs.get(name)), place)
    assert abs(gradients[name][place] - expected) < 1e-8


def test_gradients_by_name(network: Network, arrays: Any) -> None:
    params, inputs = arrays
    _, all_of_them = network.value_and_grad(params, inputs)
    _, some = network.value_and_grad(params, inputs, wrt=["pole", "b"])
    assert list(some) == ["pole", "b"]
    np.testing.assert_array_equal(some["pole"], all_of_them["pole"])
    _, one = network.value_and_grad(params, inputs, wrt="pole")
    assert list(one) == ["pole"]
    plan, run = network.windows(params, inputs, checkpoint=2)
    assert plan.windows == 3
    np.testing.assert_allclose(run()[1]["pole"], all_of_them["pole"], rtol=1e-12)
    _, run = network.forward_sensitivities(params, inputs)
    np.testing.assert_allclose(run()[1]["pole"], all_of_them["pole"], rtol=1e-10)


def test_tangents_and_cotangents_are_those_of_both_parts(network: Network, arrays: Any) -> None:
    params, inputs = arrays
    given = {"x": inputs["x"], "z": inputs["z"]}
    way = np.array([1j, 2, 1 - 1j])
    _, slopes = network.jvp(params, given, {"pole": way})
    outputs, pull = network.vjp(params, given, wrt="pole")
    cotangent = outputs["h"] * (1 - 2j)
    gradient = pull({"h": cotangent})["pole"]
    forwards = np.sum(np.conj(cotangent) * slopes["h"]).real
    assert np.isclose(forwards, np.sum(np.conj(gradient) * way).real, rtol=1e-12)
    products = network.hvp(params, inputs, {"pole": way}, wrt="pole")
    step = 1e-6
    moved = [
        network.value_and_grad({**params, "pole": params["pole"] + sign * step * way}, inputs)[1]
        for sign in (1, -1)
    ]
    quotient = (moved[0]["pole"] - moved[1]["pole"]) / (2 * step)
    np.testing.assert_allclose(products["pole"], quotient, rtol=1e-6, atol=1e-9)


def test_step_by_step(network: Network, arrays: Any) -> None:
    params, inputs = arrays
    h, _ = direct(params, inputs)
    state = network.initial_state(params, {"x": inputs["x"], "z": inputs["z"]})
    assert state["h"].dtype == np.complex128
    prepared = network.prepare(params)
    stream = prepared.stream(batch=B)
    for step in range(T):
        now = {"x": inputs["x"][step], "z": inputs["z"][step]}
        outputs, state = network.step(params, state, now)
        np.testing.assert_allclose(outputs["h"], h[step], rtol=1e-12)
        np.testing.assert_allclose(stream(now)["h"], h[step], rtol=1e-12)
    np.testing.assert_array_equal(stream.state["h"], state["h"])
    stream.state = {"h": np.zeros((1, B, 3))}
    np.testing.assert_allclose(stream({"x": inputs["x"][0], "z": inputs["z"][0]})["h"], h[0])
    given = {"x": inputs["x"], "z": inputs["z"]}
    np.testing.assert_allclose(prepared.forward(given)["h"], h, rtol=1e-12)
    np.testing.assert_array_equal(prepared.params["pole"], params["pole"])
    window = network.value_and_grad(params, inputs, state=state)
    assert window[1]["state.h"].dtype == window[2]["h"].dtype == np.complex128


def test_copies_and_pickles(arrays: Any) -> None:
    network = rollc.build_text(SPEC, **WHOLE)
    params, inputs = arrays
    given = {"x": inputs["x"], "z": inputs["z"]}
    expected = network.forward(params, given)["h"]
    for other in (deepcopy(network), pickle.loads(pickle.dumps(network))):
        np.testing.assert_array_equal(other.forward(params, given)["h"], expected)


def test_norms_of_both_parts_together(network: Network, arrays: Any) -> None:
    params, inputs = arrays
    h, _ = direct(params, inputs)
    (flow,) = network.trace(params, inputs, names=["h"])
    expected = np.sqrt((np.abs(h) ** 2).sum(2)).mean(1)
    assert flow.name == "h"
    np.testing.assert_allclose(flow.value.shape, expected.shape)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pole": None}, "missing parameter `pole`: expected complex [3]"),
        ({"pole": np.zeros(2)}, "parameter `pole`: expected complex [3] with shape [3], found [2]"),
        ({"q": np.zeros(2)}, "unknown parameter `q`: expected `pole`, `W`, `V`, `b`"),
        ({"b": np.zeros(2, complex)}, "parameter `b`: expected numbers, found complex128"),
        ({"pole": ["a"]}, "`pole`: expected complex numbers, found <U1"),
    ],
)
def test_what_is_refused(network: Network, arrays: Any, change: Any, message: str) -> None:
    params, inputs = arrays
    given = {name: array for name, array in {**params, **change}.items() if array is not None}
    with pytest.raises(rollc.InputError) as caught:
        network.forward(given, {"x": inputs["x"], "z": inputs["z"]})
    assert str(caught.value).startswith(message)


def test_a_fit_finds_complex_parameters(tmp_path: Path) -> None:
    spec = tmp_path / "poles.roll"
    spec.write_text(
        """
        net poles
        input z: complex[2]
        target y: complex[2]
        param pole: complex[2] = complex(0.1, 0.1)
        h = pole * h[t-1] + z
        output h
        loss mean(sum(abs(h - y) ** 2), over t)
        """
    )
    network = rollc.build(spec, dtype="float64", backend="reference")
    random = np.random.default_rng(0)
    z = random.normal(size=(6, 4, 2)) + 1j * random.normal(size=(6, 4, 2))
    pole = np.array([0.5 + 0.4j, -0.3 + 0.6j])
    y = network.forward({"pole": pole}, {"z": z})["h"]
    found = rollc.fit(network, {"z": z, "y": y}, optimiser="lbfgs", epochs=30)
    np.testing.assert_allclose(found.params["pole"], pole, atol=1e-4)
