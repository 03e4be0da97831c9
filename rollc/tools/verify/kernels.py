"""The calls of a network, compared with the interpreter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.window_split import CannotSplit, split
from rollc.driver.pipeline import compiled
from rollc.entries.forward_mode import prepared_graph
from rollc.entries.graphs import kernel_graphs
from rollc.errors import InputError
from rollc.ir.graph import BATCH, Graph
from rollc.ir.names import STATE
from rollc.ir.operations import operation_of
from rollc.ir.traversal import needed
from rollc.kernel.cost import work
from rollc.kernel.passes import planned, scheduled
from rollc.network.derivatives.forward_mode import Sensitivities
from rollc.network.interpreted import Interpreted
from rollc.network.network import Network
from rollc.runtime.kernel import Kernel
from rollc.tools.verify.case import TOLERANCE, Case, with_state
from rollc.tools.verify.comparison import Row, compared
from rollc.tools.verify.steps import axes_of_steps, step_by_step
from rollc.tools.verify.ways import (
    Way,
    can_be_alone,
    compare,
    entries,
    given,
    given_state,
    labelled,
    meaning,
    own_lengths,
    seeds_of,
    some_cotangents,
)
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.state import expose_state, why_no_state

Array = NDArray[Any]
Arrays = Mapping[str, Array]

WINDOW = 3  # steps
_LITTLE = 200_000_000  # bytes for forward sensitivities without kernels


def main_kernels(case: Case, network: Network, which: str) -> list[Row]:
    """The outputs, and the loss with its gradients."""
    ways = [Way(entry) for entry in entries(case.graph) if entry in ("forward", "gradient")]
    return [compare(case, network, way, which) for way in ways]


def kernels(case: Case, network: Network, which: str) -> list[Row]:
    """What a network of any number of steps is called for most."""
    rows = [compare(case, network, Way(entry), which) for entry in entries(case.graph)]
    rows += [step_by_step(case, network, axis, which) for axis in axes_of_steps(case.graph)]
    return rows


def variants(case: Case, network: Network, which: str) -> list[Row]:
    """The kernels for sequences of different lengths and with a state."""
    graph = case.graph
    if graph.gradients:  # the text of an adjoint, which has no other kernels
        return []
    lengths = own_lengths(case) if can_be_alone(graph) else None
    stateful = bool(graph.reach) and why_no_state(graph) is None
    both = stateful and can_be_alone(expose_state(graph))
    ways = [
        *([Way(entry, True) for entry in entries(graph, state=True)] if stateful else []),
        *([Way(entry, False, lengths) for entry in entries(graph)] if lengths else []),
        *([Way(entry, True, lengths) for entry in entries(graph, state=True)] if both else []),
    ]
    rows = [compare(case, network, way, which) for way in ways]
    if len(graph.axes) > 1:
        if lengths:
            rows += [
                step_by_step(case, network, axis, which, lengths) for axis in axes_of_steps(graph)
            ]
    elif axes_of_steps(graph) and not _ends(graph):
        rows.append(_two_windows(case, network, which))
    return [*rows, *_forward_in_time(case)]


def _ends(graph: Graph) -> bool:
    """Whether an output is from the last step, or counts the steps: every window has its own."""
    read = needed(graph, [name for _, name in graph.outputs])
    entries = map(operation_of, read.nodes)
    return any(entry.end or entry.counts for entry in entries)


def interpreted(graph: Graph, feed: str = "taught") -> Network:
    """The network whose kernels are not made: their graphs are interpreted in float64."""
    makers = kernel_graphs(graph)

    def kernel(entry: str) -> Kernel:
        return cast(Kernel, Interpreted(makers[entry]()))

    return Network(graph, kernel, "float64", feed=feed)


def on_demand(graph: Graph, dtype: str, folder: Path, steps: int | None = None) -> Network:
    """The network whose kernels are made when they are called, in a folder for their source."""
    makers = kernel_graphs(graph)

    @cache
    def kernel(entry: str) -> Kernel:
        result = compiled(makers[entry](), dtype, steps)
        path = folder / f"{entry}_{dtype}_{steps or 'any'}.py"
        path.write_text(result.source, encoding="utf-8")
        return Kernel(result.program, path, dtype)

    return Network(graph, kernel, dtype, steps)


def operations(case: Case) -> int:
    """About how many operations a run of the largest kernel is."""
    makers = kernel_graphs(case.graph)
    (*_, entry) = (name for name in ("forward", "vjp", "gradient") if name in makers)
    program = planned(scheduled(makers[entry]()))
    steps = max(count for axis, count in case.sizes.items() if axis != BATCH)
    return work(program, steps, case.sizes[BATCH])


def _two_windows(case: Case, network: Network, which: str) -> Row:
    """Outputs and gradients of two windows, with the state and its cotangent handed on.

    They are those of the whole sequence that starts with the same state.
    """
    exposed = replace(case, graph=expose_state(case.graph), leaves=with_state(case).leaves)
    cotangents = some_cotangents(case)
    none = {label: np.zeros_like(array) for label, array in some_cotangents(exposed).items()}
    seeded = replace(
        exposed, leaves={**exposed.leaves, **seeds_of(exposed.graph, {**none, **cotangents})}
    )
    ends = {f"output {label}" for label, _ in exposed.graph.outputs[len(case.graph.outputs) :]}
    expected = {**meaning(exposed, Way("forward")), **meaning(seeded, Way("vjp"))}
    expected = {label: array for label, array in expected.items() if label not in ends}
    params, inputs, _ = given(case, network)
    steps = case.sizes[network.axes[0]]
    half = steps // 2
    early, late = slice(half), slice(half, steps)
    state = given_state(exposed, network)
    first, back = network.vjp(params, _cut(network, inputs, early), half, state=state)
    middle = {name: first[STATE + name] for name in network.states}
    last, back_last = network.vjp(params, _cut(network, inputs, late), steps - half, state=middle)
    later = back_last(_cut(network, cotangents, late))
    timed = {label: array for label, array in cotangents.items() if network.outputs[label].time}
    handed = {label: array for label, array in later.items() if label.startswith(STATE)}
    sooner = back({**_cut(network, timed, early), **handed})
    outputs = {label: first[label] for label in network.outputs}
    found = labelled(network, "output", _joined(network, outputs, last))
    found |= labelled(network, "gradient", _joined(network, sooner, later))
    return compared(f"two windows{which}", expected, found, TOLERANCE[network.dtype])


def checkpointed(case: Case, network: Network, which: str) -> Iterator[Row]:
    """The gradient whose windows are computed twice, where the network can."""
    graph = canonicalize(case.graph)
    params, inputs, targets = given(case, network)
    arrays, steps = {**inputs, **targets}, {axis: case.sizes[axis] for axis in network.axes}
    for axis in graph.axes:
        try:
            split(graph, axis)
        except CannotSplit:
            continue
        _, compute = network.windows(params, arrays, steps, checkpoint=WINDOW, axis=axis)
        loss, gradients = compute()
        found = {"loss": np.asarray(loss), **labelled(network, "gradient", gradients)}
        along = f" along {axis}" if len(graph.axes) > 1 else ""
        row = f"windows of {WINDOW} steps{along}{which}"
        yield compared(row, meaning(case, Way("gradient")), found, TOLERANCE[network.dtype])


def _forward_in_time(case: Case) -> Iterator[Row]:
    """The gradients of parameters by forward sensitivities, where they take little memory."""
    graph, network = prepared_graph(case.graph), interpreted(case.graph)
    steps = {axis: count for axis, count in case.sizes.items() if axis != BATCH}
    try:
        run = Sensitivities(graph, network._kernel, network.dtype, longest=WINDOW)
        run.fitting(steps, case.sizes[BATCH], _LITTLE)
    except (CannotSplit, InputError):
        return
    loss, gradients = run.value_and_grad(case.leaves, steps, case.sizes[BATCH])
    found = {"loss": np.asarray(loss)}
    found |= {f"gradient {name}": array for name, array in gradients.items()}
    meant = meaning(case, Way("gradient"))
    expected = {label: meant[label] for label in found}
    yield compared("forward sensitivities, interpreted", expected, found, TOLERANCE["float64"])


def _cut(network: Network, arrays: Arrays, steps: slice) -> dict[str, Array]:
    """Some steps of the arrays that run over time; the others whole."""
    specs = {**network.inputs, **network.targets, **network.outputs}
    return {name: array[steps] if specs[name].time else array for name, array in arrays.items()}


def _joined(network: Network, early: Arrays, late: Arrays) -> dict[str, Array]:
    """What two windows give together: steps follow each other, other gradients add."""
    found = {}
    for label, array in early.items():
        spec = {**network.inputs, **network.outputs}.get(label)
        if spec is not None and spec.time:
            found[label] = np.concatenate([array, late[label]])
        elif label in network.outputs or label.startswith(STATE):
            found[label] = array
        else:
            found[label] = array + late[label]
    return found
