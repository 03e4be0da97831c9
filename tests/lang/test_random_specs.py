"""Random specs through all stages: what `test_pass_properties.py` asks of graphs, of every form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rollc.autodiff.adjoint import adjoint
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.names import LENGTHS
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.time.causality import check
from rollc.ir.verifier import verify
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.ragged import why_no_lengths, with_lengths
from rollc.transforms.unroll import unroll
from tests.helpers.strategies.delay_graphs import random_leaves
from tests.helpers.strategies.random_specs import spec_graphs
from tests.transforms.test_pass_properties import results, same_results, sizes_of

pytestmark = pytest.mark.long  # properties, of many random examples

bounded = settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
steps_of = st.integers(1, 5)
seeds = st.integers(0, 1000)


@bounded
@given(spec_graphs(), steps_of, seeds)
def test_every_stage_of_a_spec_agrees(graph: Graph, steps: int, seed: int) -> None:
    assert check(graph).graph is not None
    derived = adjoint(graph)
    dag = unroll(derived, steps)
    stages = (
        canonicalize(adjoint(canonicalize(graph))),
        dag,
        canonicalize(dag),
        adjoint(unroll(graph, steps)),
    )
    leaves = random_leaves(graph, sizes_of(steps), seed)
    expected = results(derived, leaves, steps)
    for stage in (derived, *stages):
        assert verify(stage) == []
        assert parse_graph(print_graph(stage)) == stage
    for stage in stages:
        same_results(expected, results(stage, leaves, steps))


@bounded
@given(spec_graphs(smooth=True), steps_of, seeds)
def test_gradients_of_a_spec_are_slopes(graph: Graph, steps: int, seed: int) -> None:
    """Along a random direction in all leaves at once, by central differences."""
    sizes = sizes_of(steps)
    leaves = random_leaves(graph, sizes, seed)
    derived = adjoint(graph)
    arrays = interpret(derived, leaves, sizes)
    way = {
        label: np.random.default_rng([seed, place]).normal(size=leaves[label].shape)
        for place, (label, _) in enumerate(derived.gradients)
    }
    slope = sum(float((arrays[name] * way[label]).sum()) for label, name in derived.gradients)
    assert graph.loss is not None

    def loss(distance: float) -> float:
        moved = {label: leaves[label] + distance * direction for label, direction in way.items()}
        return float(interpret(graph, {**leaves, **moved}, sizes)[str(graph.loss)])

    step = 1e-5
    quotient = (loss(step) - loss(-step)) / (2 * step)
    size = max(1.0, abs(loss(0.0)), abs(slope))
    assert abs(quotient - slope) < 1e-4 * size


@bounded
@given(spec_graphs(), st.lists(st.integers(1, 5), min_size=1, max_size=3), seeds)
def test_lengths_of_a_spec_cut_its_sequences(graph: Graph, lengths: list[int], seed: int) -> None:
    """The loss and the gradients of parameters are means of those of each sequence alone."""
    assume(why_no_lengths(graph) is None)
    steps, batch = max(lengths), len(lengths)
    leaves = random_leaves(graph, {"t": steps, "batch": batch}, seed)
    ragged = canonicalize(adjoint(canonicalize(with_lengths(graph))))
    found = interpret(ragged, {**leaves, LENGTHS: np.array(lengths)}, {"t": steps, "batch": batch})
    plain = canonicalize(adjoint(graph))
    assert plain.loss is not None and ragged.loss is not None
    singles = []
    for sequence, length in enumerate(lengths):
        own = {}
        for node in graph.nodes:
            if node.name in leaves:
                array = leaves[node.name]
                if "batch" in node.type.axes:
                    array = array.take([sequence], axis=node.type.axes.index("batch"))
                own[node.name] = array[:length] if "t" in node.type.axes else array
        singles.append(interpret(plain, own, {"t": length, "batch": 1}))
    expected = np.mean([one[plain.loss] for one in singles])
    np.testing.assert_allclose(found[ragged.loss], expected, rtol=1e-8, atol=1e-10)
    of = dict(plain.gradients)
    for label, name in ragged.gradients:
        if graph[label].operation == "param":
            mean = np.mean([one[of[label]] for one in singles], axis=0)
            np.testing.assert_allclose(found[name], mean, rtol=1e-7, atol=1e-9, err_msg=label)
