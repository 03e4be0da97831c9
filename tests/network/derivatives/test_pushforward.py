"""`net.jvp`: outputs and their derivatives in one direction, held to differences and to `vjp`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.tools.verify.kernels import interpreted
from tests.helpers.compiled_networks import network_of

Array = NDArray[Any]
Arrays = dict[str, Array]
T, B = 5, 3

# Outputs that are read by others (h), an input, a parameter, an index, and one that nothing moves.
TEXT = """
net several
dim D = 2, H = 3
input x: [D], w: index(4)
static input z: [H]
target y: [H]
param U: [H, D], W: [H, H], E: [4, H], a: [H], start: [H] = 0.3
h = tanh(U @ (x + x[t-2]) + W @ h[t-1] + 0.3 * h[t-2] + embed(E, w) + z + dropout(a, rate=0.3))
init h = start
m = mean(h, over t)
k = argmax(h)
still = one_hot(w)
output h, m, k, x, U, still
loss mean(mse(h, y), over t)
"""
TWO = """
net two
time s, t
dim D = 2, H = 3
input x[s]: [D], u[t]: [H]
param U: [H, D], W: [H, H]
e = tanh(U @ x + W @ e[s-1])
d = tanh(u + W @ d[t-1])
init d = last(e)
mixed = sum(softmax(dot(d, e), over s) * e, over s)
output d, mixed
"""
LENGTHS = [5, 0, 2]


def network(text: str = TEXT) -> Network:
    return interpreted(read_spec(text, "n.roll")[0])


def numbers(net: Network, steps: dict[str, int], seed: int = 0) -> tuple[Arrays, Arrays]:
    """Parameters and inputs."""
    random, inputs = np.random.default_rng(seed), {}
    for name, spec in net.inputs.items():
        shape = (*(steps[axis] for axis in spec.time), B, *spec.shape)
        drawn = random.integers(0, spec.bound or 1, shape)
        inputs[name] = drawn if spec.kind == "index" else random.normal(size=shape)
    return {name: random.normal(size=spec.shape) for name, spec in net.params.items()}, inputs


def direction(arrays: Arrays, seed: int = 1) -> Arrays:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=a.shape) for name, a in arrays.items() if a.dtype.kind == "f"}


def along(arrays: Arrays, moved: Arrays, distance: float) -> Arrays:
    return {name: a + distance * moved[name] if name in moved else a for name, a in arrays.items()}


def differences(
    net: Network, params: Arrays, inputs: Arrays, moved: Arrays, state: Any = None, **more: Any
) -> Arrays:
    """Central differences of the outputs."""
    step, found = 1e-6, []
    rows = {name.removeprefix("state."): a for name, a in moved.items() if name not in params}
    for sign in (1, -1):
        own = None if state is None else along(state, rows, sign * step)
        given = (along(params, moved, sign * step), along(inputs, moved, sign * step))
        found.append(net.forward(*given, own, **more))
    return {
        label: (array - found[1][label]) / (2 * step)
        for label, array in found[0].items()
        if array.dtype.kind == "f"
    }


def close(found: Arrays, expected: Arrays, most: float = 1e-8) -> None:
    assert found.keys() == expected.keys()
    for label, array in expected.items():
        assert found[label].shape == array.shape, label
        np.testing.assert_allclose(found[label], array, rtol=most, atol=most, err_msg=label)


WAYS = ["plain", "state", "lengths", "state and lengths", "training"]


def options(net: Network, params: Arrays, inputs: Arrays, way: str) -> dict[str, Any]:
    found: dict[str, Any] = {"training": True, "seed": 4} if way == "training" else {}
    if "lengths" in way:
        found["lengths"] = LENGTHS
    if "state" in way:
        state = net.initial_state(params, inputs)
        found["state"] = {name: array + 0.1 for name, array in state.items()}
    return found


@pytest.mark.parametrize("way", WAYS)
def test_differences(way: str) -> None:
    net = network()
    params, inputs = numbers(net, {"t": T})
    more = options(net, params, inputs, way)
    moved = direction(params | inputs)
    moved |= {f"state.{name}": a for name, a in direction(more.get("state", {})).items()}
    outputs, slopes = net.jvp(params, inputs, moved, **more)
    close(outputs, net.forward(params, inputs, **more), 0)
    close(slopes, differences(net, params, inputs, moved, **more))
    assert "k" not in slopes and not slopes["still"].any()


@pytest.mark.parametrize("way", WAYS)
def test_the_pullback_is_the_transpose(way: str) -> None:
    """``<g, J v> = <J' g, v>`` for a direction of each argument alone."""
    net = network()
    params, inputs = numbers(net, {"t": T})
    more = options(net, params, inputs, way)
    outputs, pullback = net.vjp(params, inputs, **more)
    cotangents = direction(outputs, seed=2)
    moved = direction(params | inputs)
    moved |= {f"state.{name}": a for name, a in direction(more.get("state", {})).items()}
    gradients = pullback(cotangents)
    assert gradients.keys() == moved.keys()
    for name, tangent in moved.items():
        _, slopes = net.jvp(params, inputs, {name: tangent}, **more)
        found = sum(float((slopes[label] * array).sum()) for label, array in cotangents.items())
        expected = float((gradients[name] * tangent).sum())
        assert found == pytest.approx(expected, rel=1e-10, abs=1e-12), name


