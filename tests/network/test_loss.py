"""The loss alone: of a kernel of its own, which keeps nothing for gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.errors import InputError, UndefinedError
from rollc.kernel.passes import planned, scheduled
from rollc.network.network import Network
from rollc.tools.verify.kernels import interpreted
from tests.helpers.compiled_networks import network_of

TEXT = """
net gated
dim D = 2, H = 3
input x: [D]
target y: [H]
param U: [H, D], W: [H, H]
z = sigmoid(W @ h[t-1])
h = z * h[t-1] + (1 - z) * tanh(U @ x)
output h
loss mean(mse(h, y), over t)
"""
LENGTHS = [5, 2, 0, 4]


def arrays(network: Network, steps: int = 5, batch: int = 4) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    data = {name: random.normal(size=(steps, batch, size)) for name, size in (("x", 2), ("y", 3))}
    return network.init(1), data


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("stateful", [False, True])
def test_it_is_that_of_the_gradient(lengths: Any, stateful: bool) -> None:
    network = interpreted(read_spec(TEXT, "gated.roll")[0])
    params, data = arrays(network)
    more: dict[str, Any] = {"lengths": lengths}
    if stateful:
        state = network.initial_state(params, data)
        more["state"] = {name: array + 0.3 for name, array in state.items()}
    expected = network.value_and_grad(params, data, **more)[0]
    asked = []
    kernel = network._kernel
    network = Network(network.graph, lambda entry: asked.append(entry) or kernel(entry), "float64")
    assert network.loss(params, data, **more) == pytest.approx(expected, rel=1e-12)
    assert asked == ["loss" + ".state" * stateful + ".lengths" * (lengths is not None)]


def test_nothing_is_kept_for_a_gradient() -> None:
    makers = kernel_graphs(read_spec(TEXT, "gated.roll")[0])
    for variant in ("", ".state", ".lengths", ".state.lengths"):
        graph = makers[f"loss{variant}"]()
        assert graph.results() == (graph.loss,)
        program = planned(scheduled(graph))
        assert [function.phase for function in program.functions] == ["primal"]
    network = network_of(TEXT, "float32")
    short, long = {"t": 100, "batch": 2}, {"t": 10_000, "batch": 2}
    loss, gradient = (network._kernel(name) for name in ("loss", "gradient"))
    assert gradient.bytes(long) > 10 * gradient.bytes(short)
    assert loss.bytes(long) < 0.4 * gradient.bytes(long)


def test_what_has_none() -> None:
    network = interpreted(read_spec("net n\ninput x\nh = x + h[t-1]\noutput h\n", "n.roll")[0])
    with pytest.raises(InputError, match="`n` has no loss"):
        network.loss({}, {"x": np.zeros((3, 1))})


def test_of_nothing() -> None:
    network = interpreted(read_spec(TEXT, "gated.roll")[0])
    params, data = arrays(network)
    short = {name: array[:0] for name, array in data.items()}
    none = {name: array[:, :0] for name, array in data.items()}
    with pytest.raises(UndefinedError, match="mean"):
        network.loss(params, short)
    with pytest.raises(UndefinedError, match="no sequences"):
        network.loss(params, none, lengths=[])


def test_of_the_text_of_a_gradient() -> None:
    """The graph with its gradients, as it is printed, has its loss alone too."""
    made = kernel_graphs(read_spec(TEXT, "gated.roll")[0])["gradient"]()
    network = interpreted(made)
    params, data = arrays(network)
    expected = network.value_and_grad(params, data)[0]
    assert network.loss(params, data) == pytest.approx(expected, rel=1e-12)
    assert kernel_graphs(made)["loss"]().gradients == ()
