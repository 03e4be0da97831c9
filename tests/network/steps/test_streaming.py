"""A decoder step by step: with two time axes, as `forward` has all of its steps at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.ir.builder import Builder
from rollc.ir.expressions import call
from rollc.ir.graph import Graph, Type
from rollc.ir.verifier import verify
from rollc.network.network import Network
from rollc.tools.verify.kernels import interpreted
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.streaming_split import stream
from tests.helpers.compiled_networks import network_of

Array = NDArray[Any]
Arrays = dict[str, Array]

S, T, B = 5, 6, 3
LENGTHS = [5, 1, 3]

# An encoder both ways; attention with keys, and with what every step has had of it before; a
# decoder with several delays, that starts where the encoder ended and hears what it said.
ATTENTION = """
net attention
time s, t
dim H = 3
input  x[s]: [2]
static input z: [H]
target y[t]: index(4)
param  U: [H, 2], W: [H, H], P: [H, H], K: [H, H], R: [H, H], Y: [4, H], O: [4, H], start: [4]
f = tanh(U @ x + W @ f[s-1])
b = tanh(U @ x - W @ b[s+1])
e = f * b + z
key = tanh(K @ e)
begin = K @ first(e)
init key = begin
share = softmax(dot(key, d[t-1]) + dot(key[s-1], R @ d[t-1]) - cover[t-1], over s)
cover = cover[t-1] + share
near = where(f > 0, share * e, share) + 0.1 * share[t-2]
context = sum(near, over s)
said = feed(argmax(o[t-1] + o[t-3]), y[t-2])
d = tanh(context + R @ d[t-1] + 0.3 * d[t-3] + embed(Y, said))
init d = P @ last(f)
o = O @ d
init o = start
end = last(d, over t)
bottom = mean(x, over s)
output o, share, cover, e, end, bottom
loss mean(cross_entropy(o, y), over t)
"""
FEEDS: Any = ("taught", "free")


def network(text: str, feed: Any = "taught") -> Network:
    return interpreted(read_spec(text, "test.roll", feed=feed)[0])


def data(net: Network, batched: bool = True, seed: int = 0) -> Arrays:
    """The inputs, and the targets that the outputs read."""
    random = np.random.default_rng(seed)
    found = {}
    for name, spec in {**net.inputs, **net.targets}.items():
        batch = [B] if batched and spec.batch else []
        shape = (*({"s": S, "t": T}[axis] for axis in spec.time), *batch, *spec.shape)
        index = spec.kind == "index"
        if name in net.inputs or name in net.fed:
            found[name] = (
                random.integers(0, spec.bound, shape) if index else random.normal(size=shape)
            )
    return found


def parts(net: Network, arrays: Mapping[str, Array]) -> tuple[Arrays, Callable[[Any], Arrays]]:
    """What the start takes, and what some steps along t do."""
    specs = {**net.inputs, **net.targets}
    timed = {name: array for name, array in arrays.items() if "t" in specs[name].time}
    before = {name: array for name, array in arrays.items() if name not in timed}
    return before, lambda steps: {name: array[steps] for name, array in timed.items()}


def at(net: Network, label: str, array: Array, step: int) -> Array:
    """An output of all steps, at one of them."""
    time = net.outputs[label].time
    return array.take(step, axis=time.index("t")) if "t" in time else array


def same(found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], atol=1e-12, err_msg=name)


def params_of(net: Network) -> Arrays:
    random = np.random.default_rng(7)
    return {name: random.normal(size=array.shape) for name, array in net.init().items()}


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("batched", [True, False])
def test_every_prefix_is_forward(feed: str, lengths: list[int] | None, batched: bool) -> None:
    net = network(ATTENTION, feed)
    params, given = params_of(net), data(net, batched)
    own = None if lengths is None else {"s": lengths if batched else 3}
    if own is not None:
        given["x"][3:, 2:] = np.nan  # padding
        given["x"][3:] = given["x"][3:] if batched else np.nan
    before, now = parts(net, given)
    if own is not None and batched:
        own["s"] = [5, 5, 3]
    state = net.initial_state(params, before, lengths=own)
    for step in range(T):
        outputs, state = net.step(params, state, now(step))
        prefix = {**before, **now(slice(step + 1))}
        whole = net.forward(params, prefix, steps={"t": step + 1}, lengths=own)
        same(outputs, {label: at(net, label, array, step) for label, array in whole.items()})


@pytest.mark.long
def test_the_compiled_steps_are_forward() -> None:
    net = network_of(ATTENTION, "float64")
    params, given = params_of(net), data(net)
    before, now = parts(net, given)
    whole = net.forward(params, given)
    state, found = net.initial_state(params, before), []
    for step in range(T):
        outputs, state = net.step(params, state, now(step))
        found.append(outputs)
    for step, outputs in enumerate(found):  # what came first is still there
        end = outputs if step == T - 1 else outputs | {"end": whole["end"]}
        same(end, {label: at(net, label, array, step) for label, array in whole.items()})


def test_a_state_is_named_and_can_be_saved(tmp_path: Path) -> None:
    net = network(ATTENTION)
    params, given = params_of(net), data(net)
    before, now = parts(net, given)
    state = net.initial_state(params, before, lengths={"s": LENGTHS})
    shapes = {name: array.shape for name, array in net.initial_state(params, before).items()}
    rows = {"d": (3, B, 3), "cover": (1, S, B), "share": (2, S, B), "y": (2, B), "o": (3, B, 4)}
    held = {"e": (S, B, 3), "f": (S, B, 3), "key": (S, B, 3), "begin": (B, 3), "bottom": (B, 2)}
    assert shapes == rows | held
    assert net.states.keys() == shapes.keys()
    for step in range(2):
        _, state = net.step(params, state, now(step))
    np.savez(tmp_path / "state.npz", **state)
    expected = net.step(params, state, now(2))[0]
    with np.load(tmp_path / "state.npz") as file:
        taken_up = dict(file)
    same(network(ATTENTION).step(params, taken_up, now(2))[0], expected)


def test_what_is_held_is_computed_once() -> None:
    net = network(ATTENTION)
    params, given = params_of(net), data(net)
    before, now = parts(net, given)
    called = []
    kernel = net._kernel
    net = Network(net.graph, lambda name: called.append(name) or kernel(name), net.dtype)
    first = state = net.initial_state(params, before)
    for step in range(T):
        _, state = net.step(params, state, now(step))
    assert called.count("start") == 1
    np.testing.assert_array_equal(state["e"], first["e"])


def test_what_is_held_and_not_read_before_its_start_needs_none() -> None:
    """The encoder starts from a value that the steps do not have."""
    text = """
