"""Calls of single sequences, run as one of a batch.

So it is with ``vmap`` over sequences.  A gradient of a parameter is then each sequence's own: of a
loss, and of the sum of outputs times their cotangents, which is a loss, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.by_sequence import why_not_by_sequence
from rollc.frameworks.weighted import weight_name
from rollc.ir.graph import BATCH, Graph
from rollc.ir.names import STATE
from rollc.ir.operations.vectors.linear import over_axes
from rollc.ir.traversal import needed
from rollc.jax.callback import Tree
from rollc.jax.plans import Extras, Plan
from rollc.network.arrays import Spec
from rollc.network.interface import Interface

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Calls = Sequence[tuple[Any, ...]]


def axes(
    interface: Interface, graph: Graph, arrays: Sequence[str], loss: bool, state: bool, ragged: bool
) -> tuple[tuple[str, int | None], ...] | None:
    """Where the batch is, in arrays and results by name; None where sequences have none of it."""
    if loss and why_not_by_sequence(graph) is not None:
        return None
    outputs = graph.nodes if loss else needed(graph, [name for _, name in graph.outputs]).nodes
    if not loss and any(BATCH in over_axes(node.options) for node in outputs):
        return None
    inputs = {**interface.inputs, **interface.targets}
    slots = [inputs[name] for name in inputs if name in arrays]
    slots += interface.states.values() if state else ()
    if not all(spec.batch for spec in slots):
        return None
    found: dict[str, int | None] = {name: _axis(spec) for name, spec in inputs.items()}
    results = interface.ragged_outputs if ragged else interface.outputs
    found |= {name: _axis(spec) for name, spec in results.items()}
    found |= {STATE + name: 1 for name in interface.states}
    return tuple(found.items())


def _axis(spec: Spec) -> int | None:
    return len(spec.time) if spec.batch else None


def each(
    plan: Plan,
    calls: Calls,
    one: Callable[..., Tree],
    many: Callable[[Calls], Sequence[Tree]] | None,
) -> list[Tree]:
    """The results of calls, by ``one``, and by ``many`` of those that have their parameters."""
    if many is None or plan.batches is None or len(calls) == 1:
        return [one(*call) for call in calls]
    alike: dict[tuple[int, ...], list[int]] = {}
    for place, call in enumerate(calls):
        arrays, _ = given(call)
        where = tuple(arrays[name].ctypes.data for name in plan.networks.first.params)
        alike.setdefault(where, []).append(place)
    found: dict[int, Tree] = {}
    for places in alike.values():
        own = [calls[place] for place in places]
        trees = [one(*own[0])] if len(own) == 1 else many(own)
        found.update(zip(places, trees, strict=True))
    return [found[place] for place in range(len(calls))]


def given(call: tuple[Any, ...]) -> tuple[Arrays, Extras]:
    """The arrays and the extras of a call, which may have a token before, and more behind them."""
    arrays, extras = call[:2] if isinstance(call[0], Mapping) else call[1:3]
    return arrays, extras


def outputs(plan: Plan, calls: Calls) -> list[Tree]:
    """The results of outputs."""
    arrays, extras = _joined(plan, calls)
    return _apart(dict(plan.batches or ()), plan.run(arrays, extras).results, len(calls))


def losses(plan: Plan, calls: Calls, wrt: tuple[str, ...]) -> list[Tree]:
    """The results of losses, and the gradients of each."""
    arrays, extras = _joined(plan, calls)
    network = plan.networks.of(plan.dtype)
    arguments = plan.options(extras).arguments(network, arrays)
    values, slopes, *after = network.value_and_grad(**arguments, wrt=wrt, per_sequence=True)
    results = {"loss": values}
    results |= {STATE + name: rows for own in after for name, rows in own.items()}
    own = {**dict(plan.batches or ()), "loss": 0}
    found = _apart(own, results, len(calls))
    return [*zip(found, _gradients(plan, slopes, len(calls)), strict=True)]


def gradients(plan: Plan, calls: Calls, wrt: tuple[str, ...]) -> list[Tree]:
    """The gradients of outputs from their cotangents, the last argument of each call.

    No tape is needed: the forward pass runs again.
    """
    arrays, extras = _joined(plan, calls)
    network, sums = plan.networks.of(plan.dtype), plan.networks.weighted.of(plan.dtype)
    own = dict(plan.batches or ())
    weights = {}
    for label, spec in network.outputs.items():
        if spec.kind != "float":
            continue
        cotangents = [call[-1].get(label) for call in calls]
        if cotangents[0] is None:
            shape = plan.results[label].shape
            cotangents = [np.zeros(shape, network.dtype)] * len(calls)
        axis = own[label]
        place = len(spec.time) if axis is None else axis
        weights[weight_name(network.graph, label)] = np.stack(cotangents, axis=place)
    arguments = plan.options(extras).arguments(network, arrays)
    arguments["inputs"] = {**arguments["inputs"], **weights}
    _, slopes, *_ = sums.value_and_grad(**arguments, wrt=wrt, per_sequence=True)
    return _gradients(plan, slopes, len(calls))


def _gradients(plan: Plan, slopes: Arrays, count: int) -> list[dict[str, Array]]:
    """Those of parameters have the batch in front."""
    own = {**dict(plan.batches or ()), **dict.fromkeys(plan.networks.first.params, 0)}
    return _apart(own, slopes, count)


def _joined(plan: Plan, calls: Calls) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and extras of all calls, as those of one."""
    all_given = [given(call) for call in calls]
    (arrays, extras), own = all_given[0], dict(plan.batches or ())
    found = dict(arrays)
    for name in arrays.keys() - plan.networks.first.params.keys():
        axis = own[name]
        assert axis is not None
        found[name] = np.stack([each[name] for each, _ in all_given], axis=axis)
    together: dict[str, Any] = {}
    if "lengths" in extras:
        lengths = [each["lengths"] for _, each in all_given]
        if isinstance(lengths[0], Mapping):
            together["lengths"] = {
                axis: np.stack([each[axis] for each in lengths]) for axis in lengths[0]
            }
        else:
            together["lengths"] = np.stack(lengths)
    return found, together


def _apart(own: Mapping[str, int | None], results: Arrays, count: int) -> list[dict[str, Array]]:
    """The results of each; what has no batch is that of all."""
    found: list[dict[str, Array]] = [{} for _ in range(count)]
    for name, array in results.items():
        axis = own[name]
        moved = None if axis is None else np.moveaxis(array, axis, 0)
        for place in range(count):
            found[place][name] = array if moved is None else moved[place]
    return found
