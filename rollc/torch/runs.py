"""What a call of a module computes: the outputs, or the loss, and their gradients.

A function here takes a network and the options of a call, and gives the function of arrays that
:mod:`rollc.torch.functions` runs.  The forward pass runs once: outputs keep the tape, and the loss
comes with its gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rollc.ir.names import STATE
from rollc.network.network import Network
from rollc.torch.functions import Array, Arrays, Ran, Run


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


def outputs(network: Network, options: Options) -> Run:
    """The outputs, and the state after them if one is given."""
    no_gradient = not any(spec.kind == "float" for spec in network.outputs.values())

    def run(arrays: Arrays, wrt: tuple[str, ...]) -> Ran:
        arguments = options.arguments(network, arrays)
        if not wrt or (no_gradient and not options.state):
            found = network.forward(**arguments)
            return Ran(found, _of_floats(found))
        found, pullback = network.vjp(**arguments, wrt=wrt)
        return Ran(found, _of_floats(found), pullback)

    return run


def loss(network: Network, options: Options) -> Run:
    """The loss, and the state after the steps if one is given."""

    def run(arrays: Arrays, wrt: tuple[str, ...]) -> Ran:
        arguments = options.arguments(network, arrays)
        after: Arrays = {}
        if options.state:
            value, found, after = network.value_and_grad(**arguments, wrt=wrt)
        elif wrt:
            del arguments["state"]
            value, found = network.value_and_grad(**arguments, wrt=wrt)
        else:
            value, found = network.loss(**arguments), {}

        def pull(cotangents: Arrays, wanted: Sequence[str]) -> Arrays:
            slope: Array = cotangents["loss"]
            return {name: np.asarray(found[name] * slope) for name in wanted}

        states = {STATE + name: array for name, array in after.items()}
        results = {"loss": np.array(value, network.dtype), **states}
        return Ran(results, frozenset({"loss"}), pull)

    return run


def _of_floats(results: Arrays) -> frozenset[str]:
    return frozenset(name for name, array in results.items() if array.dtype.kind == "f")