@pytest.mark.parametrize("lengths", [None, {"s": [4, 0, 3], "t": [1, 5, 0]}])
def test_two_axes(lengths: Any) -> None:
    net = network(TWO)
    params, inputs = numbers(net, {"s": 4, "t": T})
    moved = direction(params | inputs)
    _, slopes = net.jvp(params, inputs, moved, lengths=lengths)
    close(slopes, differences(net, params, inputs, moved, lengths=lengths))


def test_without_a_batch_and_by_steps() -> None:
    net = network("net n\nparam a, b = 0.5\nh = sin(a + h[t-1])\ninit h = b\noutput h\n")
    params = {"a": np.array(0.4), "b": np.array(0.7)}
    outputs, slopes = net.jvp(params, None, {"a": 1.0}, steps=3)
    assert outputs["h"].shape == slopes["h"].shape == (3,)
    slope, value = 0.0, 0.7
    for step in range(3):
        slope = np.cos(0.4 + value) * (1 + slope)
        value = np.sin(0.4 + value)
        assert slopes["h"][step] == pytest.approx(slope)


def test_padding_moves_nothing() -> None:
    net = network()
    params, inputs = numbers(net, {"t": T})
    moved = direction(params | inputs)
    expected = net.jvp(params, inputs, moved, lengths=LENGTHS)[1]
    for sequence, length in enumerate(LENGTHS):
        inputs["x"][length:, sequence] = np.nan
        moved["x"][length:, sequence] = np.nan
    found = net.jvp(params, inputs, moved, lengths=LENGTHS)[1]
    close(found, expected, 0)
    assert not found["h"][2:, 2].any()


def test_nothing_moves() -> None:
    net = network()
    params, inputs = numbers(net, {"t": T})
    outputs, slopes = net.jvp(params, inputs, {})
    for label, array in slopes.items():
        assert array.shape == outputs[label].shape and not array.any(), label


@pytest.mark.parametrize(("steps", "batch"), [(0, B), (T, 0)])
def test_of_nothing(steps: int, batch: int) -> None:
    net = network(
        "net n\ninput x\nparam p = 0.5\nh = x + h[t-1]\ninit h = p\ne = last(h)\noutput h, e\n"
    )
    inputs = {"x": np.zeros((steps, batch))}
    outputs, slopes = net.jvp(net.init(), inputs, {"p": 3.0})
    assert slopes["h"].shape == outputs["h"].shape == (steps, batch)
    assert slopes["e"].shape == (batch,) and (slopes["e"] == 3).all()


# What a spec says of its derivatives ------------------------------------------------------


