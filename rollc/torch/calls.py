"""A call of a network with tensors, by name: checked, laid out time first, and given back alike."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from rollc.errors import InputError
from rollc.frameworks import runs
from rollc.frameworks.networks import Networks
from rollc.ir.names import STATE
from rollc.network.arrays import unknown
from rollc.support import checks
from rollc.torch import operation
from rollc.torch.functions import Call, applied
from rollc.torch.tensors import (
    Precision,
    batch_to_front,
    checked,
    lengths_of,
    precision_of,
    time_first,
)

Tensor = Any
Tensors = Mapping[str, Tensor]

_MOST_SEED = 2**63 - 1


def called(
    networks: Networks,
    sort: str,
    parameters: Tensors,
    given: Mapping[str, Any],
    *,
    batch_first: bool = False,
    training: bool = False,
    lengths: Any = None,
    state: Any = None,
    steps: Any = None,
) -> dict[str, Tensor]:
    """The results of a call, as its caller has them, by name.

    ``sort`` is "outputs" or "loss"; inputs, targets and a state are ``given`` by the spec's names.
    Raises :class:`~rollc.InputError` for what is wrong with a tensor.
    """
    if torch.jit.is_tracing():
        raise InputError(
            "a network of rollc cannot be traced by torch.jit.trace; export it, by torch.export"
        )
    first = networks.first
    precision = _precision(networks, parameters, given)
    plain = precision.own is precision.computed
    tensors = {  # most are as they should be, and that is found out here
        name: tensor
        if plain and tensor.is_cpu and tensor.layout is torch.strided
        else checked("parameter", name, tensor, first.params[name], precision)
        for name, tensor in parameters.items()
    }
    slots = networks.slots
    for name, tensor in given.items():
        found = checked("input", name, tensor, slots[name], precision)
        if found.requires_grad and name in first.targets and torch.is_grad_enabled():
            raise InputError(f"input `{name}`: a target has no gradient; pass it detached")
        tensors[name] = time_first(found, slots[name]) if batch_first else found
    if state is not None:
        kept = first.states
        for name, tensor in checks.mapping("state", state, "tensors by name").items():
            if name not in kept:
                raise InputError(unknown("state", name, kept))
            tensors[STATE + name] = checked("state", name, tensor, kept[name], precision)
    wrt: tuple[str, ...] = ()
    if torch.is_grad_enabled():
        wrt = tuple([name for name, tensor in tensors.items() if tensor.requires_grad])
    if torch.compiler.is_compiling():
        drawn = _drawn() if networks.draws(training) else None
        results = operation.called(
            networks, precision.network, sort, tensors, wrt, lengths, steps, training, drawn,
            state is not None,
        )  # fmt: skip
    else:
        options = runs.Options(
            lengths_of(lengths),
            steps,
            training,
            seed() if networks.draws(training) else 0,
            state is not None,
        )
        network = networks.of(precision.network)
        call = Call(network.name, partial(runs.RUNS[sort], network, options), tuple(tensors), wrt)
        results = applied(call, [*tensors.values()])
    if not plain:
        results = {name: precision.given_back(each) for name, each in results.items()}
    if batch_first:
        for name, spec in first.outputs.items():
            if name in results:
                results[name] = batch_to_front(results[name], spec)
    return results


def _precision(networks: Networks, parameters: Tensors, given: Mapping[str, Any]) -> Precision:
    """That of the parameters; where there are none, of what comes in."""
    if parameters:
        dtypes = {name: each.dtype for name, each in parameters.items()}
        return precision_of("parameter", dtypes)
    floats = {
        name: tensor.dtype
        for name, tensor in given.items()
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
    }
    return precision_of("input", floats or {"": getattr(torch, networks.first.dtype)})


def seed() -> int:
    """A seed from PyTorch's generator."""
    return int(_drawn())


def _drawn() -> Tensor:
    return torch.randint(_MOST_SEED, (), device="cpu")
