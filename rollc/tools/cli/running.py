"""``run`` and ``train``: a network on a user's arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.driver import artefact
from rollc.errors import InputError, UndefinedError
from rollc.network.network import Network
from rollc.tools import console, files
from rollc.tools.cli import building, effect, sources
from rollc.tools.datafiles import Column, is_npz, names, read_csv, read_npz, write_npz
from rollc.transforms.randomness import NOISE
from rollc.transforms.streaming_split import why_no_steps

if TYPE_CHECKING:
    from rollc.network.arrays import Spec

Array = NDArray[Any]

LENGTHS = "lengths"  # the array with the number of steps of each sequence
STATE = "state."
NPZ = (".npz",)


def open_network(
    spec: str, sets: Mapping[str, int], dtype: str, feed: str, backend: str | None = None
) -> Network:
    """The network of a spec, or of an artefact, which has its sizes and its dtype already."""
    if files.is_artefact(spec):
        return artefact.open_artefact(sources.open_artefact(spec, sets, dtype, feed, backend))
    return building.build_network(spec, sets=sets, dtype=dtype, feed=feed, backend=backend)[0]


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
) -> None:
    files.check_inputs(spec if spec == files.STREAM else None, inputs, params, state)
    files.check_outputs(outputs, save_state, endings=NPZ, keep=[spec, inputs, params])
    if outputs is not None:
        files.check_outputs(outputs, keep=[state])
    _check_ways(grad, memory, checkpoint, with_state=bool(state or save_state))
    network = open_network(spec, sets, dtype, feed, backend)
    if grad and network.graph.loss is None:
        raise InputError("the spec has no loss, so there are no gradients")
    values = _values(network, params, seed)
    if not _draws(network) and (params is not None or not _random_params(network)):
        effect.say(["seed"], "here: nothing is drawn at random")
    if (state or save_state) and not network.states and len(network.axes) == 1:
        network.initial_state(values, {}, steps or 1)  # says why, where that is not its nature
        raise InputError(f"`{network.name}` has no state: it reads nothing of another step")
    arrays, lengths = _data(network, inputs) if inputs else ({}, None)
    before: dict[str, Array] | None = None
    apart = len(network.axes) > 1 and bool(state or save_state)
    if apart:
        before, arrays, steps = _state_along(network, values, arrays, lengths, steps, state, seed)
        lengths = None
    elif state:
        before = _known(read_npz(files.read_bytes(state), state), network.states, state, "a state")
    elif save_state:
        before = network.initial_state(values, arrays, steps, seed=seed)
    if before is not None and not apart:
        _say_of_window(network)
    found = network.forward(values, arrays, before, steps, lengths=lengths, seed=seed)
    after = {name: array for name, array in found.items() if name.startswith(STATE)}
    results = {name: array for name, array in found.items() if name not in after}
    lines = [f"output {name}: {_described(array)}" for name, array in results.items()]
    has_loss = network.graph.loss is not None and not (apart and not grad)
    if has_loss and (grad or network.targets.keys() <= arrays.keys()):
        loss: float | None
        if grad:
            if grad == "forward":
                loss, gradients = _forward_in_time(
                    network, values, arrays, steps, lengths, memory, seed
                )
            elif memory or checkpoint:
                if lengths is not None:
                    raise InputError("windows of steps take no `lengths`")
                plan, compute = network.windows(
                    values, arrays, steps, memory=memory, checkpoint=checkpoint, seed=seed
                )
                console.say(
                    f"{plan.windows} windows of {plan.steps} steps: {plan.bytes / 1e6:.3g} MB,"
                    f" and {plan.extra:.0%} more work"
                )
                loss, gradients = compute()
            elif before is None:
                loss, gradients = network.value_and_grad(
                    values, arrays, steps, lengths=lengths, seed=seed
                )
            else:
                loss, gradients, _ = network.value_and_grad(
                    values, arrays, steps, state=before, lengths=lengths, seed=seed
                )
            for name, array in gradients.items():
                results[f"grad.{name}"] = array
                lines.append(f"gradient {name}: {_described(array)}")
        else:
            try:
                loss = network.loss(values, arrays, steps, state=before, lengths=lengths, seed=seed)
            except UndefinedError as undefined:  # the outputs are, and gradients were not asked for
                loss = None
                console.note(f"no loss: {undefined}")
        if loss is not None:
            results["loss"] = np.asarray(loss)
            lines.append(f"loss: {loss:.6g}")
    if outputs is not None:
        files.write_bytes(outputs, write_npz(results))
    if save_state is not None:
        kept = {name.removeprefix(STATE): array for name, array in after.items()}
        files.write_bytes(save_state, write_npz(kept))
    show = console.say if files.STREAM in (outputs, save_state) else print
    for line in lines:
        show(line)


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


def _forward_in_time(
    network: Network,
    values: dict[str, Array],
    arrays: dict[str, Array],
    steps: int | dict[str, int] | None,
    lengths: dict[str, Array] | None,
    memory: int | None,
    seed: int,
) -> tuple[float, dict[str, Array]]:
    """The loss and its gradients by forward sensitivities, of which the plan is said."""
    plan, compute = network.forward_sensitivities(
        values, arrays, steps, memory=memory, lengths=lengths, seed=seed
    )
    console.say(
        f"{plan.directions:,} derivatives beside each value, windows of {plan.steps} steps:"
        f" {plan.bytes / 1e6:.3g} MB for any number of steps"
    )
    return compute()


def train(
    spec: str,
    data: str,
    params: str | None,
    output: str | None,
    epochs: int,
    batch: int | None,
    window: int | None,
    method: str,
    rate: float | None,
    momentum: float,
    clip: float | None,
    seed: int,
    sets: dict[str, int],
    dtype: str,
    feed: str,
    backend: str | None,
) -> None:
    from rollc.network.training.batches import batches
    from rollc.network.training.loop import fit
    from rollc.network.training.optimizers import optimiser

    files.check_inputs(spec if spec == files.STREAM else None, data, params)
    files.check_outputs(output, endings=NPZ, keep=[spec, data])
    if method != "sgd":
        effect.refuse(["momentum"], f"on {method}: --momentum is for sgd")
    network = open_network(spec, sets, dtype, feed, backend)
    if network.graph.loss is None:
        raise InputError("the spec has no loss, so there is nothing to fit")
    if not network.params:
        raise InputError(f"`{network.name}` has no parameters, so there is nothing to fit")
    if output is None:
        console.warning("the fitted parameters are not kept: give `-o P.npz`")
    values = _values(network, params, seed)
    arrays, lengths = _data(network, data)
    _say_what_has_no_effect(network, arrays, params, batch, window)
    random = np.random.default_rng(seed)
    chosen = {"rate": rate, "momentum": momentum or None}
    numbers = {name: number for name, number in chosen.items() if number is not None}
    fitting = fit(
        network,
        values,
        lambda: batches(network, arrays, batch, lengths=lengths, seed=random),
        optimiser(method, **numbers),
        window=window,
        clip=clip,
        seed=random,
    )
    loss = math.nan
    with console.progress("fitting", epochs) as advance:
        for number, epoch in zip(range(1, epochs + 1), fitting, strict=False):
            values, loss = epoch.params, epoch.loss
            if not math.isfinite(loss):
                raise InputError(f"the loss became {loss} in epoch {number}; try a smaller --rate")
            advance(number, f"loss {loss:.6g}")
    if output is not None:
        files.write_bytes(output, write_npz(values))
    show = console.say if output == files.STREAM else print
    show(f"loss: {loss:.6g} in the last of {epochs} epochs")


def _say_what_has_no_effect(
    network: Network,
    arrays: Mapping[str, Array],
    params: str | None,
    batch: int | None,
    window: int | None,
) -> None:
    """Note what options of ``train`` come to nothing on these data."""
    slots = {**network.inputs, **network.targets}
    sequences, steps = 1, 0
    for name, array in arrays.items():
        slot = slots[name]
        if slot.batch and array.ndim == len(slot.dimensions()):
            sequences = max(sequences, array.shape[len(slot.time)])
        if slot.time and array.ndim:
            steps = max(steps, len(array))
    if batch is not None and batch >= sequences:
        many = "1 sequence" if sequences == 1 else f"{sequences} sequences"
        effect.say(["batch"], f"here: the data are {many}, and all are in one update")
    if window is not None and window >= steps:
        effect.say(["window"], f"here: the sequences have {steps} steps, which are one window")
    shuffled = batch is not None and batch < sequences
    drawn = shuffled or _draws(network, training=True)
    if not drawn and (params is not None or not _random_params(network)):
        effect.say(["seed"], "here: nothing is drawn at random")


def _draws(network: Network, training: bool = False) -> bool:
    """Whether a run draws at random: `sample` always does, `dropout` in training."""
    leaves = network.graph.leaves(NOISE)
    return any(training or node.options.get("rate") is None for node in leaves)


def _random_params(network: Network) -> bool:
    """Whether a parameter is drawn at random where none is given."""
    fixed = ("zeros", "number", "identity")
    leaves = network.graph.leaves("param")
    return any(node.options["initialiser"] not in fixed for node in leaves)


def _values(network: Network, params: str | None, seed: int) -> dict[str, Array]:
    """The parameters from a file, or drawn from the seed, which is said."""
    if params is None:
        if _random_params(network):
            console.note(f"no `--params`: they are drawn at random, from seed {seed}")
        return dict(network.init(seed))
    found = read_npz(files.read_bytes(params), params)
    return _known(found, network.params, params, "a parameter")


def _data(network: Network, file: str) -> tuple[dict[str, Array], dict[str, Array] | None]:
    """The inputs and targets from a file, and the lengths by axis if it has them."""
    slots = {**network.inputs, **network.targets}
    content = files.read_bytes(file)
    if is_npz(content, file):
        found = read_npz(content, file)
    elif len(network.axes) > 1:
        raise InputError(f"`{file}` is a table of steps, and there are several sorts: give an .npz")
    else:
        columns = [Column(name, slot.shape) for name, slot in slots.items() if slot.time]
        found = {
            name: _whole(array) if slots[name].bound is not None else array
            for name, array in read_csv(content, file, columns).items()
        }
    lengths = _lengths(network, found, file)
    return _known(found, slots, file, "an input or target"), lengths


def _lengths(network: Network, found: dict[str, Array], file: str) -> dict[str, Array] | None:
    """The lengths by axis, taken out of the arrays of a file; None if it has none."""
    names = {f"{LENGTHS}.{axis}": axis for axis in network.axes}
    if len(network.axes) == 1:
        names[LENGTHS] = network.axes[0]
    taken = {*network.inputs, *network.targets}
    if LENGTHS in found.keys() - names.keys() - taken:
        known = " and ".join(f"`{name}`" for name in names)
        raise InputError(f"`{file}`: `{LENGTHS}` are of one time axis; expected {known}")
    own = {axis: found.pop(name) for name, axis in names.items() if name in found.keys() - taken}
    return own or None


def _whole(array: Array) -> Array:
    """Numbers as integers, where they all are."""
    with np.errstate(invalid="ignore"):
        integers = array.astype(np.int64)
    return integers if np.array_equal(integers, array) else array


def _known(
    found: dict[str, Array], wanted: Mapping[str, Spec], file: str, what: str
) -> dict[str, Array]:
    """The arrays that the network takes; the others are mentioned."""
    others = sorted(found.keys() - wanted.keys())
    if others:
        console.note(f"not {what} of the network, and not read: {names(others)} in `{file}`")
    return {name: array for name, array in found.items() if name in wanted}


def _described(array: Array) -> str:
    array = np.asarray(array)
    if array.ndim == 0:
        return f"{float(array):.6g}"
    return f"{array.dtype}[{', '.join(map(str, array.shape))}]"
