"""Pullbacks: of the call that they came with, as often as one likes, from one forward pass."""

from __future__ import annotations

import ctypes
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.network.network import Network
from rollc.runtime import frames as runtime_frames
from rollc.runtime.kernel import Kernel
from rollc.support import threads
from tests.helpers.compiled_networks import network_of, on_machine

pytestmark = pytest.mark.usefixtures("each_backend")

Array = NDArray[Any]
Arrays = dict[str, Array]

T, B = 7, 5

# Outputs that are read by the adjoint (h), that are not (o), that are an input (x), a parameter
# (V), one for all steps, and an index; an input that is read with a delay, and one that is not.
TEXT = """
net several
dim D = 2, H = 3
input x: [D], u: [D], w: index(4)
static input z: [H]
target y: [H]
param U: [H, D], W: [H, H], E: [4, H], V: [H, H], a: [H], b: [H]
h = tanh(U @ (x + u[t-1]) + W @ h[t-1] + embed(E, w) + z + dropout(a + b, rate=0.3))
o = V @ h
m = mean(h, over t)
k = argmax(h)
output h, o, m, k, x, V
loss mean(mse(o, y), over t)
"""


@pytest.fixture(scope="module")
def network(each_backend: str) -> Network:
    return network_of(TEXT, "float64")


@pytest.fixture
def params(network: Network) -> Arrays:
    random = np.random.default_rng(0)
    return {name: random.normal(size=spec.shape) for name, spec in network.params.items()}


@pytest.fixture
def inputs() -> Arrays:
    random = np.random.default_rng(1)
    return {
        "x": random.normal(size=(T, B, 2)),
        "u": random.normal(size=(T, B, 2)),
        "w": random.integers(0, 4, (T, B)),
        "z": random.normal(size=(B, 3)),
    }


@pytest.fixture(params=[1, 3])
def shared_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """One thread, and several that share a batch."""
    on_machine(monkeypatch, product_rows=1, thread_start=0)
    threads.use(request.param)
    yield request.param
    threads.use(None)


def weights(outputs: Arrays, seed: int = 2, names: tuple[str, ...] = ("h", "o", "m")) -> Arrays:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=outputs[name].shape) for name in names}


