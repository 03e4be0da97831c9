"""Ways without steps along an axis, and without sequences: what is defined of nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable

from rollc.errors import InputError
from rollc.ir.time.same_steps import same_steps
from tests.commands.random_programs import language as la
from tests.commands.random_programs.evaluate import Batch
from tests.commands.random_programs.expand import expression_axes
from tests.commands.random_programs.ways.case import (
    Case,
    Compared,
    Different,
)


def without_steps(case: Case) -> Compared:
    """No steps along an axis: initial values, and outputs without rows."""
    if by_chance(case):
        return
    picked = random.Random(case.settings.seed)
    axes = {*picked.sample(sorted(case.steps), picked.randint(1, len(case.steps)))}
    same = same_steps(case.graph)
    axes = {axis for axis in case.steps if same[axis] in {same[each] for each in axes}}
    steps = {axis: 0 if axis in axes else count for axis, count in case.steps.items()}
    net, inputs = case.network(), {}
    for name, spec in {**net.inputs, **net.targets}.items():
        kept = tuple(slice(0 if axis in axes else None) for axis in spec.time)
        inputs[name] = case.inputs[name][kept]
    batched, meaning = case.settings.batch is not None, case.meant().meaning
    batch = Batch(
        meaning, case.params, inputs, steps, case.count, batched, None, case.noise, case.meant()
    )
    found, what = meaning.found, "without steps"
    for names, loss in ((found.outputs, False), ((), True)):
        defined = not _reads(case, names, loss, lambda part: _needs_steps(case, part, axes), axes)
        try:
            if not loss:
                yield from case.outputs(
                    batch, net.forward(case.params, inputs, steps=steps), f"{what} forward"
                )
            else:
                value, gradients = net.value_and_grad(case.params, inputs, steps)
                yield f"{what} loss", value, batch.loss()
                yield from case.gradient(batch, gradients, batch.loss(), what)
        except InputError as error:
            if defined:
                raise Different(f"{what}: {error}") from error
            continue
        if not defined:
            raise Different(f"{what}: a mean or an extreme of nothing is a number")


def without_sequences(case: Case) -> Compared:
    """A batch of nothing: what sequences share, and a loss only if they share that."""
    if case.settings.batch is None or not case.inputs or by_chance(case):
        return
    net, batch = case.network(), case.meant()
    specs = {**net.inputs, **net.targets}
    inputs = {
        name: array.take([], axis=len(specs[name].time)) for name, array in case.inputs.items()
    }
    what = "without sequences"
    for label, array in net.forward(case.params, inputs, steps=case.steps).items():
        right, place = batch.output(label), len(batch.output_axes(label))
        shared = array.ndim < right.dim()
        yield (
            f"{what} output {label}",
            array,
            right.select(place, 0) if shared else right.narrow(place, 0, 0),
        )
    said = _said(case)

    def is_of_sequences(part: la.Expression) -> bool:
        return isinstance(part, la.Name) and (part.name in specs or part.name in said)

    defined = not _reads(case, (), True, is_of_sequences)
    try:
        loss, _ = net.value_and_grad(case.params, inputs, case.steps)
        yield f"{what} loss", loss, batch.loss()
    except InputError as error:
        if defined:
            raise Different(f"{what}: {error}") from error
        return
    if not defined:
        raise Different(f"{what}: a mean of nothing is a number")


def _said(case: Case) -> set[str]:
    """What a network that runs free says, and reads again: each sequence has its own."""
    found = case.meant().meaning.found
    names = {found.named(part.name) for part in found.said if isinstance(part, la.Name)}
    others = [part for part in found.said if not isinstance(part, la.Name)]
    for name, value in found.values.items():
        if any(part in others for part in la.walk(value.expression)):
            names.add(name)

    def is_read_again(name: str) -> bool:
        parts = la.walk(found.values[name].expression)
        read = [part.name for part in parts if isinstance(part, la.Name)]
        return _reads(case, read, False, lambda part: part == la.Name(name))

    return {name for name in names & found.values.keys() if is_read_again(name)}


def _reads(
    case: Case,
    names: Iterable[str],
    loss: bool,
    wanted: Callable[[la.Expression], bool],
    empty: Collection[str] = (),
) -> bool:
    """Whether what some values, or the loss, are computed from has such a part.

    What runs over an axis without a step is not computed.
    """
    meaning = case.meant().meaning
    found = meaning.found
    waiting: list[la.Expression] = [la.Name(name) for name in names]
    if loss:
        assert found.loss is not None
        waiting.append(found.loss.expression)
    seen: set[str] = set()
    while waiting:
        part = waiting.pop()
        name = found.named(part.name) if isinstance(part, la.Name) else ""
        axes = expression_axes(part, found, meaning.axes, meaning.settled)
        if isinstance(part, la.Call) and part.function in ("first", "last"):
            (operand,) = part.operands
            inner = expression_axes(operand, found, meaning.axes, meaning.settled)
            if (inner - axes).intersection(empty):  # the initial value, if it has one
                start = found.named(operand.name) if isinstance(operand, la.Name) else ""
                waiting += [value.expression for value in found.starts(start)]
                continue
        if axes.intersection(empty):
            continue
        if wanted(la.Name(name) if name else part):
            return True
        if name and name not in seen:
            seen.add(name)
            read = [each[name] for each in (found.values, found.resets) if name in each]
            waiting += [value.expression for value in (*read, *found.starts(name))]
        waiting += la.parts(part)
    return False


def _needs_steps(case: Case, part: la.Expression, axes: Collection[str]) -> bool:
    if not isinstance(part, la.Call) or part.over is None:
        return False
    axis = case.meant().meaning.settled.get(part.over, part.over)
    return part.function in ("mean", "max", "min") and axis in axes


def by_chance(case: Case) -> bool:
    return bool(case.noise) and (
        case.settings.training or any(rate is None for _, rate in case.noise)
    )
