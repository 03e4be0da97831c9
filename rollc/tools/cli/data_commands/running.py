"""``run``: a network on a user's arrays."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.driver.trained import open_run
from rollc.errors import InputError, UndefinedError
from rollc.network.network import Network
from rollc.network.pairs.network import in_pairs, with_complex_arrays
from rollc.tools import console, files
from rollc.tools.cli import effect
from rollc.tools.cli.data_commands.arrays import as_kept, columns_of, load, need_inputs, not_finite
from rollc.tools.cli.data_commands.networks import (
    draws_at_random,
    has_random_params,
    known,
    open_network,
    values_of,
)
from rollc.tools.cli.data_commands.predictions import predicted_columns
from rollc.tools.cli.data_commands.trained import reading as reading_of
from rollc.tools.cli.options import READING
from rollc.tools.datafiles import names, read_npz, write_npz
from rollc.tools.tables import polars, write_table
from rollc.training.data.pairs import deviations, in_units
from rollc.training.data.preparation import Preparation
from rollc.training.runs.run_folder import is_run
from rollc.transforms.streaming_split import why_no_steps

Array = NDArray[Any]

STATE = "state."
NPZ, TABLES = (".npz",), (".csv", ".tsv", ".parquet")


def run(
    spec: str,
    inputs: str | None,
    params: str | None,
    seed: int,
    outputs: str | None,
    grad: str | None,
    memory: int | None,
    checkpoint: int | None,
    state: str | None,
    save_state: str | None,
    steps: int | dict[str, int] | None,
    sets: dict[str, int],
    dtype: str,
    feed: str,
    backend: str | None,
    **reading: Any,
) -> None:
    _check_files(spec, inputs, params, outputs, state, save_state)
    _check_ways(grad, memory, checkpoint, with_state=bool(state or save_state))
    if inputs is None:
        effect.refuse(READING, "without `--inputs`")
    trained = None
    if is_run(Path(spec)):
        effect.refuse(["sets", "dtype", "feed", "backend"], "on a run, which has its network")
        trained = open_run(Path(spec))
    network = trained.network if trained else open_network(spec, sets, dtype, feed, backend)
    network = with_complex_arrays(network)
    if grad and network.graph.loss is None:
        raise InputError("the spec has no loss, so there are no gradients")
    values = trained.params if trained and not params else values_of(network, params, seed)
    known_values = params is not None or trained is not None or not has_random_params(network)
    if not draws_at_random(network) and known_values:
        effect.say(["seed"], "here: nothing is drawn at random")
    if (state or save_state) and not network.states and len(network.axes) == 1:
        network.initial_state(values, {}, steps or 1)  # says why, where that is not its nature
        raise InputError(f"`{network.name}` has no state: it reads nothing of another step")
    loaded, preparation = None, trained.preparation if trained else Preparation()
    arrays: dict[str, Array] = {}
    lengths: Any = None
    if inputs:
        options = reading_of(trained, reading) if trained else reading
        columns = as_kept(columns_of(network, options), preparation)
        columns = replace(columns, optional=frozenset(network.targets))
        loaded = load(network, inputs, columns)
        data = preparation(loaded.data)
        arrays, lengths = dict(data.arrays), data.lengths
    elif not state:
        need_inputs(network)
    before: dict[str, Array] | None = None
    apart = len(network.axes) > 1 and bool(state or save_state)
    if apart:
        before, arrays, steps = _state_along(network, values, arrays, lengths, steps, state, seed)
        lengths = None
    elif state:
        before = known(read_npz(files.read_bytes(state), state), network.states, state, "a state")
    elif save_state:
        before = network.initial_state(values, arrays, steps, seed=seed)
    if before is not None and not apart:
        _say_of_window(network)
    call = _Call(network, values, arrays, before, steps, lengths, seed)
    found = network.forward(values, arrays, before, steps, lengths=lengths, seed=seed)
    after = {name: array for name, array in found.items() if name.startswith(STATE)}
    raw = {name: array for name, array in found.items() if name not in after}
    results = in_units(network, raw, preparation)
    lines = [f"output {name}: {_described(array)}" for name, array in results.items()]
    loss: float | None = None
    if grad:
        loss, gradients = _gradients(call, grad, memory, checkpoint)
        results |= {f"grad.{name}": array for name, array in gradients.items()}
        lines += [f"gradient {name}: {_described(array)}" for name, array in gradients.items()]
    elif network.graph.loss is not None and not apart and network.targets.keys() <= arrays.keys():
        loss = _loss(call)
    if loss is not None:
        results["loss"] = np.asarray(loss)
        scaled = " (of standardised numbers)" if preparation.scales else ""
        lines.append(f"loss: {loss:.6g}{scaled}")
        cause = None if loaded is None or np.isfinite(loss) else not_finite(loaded, inputs or "")
        if cause is not None:
            console.note(f"the loss is no number, and {cause}")
    if outputs is not None and outputs.lower().endswith(TABLES):
        pairs, parts = in_pairs(network)  # a table holds real numbers
        spread = deviations(pairs, parts.split(values), parts.split(raw), preparation)
        predicted = predicted_columns(
            pairs, parts.split(results), loaded, lengths, preparation.classes, spread
        )
        files.write_bytes(outputs, write_table(predicted, outputs))
    elif outputs is not None:
        files.write_bytes(outputs, write_npz(results))
    if save_state is not None:
        kept = {name.removeprefix(STATE): array for name, array in after.items()}
        files.write_bytes(save_state, write_npz(kept))
    show = console.say if files.STREAM in (outputs, save_state) else print
    for line in lines:
        show(line)


@dataclass(frozen=True)
class _Call:
    """What a network is run on: ``before`` is the state that it goes on from."""

    network: Network
    values: dict[str, Array]
    arrays: dict[str, Array]
    before: dict[str, Array] | None
    steps: int | dict[str, int] | None
    lengths: Any
    seed: int


def _loss(call: _Call) -> float | None:
    """The loss; None where it is undefined: the outputs are not, and no gradients are asked for."""
    try:
        return call.network.loss(
            call.values,
            call.arrays,
            call.steps,
            state=call.before,
            lengths=call.lengths,
            seed=call.seed,
        )
    except UndefinedError as undefined:
        console.note(f"no loss: {undefined}")
        return None


def _gradients(
    call: _Call, grad: str, memory: int | None, checkpoint: int | None
) -> tuple[float, dict[str, Array]]:
    """The loss and its gradients, in the way that was asked for; its plan is said."""
    network, of = call.network, (call.values, call.arrays, call.steps)
    if grad == "forward":
        sensitivity, compute = network.forward_sensitivities(
            *of, memory=memory, lengths=call.lengths, seed=call.seed
        )
        console.say(
            f"{sensitivity.directions:,} derivatives beside each value, windows of"
            f" {sensitivity.steps} steps: {sensitivity.bytes / 1e6:.3g} MB for any number of steps"
        )
        return compute()
    if memory or checkpoint:
        if call.lengths is not None:
            raise InputError("windows of steps take no `lengths`")
        plan, compute = network.windows(*of, memory=memory, checkpoint=checkpoint, seed=call.seed)
        console.say(
            f"{plan.windows} windows of {plan.steps} steps: {plan.bytes / 1e6:.3g} MB,"
            f" and {plan.extra:.0%} more work"
        )
        return compute()
    if call.before is None:
        return network.value_and_grad(*of, lengths=call.lengths, seed=call.seed)
    loss, gradients, _ = network.value_and_grad(
        *of, state=call.before, lengths=call.lengths, seed=call.seed
    )
    return loss, gradients


def _check_files(
    spec: str,
    inputs: str | None,
    params: str | None,
    outputs: str | None,
    state: str | None,
    save_state: str | None,
) -> None:
    """Raise where a file cannot be read or written, before the work."""
    file = None if inputs is None or os.path.isdir(inputs) else inputs
    files.check_inputs(spec if spec == files.STREAM else None, file, params, state)
    files.check_outputs(outputs, endings=(*NPZ, *TABLES))
    if outputs is not None and outputs.lower().endswith(TABLES):
        polars(f"`{outputs}`")
    files.check_outputs(save_state, endings=NPZ)
    files.check_outputs(outputs, save_state, keep=[spec, file, params])
    if outputs is not None:
        files.check_outputs(outputs, keep=[state])


def _check_ways(
    grad: str | None, memory: int | None, checkpoint: int | None, with_state: bool
) -> None:
    """Raise where the ways to compute gradients that were asked for exclude each other."""
    if grad is None:
        effect.refuse(["memory", "checkpoint"], "without `--grad`")
    if grad == "forward" and (checkpoint or with_state):
        raise InputError("forward sensitivities take neither `--checkpoint` nor a state")
    if grad == "adjoint" and memory and checkpoint:
        raise InputError("`--memory` chooses the windows, and so does `--checkpoint`: give one")
    if (memory or checkpoint) and with_state:
        raise InputError("windows of steps take no state")


def _state_along(
    network: Network,
    values: dict[str, Array],
    arrays: dict[str, Array],
    lengths: dict[str, Array] | None,
    steps: int | dict[str, int] | None,
    state: str | None,
    seed: int,
) -> tuple[dict[str, Array], dict[str, Array], dict[str, int] | None]:
    """With two time axes: the state to go on from, and the inputs and steps along its axis."""
    axis = network.axis_of_steps()
    slots = {**network.inputs, **network.targets}
    now = {name: array for name, array in arrays.items() if axis in slots[name].time}
    if isinstance(steps, int):
        raise InputError("there are several time axes: give `--steps` by axis")
    others = {other: count for other, count in (steps or {}).items() if other != axis}
    own = {axis: steps[axis]} if steps and axis in steps else None
    if lengths is not None and axis in lengths:
        raise InputError(f"with a state all sequences have all steps: leave out `lengths.{axis}`")
    if state is None:
        return network.initial_state(values, arrays, others, lengths=lengths, seed=seed), now, own
    if passed := arrays.keys() - now.keys():
        console.note(f"not read, as the state has what comes of it: {names(sorted(passed))}")
    return read_npz(files.read_bytes(state), state), now, own


def _say_of_window(network: Network) -> None:
    """Steps with a state are a window of a sequence: what needs all steps is of these alone."""
    (axis,) = network.axes
    reason = why_no_steps(network.graph, axis)
    if reason is not None:
        console.note(f"{reason}: here of those of this run, and not of any before")


def _described(array: Array) -> str:
    array = np.asarray(array)
    if array.ndim == 0:
        return f"{array.item():.6g}"
    return f"{array.dtype}[{', '.join(map(str, array.shape))}]"
