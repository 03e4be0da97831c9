"""A call of a network with tensors, by name: checked, laid out time first, and given back alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from rollc.errors import InputError
from rollc.frameworks import runs
from rollc.frameworks.networks import Networks
from rollc.ir.names import STATE
from rollc.network.arrays import unknown
from rollc.network.network import Network
from rollc.support import checks
from rollc.torch import operation
from rollc.torch.direct import facts_of, plan_of
from rollc.torch.functions import Call, applied, transforms
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
_MOST_PLANS = 16
_NO_STACKS: Mapping[str, tuple[str, ...]] = {}


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
    stacks: Mapping[str, tuple[str, ...]] = _NO_STACKS,
) -> dict[str, Tensor]:
    """The results of a call, as its caller has them, by name.

    ``sort`` is "outputs" or "loss"; inputs, targets and a state are ``given`` by the spec's names.
    ``stacks`` are tensors, of what is given and of results, each with several of those by name
    along a dimension in front.  A call like two before goes by a plan (:mod:`rollc.torch.direct`).
    Raises :class:`~rollc.InputError` for what is wrong with a tensor.
    """
    asked = {**parameters, **given}
    if state is not None:
        rows = checks.mapping("state", state, "tensors by name")
        asked |= {f"{STATE}{name}": tensor for name, tensor in rows.items()}
    plans, key = networks.plans, None
    if lengths is None and steps is None and _is_plain():
        grad, facts = torch.is_grad_enabled(), facts_of(asked.values())
        if facts is not None:
            key = (sort, batch_first, grad, state is None, tuple(asked), facts)
            plan = plans.get(key)
            if plan:
                return dict(zip(plan.names, plan([*asked.values()]), strict=True))
    if torch.jit.is_tracing():
        raise InputError(
            "a network of rollc cannot be traced by torch.jit.trace; export it, by torch.export"
        )
    precision = _precision(networks, parameters, given)
    tensors = _tensors(networks.first, precision, parameters, given, batch_first, state, stacks)
    wrt: tuple[str, ...] = ()
    if torch.is_grad_enabled():
        wrt = tuple([name for name, tensor in tensors.items() if tensor.requires_grad])
    call = None
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
        call = Call(network, options, runs.SORTS[sort], tuple(tensors), wrt)
        results = applied(call, [*tensors.values()])
    found = _as_asked(results, networks.first, precision, batch_first, stacks)
    if key is not None and call is not None:
        seen = key in plans
        if not seen and len(plans) >= _MOST_PLANS:
            plans.clear()
        plans[key] = plan_of(call, tensors, results, asked, found, stacks) if seen else None
    return found


def _is_plain() -> bool:
    """Whether nothing is done with a call but to compute it."""
    return not (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch.is_autocast_enabled("cpu")
        or transforms()
    )


def _tensors(
    network: Network,
    precision: Precision,
    parameters: Tensors,
    given: Mapping[str, Any],
    batch_first: bool,
    state: Any,
    stacks: Mapping[str, tuple[str, ...]],
) -> dict[str, Tensor]:
    """The tensors that a network takes, by name, time first and in the precision of numbers."""
    plain = precision.own is precision.computed
    tensors = {  # most are as they should be, and that is found out here
        name: tensor
        if plain and tensor.is_cpu and tensor.layout is torch.strided
        else checked("parameter", name, tensor, network.params[name], precision)
        for name, tensor in parameters.items()
    }
    slots = {**network.inputs, **network.targets}
    for name, tensor in given.items():
        parts = stacks.get(name)
        rows = [(name, tensor)] if parts is None else zip(parts, tensor.unbind(), strict=True)
        for own, row in rows:
            found = checked("input", own, row, slots[own], precision)
            if found.requires_grad and own in network.targets and torch.is_grad_enabled():
                raise InputError(f"input `{own}`: a target has no gradient; pass it detached")
            tensors[own] = time_first(found, slots[own]) if batch_first else found
    if state is not None:
        kept = network.states
        for name, tensor in state.items():
            if name not in kept:
                raise InputError(unknown("state", name, kept))
            tensors[STATE + name] = checked("state", name, tensor, kept[name], precision)
    return tensors


def _as_asked(
    results: Tensors,
    network: Network,
    precision: Precision,
    batch_first: bool,
    stacks: Mapping[str, tuple[str, ...]],
) -> dict[str, Tensor]:
    """The results as a caller has them: in his precision, in his order of dimensions, stacked."""
    found = dict(results)
    if precision.own is not precision.computed:
        found = {name: precision.given_back(each) for name, each in found.items()}
    if batch_first:
        for name, spec in network.outputs.items():
            if name in found:
                found[name] = batch_to_front(found[name], spec)
    for name, parts in stacks.items():
        if parts[0] in found:
            found[name] = torch.stack([found.pop(part) for part in parts])
    return found


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
