"""Gradients in little memory: the same numbers, in the bytes that the plan says."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.window_split import CannotSplit, split
from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.entries.windows import window_kernels
from rollc.errors import InputError
from rollc.ir.interpreter import interpret
from rollc.network.derivatives.checkpointing import Windowed
from rollc.network.network import Network
from rollc.support import resources, threads
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.compiled_networks import network_of, on_machine
from tests.helpers.forward_gradients import Interpreted

Array = NDArray[Any]
STEPS, BATCH = 600, 32


@cache
def network() -> Network:
    text = (resources.folder("specs") / "lstm.roll").read_text()
    return network_of(text, "float32", {"D": 8, "H": 16, "K": 4})


def arrays(steps: int = STEPS) -> dict[str, Array]:
    random = np.random.default_rng(0)
    return {
        "x": random.normal(size=(steps, BATCH, 8)).astype(np.float32),
        "y": random.normal(size=(steps, BATCH, 4)).astype(np.float32),
    }


@pytest.mark.parametrize(
    "every",
    [1, 7, *(pytest.param(every, marks=pytest.mark.long) for every in (250, STEPS, 10_000))],
)
def test_the_numbers_are_those_of_the_whole(every: int) -> None:
    params = network().init(0)
    steps = 50 if every <= 7 else STEPS  # 50 are eight windows, the last of them shorter
    loss, gradients = network().value_and_grad(params, arrays(steps))
    _, run = network().windows(params, arrays(steps), checkpoint=every)
    found_loss, found = run()
    assert found_loss == pytest.approx(loss, rel=1e-5)
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert found[name].dtype == gradient.dtype
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(found[name], gradient, atol=2e-5 * scale, err_msg=name)


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("how", ["max", "min"])
def test_steps_with_an_equal_extreme_share_in_whichever_windows(how: str, every: int) -> None:
    text = f"net n\ninput x\nparam a\nv = a * x\nloss {how}(v, over t)\n"
    graph = canonicalize(read_spec(text, "n")[0])
    x = np.array([[1.0, 5.0], [1.0, 2.0], [0.0, 5.0], [0.0, 2.0], [1.0, 5.0]])
    leaves, parts = {"a": np.array(1.0), "x": x}, split(graph)
    makers = window_kernels(parts)
    kernel: Any = lambda entry: Interpreted(makers[entry]())  # noqa: E731
    run = Windowed(graph, parts, kernel, "float64", {"t": 5, "batch": 2})
    _, found = run.value_and_grad(leaves, every)
    derived = adjoint(graph)
    expected = interpret(derived, leaves, {"t": 5, "batch": 2})
    for label, name in derived.gradients:
        np.testing.assert_allclose(found[label], expected[name], err_msg=label)


@pytest.mark.long
@pytest.mark.parametrize("start", ["param p: [3, 2]", "static input p: [3, 2]"])
@pytest.mark.parametrize("read", ["0 * h[t-3]", "h[t-3]"])
def test_rows_of_an_initial_value_that_nothing_reads_any_more(start: str, read: str) -> None:
    text = f"""
net n
input x: [2]
{start}
h: [2] = tanh(0.5 * h[t-1] + {read} + x)
init h = p
loss mean(sum(h), over t)
"""
    net = network_of(text, "float64")
    random = np.random.default_rng(1)
    p, data = random.normal(size=(3, 2)), {"x": random.normal(size=(5, 3, 2))}
    params = {"p": p} if start.startswith("param") else {}
    given = {} if params else {"p": np.stack([p, 2 * p, 3 * p])}
    loss, gradients = net.value_and_grad(params, {**data, **given})
    found_loss, found = net.windows(params, {**data, **given}, checkpoint=2)[1]()
    assert found_loss == pytest.approx(loss, rel=1e-12)
    assert found.keys() == gradients.keys() >= {"p"}
    for name, gradient in gradients.items():
        np.testing.assert_allclose(found[name], gradient, atol=1e-12, err_msg=name)


def measured(run: Callable[[], object]) -> int:
    """The bytes that a run takes at its peak."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.compiled
def test_the_peak_is_what_the_plan_says(monkeypatch: pytest.MonkeyPatch) -> None:
    on_machine(monkeypatch, thread_start=0)  # threads have work of any size
    params, given = network().init(0), arrays()
    network().windows(params, arrays(2), checkpoint=1)[1]()  # compiled before it is measured
    try:
        for every in (20, 150):
            threads.use(1)
            plan, run = network().windows(params, given, checkpoint=every)
            assert measured(run) == pytest.approx(plan.bytes, rel=0.1)
            # Each thread has buffers of its own, unless another is through before it begins.
            threads.use(2)
            shared, run = network().windows(params, given, checkpoint=every)
            assert shared.bytes > plan.bytes
            assert measured(run) < 1.1 * shared.bytes
    finally:
        threads.use(None)


def test_the_plan_grows_by_the_gradients_of_inputs_and_the_states_between_windows() -> None:
    params = network().init(0)
    short, long = (network().windows(params, arrays(n), checkpoint=10)[0] for n in (100, 200))
    state = BATCH * 2 * 16
    assert long.bytes - short.bytes == 4 * (100 * BATCH * 8 + 10 * state)
    assert short.bytes > 4 * sum(array.size for array in params.values())


def test_a_budget_is_kept_with_windows_as_long_as_it_allows() -> None:
    params, given = network().init(0), arrays()
    tight, _ = network().windows(params, given, memory=2_500_000)
    loose, _ = network().windows(params, given, memory=6_000_000)
    assert tight.bytes <= 2_500_000 < loose.bytes <= 6_000_000
    assert tight.steps < loose.steps
    with pytest.raises(InputError, match=r"1000 bytes are too few: windows of \d+ steps"):
        network().windows(params, given, memory=1000)


def test_what_cannot_run_in_windows_says_why() -> None:
    text = "net b\ninput x\nh = tanh(x + h[t+1])\noutput h\nloss mean(mse(h, x), over t)\n"
    backward, _ = build_source(text, "b")
    with pytest.raises(InputError, match="cannot run in windows: `h` is read from the future"):
        backward.windows({}, {"x": np.zeros((3, 2))}, checkpoint=1)
    text = "net b\ninput x\nh = softmax(x, over t)\nloss sum(h * x, over t)\n"
    graph, _ = read_spec(text, "b")
    with pytest.raises(CannotSplit, match="`h` needs the whole sequence at every step"):
        split(graph)
    text = "net w\ninput x\nh = x + stop(h[t-1], every=3)\nloss mean(mse(h, x), over t)\n"
    counting, _ = build_source(text, "w")
    with pytest.raises(InputError, match="line 3 counts the steps of the whole sequence"):
        counting.windows({}, {"x": np.zeros((3, 2))}, checkpoint=1)
    with pytest.raises(InputError, match="either `checkpoint`"):
        network().windows(network().init(0), arrays())
    with pytest.raises(
        InputError, match="`checkpoint`: expected a whole number from 1 on, found 0"
    ):
        network().windows(network().init(0), arrays(), checkpoint=0)
