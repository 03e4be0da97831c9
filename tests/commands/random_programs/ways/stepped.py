"""Ways step by step: one step a call, and windows that hand the state on."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from rollc.errors import InputError
from rollc.network.network import Network
from tests.commands.random_programs import language as la
from tests.commands.random_programs.evaluate import Batch
from tests.commands.random_programs.ways.case import (
    Array,
    Case,
    Compared,
)
from tests.commands.random_programs.ways.nothing import (
    by_chance,
)


def _whole(case: Case, axis: str) -> bool:
    """Whether something is computed from all steps along an axis, or by chance."""
    found = case.meant().meaning.found
    settled = case.meant().meaning.settled
    again = [start for name in found.resets for start in found.starts(name)]
    for value in [*found.values.values(), *found.resets.values(), *again]:
        for part in la.walk(value.expression):
            if isinstance(part, la.Call) and part.function in ("first", "last"):
                return True
            over = part.over if isinstance(part, la.Call) else None
            if over is not None and settled.get(over, over) == axis:
                return True
    return by_chance(case)


def _has_every(expression: la.Expression) -> bool:
    return any(
        isinstance(part, la.Call) and part.function == "stop" and part.options
        for part in la.walk(expression)
    )


def stepped(case: Case) -> Compared:
    """Step by step, prepared or not, and in windows that hand the state on."""
    net, batch = case.network(), case.meant()
    inputs = {**case.inputs}
    axes = random.Random(case.settings.seed).sample(sorted(case.steps), len(case.steps))
    possible = (axis for axis in axes if _is_steppable(net, axis))
    axis = next(possible, None)
    if axis is None or _whole(case, axis):
        return
    specs = {**net.inputs, **net.targets}
    along = {name: array for name, array in inputs.items() if axis in specs[name].time}
    static = {name: array for name, array in inputs.items() if not specs[name].time}
    still = {name: array for name, array in inputs.items() if name not in along}
    two = len(case.steps) > 1
    others = {other: count for other, count in case.steps.items() if other != axis} or None
    # Where nothing else tells the batch, an input of the steps does.
    before = (still if two else None) or inputs
    state = net.initial_state(case.params, before, others, axis=axis)
    if two and case.settings.seed % 2 and net._interface.no_lengths is None:
        batch, own = _with_other_lengths(case, axis)
        state = net.initial_state(case.params, before, others, axis=axis, lengths=own)
    if case.settings.batch is not None and not two and not inputs:
        return
    rows: dict[tuple[str, str], list[Any]] = {}
    whole = {} if two else static
    ready = net.prepare(case.params)
    stream = ready.stream(state, axis=axis)
    for step in range(case.steps[axis]):
        now = {
            name: np.take(array, step, axis=specs[name].time.index(axis))
            for name, array in along.items()
        }
        own = {**whole, **now}
        ways = {"prepared step": ready.step(state, own, axis=axis)[0], "stream": stream(own)}
        ways["step by step"], state = net.step(case.params, state, own, axis=axis)
        for what, outputs in ways.items():
            for label, array in outputs.items():
                rows.setdefault((what, label), []).append(array)
    for (what, label), arrays in rows.items():
        axes = batch.output_axes(label)
        found = np.stack(arrays, axes.index(axis)) if axis in axes else arrays[-1]
        yield f"{what} output {label}", found, case.output(batch, label, found)
    real = any(spec.kind == "float" for spec in net.outputs.values())
    cut = any(_has_every(value.expression) for value in batch.meaning.found.values.values())
    if not two and real and not cut:  # borders are counted from the first step of a call
        yield from _in_windows(case, net, batch, axis, along, static)


def _is_steppable(net: Network, axis: str) -> bool:
    try:
        net.axis_of_steps(axis)
    except InputError:
        return False
    return True


def _with_other_lengths(case: Case, axis: str) -> tuple[Batch, dict[str, Any]]:
    """The meaning with all steps along an axis, and lengths along the other; those lengths."""
    (other,) = case.steps.keys() - {axis}
    lengths = {other: case.lengths[other], axis: np.full(case.count, case.steps[axis])}
    batched = case.settings.batch is not None
    batch = case.meanings["other lengths"] = Batch(
        case.meant().meaning,
        case.params,
        case.inputs,
        case.steps,
        case.count,
        batched,
        lengths,
        case.noise,
    )
    return batch, {other: lengths[other] if batched else lengths[other][0]}


def windows_with_lengths(case: Case) -> Compared:
    """Windows that hand the state on, of sequences that end in any of them."""
    net = case.network()
    plain = net._interface.no_state is None and net._interface.no_both is None
    if not plain or len(case.steps) > 1 or not case.inputs or not net.states:
        return
    if net._interface.no_lengths is not None or all(
        s.kind != "float" for s in net.outputs.values()
    ):
        return
    (axis,) = case.steps
    batch = case.meant(lengths=True)
    every = any(_has_every(value.expression) for value in batch.meaning.found.values.values())
    if _whole(case, axis) or every:
        return
    specs = {**net.inputs, **net.targets}
    along = {name: array for name, array in case.inputs.items() if specs[name].time}
    static = {name: array for name, array in case.inputs.items() if not specs[name].time}
    yield from _in_windows(case, net, batch, axis, along, static, case.lengths[axis])


def _in_windows(
    case: Case,
    net: Network,
    batch: Batch,
    axis: str,
    along: Any,
    static: Any,
    lengths: Array | None = None,
) -> Compared:
    """Windows with their pullbacks, chained from the last to the first."""
    steps, every = case.steps[axis], 1 + case.settings.seed % 3
    state = net.initial_state(case.params, case.inputs)
    random = np.random.default_rng(case.settings.seed)
    found: dict[str, list[Any]] = {}
    pullbacks, cotangents, total = [], [], torch.zeros((), dtype=torch.float64)
    for start in range(0, steps, every):
        inputs = {name: array[start : start + every] for name, array in along.items()}
        size = min(every, steps - start)
        own = None if lengths is None else (lengths - start).clip(0, size)
        own = own if own is None or case.settings.batch is not None else own[0]
        results, pullback = net.vjp(
            case.params,
            {**inputs, **static},
            size,
            state=state,
            lengths=own,
            seed=case.settings.seed,
        )
        state = {name: results[f"state.{name}"] for name in state}
        seeds = {}
        for label in net.outputs:
            array = np.asarray(results[label])
            if not net.outputs[label].time:
                return
            found.setdefault(label, []).append(array)
            if array.dtype.kind == "f":
                seeds[label] = random.normal(size=array.shape).astype(case.dtype)
                right = case.output(batch, label, array)[start : start + size]
                total = total + (right * torch.as_tensor(seeds[label], dtype=torch.float64)).sum()
        pullbacks.append(pullback)
        cotangents.append(seeds)
    for label, arrays in found.items():
        joined = np.concatenate(arrays)
        yield f"in windows output {label}", joined, case.output(batch, label, joined)
    if batch.meaning.found.inits or batch.meaning.found.borders or not any(cotangents):
        return
    passed: dict[str, Any] = {}
    sums: dict[str, Any] = {}
    pieces: dict[str, list[Any]] = {}
    for pullback, seeds in zip(reversed(pullbacks), reversed(cotangents), strict=True):
        gradients = pullback({**seeds, **passed})
        passed = {name: each for name, each in gradients.items() if name.startswith("state.")}
        for name, each in gradients.items():
            if name in along:
                pieces.setdefault(name, []).insert(0, each)
            elif name not in passed:
                sums[name] = sums.get(name, 0) + each
    joined = {name: np.concatenate(each) for name, each in pieces.items()}
    yield from case.gradient(batch, {**sums, **joined}, total, "in windows vjp")
