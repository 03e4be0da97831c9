"""What a call of a module computes: the outputs, or the loss, and their gradients.

:mod:`rollc.torch.functions` runs these with the arrays of tensors.  The forward pass runs once:
outputs keep the tape, and the loss comes with its gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rollc.ir.names import STATE
from rollc.network.network import Network
from rollc.torch.functions import Arrays, Ran


@dataclass(frozen=True)
class Options:
    """What a call has besides its tensors; ``state`` is whether some of these are one."""

    lengths: Any
    steps: int | Mapping[str, int] | None
    training: bool
    seed: int
    state: bool

    def arguments(self, network: Network, arrays: Arrays) -> dict[str, Any]:
        """The arguments of a method of the network."""
        states = {
            name.removeprefix(STATE): array
            for name, array in arrays.items()
            if name.startswith(STATE)
        }
        return {
            "params": {name: arrays[name] for name in network.params},
            "inputs": {
                name: array
                for name, array in arrays.items()
                if name not in network.params and not name.startswith(STATE)
            },
            "state": states if self.state else None,
            "steps": self.steps,
            "lengths": self.lengths,
            "training": self.training,
            "seed": self.seed,
        }


def outputs(network: Network, options: Options, arrays: Arrays, wrt: tuple[str, ...]) -> Ran:
    """The outputs, and the state after them if one is given."""
    arguments = options.arguments(network, arrays)
    real = (spec.kind == "float" for spec in network.outputs.values())

    def push(arrays: Arrays, tangents: Arrays) -> Arrays:
        return network.jvp(**options.arguments(network, arrays), tangents=tangents)[1]

    if not wrt or not (options.state or any(real)):
        found = network.forward(**arguments)
        return Ran(found, _of_floats(found), push=push)
    found, pullback = network.vjp(**arguments, wrt=wrt)

    def pull(cotangents: Arrays, wanted: tuple[str, ...]) -> Arrays:
        return pullback(cotangents, None if wanted == wrt else wanted)

    return Ran(found, _of_floats(found), pull, push)


def loss(network: Network, options: Options, arrays: Arrays, wrt: tuple[str, ...]) -> Ran:
    """The loss, and the state after the steps if one is given."""
    arguments = options.arguments(network, arrays)
    found: Arrays = {}
    after: Arrays = {}
    if options.state:
        value, found, after = network.value_and_grad(**arguments, wrt=wrt)
    elif wrt:
        del arguments["state"]
        value, found = network.value_and_grad(**arguments, wrt=wrt)
    else:
        value = network.loss(**arguments)

    def pull(cotangents: Arrays, wanted: tuple[str, ...]) -> Arrays:
        slope = cotangents["loss"]
        return {name: np.asarray(found[name] * slope) for name in wanted}

    states = {STATE + name: array for name, array in after.items()}
    results = {"loss": np.array(value, network.dtype), **states}
    return Ran(results, frozenset({"loss"}), pull)


def _of_floats(results: Arrays) -> frozenset[str]:
    return frozenset(name for name, array in results.items() if array.dtype.kind == "f")
