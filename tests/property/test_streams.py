"""Random encoders and decoders step by step, with lengths of the encoder's steps and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from delay_graphs import random_leaves
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from two_axes import two_axis_graphs

from rollc.graph.check import check
from rollc.graph.graph import Graph
from rollc.graph.stream import CannotStream, stream
from rollc.graph.verify import verify
from rollc.streaming import stream_kernels
from rollc.verify.kernels import interpreted

STEPS = 4


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
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
