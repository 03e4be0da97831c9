"""The losses and the gradients of the sequences of a batch, as a caller has them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from rollc.autodiff.by_sequence import gradient_name, why_not_by_sequence
from rollc.errors import InputError
from rollc.ir.names import STATE
from rollc.network.definition import Definition
from rollc.network.derivatives.gradients import gradients
from rollc.network.evaluation import Evaluation, Results
from rollc.network.interface import Arrays

Array = NDArray[Any]


def need_sequences_apart(network: Definition, state: Arrays | None) -> None:
    """Raises :class:`InputError` where the sequences have no losses, or no state, of their own."""
    why = why_not_by_sequence(network.graph)
    states = {} if state is None else network.of_state(state).interface.states
    shared = [name for name, spec in states.items() if not spec.batch]
    if why is None and shared:
        why = f"the state of `{shared[0]}` is the same for all"
    if why is not None:
        name = network.graph.name
        raise InputError(f"the sequences of `{name}` have no losses of their own: {why}")


def losses_and_gradients(
    call: Evaluation, results: Results, labels: Collection[str]
) -> tuple[Array, dict[str, Array]]:
    """The loss of each sequence, and gradients with the batch in front where they had none."""
    interface, sizes = call.network.interface, call.sizes
    own = {name: replace(spec, batch=True) for name, spec in interface.params.items()}
    each = replace(interface, params=own)
    names = [*interface.params, *interface.inputs, *(STATE + name for name in interface.states)]
    found = {
        ("gradient", name): results["output", gradient_name(name)]
        for name in names
        if ("output", gradient_name(name)) in results
    }
    loss = results["output", "loss"]
    return loss if sizes.batched else loss[0], gradients(found, each, sizes, labels)
