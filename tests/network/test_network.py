"""A built network as its user meets it: shapes with and without a batch, what is missing or
misshapen, streaming, cotangents from outside.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
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

T, B = 8, 3

# Delays of one and two steps, an index, a static input, a parameter as initial value, an
# output that is the same for all sequences and one for the whole sequence.
TEXT = """
net small
dim D = 2, H = 3, K = 4
input x: [D], w: index(K)
static input z: [H]
target y: index(K)
param U: [H, D], W: [H, H], E: [K, H], V: [K, H], start: [H] = 0.5, rate = 0.9
h = tanh(U @ x + W @ h[t-1] - 0.3 * h[t-2] + embed(E, w) + z)
init h = start
decay = rate * decay[t-1]
init decay = 1
o = decay * (V @ h)
output o, h, decay
loss mean(cross_entropy(o, y), over t)
"""
FUTURE = "net future\ninput x\nb = tanh(x + 0.5 * b[t+1])\noutput b\n"


@pytest.fixture(scope="module")
def network() -> Network:
    return build_source(TEXT, "small.roll", dtype="float64")[0]


@pytest.fixture(scope="module")
def params(network: Network) -> Arrays:
    random = np.random.default_rng(0)
    return {name: random.normal(size=spec.shape) for name, spec in network.params.items()}


@pytest.fixture(scope="module")
def data() -> Arrays:
    random = np.random.default_rng(1)
    return {
        "x": random.normal(size=(T, B, 2)),
        "w": random.integers(0, 4, (T, B)),
        "z": random.normal(size=(B, 3)),
        "y": random.integers(0, 4, (T, B)),
    }


def inputs_of(data: Arrays) -> Arrays:
    return {name: data[name] for name in ("x", "w", "z")}


def one(data: Arrays, sequence: int) -> Arrays:
    """One sequence, without the batch."""
    return {name: array.take(sequence, 0 if name == "z" else 1) for name, array in data.items()}


def same(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-12, err_msg=name)
        assert np.shape(found[name]) == np.shape(array), name


def test_what_it_is_made_of(network: Network) -> None:
    assert network.params["W"].shape == (3, 3)
    assert network.inputs["x"].dimensions() == ("T", "B", 2)
    assert network.inputs["z"].dimensions() == ("B", 3)
    assert network.targets["y"].bound == 4
    assert network.outputs["h"].dimensions(batched=False) == ("T", 3)
    assert network.states["h"].shape == (2, 3)


def test_initial_parameters_follow_the_seed(network: Network) -> None:
    first, again, other = network.init(seed=0), network.init(seed=0), network.init(seed=1)
    same(first, again)
    assert not np.array_equal(first["W"], other["W"])
    assert first["start"].tolist() == [0.5] * 3
    assert first["rate"].shape == ()
    assert first["W"].dtype == np.float64


def test_initial_matrices_are_as_large_as_is_said() -> None:
    text = """
