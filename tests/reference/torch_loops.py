"""A network held to a loop over tensors, and its gradients to PyTorch's of that loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.network.network import Network
from tests.helpers.agreement import agree
from tests.reference.systems.complex_step import Leaves, leaves_of

torch = pytest.importorskip("torch", reason="values and gradients are held to PyTorch's")

# From the leaves by name, each with the batch, its outputs by name and its loss.
Loop = Callable[[dict[str, Any]], tuple[Mapping[str, Any], Any]]


def held_to_torch(
    network: Network,
    loop: Loop,
    *,
    steps: int = 5,
    seed: int = 0,
    **given: NDArray[Any],
) -> tuple[Leaves, Leaves]:
    """Outputs, loss and every gradient; gives back the leaves on which they are the same.

    ``given`` are leaves of one's own choice.
    """
    params, inputs = leaves_of(network, steps, seed)
    params |= {name: array for name, array in given.items() if name in params}
    inputs |= {name: array for name, array in given.items() if name in inputs}
    leaves = {
        name: torch.tensor(array, requires_grad=array.dtype.kind == "f")
        for name, array in (params | inputs).items()
    }
    expected, loss = loop(leaves)
    loss.backward()
    outputs = network.forward(params, inputs, steps=steps)
    for label, array in outputs.items():
        agree("values", array, expected[label].detach().numpy(), label)
    found, gradients = network.value_and_grad(params, inputs, steps=steps)
    agree("values", found, loss.item(), "the loss")
    learned = {name for name, spec in network.params.items() if not spec.frozen}
    assert gradients.keys() >= learned
    for name, gradient in gradients.items():
        slope = leaves[name].grad
        exact = np.zeros(gradient.shape) if slope is None else slope.numpy()
        agree("gradients", gradient, exact, name)
    return params, inputs