def test_a_derivative_of_its_own_counts_as_it_is_written() -> None:
    net = network(
        "net n\ninput x\nfn spike(v) = where(v > 0, 1, 0)\ngrad v: 1 / (1 + v ** 2)\n"
        "h = spike(x + 0.5 * h[t-1])\noutput h\n"
    )
    x = np.array([[0.4], [-2.0]])
    _, slopes = net.jvp({}, {"x": x}, {"x": np.ones_like(x)})
    first = 1 / (1 + 0.4**2)
    assert slopes["h"][0, 0] == pytest.approx(first)
    assert slopes["h"][1, 0] == pytest.approx((1 + 0.5 * first) / (1 + 1.5**2))


def test_no_derivative_passes_stop_and_borders() -> None:
    net = network("net n\ninput x\nh = x * stop(x) + h[t-1]\noutput h\n")
    x = np.array([[2.0], [3.0]])
    assert net.jvp({}, {"x": x}, {"x": np.ones_like(x)})[1]["h"].tolist() == [[2.0], [5.0]]
    text = "net n\ninput x\nh = x + h[t-1]\noutput h\n"
    cut = build_source(text, "n.roll", truncate=2, dtype="float64", backend="reference")[0]
    found = cut.jvp({}, {"x": np.zeros((5, 1))}, {"x": np.ones((5, 1))})[1]["h"]
    assert found[:, 0].tolist() == [1, 2, 1, 2, 1]


# Numbers that are in no one's way ----------------------------------------------------------


def test_what_is_not_taken_spoils_nothing() -> None:
    net = network("net n\ninput x\ny = where(x > 0, sqrt(x), 0)\nz = sqrt(x ** 2)\noutput y, z\n")
    x = np.array([[4.0, -1.0, 0.0]])
    _, slopes = net.jvp({}, {"x": x}, {"x": np.array([[1.0, 1.0, 0.0]])})
    assert slopes["y"].tolist() == [[0.25, 0, 0]]
    assert slopes["z"].tolist() == [[1, -1, 0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled(dtype: str) -> None:
    net, meant = network_of(TEXT, dtype), network()
    params, inputs = numbers(net, {"t": T})
    moved = direction(params | inputs)
    found = net.jvp(params, inputs, moved)[1]
    assert {array.dtype.name for array in found.values()} == {dtype}
    close(found, meant.jvp(params, inputs, moved)[1], 1e-4 if dtype == "float32" else 1e-12)


# What is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tangents", "message"),
    [
        ({"q": 1.0}, r"unknown tangent `q`: expected `U`, `W`, `E`, `a`, `start`, `x`, `z`$"),
        ({"w": np.zeros((T, B))}, "tangent `w`: it is an index, and has no derivative"),
        ({"y": np.zeros((T, B, 3))}, "tangent `y`: it is a target, and has no derivative"),
        ({"W": np.zeros((2, 3))}, r"tangent `W`: expected .* with shape \[3, 3\], found \[2, 3\]"),
        ({"x": np.zeros((T, 2))}, r"tangent `x`: expected .* \[5, 3, 2\], found \[5, 2\]"),
        ({"x": "no"}, "tangent `x`: expected numbers"),
        ({"state.h": np.zeros((2, B, 3))}, "tangent `state.h`: no state is given"),
        ([1], "`tangents`"),
    ],
)
def test_what_is_no_direction(tangents: Any, message: str) -> None:
    net = network()
    params, inputs = numbers(net, {"t": T})
    with pytest.raises(InputError, match=message):
        net.jvp(params, inputs, tangents)


def test_a_state_that_does_not_fit() -> None:
    net = network()
    params, inputs = numbers(net, {"t": T})
    state = net.initial_state(params, inputs)
    with pytest.raises(InputError, match=r"tangent `state.h`: expected \[2, 3, 3\], found \[3\]"):
        net.jvp(params, inputs, {"state.h": np.zeros(3)}, state=state)


def test_no_output_has_a_derivative() -> None:
    net = network("net n\ninput x: [2]\nk = argmax(x)\noutput k\n")
    with pytest.raises(InputError, match="no output of `n` has a gradient"):
        net.jvp({}, {"x": np.zeros((1, 1, 2))}, {})
