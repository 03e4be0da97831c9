"""The outputs of single steps, one call each, compared with those of all steps at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import BATCH, Graph
from rollc.network.network import Network
from rollc.tools.verify.case import TOLERANCE, Case
from rollc.tools.verify.comparison import Row, compared
from rollc.tools.verify.ways import Way, apart, entries, given, labelled, meaning, spoilt
from rollc.transforms.state import why_no_state
from rollc.transforms.streaming_split import why_no_steps, why_no_stream

Array = NDArray[Any]


def axes_of_steps(graph: Graph) -> list[str]:
    """The axes along which the outputs come step by step as they come all at once."""
    drawn = any("rate" not in node.options for node in graph.leaves("noise"))
    if drawn or graph.gradients:
        return []
    if len(graph.axes) > 1:
        return [axis for axis in graph.axes if why_no_stream(graph, axis) is None]
    if not graph.reach or why_no_state(graph) is not None or "vjp" not in entries(graph):
        return []
    return [axis for axis in graph.axes if why_no_steps(graph, axis) is None]


def step_by_step(
    case: Case,
    network: Network,
    axis: str,
    which: str,
    lengths: Mapping[str, Array] | None = None,
) -> Row:
    """The steps along an axis with the state handed on.

    Of ``lengths`` those along the other axis count: along this one there are all steps.
    """
    steps, others = case.sizes[axis], [other for other in network.axes if other != axis]
    way, own = Way("forward"), None
    params, inputs, _ = given(case, network)
    if lengths is not None:
        own = {other: lengths[other] for other in others}
        full = own | {axis: np.full(case.sizes[BATCH], steps)}
        way = Way("forward", lengths=full)
        case = replace(case, graph=apart(case.graph))
        inputs = {name: spoilt(case.graph[name], inputs[name], full) for name in inputs}
    specs = {**network.inputs, **network.targets}
    timed = {name for name in inputs if axis in specs[name].time}
    told = {other: case.sizes[other] for other in others}
    state = network.initial_state(params, inputs, told, axis=axis, lengths=own)
    found: dict[str, list[Array]] = {label: [] for label in network.outputs}
    for step in range(steps):
        now = {
            name: np.moveaxis(array, specs[name].time.index(axis), 0)[step]
            if name in timed
            else array
            for name, array in inputs.items()
            if name in timed or not others
        }
        outputs, state = network.step(params, state, now, axis=axis)
        for label, array in outputs.items():
            found[label].append(array)
    joined = {}
    for label, arrays in found.items():
        time = network.outputs[label].time
        joined[label] = np.stack(arrays, time.index(axis)) if axis in time else arrays[-1]
    along = f" along {axis}" if others else ""
    return compared(
        f"step by step{along}{' with lengths' if own else ''}{which}",
        meaning(case, way),
        labelled(network, "output", joined),
        TOLERANCE[network.dtype],
    )