net n
time s, t
input x[s], y[t]
param e0
e = tanh(x + 0.5 * e[s-1])
init e = e0
h = sum(e * h[t-1], over s) + y
output h
"""
    graph = stream(read_spec(text, "n.roll")[0], "t").steps
    assert verify(graph) == []
    assert graph["e"].initial is None


def test_windows_of_steps() -> None:
    net = network(ATTENTION)
    params, given = params_of(net), data(net)
    before, now = parts(net, given)
    whole = net.forward(params, given)
    state = net.initial_state(params, before)
    found: dict[str, list[Array]] = {"o": [], "share": []}
    for start, stop in ((0, 1), (1, 3), (3, T)):
        results = net.forward(params, now(slice(start, stop)), state)
        state = {
            name.removeprefix("state."): array
            for name, array in results.items()
            if name.startswith("state.")
        }
        for label, arrays in found.items():
            arrays.append(results[label])
    same(
        {"o": np.concatenate(found["o"]), "share": np.concatenate(found["share"], axis=1)},
        {"o": whole["o"], "share": whole["share"]},
    )
    window = {name: array[-1:] if name == "y" else array for name, array in given.items()}
    assert net.value_and_grad(params, window, state=state)[2].keys() == state.keys()


def test_one_mask_for_all_steps_is_part_of_the_state() -> None:
    text = """
net n
time s, t
input x[s]: [4], z[t]: [4]
k = dropout(last(x), rate=0.5)
masked = dropout(z, rate=0.5, same=1)
d = 0.5 * d[t-1] + masked + k
output d
"""
    net = network(text)
    given = data(net)
    before, now = parts(net, given)
    state = net.initial_state({}, before, training=True, seed=3)
    assert state.keys() == {"d", "masked'noise", "k"}
    mask, k = state["masked'noise"], state["k"]
    assert set(np.unique(mask)) == {0.0, 2.0}
    d = np.zeros((B, 4))
    for step in range(T):
        outputs, state = net.step({}, state, now(step), training=True, seed=step)
        d = 0.5 * d + mask * given["z"][step] + k
        np.testing.assert_allclose(outputs["d"], d)


def test_samples_are_those_of_all_steps_at_once() -> None:
    text = """
