"""A call of a function with arrays, by name: checked, and planned while JAX traces it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from jax import numpy as jnp

from rollc.errors import InputError
from rollc.frameworks.networks import Networks
from rollc.ir.names import STATE
from rollc.jax import rules
from rollc.jax.arguments import (
    Precision,
    as_array,
    by_name,
    fitting,
    lengths_of,
    precision_named,
    precision_of,
    results_of,
    seed_of,
    sizes_of,
)
from rollc.jax.batches import axes
from rollc.jax.plans import Plan
from rollc.jax.tapes import Tapes
from rollc.network.interface import Interface, interface_of
from rollc.network.network import Network
from rollc.network.steps.streaming import axis_of
from rollc.support import checks

Array = Any
Arrays = Mapping[str, Array]


def called(
    networks: Networks,
    tapes: Tapes,
    forward: bool,
    loss: bool,
    params: Arrays,
    given: Mapping[str, Any],
    lengths: Any = None,
    state: Any = None,
    steps: Any = None,
    training: bool = False,
    seed: Any = None,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The results of a call by name, and the state after it, complex ones in parts.

    ``forward`` asks for derivatives forward in time.  Raises :class:`~rollc.InputError` for what is
    wrong with an array.
    """
    precision = precision_in(networks, params, given)
    network = networks.of(precision.computed)
    if loss and network.graph.loss is None:
        raise InputError(f"`{network.name}` has no loss; add `loss …` to its spec")
    slots = {**network.inputs, **network.targets}
    arrays = {
        name: fitting("parameter", name, value, network.params[name], precision)
        for name, value in params.items()
    }
    for name, value in given.items():
        arrays[name] = fitting("input", name, value, slots[name], precision)
    if state is not None:
        need_state(networks.first)
        for name, value in by_name("state", state, network.states).items():
            spec = network.states[name]
            arrays[STATE + name] = fitting("state", name, value, spec, precision)
    extras = {}
    if lengths is not None:
        extras["lengths"] = lengths_of(lengths)
    training = checks.switch("`training`", training)
    if networks.draws(training):
        if seed is None:
            raise InputError(
                f"`{network.name}` draws random numbers: give `seed`, a number or a key of"
                " jax.random"
            )
        extras["seed"] = seed_of(seed)
    plan = _plan(networks, network, tapes, arrays, extras, loss, state is not None, steps, training)
    found = (rules.forward if forward else rules.reverse)(plan, arrays, extras)
    results = {
        name: array.astype(precision.own) if jnp.issubdtype(array.dtype, np.floating) else array
        for name, array in found.items()
    }
    after = {name for name in results if name.startswith(STATE)}
    return (
        {name: array for name, array in results.items() if name not in after},
        {name.removeprefix(STATE): results[name] for name in results if name in after},
    )


def need_state(network: Network) -> None:
    """Refuse what takes no state, or none that is nothing but the last values."""
    axis_of(network.graph)
    if len(network.axes) > 1:
        raise InputError(
            f"`{network.name}` has two time axes, and its states are for the network alone,"
            " by `rollc.build`"
        )


def precision_in(networks: Networks, params: Arrays, given: Mapping[str, Any]) -> Precision:
    """That of the parameters; where there are none, of what comes in."""
    known = networks.first.params
    own = {
        name: as_array(f"parameter `{name}`", value)
        for name, value in by_name("parameter", params, known).items()
        if known[name].kind == "float"
    }
    if own:
        return precision_of("parameter", own)
    slots = {**networks.first.inputs, **networks.first.targets}
    floats = {
        name: as_array(f"input `{name}`", value)
        for name, value in given.items()
        if slots[name].kind == "float"
    }
    return precision_of("input", floats) if floats else precision_named(None)


@lru_cache(maxsize=256)
def _interface(network: Network) -> Interface:
    free = network.feed == "free"
    return interface_of(network.graph, network.dtype, network.steps, free=free)


def _plan(
    networks: Networks,
    network: Network,
    tapes: Tapes,
    arrays: Arrays,
    extras: Mapping[str, Any],
    loss: bool,
    state: bool,
    steps: Any,
    training: bool,
) -> Plan:
    """What is known of a call without the values of its arrays; shapes are found to fit."""
    interface = _interface(network)
    lengths = extras.get("lengths")
    sizes = sizes_of(interface, arrays, steps, state, lengths, need_targets=loss)
    results = results_of(interface, sizes, state, lengths is not None, loss, network.dtype)
    floats = frozenset(
        name
        for name, array in arrays.items()
        if jnp.issubdtype(array.dtype, np.floating) and name not in network.targets
    )
    batches = None
    if not (sizes.batched or networks.averages or "seed" in extras):
        ragged = lengths is not None
        batches = axes(interface, network.graph, [*arrays], loss, state, ragged)
    real = {name for name, each in results.items() if jnp.issubdtype(each.dtype, np.floating)}
    return Plan(
        networks=networks,
        dtype=network.dtype,
        sort="loss" if loss else "outputs",
        steps=tuple(steps.items()) if isinstance(steps, Mapping) else steps,
        training=training,
        state=state,
        moving=floats,
        frozen=frozenset(name for name, spec in network.params.items() if spec.frozen),
        sources=frozenset({"loss"} if loss else real),
        shapes=tuple(results.items()),
        batches=batches,
        tapes=tapes,
    )
