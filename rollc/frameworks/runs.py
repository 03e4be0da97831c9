"""What a call computes: the outputs, or the loss, and functions for their derivatives.

The forward pass runs once: outputs keep the tape, and the loss comes with its gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rollc.ir.names import STATE
from rollc.network.derivatives.gradients import COTANGENTS
from rollc.network.network import Network

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Pull = Callable[[Arrays, tuple[str, ...], bool], Arrays]


class Ran(NamedTuple):
    """Results by name, and the function that gives their gradients.

    ``sources`` are the results that have some.  ``pull`` gives some of the gradients, from
    cotangents, and is told whether these are the last that it is asked for.  ``kept`` says how
    many bytes it keeps.
    """

    results: Arrays
    sources: frozenset[str]
    pull: Pull | None = None
    kept: Callable[[], int] = int


class Options(NamedTuple):
    """What a call has besides its arrays; ``state`` is whether some of these are one."""

    lengths: Any
    steps: int | Mapping[str, int] | None
    training: bool
    seed: int
    state: bool

    def arguments(self, network: Network, arrays: Arrays) -> dict[str, Any]:
        """The arguments of a method of the network."""
        params = {name: arrays[name] for name in network.params}
        inputs = {name: array for name, array in arrays.items() if name not in params}
        state: dict[str, Array] | None = None
        if self.state:
            known = [*inputs]
            state = {
                name.removeprefix(STATE): inputs.pop(name)
                for name in known
                if name.startswith(STATE)
            }
        return {
            "params": params,
            "inputs": inputs,
            "state": state,
            "steps": self.steps,
            "lengths": self.lengths,
            "training": self.training,
            "seed": self.seed,
        }


class Sort(NamedTuple):
    """What can be computed of a call, from a network, options and arrays.

    ``run`` gives results, and gradients of some of the arrays; ``slopes`` the derivatives of the
    results in the direction of tangents; ``second``, from tangents and cotangents, the derivatives
    of the results, if these are wanted, and those of some of the gradients, both in the direction
    of the tangents.
    """

    run: Callable[[Network, Options, Arrays, tuple[str, ...]], Ran]
    slopes: Callable[[Network, Options, Arrays, Arrays], Arrays]
    second: Callable[
        [Network, Options, Arrays, Arrays, Arrays, bool, tuple[str, ...]], tuple[Arrays, Arrays]
    ]


def _outputs(network: Network, options: Options, arrays: Arrays, wrt: tuple[str, ...]) -> Ran:
    """The outputs, and the state after them if one is given."""
    arguments = options.arguments(network, arrays)
    real = (spec.kind == "float" for spec in network.outputs.values())
    if not wrt or not (options.state or any(real)):
        found = network.forward(**arguments)
        return Ran(found, _of_floats(found))
    found, pullback = network.vjp(**arguments, wrt=wrt)

    def pull(cotangents: Arrays, wanted: tuple[str, ...], last: bool) -> Arrays:
        return pullback(cotangents, None if wanted == wrt else wanted)

    return Ran(found, _of_floats(found), pull, lambda: pullback.bytes)


def _slopes_of_outputs(
    network: Network, options: Options, arrays: Arrays, tangents: Arrays
) -> Arrays:
    return network.jvp(**options.arguments(network, arrays), tangents=tangents)[1]


def _second_of_outputs(
    network: Network,
    options: Options,
    arrays: Arrays,
    vectors: Arrays,
    cotangents: Arrays,
    moves: bool,
    wanted: tuple[str, ...],
) -> tuple[Arrays, Arrays]:
    found, slopes = network.gradient_vjp(
        **options.arguments(network, arrays),
        cotangents=cotangents,
        vectors=vectors,
        wrt=(*wanted, *([COTANGENTS] if moves else [])),
    )
    return slopes, found


def _loss(network: Network, options: Options, arrays: Arrays, wrt: tuple[str, ...]) -> Ran:
    """The loss, and the state after the steps if one is given."""
    value, found, after = _loss_and_gradients(network, options, arrays, wrt)

    def pull(cotangents: Arrays, wanted: tuple[str, ...], last: bool) -> Arrays:
        slope = cotangents["loss"]
        if last and slope == 1:  # as it is where the loss itself is learnt from
            return found
        return {name: np.asarray(found[name] * slope) for name in wanted}

    states = {STATE + name: array for name, array in after.items()}
    results = {"loss": np.array(value, network.dtype), **states}
    return Ran(results, frozenset({"loss"}), pull if wrt else None)


def _slope_of_loss(network: Network, options: Options, arrays: Arrays, tangents: Arrays) -> Arrays:
    _, slopes, _ = _loss_and_gradients(network, options, arrays, tuple(tangents))
    total = sum(np.vdot(slopes[name], tangent) for name, tangent in tangents.items())
    return {"loss": np.array(total, network.dtype)}


def _second_of_loss(
    network: Network,
    options: Options,
    arrays: Arrays,
    vectors: Arrays,
    cotangents: Arrays,
    moves: bool,
    wanted: tuple[str, ...],
) -> tuple[Arrays, Arrays]:
    slopes = _slope_of_loss(network, options, arrays, vectors) if moves else {}
    if not wanted:
        return slopes, {}
    found = network.hvp(**options.arguments(network, arrays), vectors=vectors)
    return slopes, {name: np.asarray(found[name] * cotangents["loss"]) for name in wanted}


def _loss_and_gradients(
    network: Network, options: Options, arrays: Arrays, wrt: tuple[str, ...]
) -> tuple[float, Arrays, Arrays]:
    """The loss, its gradients, and the state after the steps if one is given."""
    arguments = options.arguments(network, arrays)
    if options.state:
        return network.value_and_grad(**arguments, wrt=wrt)
    del arguments["state"]
    if wrt:
        return *network.value_and_grad(**arguments, wrt=wrt), {}
    return network.loss(**arguments), {}, {}


SORTS: Mapping[str, Sort] = {
    "outputs": Sort(_outputs, _slopes_of_outputs, _second_of_outputs),
    "loss": Sort(_loss, _slope_of_loss, _second_of_loss),
}


def _of_floats(results: Arrays) -> frozenset[str]:
    return frozenset(name for name, array in results.items() if array.dtype.kind == "f")
