"""A network with parameters of its own: the same numbers, whoever calls it and with what arrays."""

from __future__ import annotations

import copy
import pickle
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import rollc
from rollc.backends.protocol import Functions
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.program import PROLOGUE, REST, WHOLE
from rollc.network.network import Network
from rollc.network.steps.prepared import Prepared
from rollc.runtime.kernel import Kernel
from rollc.support import threads
from rollc.transforms.streaming_split import why_no_steps
from tests.helpers.compiled_networks import network_of, on_machine
from tests.helpers.strategies.delay_graphs import delay_graphs, random_leaves
from tests.network.steps.test_streaming import ATTENTION
from tests.network.steps.test_streaming_properties import into_the_past

Array = NDArray[Any]
Arrays = dict[str, Any]

CELL = """
net cell
dim D = 3, H = 4
input x: [D]
target y: [H]
param W: [4*H, D], U: [4*H, H], b: [4*H]
i, f, g, o = split(W @ dropout(x, rate=0.5) + U @ h[t-1] + b, 4)
c = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(g)
h = sigmoid(o) * tanh(c)
output h
loss mean(mse(h, y), over t)
"""
# Parameters that are computed with before any step; several delays; a start from an input.
DELAYS = """
net delays
dim H = 3
input x: [H]
static input z: [H]
input k: index(5)
param A: [H, H], w: [H], E: [5, H], n, begin: [H]
a = exp(-exp(w)) + n
B = A @ a
q = A @ x + embed(E, k) + a * q[t-1] + B * q[t-3]
s = sum(q * w) + n * s[t-2]
h = tanh(q + s * z)
init q = begin * z
init s = n
output h, s
loss mean(sum(h * h), over t)
"""
CHANCE = """
net chance
dim K = 3
input x
param a: [K], E: [K, K]
o = a * x + embed(E, r[t-1])
r = sample(o)
output o, r
loss mean(sum(o), over t)
"""
PLAIN = """
net plain
dim H = 2
input x: [H]
param W: [H, H]
y = W @ x
output y
loss mean(sum(y), over t)
"""
# What all sequences share, and an input that steps are late in.
CLOCKED = """
net clocked
dim H = 3
input x: [H]
param W: [H, H], a: [H]
q = tanh(a + 0.5 * q[t-1])
h = tanh(W @ x[t-1] + W @ h[t-2] + q)
output h, q, x
loss mean(sum(h), over t)
"""
SPECS = {"clocked": CLOCKED, "cell": CELL, "delays": DELAYS, "chance": CHANCE, "plain": PLAIN}


def on_reference(graph: Graph, dtype: str = "float64") -> Network:
    """The network whose programs are interpreted."""
    makers = kernel_graphs(graph)

    @cache
    def kernel(entry: str) -> Kernel:
        program = planned(scheduled(makers[entry]()))
        return Kernel(program, Path("none"), dtype, "", "reference")

    return Network(graph, kernel, dtype)


def of(text: str) -> Network:
    return on_reference(read_spec(text, "test.roll")[0])


def data(
    net: Network, steps: int = 4, batch: int | None = 2, seed: int = 0
) -> tuple[Arrays, Arrays]:
    """Parameters and inputs with targets, in the precision of the network."""
    random = np.random.default_rng(seed)
    params = {name: random.normal(size=a.shape).astype(net.dtype) for name, a in net.init().items()}
    found = {}
    for name, spec in {**net.inputs, **net.targets}.items():
        lead = [] if batch is None or not spec.batch else [batch]
        shape = (*(steps for _ in spec.time), *lead, *spec.shape)
        if spec.kind == "index":
            found[name] = random.integers(0, spec.bound, shape)
        else:
            found[name] = random.normal(size=shape).astype(net.dtype)
    return params, found


def same(found: Any, expected: Any) -> None:
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert isinstance(array, np.ndarray), name
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def at(net: Network, inputs: Arrays, step: int) -> Arrays:
    """The inputs of one step; static ones are for the start, or as they are."""
    return {n: a[step] if net.inputs[n].time else a for n, a in inputs.items() if n in net.inputs}