def same(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def spoil(arrays: Arrays) -> None:
    for array in arrays.values():
        array[...] = 3


# Whatever becomes of the arrays -----------------------------------------------------------


@pytest.mark.sampled(4)
@pytest.mark.usefixtures("shared_out")
@pytest.mark.parametrize("kind", ["plain", "state", "lengths", "training"])
def test_a_pullback_is_of_its_call(
    network: Network, params: Arrays, inputs: Arrays, kind: str
) -> None:
    given: Arrays = {}
    options: dict[str, Any] = {}
    if kind == "state":
        given = network.initial_state(params, inputs)
        given = {name: array + 0.1 for name, array in given.items()}
        options["state"] = given
    if kind == "lengths":
        given = {"lengths": np.array([7, 2, 5, 1, 6])}
        options |= given
    if kind == "training":
        options |= {"training": True, "seed": 3}
    outputs, pullback = network.vjp(params, inputs, **options)
    cotangents = weights(outputs)
    expected = pullback(cotangents)
    kept = {name: array.copy() for name, array in expected.items()}
    outputs, pullback = network.vjp(params, inputs, **options)
    for arrays in (params, inputs, given, outputs, expected):
        spoil(arrays)
    same(pullback(cotangents), kept)
    spoil(pullback(cotangents))
    same(pullback(cotangents), kept)


def test_what_only_a_gradient_reads_is_that_of_its_call() -> None:
    text = """
net n
input x: [2], c: [2]
param k
fn straight(a, b) = a
    grad a: b
h = straight(k * x, c)
output h
"""
    net = network_of(text, "float64")
    given = {name: np.random.default_rng(0).normal(size=(4, 3, 2)) for name in "xc"}
    params, cotangents = {"k": np.array(2.0)}, {"h": np.ones((4, 3, 2))}
    expected = np.sum(given["c"] * given["x"])
    _, pullback = net.vjp(params, given)
    for arrays in (params, given):
        spoil(arrays)
    np.testing.assert_allclose(pullback(cotangents)["k"], expected)


def test_the_outputs_are_the_callers_own(network: Network, params: Arrays, inputs: Arrays) -> None:
    outputs, _ = network.vjp(params, inputs)
    same(outputs, network.forward(params, inputs))
    for result in (outputs, network.forward(params, inputs)):
        for name, array in result.items():
            others = [*params.values(), *inputs.values()]
            others += [other for label, other in result.items() if label != name]
            assert not any(np.shares_memory(array, other) for other in others), name
            array[...] = 0  # it can be written to


def test_several_pullbacks_of_a_network_are_apart(
    network: Network, params: Arrays, inputs: Arrays
) -> None:
    expected, pullbacks = [], []
    for number in range(4):
        own = {**inputs, "x": inputs["x"] + number}
        outputs, pullback = network.vjp(params, own)
        pullbacks.append(pullback)
        for seed in (0, 1):
            alone = network.vjp(params, own)[1]
            expected.append(alone(weights(outputs, seed)))
    outputs = network.forward(params, inputs)
    for turn in (range(8), reversed(range(8))):
        for number in turn:
            network.forward(params, {**inputs, "x": inputs["x"] - 1})
            found = pullbacks[number // 2](weights(outputs, number % 2))
            same(found, expected[number])


@pytest.mark.usefixtures("shared_out")
def test_threads_may_ask_at_once(network: Network, params: Arrays, inputs: Arrays) -> None:
    outputs, pullback = network.vjp(params, inputs)
    seeds = range(6)
    expected = {seed: pullback(weights(outputs, seed)) for seed in seeds}
    found: dict[int, list[Arrays]] = {seed: [] for seed in seeds}

    def ask(seed: int) -> None:
        for _ in range(5):
            found[seed].append(pullback(weights(outputs, seed)))
            network.forward(params, inputs)

    asking = [threading.Thread(target=ask, args=(seed,)) for seed in seeds]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    for seed in seeds:
        assert len(found[seed]) == 5
        for each in found[seed]:
            same(each, expected[seed])


def test_a_tape_is_one_threads_at_a_time(
    network: Network, params: Arrays, inputs: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, pullback = network.vjp(params, inputs)
    call, inside, most = Kernel.call, [0], [0]
    together = threading.Barrier(2)

    def noted(self: Kernel, *given: Any) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        with suppress(threading.BrokenBarrierError):  # no other comes
            together.wait(0.2)
        call(self, *given)
        inside[0] -= 1

    monkeypatch.setattr(Kernel, "call", noted)
    asking = [threading.Thread(target=pullback, args=(weights(outputs),)) for _ in range(2)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert most == [1]


# The work and the memory ------------------------------------------------------------------


@pytest.fixture
def phases(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The phases that kernels run."""
    seen: list[str] = []
    call = Kernel.call

    def noted(self: Kernel, function: Any, frame: Any, arrays: Any, of: Any, asked: Any) -> None:
        seen.append(function.phase)
        seen.extend({function.optional} & {*asked})
        call(self, function, frame, arrays, of, asked)

    monkeypatch.setattr(Kernel, "call", noted)
    return seen


def test_nothing_is_computed_twice_or_for_no_one(
    network: Network, params: Arrays, inputs: Arrays, phases: list[str]
) -> None:
    outputs, pullback = network.vjp(params, inputs)
    assert phases == ["primal"]
    for wrt, expected in (
        (("params", "inputs"), ["adjoint", "inputs"]),
        ("x", ["adjoint", "inputs"]),
        ("W", ["adjoint"]),
        ((), []),
    ):
        phases.clear()
        pullback(weights(outputs), wrt)
        assert phases == expected
        phases.clear()
        network.value_and_grad(params, {**inputs, "y": outputs["o"]}, wrt=wrt)
        assert phases == ["primal", *expected]


@pytest.mark.usefixtures("shared_out")
def test_a_dropped_pullback_gives_its_memory_back(
    network: Network, params: Arrays, inputs: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = network._kernel("vjp")
    kernel.memory.frames.clear()
    gc.disable()  # nothing waits for it
    try:
        outputs, pullback = network.vjp(params, inputs)
        assert len(kernel.memory.frames) == 0
        tape = weakref.ref(pullback.tape)
        frames = {id(part.frame) for part in pullback.tape._parts}
        pullback(weights(outputs))
        del pullback
        assert tape() is None
        for _ in range(100):
            outputs, pullback = network.vjp(params, inputs)
            pullback(weights(outputs))
            assert {id(part.frame) for part in pullback.tape._parts} == frames
            del pullback
        assert len(kernel.memory.frames) == len(frames)
        for small, count in ((0, 2), (runtime_frames.SMALL, 20)):  # small ones all stay
            monkeypatch.setattr(runtime_frames, "SMALL", small)
            many = [network.vjp(params, inputs)[1] for _ in range(20)]
            del many
            assert len(kernel.memory.frames) == count * len(frames)
    finally:
        gc.enable()


def test_a_tape_keeps_no_array_of_the_callers(network: Network, inputs: Arrays) -> None:
    text = "net n\ninput x\nparam k, c\ny = k * x\noutput y\ns = y + c\noutput s\n"
    small = network_of(text, "float64")
    params, x = {"k": np.array(2.0), "c": np.array(1.0)}, np.ones(5000)
    outputs, pullback = small.vjp(params, {"x": x})
    known = [weakref.ref(array) for array in (x, *params.values(), *outputs.values())]
    del x, params, outputs
    small.vjp({"k": 1, "c": 1}, {"x": [1.0]})  # a frame that ran last holds what it ran on
    gc.collect()
    assert not any(one() is not None for one in known)
    np.testing.assert_array_equal(pullback({"y": np.ones(5000)}, "k")["k"], 5000)


# What is asked for ------------------------------------------------------------------------


def test_wrt_names_single_gradients(network: Network, params: Arrays, inputs: Arrays) -> None:
    data = {**inputs, "y": np.zeros((T, B, 3))}
    loss, every = network.value_and_grad(params, data)
    outputs, pullback = network.vjp(params, inputs)
    cotangents = weights(outputs)
    all_pulled = pullback(cotangents)
    assert every.keys() == all_pulled.keys() == {*params, "x", "u", "z"}
    for wrt, expected in (
        ("W", {"W"}),
        ("x", {"x"}),
        ("params", {*params}),
        ("inputs", {"x", "u", "z"}),
        (("W", "x", "W"), {"W", "x"}),
        (["U", "params"], {*params}),
        ({"z": None}.keys(), {"z"}),
        (iter(["a"]), {"a"}),
        ((), set()),
        ("state", set()),
    ):
        names = wrt if isinstance(wrt, str) else [*wrt]
        value, found = network.value_and_grad(params, data, wrt=names)
        assert value == loss
        same(found, {name: every[name] for name in found})
        assert found.keys() == expected
        pulled = pullback(cotangents, wrt=names)
        same(pulled, {name: all_pulled[name] for name in expected})
        same(network.vjp(params, inputs, wrt=names)[1](cotangents), pulled)
    _, back = network.vjp(params, inputs, wrt=iter(["a"]))
    assert back(cotangents).keys() == back(cotangents).keys() == {"a"}


def test_wrt_with_a_state(network: Network, params: Arrays, inputs: Arrays) -> None:
    state = network.initial_state(params, inputs)
    outputs, pullback = network.vjp(params, inputs, state=state)
    rows = {f"state.{name}" for name in network.states}
    assert rows
    cotangents = weights(outputs, names=("h", "state.h"))
    assert pullback(cotangents).keys() == {*params, "x", "u", "z", *rows}
    assert pullback(cotangents, "state").keys() == rows
    assert pullback(cotangents, ("state.h", "W")).keys() == {"state.h", "W"}


@pytest.mark.parametrize(
    ("wrt", "message"),
    [
        ("q", "unknown name `q`; expected `params`, `inputs`, `state`, `U`, `W`, .*`x`"),
        (("W", "param"), "unknown name `param`"),
        ("", "unknown name ``"),
        ("w", "`w` is an index, and has no gradient; expected"),
        ("y", "`y` is a target, and has no gradient; expected"),
        ("h", "unknown name `h`"),
        ("state.h", "no state is given, so `state.h` has no gradient"),
        (3, "expected names of parameters and inputs, found 3"),
        (None, "expected names of parameters and inputs, found None"),
        (("W", 0), "expected names of parameters and inputs, found 0"),
    ],
)
def test_what_has_no_gradient_is_refused(
    network: Network, params: Arrays, inputs: Arrays, wrt: Any, message: str
) -> None:
    data = {**inputs, "y": np.zeros((T, B, 3))}
    outputs, pullback = network.vjp(params, inputs)
    asks: list[Callable[[], object]] = [
        lambda: network.value_and_grad(params, data, wrt=wrt),
        lambda: network.vjp(params, inputs, wrt=wrt),
    ]
    if wrt is not None:  # which is what the call said
        asks.append(lambda: pullback(weights(outputs), wrt))
    for ask in asks:
        with pytest.raises(InputError, match=f"`wrt`: {message}"):
            ask()


@pytest.mark.parametrize(
    ("cotangents", "message"),
    [
        ({"k": np.zeros((T, B))}, "cotangent `k`: the output is of kind index, and has none"),
        ({"q": 1}, "unknown cotangent `q`: expected `h`, `o`, `m`, `k`, `x`, `V`"),
        ({"h": np.zeros((T, B, 2))}, r"cotangent `h`: expected .*\[7, 5, 3\], found \[7, 5, 2\]"),
        ({"m": np.zeros((B, 3), complex)}, "cotangent `m`: expected numbers, found complex128"),
        ({"o": "a"}, "cotangent `o`: expected numbers"),
        ([1], "`cotangents`: expected arrays by name, such as a dictionary, found a value of type"),
    ],
)
def test_what_is_no_cotangent_is_refused(
    network: Network, params: Arrays, inputs: Arrays, cotangents: Any, message: str
) -> None:
    _, pullback = network.vjp(params, inputs)
    with pytest.raises(InputError, match=message):
        pullback(cotangents)


def test_a_network_without_real_outputs_has_no_pullback() -> None:
    text = "net n\ninput x: [3]\nk = argmax(x)\noutput k\n"
    chooser = network_of(text, "float32")
    with pytest.raises(InputError, match="no output of `n` has a gradient"):
        chooser.vjp({}, {"x": np.zeros((2, 3))})


# Results share no memory ------------------------------------------------------------------


@pytest.mark.usefixtures("shared_out")
def test_equal_results_are_not_one_array(network: Network) -> None:
    """Clipping gradients in place would clip those of `a` and `b` twice."""
    text = """
net twice
input x: [3], u: [3]
target y: [3]
param a: [3], b: [3]
h = tanh(x + u + a + b + 0.5 * h[t-1])
o = h
p = h[0:2]
output h, o, p
loss mean(mse(h, y), over t)
"""
    twice = network_of(text, "float64")
    random = np.random.default_rng(0)
    data = {name: random.normal(size=(700, 3, 3)) for name in ("x", "u", "y")}
    params = twice.init()
    outputs = twice.forward(params, {name: data[name] for name in ("x", "u")})
    _, gradients = twice.value_and_grad(params, data)
    for results in (outputs, gradients):
        arrays = list(results.values())
        for number, array in enumerate(arrays):
            for other in arrays[number + 1 :]:
                assert not np.shares_memory(array, other)


def holders() -> dict[str, Callable[[Array], Any]]:
    """Ways to hold an array's memory without the array."""
    return {
        "view": lambda array: array[1:].T,
        "reshaped": lambda array: array.reshape(-1)[::2],
        "memoryview": memoryview,
        "subclass": lambda array: array.view(np.recarray),
        "strided": lambda array: np.lib.stride_tricks.as_strided(array, (2,), (8,)),
        "ctypes": np.ctypeslib.as_ctypes,
        "pointer": lambda array: array.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
        "dlpack": lambda array: array.__dlpack__(),
        "interface": lambda array: np.asarray(_Interface(array)),
    }


class _Interface:
    def __init__(self, array: Array) -> None:
        self.__array_interface__ = array.__array_interface__
        self.array = array


@pytest.mark.parametrize("way", [*holders(), "torch"])
def test_memory_that_someone_holds_is_not_lent_again(way: str) -> None:
    text = "net n\ninput x: [40]\nparam k\ny = k * x\noutput y\n"
    small = network_of(text, "float64")
    hold = holders().get(way) or pytest.importorskip("torch").from_numpy
    places, held = [], []
    for number in range(6):
        y = small.forward({"k": number}, {"x": np.ones((300, 40))})["y"]
        address = y.ctypes.data
        held.append(hold(y))
        del y
        places.append((ctypes.c_double * 12_000).from_address(address))
    for number, memory in enumerate(places):
        assert set(np.frombuffer(memory)) == {number}, way
    assert len(held) == 6
