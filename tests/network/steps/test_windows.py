"""Windows along one of two time axes: rows of an image, steps of a decoder."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.tools.verify.kernels import interpreted
from tests.helpers.compiled_networks import network_of

Array = NDArray[Any]
Arrays = dict[str, Array]

STEPS = {"s": 4, "t": 5}
B = 3

# What is read along t stops at every second step, as at the beginning of a window.
GRID = """
net grid
time s, t
input x[s, t]: [2], c[t]: [2], r[s]: [2]
static input z: [2]
param V: [2, 2], W: [2, 2], a: [2]
h = tanh(x + V @ h[s-2] + W @ stop(h[t-1]{every}) * z + 0.3 * f[t-2])
f = h[s-1] + 0.1 * c
g = tanh(h[s-1] + 0.4 * stop(g[t-1]{every}))
init h over s = c * a
init h over t = 0.5 * r
init f = a
init g = z
output h, g
loss mean(mean(sum(h * g), over s), over t)
"""
WHOLE = GRID.replace("stop(h[t-1]{every})", "h[t-1]").replace("stop(g[t-1]{every})", "g[t-1]")
DECODER = """
net decoder
time s, t
input x[s]: [2], y[t]: [2]
param W: [2, 2], A: [2, 2], V: [2, 2]
e = tanh(W @ e[s-1] + x)
d = tanh(V @ d[t-1] + y + sum(softmax(dot(e, A @ d[t-1]), over s) * e, over s))
init d = last(e)
output d
loss mean(sum(d * d), over t)
"""


@cache
def network(text: str) -> Network:
    return interpreted(read_spec(text, "n.roll")[0])


@cache
def built(backend: str, text: str) -> Network:
    """A network with the kernels of a backend."""
    return network_of(text, "float64")


def given_for(net: Network) -> tuple[Arrays, Arrays]:
    random = np.random.default_rng(0)
    params = {name: random.normal(size=spec.shape) for name, spec in net.params.items()}
    lead = {name: [STEPS[axis] for axis in spec.time] for name, spec in net.inputs.items()}
    inputs = {
        name: random.normal(size=(*lead[name], B, *spec.shape)) for name, spec in net.inputs.items()
    }
    return params, inputs


def cut(net: Network, arrays: Arrays, axis: str, steps: range) -> Arrays:
    """A window of all arrays: what does not run along the axis is whole."""
    found = {}
    for name, array in arrays.items():
        time = net.inputs[name].time
        found[name] = array.take(steps, time.index(axis)) if axis in time else array
    return found


def windows(axis: str, size: int = 2) -> list[range]:
    return [range(at, min(at + size, STEPS[axis])) for at in range(0, STEPS[axis], size)]


@pytest.mark.parametrize("axis", ["s", "t"])
@pytest.mark.parametrize("ragged", [False, True])
def test_windows_give_what_the_whole_gives(axis: str, ragged: bool, each_backend: str) -> None:
    net = built(each_backend, WHOLE)
    params, given = given_for(net)
    own = {"s": np.array([4, 1, 3]), "t": np.array([2, 5, 4])}
    lengths: Any = own if ragged else None
    whole, pullback = net.vjp(params, given, lengths=lengths)
    random = np.random.default_rng(1)
    cotangents = {label: random.normal(size=array.shape) for label, array in whole.items()}
    meant = pullback(cotangents, wrt=["V", "W", "x"])
    before = {name: array for name, array in given.items() if axis not in net.inputs[name].time}
    other = {of: array for of, array in own.items() if of != axis} if ragged else None
    state = net.initial_state(params, before, axis=axis, lengths=other)
    pullbacks, found = [], []
    for steps in windows(axis):
        here = {axis: (own[axis] - steps.start).clip(0, len(steps))} if ragged else None
        results, back = net.vjp(params, cut(net, given, axis, steps), state=state, lengths=here)
        state = {name: results.get(f"state.{name}", array) for name, array in state.items()}
        found.append(results)
        pullbacks.append(back)
    place = "st".index(axis)
    for label, array in whole.items():
        joined = np.concatenate([results[label] for results in found], place)
        np.testing.assert_allclose(joined, array, rtol=1e-12)
    sums, passed, pieces = {"V": 0.0, "W": 0.0}, {}, []
    for steps, back in reversed([*zip(windows(axis), pullbacks, strict=True)]):
        seeds = {label: array.take(steps, place) for label, array in cotangents.items()}
        gradients = back({**seeds, **passed})
        passed = {name: each for name, each in gradients.items() if name.startswith("state.")}
        sums = {name: total + gradients[name] for name, total in sums.items()}
        pieces.insert(0, gradients["x"])
    for name, total in sums.items():
        np.testing.assert_allclose(total, meant[name], rtol=1e-9)
    np.testing.assert_allclose(np.concatenate(pieces, place), meant["x"], rtol=1e-9, atol=1e-14)


SUMMED = (
    WHOLE.replace("over s), over t)", "over s), over t) + sum(mean(sum(k, over t), over s))")
    + """
