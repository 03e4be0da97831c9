"""Random networks step by step: with one time axis, and encoders and decoders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from rollc.entries.streaming import stream_kernels
from rollc.errors import InputError
from rollc.ir.graph import Graph, Node
from rollc.ir.time.causality import check
from rollc.ir.verifier import verify
from rollc.tools.verify.kernels import interpreted
from rollc.transforms.streaming_split import CannotStream, stream, why_no_steps
from tests.helpers.strategies.delay_graphs import delay_graphs, random_leaves
from tests.helpers.strategies.two_axis_graphs import two_axis_graphs

pytestmark = pytest.mark.long  # properties, of many random examples

STEPS = 4


bounded = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@bounded
@given(
    st.booleans().flatmap(two_axis_graphs),
    st.sampled_from("tts"),
    st.booleans(),
    st.integers(0, 1000),
)
def test_every_step_is_that_of_all_steps(graph: Graph, axis: str, ragged: bool, seed: int) -> None:
    graph = replace(graph, stage="checked")
    network = interpreted(graph)
    (other,) = {"s", "t"} - {axis}
    steps = {axis: STEPS, other: 3}
    leaves = random_leaves(graph, {**steps, "batch": 2}, seed)
    params = {name: leaves[name] for name in network.params}
    inputs = {name: leaves[name] for name in (*network.inputs, *sorted(network.fed))}
    lengths = {other: [2, 3]} if ragged else None
    try:
        found = stream(graph, axis)
    except CannotStream:
        event("refused")
        return
    event("streamed")
    for part in (found.start, found.steps, *(make() for make in stream_kernels(graph).values())):
        assert verify(part) == []
        assert check(part).findings == ()
    whole = network.forward(params, inputs, steps=steps, lengths=lengths)
    state = network.initial_state(params, inputs, {other: 3}, axis=axis, lengths=lengths)
    for step in range(STEPS):
        now = {
            name: array[step] for name, array in inputs.items() if axis in network.inputs[name].time
        }
        outputs, state = network.step(params, state, now, axis=axis)
        for label, array in outputs.items():
            time = network.outputs[label].time
            expected = whole[label].take(step, time.index(axis)) if axis in time else whole[label]
            np.testing.assert_allclose(array, expected, rtol=1e-9, atol=1e-10, err_msg=label)


def into_the_past(graph: Graph) -> Graph:
    """The graph with every read of the future turned round."""

    def turned(node: Node) -> Node:
        edges = (replace(edge, delay=abs(edge.delay)) for edge in node.operands)
        return replace(node, operands=tuple(edges))

    return graph.with_nodes(map(turned, graph.nodes))


@bounded
@given(delay_graphs(clocks=True), st.integers(0, 1000))
def test_every_step_of_one_axis_is_that_of_all_steps(graph: Graph, seed: int) -> None:
    graph = replace(into_the_past(graph), stage="checked")
    assert check(graph).findings == ()
    assume(graph.outputs)
    network = interpreted(graph)
    leaves = random_leaves(graph, {"t": STEPS, "batch": 2}, seed)
    params = {name: leaves[name] for name in network.params}
    inputs = {name: leaves[name] for name in network.inputs}
    whole = network.forward(params, inputs)
    state = network.initial_state(params, inputs, STEPS)
    window = network.forward(params, inputs, state)
    for label, array in whole.items():  # initial values are those of all steps
        np.testing.assert_allclose(window[label], array, rtol=1e-9, atol=1e-10, err_msg=label)
    if any("rate" not in node.options for node in graph.leaves("noise")):
        event("sampled")  # every step draws anew
        return
    reason = why_no_steps(graph, "t")
    event("refused" if reason else "streamed")
    for step in range(STEPS):
        now = {
            name: array[step] if network.inputs[name].time else array
            for name, array in inputs.items()
        }
        if reason:
            with pytest.raises(InputError, match="cannot run step by step"):
                network.step(params, state, now)
            return
        outputs, state = network.step(params, state, now)
        for label, array in outputs.items():
            if network.outputs[label].time or step == STEPS - 1:
                expected = whole[label][step] if network.outputs[label].time else whole[label]
                np.testing.assert_allclose(array, expected, rtol=1e-9, atol=1e-10, err_msg=label)
