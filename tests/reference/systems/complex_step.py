"""A network held to its equations written once more in NumPy, and these to complex steps.

Where f is analytic, f(x + ih) has the imaginary part h f'(x) up to h**2, and nothing cancels:
with h = 1e-20 the slope is exact to rounding.  Squire and Trapp, Using complex variables to
estimate derivatives of real functions (1998), equation 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.network.arrays import Spec
from rollc.network.interpreted import Interpreted
from rollc.network.network import Network
from rollc.support.resources import specs
from tests.helpers.agreement import agree
from tests.helpers.compiled_networks import network_of

Array = NDArray[Any]
Leaves = dict[str, Array]
# From the leaves of one sequence, its outputs by name and its loss; complex numbers pass.
Direct = Callable[[Leaves], tuple[Mapping[str, Any], Any]]

STEP = 1e-20
BATCH = 2


def built(
    name: str, sets: Mapping[str, int] | None = None, feed: Literal["taught", "free"] = "taught"
) -> Network:
    """That of a spec which comes with rollc; kernels that no call needs are not made."""
    return network_of(specs()[name].read_text(encoding="utf-8"), "float64", sets, feed)


def interpreted(text: str, sets: Mapping[str, int] | None = None) -> Network:
    """The network of a text whose graphs are interpreted: nothing is compiled."""
    graph, _ = read_spec(text, "test.roll", sets)
    makers = kernel_graphs(graph)
    return Network(graph, cache(lambda entry: Interpreted(makers[entry]())), "float64")


def leaves_of(network: Network, steps: int, seed: int = 0) -> tuple[Leaves, Leaves]:
    """Random parameters, near where training starts; and inputs with targets."""
    random = np.random.default_rng(seed)
    start = network.init(seed)
    params = {name: start[name] + 0.3 * random.normal(size=start[name].shape) for name in start}
    inputs = {}
    for name, spec in {**network.inputs, **network.targets}.items():
        shape = (*((steps,) if spec.time else ()), BATCH, *spec.shape)
        inputs[name] = (
            random.integers(0, spec.bound, shape)
            if spec.kind == "index"
            else random.normal(size=shape)
        )
    return params, inputs


def held(
    network: Network, direct: Direct, *, steps: int = 6, seed: int = 0, **given: Array
) -> tuple[Leaves, Leaves]:
    """Outputs, loss and every gradient; gives back the leaves on which they are the same.

    ``given`` are leaves of one's own choice.
    """
    params, inputs = leaves_of(network, steps, seed)
    params |= {name: array for name, array in given.items() if name in params}
    inputs |= {name: array for name, array in given.items() if name in inputs}
    described = {**network.inputs, **network.targets}
    sequences = [
        direct({**params, **{name: of_one(inputs[name], described[name], n) for name in inputs}})
        for n in range(BATCH)
    ]
    outputs = network.forward(params, inputs, steps=steps)
    for label, spec in network.outputs.items():
        found = [np.asarray(outputs_of_one[label]) for outputs_of_one, _ in sequences]
        expected = np.stack(found, axis=1 if spec.time else 0) if spec.batch else found[0]
        agree("values", outputs[label], expected, label, atol=1e-11)
    loss, gradients = network.value_and_grad(params, inputs, steps=steps)
    agree("values", loss, np.mean([found for _, found in sequences]), "the loss")

    def slope(name: str, place: tuple[int, ...]) -> float:
        moved = {**params, **inputs}
        moved[name] = np.array(moved[name], dtype=complex)
        moved[name][place] += 1j * STEP
        found = [
            direct({**moved, **{key: of_one(moved[key], described[key], n) for key in inputs}})[1]
            for n in range(BATCH)
        ]
        return float(np.mean(found).imag / STEP)

    floats = [name for name in {**params, **inputs} if name in gradients]
    learned = {name for name, spec in network.params.items() if not spec.frozen}
    assert set(floats) == gradients.keys() >= learned
    for name in floats:
        expected = np.array([slope(name, place) for place in np.ndindex(gradients[name].shape)])
        expected = expected.reshape(gradients[name].shape)
        agree("gradients", gradients[name], expected, name)
    return params, inputs


def of_one(array: Array, spec: Spec, n: int) -> Array:
    """What one sequence of the batch sees."""
    return array[:, n] if spec.time else array[n]


def text_of(name: str) -> str:
    return Path(specs()[name]).read_text(encoding="utf-8")


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def log_softmax(o: Array) -> Array:
    shifted = o - o.real.max()
    return shifted - np.log(np.exp(shifted).sum())


def cross_entropy(o: Array, y: Array) -> Any:
    """The mean over the steps, of scores [T, K] and classes [T]."""
    return -np.mean([log_softmax(scores)[int(k)] for scores, k in zip(o, y, strict=True)])


def largest(o: Array) -> int:
    return int(o.real.argmax())
