"""Functions that a call leaves behind, after the caller has changed his arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.build import build_source
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.network.noted_arrays import Noted

pytestmark = pytest.mark.usefixtures("each_backend")

Array = NDArray[Any]
Arrays = dict[str, Array]
Result = tuple[float, Arrays]

T, B = 9, 2
TEXT = """
net small
input x: [2], w: index(3)
target y: [3]
param U: [3, 2], W: [3, 3], E: [3, 3]
h = tanh(U @ x + W @ h[t-1] + embed(E, w))
output h
loss mean(mse(h, y), over t) + max(sum(h), over t)
"""
WAYS: dict[str, Callable[..., tuple[Any, Callable[[], Result]]]] = {
    "windows": lambda network, *given: network.windows(*given, checkpoint=4),
    "forward_sensitivities": lambda network, *given: network.forward_sensitivities(*given),
}


@pytest.fixture(scope="module")
def network(each_backend: str) -> Network:
    return build_source(TEXT, "small.roll", dtype="float64")[0]


@pytest.fixture
def arrays(network: Network) -> Arrays:
    random = np.random.default_rng(0)
    params = {name: random.normal(size=spec.shape) for name, spec in network.params.items()}
    return params | {
        "x": random.normal(size=(T, B, 2)),
        "w": random.integers(0, 3, (T, B)),
        "y": random.normal(size=(T, B, 3)),
    }


def split(network: Network, arrays: Arrays) -> tuple[Arrays, Arrays]:
    params = {name: array for name, array in arrays.items() if name in network.params}
    return params, {name: array for name, array in arrays.items() if name not in params}


def swapped(array: Array) -> None:
    """The same numbers in other places."""
    array[...] = array[::-1].copy()


@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_of_its_call_or_an_error(network: Network, arrays: Arrays, way: str) -> None:
    plan = WAYS[way]
    _, run = plan(network, *split(network, arrays))
    loss, gradients = run()
    for name, array in arrays.items():
        kept = array.copy()
        swapped(array)
        with pytest.raises(InputError, match=f"`{name}` has changed since `{way}` took it"):
            run()
        array[...] = kept
        arrays[name] = kept + 1  # another array is none that was taken
        again, found = run()
        arrays[name] = array
        assert again == loss
        for label, gradient in gradients.items():
            np.testing.assert_array_equal(found[label], gradient)


@pytest.mark.parametrize("way", WAYS)
def test_without_steps_too(way: str) -> None:
    text = "net n\ninput x\nparam k\nh = k * x + h[t-1]\nloss sum(h, over t) + k * k\n"
    empty = build_source(text, "n.roll", dtype="float64")[0]
    k = np.array(2.0)
    _, run = WAYS[way](empty, {"k": k}, {"x": np.zeros((0, 2))})
    assert run()[0] == 4
    k[...] = 3
    with pytest.raises(InputError, match=f"`k` has changed since `{way}` took it"):
        run()


@pytest.mark.parametrize("way", WAYS)
def test_what_was_copied_may_change(network: Network, arrays: Arrays, way: str) -> None:
    params, inputs = split(network, arrays)
    inputs["x"] = inputs["x"].astype(np.float32)
    inputs["y"] = np.asfortranarray(inputs["y"])
    _, run = WAYS[way](network, params, inputs)
    loss, _ = run()
    inputs["x"][...] = 0
    inputs["y"][...] = 0
    assert run()[0] == loss


@pytest.mark.parametrize("way", WAYS)
def test_threads_may_run_at_once(network: Network, arrays: Arrays, way: str) -> None:
    _, run = WAYS[way](network, *split(network, arrays))
    loss, gradients = run()
    found: list[Result] = []
    running = [
        threading.Thread(target=lambda: found.extend(run() for _ in range(20))) for _ in range(4)
    ]
    for one in running:
        one.start()
    for one in running:
        one.join()
    assert len(found) == 80
    for other, slopes in found:
        assert other == loss
        for label, gradient in gradients.items():
            np.testing.assert_array_equal(slopes[label], gradient)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 4)])
def test_arrays_of_any_kind_are_noted(shape: tuple[int, ...], dtype: str) -> None:
    array = np.zeros(shape, dtype)
    noted = Noted("it", {"a": array})
    noted.check()
    if array.size:
        array.flat[0] = 1
        with pytest.raises(InputError, match="`a` has changed since `it` took it"):
            noted.check()


def test_a_state_shares_nothing_with_the_one_before() -> None:
    text = """
net attends
time s, t
input x[s]: [3], u[t]: [3]
param W: [3, 3]
e = tanh(W @ x + e[s-1])
a = softmax(dot(e, d[t-1]), over s)
d = tanh(u + sum(a * e, over s))
init d = last(e)
output d
"""
    attends = build_source(text, "attends.roll", dtype="float64")[0]
    random = np.random.default_rng(0)
    params = attends.init()
    state = attends.initial_state(params, {"x": random.normal(size=(4, B, 3))})
    steps = {"u": random.normal(size=(2, B, 3))}
    found = attends.forward(params, steps, state=state)
    after = {name: found[f"state.{name}"] for name in state}
    _, stepped = attends.step(params, state, {"u": steps["u"][0]})
    for following in (after, stepped):
        for name, array in following.items():
            assert not any(np.shares_memory(array, other) for other in state.values()), name
            array[...] = 0