def agree(net: Network, params: Arrays, inputs: Arrays, steps: int, training: bool) -> None:
    """Every call of a network and of what is prepared, twice each; and steps by every way."""
    ready, noise = net.prepare(params), {"training": training, "seed": 5}
    for _ in range(2):
        same(
            ready.forward(inputs, steps=steps, **noise),
            net.forward(params, inputs, steps=steps, **noise),
        )
        if net.graph.loss is not None:
            loss = net.loss(params, inputs, steps, **noise)
            np.testing.assert_array_equal(ready.loss(inputs, steps, **noise), loss)
    state = net.initial_state(params, inputs, **noise)
    same(ready.initial_state(inputs, **noise), state)
    window = ready.forward(inputs, state=state, steps=steps, **noise)
    same(window, net.forward(params, inputs, state=state, steps=steps, **noise))
    one, two, three = (np.random.default_rng(3) for _ in range(3))
    stream = ready.stream(state, training=training, seed=three)
    for step in range(steps):
        now = at(net, inputs, step)
        expected, after = net._definition.streaming(None, False).one_step(
            params, state, now, training, copy.deepcopy(one)
        )[:2]
        again, found = (
            net.step(params, state, now, training=training, seed=one),
            ready.step(state, now, training=training, seed=two),
        )
        for outputs, following in (again, found):
            same(outputs, expected)
            same(following, after)
        same(stream(now), expected)
        same(stream.state, after)
        state = after


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch", [2, 1, None])
@pytest.mark.parametrize("name", SPECS)
def test_all_calls_agree(name: str, batch: int | None, training: bool) -> None:
    net = of(SPECS[name])
    agree(net, *data(net, batch=batch), 4, training)


bounded = settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@bounded
@given(delay_graphs(clocks=True), st.booleans(), st.integers(0, 1000))
def test_all_calls_of_random_networks_agree(graph: Graph, training: bool, seed: int) -> None:
    graph = replace(into_the_past(graph), stage="checked")
    assume(graph.outputs and why_no_steps(graph, "t") is None)
    net = on_reference(graph)
    leaves = random_leaves(graph, {"t": 4, "batch": 2}, seed)
    params = {name: leaves[name] for name in net.params}
    inputs = {name: leaves[name] for name in (*net.inputs, *net.targets)}
    agree(net, params, inputs, 4, training)


@pytest.mark.parametrize("lengths", [None, [5, 1, 3]])
def test_a_decoder_agrees(lengths: list[int] | None) -> None:
    net = of(ATTENTION)
    params, inputs = data(net, batch=3)
    inputs["x"] = np.random.default_rng(1).normal(size=(5, 3, 2))
    before = {name: array for name, array in inputs.items() if name != "y"}
    own = None if lengths is None else {"s": lengths}
    ready = net.prepare(params)
    same(ready.forward(inputs, lengths=own), net.forward(params, inputs, lengths=own))
    state = net.initial_state(params, before, lengths=own)
    same(ready.initial_state(before, lengths=own), state)
    stream = ready.stream(state)
    for step in range(4):
        now = {"y": inputs["y"][step]}
        expected, after = net._definition.streaming(None, own is not None).one_step(
            params, state, now, False, 0
        )[:2]
        for outputs, following in (net.step(params, state, now), ready.step(state, now)):
            same(outputs, expected)
            same(following, after)
        same(stream(now["y"]), expected)
        same(stream.state, after)
        state = after
    window = ready.forward({"y": inputs["y"]}, state=state)
    same(window, net.forward(params, {"y": inputs["y"]}, state=state))


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("cell", "float32"),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (("cell", "float64"), ("delays", "float32"), ("delays", "float64"))
        ),
    ],
)
def test_compiled_calls_agree(name: str, dtype: str) -> None:
    net = network_of(SPECS[name], dtype)
    for batch in (2, None):
        agree(net, *data(net, batch=batch), 4, False)