net n
time s, t
input x[s]: [4]
param E: [4, 4] = normal(2)
o = last(x) + embed(E, w[t-1])
w = sample(softmax(o))
output o, w
"""
    net = network(text)
    params, given = net.init(1), data(net)
    whole = net.forward(params, given, steps={"t": T}, seed=5)
    state, random = net.initial_state(params, given), np.random.default_rng(5)
    for step in range(T):
        outputs, state = net.step(params, state, seed=random)
        same(outputs, {label: array[step] for label, array in whole.items()})


def test_what_all_sequences_share_and_each_has_its_own_end_of() -> None:
    text = """
net n
time s, t
input x[s], y[t]
e = 0.5 * e[s-1] + 1
k = last(e)
p = 0.5 * p[t-1] + 1
q = 2 * p
init q = k
d = d[t-1] + q[t-2] * y + last(x)
output d, p, k
"""
    net = network(text)
    given = data(net)
    before, now = parts(net, given)
    whole = net.forward({}, given, lengths={"s": LENGTHS})
    np.testing.assert_allclose(whole["k"], 2 - 0.5 ** (np.array(LENGTHS) - 1))
    np.testing.assert_allclose(
        whole["d"][0], whole["k"] * given["y"][0] + given["x"][np.array(LENGTHS) - 1, range(B)]
    )
    state = net.initial_state({}, before, lengths=LENGTHS)
    for step in range(T):
        outputs, state = net.step({}, state, now(step))
        same(outputs, {label: at(net, label, array, step) for label, array in whole.items()})


def test_an_input_over_both_axes_comes_step_by_step() -> None:
    build = Builder()
    w = build.leaf("w", "input", Type("float", (2,), ("s", "t", "batch")))
    build.promise("d", Type("float", (2,), ("t", "batch")))
    d = call("sum_over", w * build.read("d", 1, "t"), over=("s",))
    build.define("d", "add", (d, call("sum_over", w, over=("s",))))
    graph = Graph("g", "checked", tuple(build.nodes.values()), (("d", "d"),), axes=("s", "t"))
    net = interpreted(graph)
    given = data(net)
    for lengths in (None, {"s": LENGTHS}):
        whole = net.forward({}, given, lengths=lengths)
        state = net.initial_state({}, given, lengths=lengths)
        for step in range(T):
            outputs, state = net.step({}, state, {"w": given["w"][:, step]})
            same(outputs, {"d": whole["d"][step]})


def test_the_start_needs_no_input() -> None:
    text = """
net n
time s, t
input z[t]
param a = 0.5
e = a * e[s-1] + 1
d = sum(e * d[t-1], over s) / 5 + z
output d
"""
    net = network(text)
    params, given = net.init(), data(net)
    state = net.initial_state(params, {"z": given["z"]}, steps={"s": S})
    whole = net.forward(params, given, steps={"s": S})
    assert state["d"].shape == (1, B)
    for step in range(T):
        outputs, state = net.step(params, state, {"z": given["z"][step]})
        same(outputs, {"d": whole["d"][step]})


def test_the_axis_is_said_where_there_is_a_choice() -> None:
    text = """
