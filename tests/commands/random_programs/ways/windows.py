"""Windows of some steps along an axis, and all steps along the others, that hand the state on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rollc.ir.graph import delayed
from rollc.transforms.state import why_no_state
from tests.commands.random_programs import language as la
from tests.commands.random_programs.evaluate import Batch
from tests.commands.random_programs.ways.case import Array, Case, Compared
from tests.commands.random_programs.ways.nothing import by_chance


def from_all_steps(case: Case, axis: str) -> bool:
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


def in_windows(case: Case) -> Compared:
    """Of sequences that have all steps."""
    for windows in _windows(case, lengths=False):
        yield from windows.whole()
        yield from windows.chained()


def windows_with_lengths(case: Case) -> Compared:
    """Of sequences that end in any of the windows."""
    if case.network()._interface.no_lengths is None:
        for windows in _windows(case, lengths=True):
            yield from windows.whole()
            yield from windows.chained()


def _windows(case: Case, lengths: bool) -> Iterator[_Windows]:
    """Along each axis that has a state."""
    net = case.network()
    if not case.inputs or by_chance(case):
        return
    for axis in case.steps:
        if why_no_state(net.graph, axis) is None and delayed(net.graph, axis):
            both = (
                net._interface if len(case.steps) == 1 else net._definition.windows(axis).interface
            )
            if not lengths or both.no_both is None:
                yield _Windows(case, axis, case.meant(lengths), case.lengths if lengths else None)


@dataclass
class _Windows:
    case: Case
    axis: str
    batch: Batch
    lengths: dict[str, Array] | None

    def given(self, start: int, size: int) -> tuple[dict[str, Array], dict[str, int], Any]:
        """The inputs, steps and lengths of a window."""
        case, axis = self.case, self.axis
        specs = {**case.network().inputs, **case.network().targets}
        inputs = dict(case.inputs)
        for name, array in case.inputs.items():
            if axis in specs[name].time:
                place = specs[name].time.index(axis)
                inputs[name] = np.take(array, range(start, start + size), axis=place)
        steps = {**case.steps, axis: size}
        return inputs, steps, self.own_lengths(start, size)

    def own_lengths(self, start: int, size: int) -> Any:
        if self.lengths is None:
            return None
        own = {**self.lengths, self.axis: (self.lengths[self.axis] - start).clip(0, size)}
        if self.case.settings.batch is None:
            own = {axis: each[0] for axis, each in own.items()}
        return own if len(own) > 1 else own[self.axis]

    def state(self) -> dict[str, Array]:
        case, axis = self.case, self.axis
        others = {other: steps for other, steps in case.steps.items() if other != axis}
        lengths = None
        if others and self.lengths is not None:
            every = self.own_lengths(0, case.steps[axis])
            lengths = {other: every[other] for other in others}
        net = case.network()
        found = net.initial_state(
            case.params, case.inputs, others or None, axis=axis, lengths=lengths
        )
        if not others:
            return found
        names = net._definition.windows(axis).interface.states
        return {name: found[name] for name in names}  # the rest is for single steps

    def whole(self) -> Compared:
        """A window of all steps: the loss is that of a run, and so are gradients."""
        case, batch, what = self.case, self.batch, f"one window along {self.axis}"
        inputs, steps, lengths = self.given(0, case.steps[self.axis])
        loss, gradients, _ = case.network().value_and_grad(
            case.params, inputs, steps, state=self.state(), lengths=lengths
        )
        yield f"{what} loss", loss, batch.loss()
        if not self.started():
            yield from case.gradient(batch, gradients, batch.loss(), what)

    def started(self) -> bool:
        """Whether gradients reach what the state does not tell."""
        return bool(self.batch.meaning.found.inits or self.batch.meaning.found.borders)

    def chained(self) -> Compared:
        """Windows with their pullbacks, chained from the last to the first."""
        case, axis, batch, net = self.case, self.axis, self.batch, self.case.network()
        # Borders are counted from the first step of a call.
        cut = any(_has_every(value.expression) for value in batch.meaning.found.values.values())
        real = any(spec.kind == "float" for spec in net.outputs.values())
        along = all(axis in spec.time for spec in net.outputs.values())
        if cut or not real or not along or from_all_steps(case, axis):
            return
        specs = {**net.inputs, **net.targets}
        places = {name: net.outputs[name].time.index(axis) for name in net.outputs}
        random, state = np.random.default_rng(case.settings.seed), self.state()
        every = 1 + case.settings.seed % 3
        found: dict[str, list[Array]] = {}
        pullbacks, cotangents, total = [], [], torch.zeros((), dtype=torch.float64)
        for start in range(0, case.steps[axis], every):
            size = min(every, case.steps[axis] - start)
            inputs, steps, lengths = self.given(start, size)
            results, pullback = net.vjp(case.params, inputs, steps, state=state, lengths=lengths)
            state = {name: results[f"state.{name}"] for name in state}
            seeds = {}
            for label, place in places.items():
                array = np.asarray(results[label])
                found.setdefault(label, []).append(array)
                if array.dtype.kind == "f":
                    seeds[label] = random.normal(size=array.shape).astype(case.dtype)
                    right = case.output(batch, label, array).narrow(place, start, size)
                    own = torch.as_tensor(seeds[label], dtype=torch.float64)
                    total = total + (right * own).sum()
            pullbacks.append(pullback)
            cotangents.append(seeds)
        for label, arrays in found.items():
            joined = np.concatenate(arrays, places[label])
            what = f"in windows along {axis} output {label}"
            yield what, joined, case.output(batch, label, joined)
        if self.started() or not any(cotangents):
            return
        passed: dict[str, Any] = {}
        sums: dict[str, Any] = {}
        pieces: dict[str, list[Any]] = {}
        for pullback, seeds in zip(reversed(pullbacks), reversed(cotangents), strict=True):
            gradients = pullback({**seeds, **passed})
            passed = {name: each for name, each in gradients.items() if name.startswith("state.")}
            for name, each in gradients.items():
                if name in specs and axis in specs[name].time:
                    pieces.setdefault(name, []).insert(0, each)
                elif name not in passed:
                    sums[name] = sums.get(name, 0) + each
        for name, each in pieces.items():
            sums[name] = np.concatenate(each, specs[name].time.index(axis))
        yield from case.gradient(batch, sums, total, f"in windows along {axis} vjp")