@pytest.mark.compiled
@pytest.mark.parametrize("text", [CELL, DELAYS, PLAIN, CLOCKED])
def test_threads_share_a_batch(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on_machine(monkeypatch, thread_start=0, product_rows=1, packed_numbers=1)
    net = network_of(text, "float64")
    params, inputs = data(net, batch=7)
    expected = net.forward(params, inputs)
    state = net.initial_state(params, inputs)
    alone = net.prepare(params).stream(state)
    threads.use(3)
    try:
        ready = net.prepare(params)
        for _ in range(2):
            close(ready.forward(inputs), expected)
        stream = ready.stream(state)
        if text is CELL:
            assert stream._stepper is not None
            assert len(stream._stepper._resident._shares) == 3
        for step in range(4):
            now = at(net, inputs, step)
            right, after = ready.step(state, now)
            close(stream(now), right)
            close(stream.state, after)
            threads.use(1)
            close(alone(now), right)
            threads.use(3)
            close(net.step(params, state, now)[0], right)
            state = after
    finally:
        threads.use(None)


def close(found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    """Threads have other rows of tiles, so that sums are rounded in another order."""
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_what_parameters_alone_give_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net = of(CELL)
    params, inputs = data(net)
    parts: list[int] = []
    kernel = net._kernel("forward")
    made = kernel.functions.phases["primal"]

    def noted(numbers: Any, arrays: Any) -> Any:
        parts.append(numbers[6])
        return made(numbers, arrays)

    monkeypatch.setattr(kernel, "_functions", Functions({"primal": noted}))
    net.forward(params, inputs)
    assert parts == [WHOLE]
    ready = net.prepare(params)
    for batch in (2, 1):
        ready.forward({name: array[:, :batch] for name, array in inputs.items()})
    assert parts == [WHOLE, PROLOGUE, REST, REST]


# Arrays --------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before the first call", "after it"])
def test_what_becomes_of_parameters_changes_nothing(when: str) -> None:
    net = of(DELAYS)
    params, inputs = data(net)
    expected = net.forward(params, inputs)
    state = net.initial_state(params, inputs)
    stepped = net.step(params, state, at(net, inputs, 0))
    ready = net.prepare(params)
    if when == "after it":
        ready.forward(inputs)
    for array in params.values():
        array[...] = np.nan
    same(ready.forward(inputs), expected)
    same(ready.initial_state(inputs), state)
    same(ready.step(state, at(net, inputs, 0))[0], stepped[0])
    with pytest.raises(ValueError, match="read-only"):
        ready.params["w"][0] = 1


def test_results_are_the_callers_own() -> None:
    net = of(CELL)
    params, inputs = data(net)
    stream, kept, copies = net.prepare(params).stream(batch=2), [], []
    for step in range(4):
        outputs, state = stream(inputs["x"][step]), stream.state
        kept += [*outputs.values(), *state.values()]
        copies += [array.copy() for array in kept[len(copies) :]]
    for array, copied in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copied)
        array[...] = np.nan
    assert np.isfinite(stream(inputs["x"][0])["h"]).all()


def test_arrays_of_other_sorts_are_taken_as_everywhere() -> None:
    net = on_reference(read_spec(DELAYS, "test.roll")[0], "float32")
    params, inputs = data(net)
    state = net.initial_state(params, inputs)
    now = at(net, inputs, 1)
    expected, after = net.step(params, state, now)
    others: list[Callable[[Array], Any]] = [
        lambda a: a.astype(">f8") if a.dtype.kind == "f" else a.astype(np.int32),
        lambda a: a.tolist(),
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
        lambda a: np.array(a, order="F"),
        lambda a: a.astype(np.float64) if a.dtype.kind == "f" else a,
    ]
    for other in others:
        given = {name: other(array) for name, array in now.items()}
        own = {name: other(array) for name, array in state.items()}
        ready = net.prepare({name: other(array) for name, array in params.items()})
        stream = ready.stream(own)
        for _ in range(2):
            same(net.step(params, own, given)[0], expected)
            same(ready.step(own, given)[0], expected)
        same(stream(given), expected)
        same(stream.state, after)
        same(stream(now), ready.step(after, now)[0])


def test_a_stream_goes_on_with_another_batch_of_inputs_where_there_is_no_state() -> None:
    net = of(PLAIN)
    params, inputs = data(net, batch=3)
    stream = net.prepare(params).stream()
    for x in (inputs["x"][0], inputs["x"][1, :2], inputs["x"][2, 0], inputs["x"][3]):
        same(stream(x), net.step(params, {}, {"x": x})[0])


def test_nothing_to_do() -> None:
    net = of(CELL)
    params, inputs = data(net, batch=0)
    ready = net.prepare(params)
    same(ready.forward(inputs), net.forward(params, inputs))
    none = {name: array[:0] for name, array in data(net)[1].items()}
    same(ready.forward(none), net.forward(params, none))
    state = net.initial_state(params, inputs)
    stream = ready.stream(state)
    same(stream(inputs["x"][0]), net.step(params, state, {"x": inputs["x"][0]})[0])


# Streams -------------------------------------------------------------------------------


def test_a_stream_begins_with_initial_values() -> None:
    net = of(CELL)
    params, inputs = data(net)
    ready = net.prepare(params)
    expected = net.forward(params, inputs)["h"]
    for stream in (ready.stream(batch=2), ready.stream(net.initial_state(params, inputs))):
        for step in range(4):
            np.testing.assert_array_equal(stream(inputs["x"][step])["h"], expected[step])
        stream.state = ready.stream(batch=2).state
        np.testing.assert_array_equal(stream(inputs["x"][0])["h"], expected[0])
    alone = ready.stream()
    for step in range(4):
        found = alone(inputs["x"][step, 0])["h"]
        np.testing.assert_allclose(found, expected[step, 0], rtol=1e-12)


def test_a_stream_draws_from_one_generator() -> None:
    net = of(CHANCE)
    params, inputs = data(net)
    ready = net.prepare(params)
    state, random = net.initial_state(params, inputs), np.random.default_rng(4)
    stream = ready.stream(state, seed=4)
    for step in range(4):
        outputs, state = net.step(params, state, {"x": inputs["x"][step]}, seed=random)
        same(stream(inputs["x"][step]), outputs)


def test_copies_go_their_own_way() -> None:
    net = of(CHANCE)
    params, inputs = data(net)
    stream = net.prepare(params).stream(batch=2, seed=1)
    stream(inputs["x"][0])
    for other in (copy.copy(stream), copy.deepcopy(stream)):
        same(other.state, stream.state)
        other(inputs["x"][1])
        other(inputs["x"][1])
    expected = copy.copy(stream)(inputs["x"][1])
    same(stream(inputs["x"][1]), expected)


def test_pickles(tmp_path: Path) -> None:
    (tmp_path / "chance.roll").write_text(CHANCE)
    net = rollc.build(tmp_path / "chance.roll", dtype="float64", backend="reference")
    params, inputs = data(net)
    ready = net.prepare(params)
    stream = ready.stream(batch=2, seed=1)
    stream(inputs["x"][0])
    again, other = pickle.loads(pickle.dumps((ready, stream)))
    assert isinstance(again, Prepared)
    same(again.forward(inputs), ready.forward(inputs))
    for step in (1, 2, 3):
        same(other(inputs["x"][step]), stream(inputs["x"][step]))
    assert copy.copy(ready) is copy.deepcopy(ready) is ready


def test_several_threads() -> None:
    """Calls of what is prepared are apart; a stream is one sequence of steps."""
    net = network_of(CELL, "float64")
    params, inputs = data(net, steps=50)
    ready = net.prepare(params)
    starts = [net.initial_state(params, inputs)]
    starts += [{name: array + i for name, array in starts[0].items()} for i in range(1, 4)]

    def run(step: Callable[..., Any], start: Arrays) -> list[Array]:
        found, state = [], start
        for x in inputs["x"]:
            outputs, state = step(state, {"x": x})
            found.append(outputs["h"])
        return found

    expected = [run(lambda *given: net.step(params, *given), start) for start in starts]
    with ThreadPoolExecutor(4) as pool:
        both = [
            pool.map(lambda start: run(ready.step, start), starts),
            pool.map(lambda start: run(lambda *given: net.step(params, *given), start), starts),
            pool.map(lambda start: [ready.stream(start)(x)["h"] for x in inputs["x"][:1]], starts),
        ]
        for runs in both:
            for found, right in zip(runs, expected, strict=True):
                np.testing.assert_array_equal(found, right[: len(found)])


def test_a_stream_refuses_a_second_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    net = of(CELL)
    params, inputs = data(net)
    stream = net.prepare(params).stream(batch=2)
    expected = copy.copy(stream)(inputs["x"][0])
    inside, go_on = threading.Event(), threading.Event()
    assert stream._stepper is not None
    run = stream._stepper.run

    def waiting(*given: Any) -> None:
        inside.set()
        go_on.wait(60)
        run(*given)

    monkeypatch.setattr(stream._stepper, "run", waiting)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(stream, inputs["x"][0])
        assert inside.wait(60)
        with pytest.raises(InputError, match="one sequence of steps, and another thread is in one"):
            stream(inputs["x"][1])
        go_on.set()
        same(first.result(), expected)


# Errors --------------------------------------------------------------------------------


def refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        call()


def test_wrong_inputs_of_a_step() -> None:
    """A stream says what `step` says, and is as it was."""
    net = on_reference(read_spec(DELAYS, "test.roll")[0], "float32")
    params, inputs = data(net)
    ready, state, now = net.prepare(params), net.initial_state(params, inputs), at(net, inputs, 0)
    stream, good = ready.stream(state), ready.step(state, now)[0]
    wrong: dict[str, Mapping[str, Any]] = {
        "missing input `x`: expected float [T, B, 3]": {"k": now["k"], "z": now["z"]},
        "unknown input `y`: expected `x`, `z`, `k`": {**now, "y": 1},
        "input `k`: expected 0 to 4, found 5": {**now, "k": np.array([5, 0])},
        "input `k`: expected 0 to 4, found -1": {**now, "k": np.array([0, -1])},
        "input `k`: expected integers, found float64": {**now, "k": np.array([0.5, 1])},
        "1e+300 is too large for float32": {**now, "x": np.full((2, 3), 1e300)},
        "expected float [T, B, 3], found [1, 2, 1, 3]": {**now, "x": now["x"][:, None]},
    }
    for _ in range(2):
        for message, arrays in wrong.items():
            refused(lambda arrays=arrays: stream(arrays), message)
            refused(lambda arrays=arrays: ready.step(state, arrays), message)
            refused(lambda arrays=arrays: net.step(params, state, arrays), message)
        same(stream.state, state)
        same(ready.step(state, now)[0], good)
        same(net.step(params, state, now)[0], good)
    same(stream(now), good)
    refused(lambda: stream(now["x"]), "`inputs`: expected arrays by name, found")
    refused(lambda: stream({**now, "x": now["x"][:1]}), "shape")


def test_wrong_states_and_options() -> None:
    net = of(DELAYS)
    params, inputs = data(net)
    ready, state, now = net.prepare(params), net.initial_state(params, inputs), at(net, inputs, 0)
    ready.step(state, now)
    stream = ready.stream(state)
    one = {name: array for name, array in state.items() if name != "q"}
    for message, own in {
        "missing state `q`": one,
        "state `q`: expected [3, 2, 3], found [3, 2, 2]": {**one, "q": state["q"][:, :, :2]},
        "unknown state `r`": {**state, "r": 1},
    }.items():
        refused(lambda own=own: ready.step(own, now), message)
        refused(lambda own=own: ready.stream(own), message)
        with pytest.raises(InputError, match=re.escape(message)):
            stream.state = own
    same(stream.state, state)
    refused(lambda: ready.step(state, now, training="yes"), "`training`: expected True or False")
    refused(lambda: ready.step(state, now, seed=-1), "`seed`: expected a whole number from 0")
    refused(lambda: ready.stream(state, training=1), "`training`: expected True or False")
    refused(lambda: ready.stream(state, batch=2), "expected either `state` or `batch`")
    refused(lambda: ready.stream(batch=0), "`batch`: expected a whole number from 1")
    refused(lambda: ready.stream(batch=2), "missing input `z`")


def test_what_has_no_steps() -> None:
    net = of("net n\ninput x\nparam a\ny = a * x + y[t+1]\noutput y\n")
    ready = net.prepare({"a": 1.0})
    refused(lambda: ready.stream(), "`n` cannot run step by step: `y` is read from the future")
    mean = of("net n\ninput x\nm = mean(x, over t)\ny = x - m + y[t-1]\noutput y\n")
    refused(lambda: mean.prepare({}).stream(batch=1), "`n` cannot run step by step")
    same(ready.forward({"x": np.ones((3, 1))}), net.forward({"a": 1.0}, {"x": np.ones((3, 1))}))


def test_wrong_parameters() -> None:
    net = of(PLAIN)
    refused(lambda: net.prepare({}), "missing parameter `W`: expected float [2, 2]")
    refused(lambda: net.prepare({"W": np.ones((2, 2)), "V": 1}), "unknown parameter `V`")
    refused(lambda: net.prepare({"W": np.ones(2)}), "with shape [2, 2], found [2]")
    refused(lambda: net.prepare([1]), "`params`: expected arrays by name")  # type: ignore[arg-type]