net n
time s, t
input x[s], y[t]
e = 0.5 * e[s-1] + x
d = 0.5 * d[t-2] + y
output e, d
"""
    net = network(text)
    given = data(net)
    whole = net.forward({}, given)
    with pytest.raises(InputError, match="can run step by step along s and t: give `axis`"):
        net.initial_state({}, given)
    assert net.states == {}
    for axis, label, name, other in (("s", "e", "x", "d"), ("t", "d", "y", "e")):
        state = net.initial_state({}, given, axis=axis)
        for step in range(len(given[name])):
            now = {name: given[name][step]}
            outputs, state = net.step({}, state, now, axis=axis)
            same(outputs, {label: whole[label][step], other: whole[other]})


FRAME = """
net n
time s, t
input x[s]: [2], y[t]: [2]
static input z: [2]
{}
"""
DECODER = "e = x + 0.5 * e[s-1]\nd = sum(e * d[t-1], over s) + y + z\noutput d"


@pytest.mark.parametrize(
    ("equations", "reason"),
    [
        ("d = last(x) + y + 0.5 * d[t+1]\noutput d", "along t, `d` is read from the future"),
        ("d = last(x) + y\nm = sum(d, over t)\noutput m, d", "`m` is computed from all steps of t"),
        ("a = last(x) + y\nd = a - mean(a, over t)\noutput d", "computed from all steps of t"),
        (
            "a = last(x) * y\nd = softmax(a, over t)\noutput d",
            "`d` is computed from all steps of t",
        ),
        ("d = last(x) + y\nm = first(d)\noutput m, d", "`m` is computed from all steps of t"),
        (
            "a = last(x) + y\nd = a - last(a)\noutput d",
            "`d` needs the last step of t at every step of t",
        ),
        ("d = mean(x * y, over t)\noutput d", "along t, no output runs over t"),
    ],
)
def test_what_needs_all_steps_is_refused(equations: str, reason: str) -> None:
    net = network(FRAME.format(equations))
    given = data(net)
    for refused in (
        lambda: net.initial_state({}, given, axis="t"),
        lambda: net.step({}, {}, {}, axis="t"),
    ):
        with pytest.raises(InputError, match=f"`n` cannot run step by step: .*{re.escape(reason)}"):
            refused()


def test_what_the_outputs_do_not_read_is_no_hindrance() -> None:
    net = network(FRAME.format(f"{DECODER}\nb = y + 0.5 * b[t+1]\nloss mean(sum(b * d), over t)"))
    given = data(net)
    before, now = parts(net, given)
    state = net.initial_state({}, before)
    assert net.step({}, state, now(0))[0].keys() == {"d"}


def test_a_read_of_the_future_that_no_output_needs_is_no_state() -> None:
    net = network(FRAME.format(f"{DECODER}\nahead = d[t+1]\nloss mean(sum(ahead * d), over t)"))
    given = data(net)
    before, now = parts(net, given)
    state = net.initial_state({}, before)
    assert state["d"].shape == (1, B, 2)
    for step in range(T):
        outputs, state = net.step({}, state, now(step))
        same(outputs, {"d": net.forward({}, given)["d"][step]})


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ({"x": None}, {}, "missing input `x`: expected float [S, B, 2]"),
        ({"z": None}, {}, "missing input `z`: expected float [B, 2]"),
        ({"x": np.zeros(2)}, {}, "input `x`: expected float [S, B, 2], found [2]"),
        ({}, {"axis": "u"}, "unknown axis `u`: expected `s`, `t`"),
        ({}, {"axis": "s"}, "no input tells the number of steps of t: give `steps`"),
        ({}, {"steps": {"t": 3}}, "the state before the first step along t has no `steps`"),
        ({}, {"steps": 4}, "`x` has 5 steps of s, but `steps` has 4"),
        ({}, {"lengths": {"t": LENGTHS}}, "along t has no `lengths` along it"),
        ({}, {"lengths": [1, 6, 2]}, "`lengths` of s: expected 0 to 5, found 6"),
        ({}, {"seed": -1}, "`seed`: expected a whole number"),
    ],
)
def test_what_is_wrong_with_the_start_is_named(
    inputs: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    net = network(FRAME.format(DECODER))
    before, _ = parts(net, data(net))
    given = {name: array for name, array in (before | inputs).items() if array is not None}
    with pytest.raises(InputError, match=re.escape(message)):
        net.initial_state({}, given, **options)


@pytest.mark.parametrize(
    ("inputs", "states", "message"),
    [
        ({"x": np.zeros((S, B, 2))}, {}, "`x` does not run along t: it is for `initial_state`"),
        ({"z": np.zeros((B, 2))}, {}, "`z` does not run along t: it is for `initial_state`"),
        ({"y": None}, {}, "missing input `y`"),
        ({"y": np.zeros((B, 3))}, {}, "input `y`: expected"),
        ({"y": 1.0}, {}, "input `y`: expected"),
        ({"q": 1}, {}, "unknown input `q`"),
        ({}, {"e": None}, "missing state `e`: expected float [S, B, 2]"),
        ({}, {"d": None}, "missing state `d`"),
        ({}, {"q": np.zeros(3)}, "unknown state `q`: expected `d`, "),
        (
            {},
            {"e": np.zeros((S, B, 3))},
            "state `e`: expected float [S, B, 2] with shape [5, 3, 2]",
        ),
        ({}, {"e": np.zeros(3)}, "state `e`: expected float [S, B, 2], found [3]"),
        ({}, {"d": np.zeros((2, B, 2))}, "state `d`: expected [1, 3, 2], found [2, 3, 2]"),
        ({}, {"d": np.zeros((1, B + 1, 2))}, "state `d`: expected"),
        (
            {},
            {"d": np.zeros((1, 2))},
            "state `d`: expected [1, 3, 2], found [1, 2], without a batch: `initial_state` takes",
        ),
    ],
)
def test_what_is_wrong_with_a_step_is_named(
    inputs: dict[str, Any], states: dict[str, Any], message: str
) -> None:
    net = network(FRAME.format(DECODER))
    before, now = parts(net, data(net))
    state = net.initial_state({}, before) | states
    state = {name: array for name, array in state.items() if array is not None}
    given = {name: array for name, array in (now(0) | inputs).items() if array is not None}
    with pytest.raises(InputError, match=re.escape(message)):
        net.step({}, state, given)


def test_one_axis_has_nothing_to_tell_the_start() -> None:
    net = network("net n\ninput x\nh = 0.5 * h[t-1] + x\noutput h")
    state = net.initial_state({}, {"x": np.ones((3, 2))}, axis="t")
    assert net.step({}, state, {"x": np.ones(2)}, axis="t")[0]["h"].tolist() == [1.0, 1.0]
    assert net.initial_state({}, {"x": np.ones((3, 2))}, 3)["h"].tolist() == [[0.0, 0.0]]
    with pytest.raises(InputError, match="before the first step along t has no `lengths`"):
        net.initial_state({}, {"x": np.ones((3, 2))}, lengths=[3, 2])
    with pytest.raises(InputError, match="unknown axis `s`: expected `t`"):
        net.step({}, state, {"x": np.ones(2)}, axis="s")


def test_the_state_tells_the_steps_along_the_other_axis() -> None:
    """Where no other array of it does, and no input along the axis of the steps."""
    text = "net n\ntime s, t\ninput x[t]\na = tanh(x + b[s+2])\nb = sin(x + a[s-3])\noutput a\n"
    net = network(text)
    x = np.random.default_rng(0).normal(size=(4, 2))
    whole = net.forward({}, {"x": x}, steps={"s": 5})["a"]
    state = net.initial_state({}, {"x": x[:1]}, axis="t", steps={"s": 5})
    assert state.keys() == net.states.keys() == {"s'steps"}
    for step, now in enumerate(x):
        outputs, state = net.step({}, state, {"x": now})
        np.testing.assert_allclose(outputs["a"], whole[:, step], atol=1e-12)
    with pytest.raises(InputError, match="`steps` of s: expected a whole number"):
        net.step({}, {"s'steps": 2.5}, {"x": x[0]})


GIVEN = """
net given
time s, t
input x[t]: [1], z[s, t]
init x = 2
param p: [1, 2], e: [2, 1]
a = dot(x, p @ d[s-1]) + z
d: [2] = e @ sum(a * x, over t)
output a
"""


def test_a_start_that_hands_on_what_is_given_is_a_function_without_statements() -> None:
    start = stream(canonicalize(read_spec(GIVEN, "given.roll")[0]), "s").start
    assert start is not None
    compile(compiled(start, "float64", backend="numba").source, "start", "exec")


def test_a_state_tells_the_steps_of_the_other_axis_where_only_the_steps_have_them() -> None:
    text = "net n\ntime s, t\ninput x[s, t]\nh = tanh(x - x[t+1])\noutput h\n"
    net = interpreted(read_spec(text, "n.roll")[0])
    x = np.random.default_rng(0).normal(size=(S, T, B))
    state = net.initial_state({}, None, {"t": T}, axis="s")
    run = net.prepare({}).stream(state, axis="s")
    found = np.stack([run({"x": row})["h"] for row in x])
    np.testing.assert_allclose(found, net.forward({}, {"x": x})["h"], rtol=1e-12)


def test_a_read_along_both_axes_that_no_output_needs_has_no_initial_value() -> None:
    text = "net n\ntime s, t\ninput x[s, t]\nparam p\nh = tanh(x + h[s-2] + h[t-1])\n"
    text += "init h over s, t = p\ng = tanh(h[s-2, t-2] + g[s-1])\noutput h\n"
    text += "loss sum(sum(g, over s), over t)\n"
    net = interpreted(read_spec(text, "n.roll")[0])
    x = np.random.default_rng(0).normal(size=(S, T, B))
    params = {"p": 0.5}
    state = net.initial_state(params, {"x": x}, axis="s")
    for row, meant in zip(x, net.forward(params, {"x": x})["h"], strict=True):
        outputs, state = net.step(params, state, {"x": row}, axis="s")
        np.testing.assert_allclose(outputs["h"], meant, rtol=1e-12)


def test_steps_that_a_loss_alone_compares_are_no_hindrance() -> None:
    text = "net n\ntime s, t\ninput x[t]\nh = 0.5 * h[t-1] + x\nq = h * h\n"
    text += "loss mean(mean(along(q, s) * x, over s), over t)\noutput h\n"
    net = interpreted(read_spec(text, "n.roll")[0])
    x = np.random.default_rng(0).normal(size=(T, B))
    state = net.initial_state({}, {"x": x}, axis=net.axis_of_steps(), steps={"s": S})
    for now, meant in zip(x, net.forward({}, {"x": x})["h"], strict=True):
        outputs, state = net.step({}, state, {"x": now})
        np.testing.assert_allclose(outputs["h"], meant, rtol=1e-12)