param b: [3, 2]
k = 0.3 * f + 0.1 * k[t-3]
init k over t = b
"""
)


@pytest.mark.parametrize("axis", ["s", "t"])
def test_gradients_in_little_memory(axis: str, each_backend: str) -> None:
    net = built(each_backend, SUMMED)
    params, given = given_for(net)
    loss, meant = net.value_and_grad(params, given)
    for options in ({"checkpoint": 1}, {"checkpoint": 3}, {"memory": 10**9}):
        plan, run = net.windows(params, given, axis=axis, **options)
        assert (plan.axis, plan.windows) == (axis, -(-STEPS[axis] // plan.steps))
        found_loss, found = run()
        assert found_loss == pytest.approx(loss, rel=1e-12)
        assert found.keys() == meant.keys()
        for name, array in meant.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-13, err_msg=name)


def test_windows_are_along_the_axis_of_more_steps_that_has_them(each_backend: str) -> None:
    net = built(each_backend, SUMMED)
    assert net.windows(*given_for(net), checkpoint=2)[0].axis == "t"
    net = built(each_backend, DECODER)
    params, given = given_for(net)
    given["x"] = given["x"][[0, 1, 2, 3, 2, 1, 0]]
    plan, run = net.windows(params, given, checkpoint=2)
    assert (plan.axis, plan.windows) == ("t", 3)
    meant = net.value_and_grad(params, given)[1]
    for name, array in run()[1].items():
        np.testing.assert_allclose(array, meant[name], rtol=1e-10, err_msg=name)
    with pytest.raises(InputError, match=r"along s, `.*` needs the whole sequence at every step"):
        net.windows(params, given, checkpoint=2, axis="s")


def test_gradients_stop_where_a_window_begins() -> None:
    net = network(
        GRID.replace("0.3 * f[t-2]", "0.3 * stop(f[t-2]{every})").format(every=", every=2")
    )
    params, given = given_for(net)
    loss, meant = net.value_and_grad(params, given)
    plain = network(WHOLE)
    before = {name: array for name, array in given.items() if "t" not in net.inputs[name].time}
    state = plain.initial_state(params, before, axis="t")
    total, sums = 0.0, {"V": 0.0, "W": 0.0, "r": 0.0}
    for steps in windows("t"):
        part = len(steps) / STEPS["t"]
        window = cut(plain, given, "t", steps)
        alone = plain.loss(params, window, state=state)
        own, gradients, state = plain.value_and_grad(params, window, state=state)
        assert own == pytest.approx(alone, rel=1e-14)
        total += part * own
        sums = {name: found + part * gradients[name] for name, found in sums.items()}
    assert total == pytest.approx(loss, rel=1e-12)
    for name in ("V", "W"):
        np.testing.assert_allclose(sums[name], meant[name], rtol=1e-9)


def test_every_derivative_of_a_window() -> None:
    net = network(WHOLE)
    params, given = given_for(net)
    before = {name: array for name, array in given.items() if "s" not in net.inputs[name].time}
    state = net.initial_state(params, before, axis="s")
    window, random = cut(net, given, "s", range(2)), np.random.default_rng(2)
    outputs, pullback = net.vjp(params, window, state=state)
    cotangents = {label: random.normal(size=array.shape) for label, array in outputs.items()}
    gradients = pullback(cotangents)
    vectors = {name: random.normal(size=array.shape) for name, array in gradients.items()}
    slopes = net.jvp(params, window, vectors, state=state)[1]
    one = sum(float((cotangents[label] * slopes[label]).sum()) for label in outputs)
    assert one == pytest.approx(
        sum(float((gradients[name] * vectors[name]).sum()) for name in gradients), rel=1e-10
    )
    with pytest.raises(InputError, match="no second derivatives of a window along one of"):
        net.hvp(params, window, vectors, state=state)
    losses, each, _ = net.value_and_grad(params, window, state=state, per_sequence=True)
    loss, all_of, _ = net.value_and_grad(params, window, state=state)
    assert losses.mean() == pytest.approx(loss, rel=1e-13)
    np.testing.assert_allclose(each["W"].mean(axis=0), all_of["W"], rtol=1e-10)


def test_the_gradient_of_a_window_reaches_the_encoder() -> None:
    net = network(DECODER)
    params, given = given_for(net)
    state = net.initial_state(params, {"x": given["x"]})
    first = cut(net, given, "t", range(2))
    after = net.value_and_grad(params, first, state=state)[2]
    assert after.keys() == state.keys() == {"d", "e"}  # `step` can go on from it
    outputs, _ = net.step(params, after, {"y": given["y"][2]})
    np.testing.assert_allclose(outputs["d"], net.forward(params, given)["d"][2], rtol=1e-12)
    window = cut(net, given, "t", range(2, 5))
    gradients = net.value_and_grad(params, window, state=after)[1]
    way = np.random.default_rng(3).normal(size=(2, 2))
    up, down = (
        net.loss({**params, "W": params["W"] + step * way}, window, state=after)
        for step in (1e-5, -1e-5)
    )
    assert float((gradients["W"] * way).sum()) == pytest.approx((up - down) / 2e-5, rel=1e-6)
    # The rows alone are enough: what else a state of single steps has is computed anew.
    alone = net.value_and_grad(params, window, state={"d": after["d"]})[1]
    np.testing.assert_array_equal(alone["W"], gradients["W"])


@pytest.mark.parametrize("lengths", [None, [4, 1, 3]])
def test_what_a_loss_alone_reads_is_part_of_the_state(lengths: Any) -> None:
    text = DECODER.replace("loss mean(sum(d * d), over t)", "loss mean(sum(d * q), over t)")
    net = network(text + "q = tanh(0.5 * q[t-1] + y)\ninit q = last(e)\n")
    params, given = given_for(net)
    own = None if lengths is None else {"s": lengths}
    state = net.initial_state(params, {"x": given["x"]}, lengths=own)
    assert {"d", "q"} <= state.keys()
    outputs, after = net.step(params, state, {"y": given["y"][0]})
    assert "q" not in after
    np.testing.assert_allclose(
        outputs["d"], net.forward(params, given, lengths=own)["d"][0], rtol=1e-12
    )
    losses = []
    for steps in windows("t", 1):
        loss, _, state = net.value_and_grad(params, cut(net, given, "t", steps), state=state)
        losses.append(loss)
    assert np.mean(losses) == pytest.approx(net.loss(params, given, lengths=own), rel=1e-12)


@pytest.mark.parametrize("lengths", [None, [4, 1, 3]])
def test_a_state_has_the_rows_that_a_loss_alone_reads(lengths: Any) -> None:
    net = network(DECODER.replace("loss mean(sum(d * d)", "loss mean(sum(d * d[t-3])"))
    params, given = given_for(net)
    own = None if lengths is None else {"s": lengths}
    state = net.initial_state(params, {"x": given["x"]}, lengths=own)
    assert state["d"].shape[0] == 3
    _, stepped = net.step(params, state, {"y": given["y"][0]})
    losses = []
    for steps in windows("t", 1):
        loss, _, state = net.value_and_grad(params, cut(net, given, "t", steps), state=state)
        losses.append(loss)
        if not steps.start:
            np.testing.assert_allclose(stepped["d"], state["d"], rtol=1e-12)
    assert np.mean(losses) == pytest.approx(net.loss(params, given, lengths=own), rel=1e-12)


def test_what_no_single_step_gives_has_a_state_in_windows() -> None:
    text = WHOLE.replace("output h, g\n", "m = mean(h, over t)\noutput m\n")
    net = network(text)
    params, given = given_for(net)
    before = {name: array for name, array in given.items() if "t" not in net.inputs[name].time}
    state = net.initial_state(params, before, axis="t")
    results = net.forward(params, cut(net, given, "t", range(3)), state)
    h = network(WHOLE).forward(params, given)["h"]
    np.testing.assert_allclose(results["m"], h[:, :3].mean(axis=1), rtol=1e-12)
    assert {name.removeprefix("state.") for name in results} == {"m", *state}
    with pytest.raises(InputError, match="no output runs over t"):
        net.step(params, state, axis="t")


def test_a_window_of_no_steps_leaves_the_state() -> None:
    net = network(WHOLE)
    params, given = given_for(net)
    before = {name: array for name, array in given.items() if "t" not in net.inputs[name].time}
    state = net.initial_state(params, before, axis="t")
    results, _ = net.vjp(params, cut(net, given, "t", range(0)), {"t": 0}, state=state)
    assert results["h"].shape == (STEPS["s"], 0, B, 2)
    for name, array in results.items():
        if name.startswith("state."):
            np.testing.assert_array_equal(array, state[name.removeprefix("state.")])


@pytest.mark.parametrize(
    ("text", "state", "message"),
    [
        (WHOLE, {}, "`grid`: expected the state along one axis, "),
        (DECODER, {"d": 0, "e": 0, "q": 0}, "unknown state `q`: expected `d`"),
        (
            DECODER.replace("t-1", "t+1"),
            {"d": 0},
            "`decoder` takes no state: along t, `d` is read from the future",
        ),
        (
            "net own\ntime s, t\ninput x[t]\nd = 0.5 * d[t-1] + sum(along(x, s) * x, over s)\n"
            "output d\nloss mean(d, over t)",
            {"d": np.zeros((1, B))},
            "needs all steps of t, which it reads along s",
        ),
    ],
)
def test_what_is_no_state_is_refused(text: str, state: Any, message: str) -> None:
    net = network(text)
    params, given = given_for(net)
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        net.value_and_grad(params, given, state=state)