net n
input x: [200]
param A: [300, 200], B: [300, 200] = normal(0.2), C: [300, 200] = uniform(-0.1, 0.3)
param Q: [400, 200] = orthogonal, R: [100, 200] = orthogonal
h = A @ x + B @ x + C @ x
q = Q @ x
r = R @ x
output h, q, r
"""
    found = interpreted(read_spec(text, "n.roll")[0]).init(0)
    assert np.abs(found["A"]).max() == pytest.approx(np.sqrt(6 / 500), rel=1e-3)
    assert (found["B"].mean(), found["B"].std()) == pytest.approx((0, 0.2), abs=0.003)
    assert (found["C"].min(), found["C"].max()) == pytest.approx((-0.1, 0.3), abs=1e-4)
    for block in (found["Q"][:200], found["Q"][200:], found["R"]):
        np.testing.assert_allclose(block @ block.T, np.eye(len(block)), atol=1e-12)


def test_shapes_with_a_batch(network: Network, params: Arrays, data: Arrays) -> None:
    outputs = network.forward(params, inputs_of(data))
    assert {name: array.shape for name, array in outputs.items()} == {
        "o": (T, B, 4),
        "h": (T, B, 3),
        "decay": (T,),
    }
    loss, gradients = network.value_and_grad(params, data)
    assert isinstance(loss, float)
    assert loss == pytest.approx(network.loss(params, data))
    assert gradients.keys() == {*network.params, "x", "z"}
    assert all(gradients[name].shape == params[name].shape for name in params)
    assert gradients["x"].shape == (T, B, 2)


def test_without_a_batch_it_is_one_sequence(network: Network, params: Arrays, data: Arrays) -> None:
    together = network.forward(params, inputs_of(data))
    loss, gradients = network.value_and_grad(params, data)
    parts = []
    for sequence in range(B):
        alone = network.forward(params, inputs_of(one(data, sequence)))
        np.testing.assert_allclose(alone["h"], together["h"][:, sequence])
        assert alone["decay"].shape == (T,)
        part, slopes = network.value_and_grad(params, one(data, sequence))
        assert slopes["x"].shape == (T, 2)
        np.testing.assert_allclose(slopes["x"] / B, gradients["x"][:, sequence])
        np.testing.assert_allclose(slopes["z"] / B, gradients["z"][sequence])
        parts.append((part, slopes["W"]))
    # The loss is the mean over the batch, and so are the gradients of the parameters.
    assert np.mean([part for part, _ in parts]) == pytest.approx(loss)
    np.testing.assert_allclose(np.mean([slope for _, slope in parts], axis=0), gradients["W"])


def test_any_number_of_steps(network: Network, params: Arrays, data: Arrays) -> None:
    long = network.forward(params, inputs_of(data))
    for steps in (1, 2, 5):
        cut = {name: data[name] if name == "z" else data[name][:steps] for name in ("x", "w", "z")}
        np.testing.assert_allclose(network.forward(params, cut)["o"], long["o"][:steps])


def test_gradients_of_the_inputs_can_be_left_out(
    network: Network, params: Arrays, data: Arrays
) -> None:
    loss, gradients = network.value_and_grad(params, data, wrt=("params",))
    whole = network.value_and_grad(params, data)
    assert loss == whole[0]
    same(gradients, {name: whole[1][name] for name in network.params})


def test_cotangents_from_outside(network: Network, params: Arrays, data: Arrays) -> None:
    """The slope of a weighted sum of outputs, by central differences."""
    inputs = inputs_of(data)
    outputs, pullback = network.vjp(params, inputs)
    same(outputs, network.forward(params, inputs))
    random = np.random.default_rng(2)
    weights = {name: random.normal(size=outputs[name].shape) for name in ("o", "decay")}
    gradients = pullback(weights)

    def weighted(name: str, moved: Array) -> float:
        values = network.forward(
            {**params, name: moved} if name in params else params,
            {**inputs, name: moved} if name in inputs else inputs,
        )
        return sum(float((values[label] * array).sum()) for label, array in weights.items())

    for name in (*params, "x", "z"):
        at = params[name] if name in params else inputs[name]
        way = 1e-5 * random.normal(size=at.shape)
        slope = (weighted(name, at + way) - weighted(name, at - way)) / 2
        assert float((gradients[name] * way).sum()) == pytest.approx(slope, rel=1e-6), name
    nothing = pullback({})
    assert not any(array.any() for array in nothing.values())


def test_step_by_step_is_forward(network: Network, params: Arrays, data: Arrays) -> None:
    whole = network.forward(params, inputs_of(data))
    for batch in (data, one(data, 1)):
        whole = network.forward(params, inputs_of(batch))
        state = network.initial_state(params, inputs_of(batch))
        assert state["h"].shape == (2, *whole["h"].shape[1:])
        for step in range(T):
            now = {"x": batch["x"][step], "w": batch["w"][step], "z": batch["z"]}
            outputs, state = network.step(params, state, now)
            for name, array in outputs.items():
                np.testing.assert_allclose(array, whole[name][step], atol=1e-12, err_msg=name)


def test_windows_with_the_state_carried_are_one_sequence(
    network: Network, params: Arrays, data: Arrays
) -> None:
    whole = network.forward(params, inputs_of(data))
    state = network.initial_state(params, inputs_of(data))
    found: dict[str, list[Array]] = {name: [] for name in whole}
    for start, stop in ((0, 1), (1, 4), (4, T)):  # one window is shorter than the longest delay
        window = {name: data[name][start:stop] for name in ("x", "w")}
        results = network.forward(params, {**window, "z": data["z"]}, state=state)
        for name in found:
            found[name].append(results.pop(name))
        assert results.keys() == {f"state.{name}" for name in network.states}
        state = {name.removeprefix("state."): array for name, array in results.items()}
    same({name: np.concatenate(parts) for name, parts in found.items()}, whole)


def test_results_are_the_callers_own(network: Network, params: Arrays, data: Arrays) -> None:
    first = network.forward(params, inputs_of(data))["h"]
    kept = first.copy()
    network.forward(params, {**inputs_of(data), "x": data["x"] + 1})
    np.testing.assert_array_equal(first, kept)
    before = {name: array.copy() for name, array in data.items()}
    network.value_and_grad(params, data)
    same(data, before)


def test_arrays_of_any_layout_and_kind(network: Network, params: Arrays, data: Arrays) -> None:
    expected = network.forward(params, inputs_of(data))
    odd = {
        "x": np.asfortranarray(data["x"]),
        "w": data["w"].astype(np.uint8).tolist(),
        "z": np.repeat(data["z"], 2, axis=0)[::2],
    }
    same(network.forward(params, odd), expected)


def test_nan_in_nan_out(network: Network, params: Arrays, data: Arrays) -> None:
    x = data["x"].copy()
    x[3, 1, 0] = np.nan
    outputs = network.forward(params, {**inputs_of(data), "x": x})
    assert np.isnan(outputs["h"][3:, 1]).all()
    assert np.isfinite(np.delete(outputs["h"], 1, axis=1)).all()
    assert np.isfinite(outputs["h"][:3]).all()
    loss, gradients = network.value_and_grad(params, {**data, "x": x})
    assert np.isnan(loss)
    assert np.isnan(gradients["W"]).any()


Change = Callable[[Arrays, Arrays], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, d: p.pop("W"), "missing parameter `W`: expected float [3, 3]"),
        (lambda p, d: d.pop("x"), "missing input `x`: expected float [T, B, 2]"),
        (lambda p, d: d.pop("y"), "missing target `y`: expected index below 4 [T, B]"),
        (lambda p, d: p.update(q=1), "unknown parameter `q`"),
        (lambda p, d: d.update(q=1), "unknown input `q`"),
        (lambda p, d: p.update(W=np.zeros((3, 2))), "parameter `W`: .*[3, 3].*found [3, 2]"),
        (lambda p, d: p.update(rate=np.zeros(1)), "parameter `rate`: .*found [1]"),
        (lambda p, d: d.update(x=np.zeros((T, B, 3))), "input `x`: .*found [8, 3, 3]"),
        (lambda p, d: d.update(x=np.zeros(T)), "input `x`: expected .*found [8]"),
        (lambda p, d: d.update(w=d["w"][1:]), "`w` has 7 steps, but `x` has 8"),
        (lambda p, d: d.update(z=d["z"][1:]), "input `z`: .*[3, 3].*found [2, 3]"),
        (lambda p, d: d.update(z=d["z"][0]), "input `z`: .*found [3]"),
        (lambda p, d: d.update(w=d["w"] + 1), "input `w`: expected 0 to 3, found 4"),
        (lambda p, d: d.update(w=d["w"] - 1), "input `w`: expected 0 to 3, found -1"),
        (lambda p, d: d.update(w=d["w"] * 1.0), "input `w`: expected integers, found float64"),
        (lambda p, d: d.update(x=np.full((T, B, 2), "a")), "input `x`: expected numbers"),
        (lambda p, d: d.update(x=[[1], [1, 2]]), "input `x`: not an array"),
        (
            lambda p, d: d.update(x=d["x"][:0], w=d["w"][:0], y=d["y"][:0]),
            "a mean over nothing: there are no steps",
        ),
        (
            lambda p, d: d.update(x=d["x"][:, :0], w=d["w"][:, :0], z=d["z"][:0], y=d["y"][:, :0]),
            "a mean over nothing: there are no sequences",
        ),
    ],
)
def test_what_is_wrong_is_named(
    network: Network, params: Arrays, data: Arrays, change: Change, message: str
) -> None:
    p, d = dict(params), dict(data)
    change(p, d)
    pattern = message.replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(InputError, match=pattern):
        network.value_and_grad(p, d)


def test_unknown_cotangents_and_states_are_named(
    network: Network, params: Arrays, data: Arrays
) -> None:
    _, pullback = network.vjp(params, inputs_of(data))
    with pytest.raises(InputError, match="unknown cotangent `q`: expected `o`, `h`, `decay`"):
        pullback({"q": 1})
    with pytest.raises(InputError, match=r"cotangent `h`.*found"):
        pullback({"h": np.zeros((T, B, 4))})
    state = network.initial_state(params, inputs_of(data))
    with pytest.raises(InputError, match="unknown state `q`"):
        network.forward(params, inputs_of(data), state={**state, "q": 1})
    with pytest.raises(InputError, match="missing state `h`"):
        network.forward(params, inputs_of(data), state={"decay": state["decay"]})
    with pytest.raises(InputError, match=r"state `h`: expected \[2, 3, 3\], found \[1, 3, 3\]"):
        network.forward(params, inputs_of(data), state={**state, "h": state["h"][:1]})


def test_a_chain_from_the_future_cannot_be_streamed() -> None:
    network = network_of(FUTURE, "float64")
    b = network.forward({}, {"x": [1.0, 2.0]})["b"]
    np.testing.assert_allclose(b, [np.tanh(1 + 0.5 * np.tanh(2)), np.tanh(2)])
    with pytest.raises(InputError, match="`b` is read from the future"):
        network.initial_state({})
    with pytest.raises(InputError, match="no loss"):
        network.value_and_grad({}, {"x": [1.0]})


def test_built_for_a_number_of_steps(network: Network, params: Arrays, data: Arrays) -> None:
    fixed = build_source(TEXT, "small.roll", dtype="float64", steps=T)[0]
    same(fixed.forward(params, inputs_of(data)), network.forward(params, inputs_of(data)))
    loss, gradients = fixed.value_and_grad(params, data)
    expected, slopes = network.value_and_grad(params, data)
    assert loss == pytest.approx(expected)
    same(gradients, slopes)
    with pytest.raises(InputError, match="built for 8 steps, found 7"):
        fixed.forward(params, {**inputs_of(data), "x": data["x"][1:], "w": data["w"][1:]})


def test_the_state_begins_with_a_number_that_is_learned() -> None:
    text = "net n\ninput x\nparam v0 = 0.5\nv = x + v[t-1]\ninit v = v0\noutput v\n"
    network = network_of(text, "float64")
    state = network.initial_state(network.init(), {"x": [1.0]})
    np.testing.assert_array_equal(state["v"], [0.5])


def test_a_network_without_delays_has_an_empty_state() -> None:
    network = network_of("net n\ninput x\ny = tanh(x)\noutput y\n", "float64")
    state = network.initial_state({}, {"x": [1.0]})
    assert state == {}
    outputs, state = network.step({}, state, {"x": 2.0})
    assert state == {}
    assert outputs["y"] == pytest.approx(np.tanh(2.0))


def test_outputs_may_be_changed_before_their_cotangents_come(
    network: Network, params: Arrays, data: Arrays
) -> None:
    state = network.initial_state(params, inputs_of(data))
    outputs, pullback = network.vjp(params, inputs_of(data), state=state)
    end = outputs.pop("state.h")
    assert pullback({"state.h": np.ones_like(end)})["state.h"].any()


def test_the_loss_of_a_window(network: Network, params: Arrays, data: Arrays) -> None:
    state = network.initial_state(params, inputs_of(data))
    state = {name: array + 0.1 for name, array in state.items()}
    loss, _, _ = network.value_and_grad(params, data, state=state)
    assert network.loss(params, data, state=state) == loss
    assert network.loss(params, data) != loss


def test_a_network_without_inputs_is_told_its_steps() -> None:
    text = "net clock\nparam rate = 0.5\nv = rate * v[t-1]\ninit v = 1\noutput v\n"
    network = network_of(text, "float64")
    np.testing.assert_allclose(network.forward(network.init(), steps=3)["v"], [0.5, 0.25, 0.125])
    with pytest.raises(InputError, match="give `steps`"):
        network.forward(network.init())


def test_arrays_that_cannot_be_written_to_need_no_other_code(
    network: Network, params: Arrays, data: Arrays
) -> None:
    kernel: Any = network._kernel("gradient")
    expected = network.value_and_grad(params, data)[0]
    functions = kernel.functions
    frozen = {name: array.copy() for name, array in data.items()}
    for array in frozen.values():
        array.flags.writeable = False
    assert network.value_and_grad(params, frozen)[0] == expected
    assert kernel.functions is functions
    assert all(array.flags.writeable for array in (*data.values(), *params.values()))


def test_without_an_output_it_says_what_to_add() -> None:
    spec = "net silent\ninput x\nparam a\nh = x + a * h[t-1]\nloss mean(h, over t)\n"
    network, _ = build_source(spec, "silent.roll")
    with pytest.raises(InputError, match="no output; add `output"):
        network.forward(network.init(0), {"x": np.ones((3, 2))})


def test_a_build_leaves_the_garbage_collector_as_it_was() -> None:
    assert gc.isenabled()
    build_source("net one\ninput x\ny = x + 1\noutput y\n", "one.roll", cache=False)
    assert gc.isenabled()
    gc.disable()
    try:
        build_source("net one\ninput x\ny = x + 2\noutput y\n", "one.roll", cache=False)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_arrays_that_were_right_once_say_nothing_of_others() -> None:
    text = "net plain\ninput x\nparam a\ny = a * x + y[t-1]\noutput y\nloss mean(y, over t)\n"
    network = network_of(text, "float64")
    params, x = {"a": np.array(2.0)}, np.arange(6.0).reshape(3, 2)
    expected = network.forward(params, {"x": x})["y"]
    for changed in (x.astype(np.float32), np.asfortranarray(x), x.tolist()):
        np.testing.assert_array_equal(network.forward(params, {"x": changed})["y"], expected)
        np.testing.assert_array_equal(network.forward(params, {"x": x})["y"], expected)
    assert network.forward(params, {"x": x[:, 0]})["y"].shape == (3,)
    assert network.forward(params, {"x": x[:2]})["y"].shape == (2, 2)
    wrong: list[tuple[Arrays, Arrays]] = [
        ({"a": np.zeros(1)}, {"x": x}),
        ({}, {"x": x}),
        ({}, {**params, "x": x}),
        ({**params, "b": params["a"]}, {"x": x}),
        (params, {"x": x[None]}),
        (params, {"x": x, "z": x}),
        (params, {"x": x.astype(complex)}),
    ]
    for own, inputs in wrong:
        network.forward(params, {"x": x})
        with pytest.raises(InputError):
            network.forward(own, inputs)
