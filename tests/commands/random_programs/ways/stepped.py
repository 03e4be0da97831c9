"""Step by step: one step a call."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from rollc.errors import InputError
from rollc.network.network import Network
from tests.commands.random_programs.evaluate import Batch
from tests.commands.random_programs.ways.case import Case, Compared
from tests.commands.random_programs.ways.windows import from_all_steps


def stepped(case: Case) -> Compared:
    """Step by step, prepared or not."""
    net, batch = case.network(), case.meant()
    inputs = {**case.inputs}
    axes = random.Random(case.settings.seed).sample(sorted(case.steps), len(case.steps))
    possible = (axis for axis in axes if _is_steppable(net, axis))
    axis = next(possible, None)
    if axis is None or from_all_steps(case, axis):
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
