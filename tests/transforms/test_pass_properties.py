"""What every pass keeps, on random delay graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.time.causality import CycleWithoutDelay, check
from rollc.ir.verifier import verify
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.covering import covering, step_leaves
from rollc.transforms.rematerialize import rematerialize
from rollc.transforms.unroll import unroll
from tests.helpers.lowering import lower
from tests.helpers.strategies.delay_graphs import (
    delay_graphs,
    graphs_without_last_delay,
    random_leaves,
    streamed_graphs,
)

pytestmark = pytest.mark.long  # properties, of many random examples

Array = NDArray[Any]

bounded = settings(
    max_examples=60,
    derandomize=True,  # the same graphs in every run: a failure is never a matter of luck
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
graphs = st.one_of(delay_graphs(), streamed_graphs())
lengths = st.integers(1, 6)
seeds = st.integers(0, 1000)


def sizes_of(steps: int) -> dict[str, int]:
    return {"t": steps, "batch": 2}


def close(expected: Array, found: Array, name: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10, err_msg=name)


def results(graph: Graph, leaves: dict[str, Array], steps: int) -> dict[str, Array]:
    """The values that leave a graph, by their labels; those over time one a step.

    A value of an unrolled graph may lack the batch where it is the same for all.
    """
    sizes = sizes_of(steps)
    if graph.steps is not None:
        leaves = step_leaves(graph, leaves)
    arrays = interpret(graph, leaves, sizes)
    pairs = [(f"output {label}", name) for label, name in graph.outputs]
    pairs += [(f"gradient {label}", name) for label, name in graph.gradients]
    if graph.loss is not None:
        pairs.append(("loss", graph.loss))
    found: dict[str, Array] = {}
    for label, name in pairs:
        if "t" in graph[name].type.axes:
            for step in range(steps):
                found[f"{label}.{step}"] = arrays[name][step]
        else:
            found[label] = arrays[name]
    return found


def same_results(expected: dict[str, Array], found: dict[str, Array]) -> None:
    assert sorted(expected) == sorted(found)
    for label, array in expected.items():
        close(array, found[label], label)


@bounded
@given(graphs)
def test_every_random_graph_passes_the_check(graph: Graph) -> None:
    assert check(graph).graph is not None


@bounded
@given(graphs_without_last_delay())
def test_a_cycle_without_its_delays_is_rejected(graph: Graph) -> None:
    verdict = check(graph)
    assert verdict.graph is None
    assert any(isinstance(finding, CycleWithoutDelay) for finding in verdict.findings)


@bounded
@given(graphs, lengths)
def test_every_pass_gives_a_graph_whose_types_fit(graph: Graph, steps: int) -> None:
    derived = adjoint(graph)
    dag = unroll(derived, steps)
    for stage in (canonicalize(graph), derived, canonicalize(derived), dag, canonicalize(dag)):
        assert verify(stage) == []


@bounded
@given(graphs, lengths)
def test_text_reads_back_at_each_stage(graph: Graph, steps: int) -> None:
    derived = adjoint(graph)
    for stage in (
        graph,
        canonicalize(graph),
        derived,
        canonicalize(derived),
        unroll(derived, steps),
    ):
        assert parse_graph(print_graph(stage)) == stage


@bounded
@given(graphs, lengths, seeds)
def test_simplify_keeps_values_and_gradients(graph: Graph, steps: int, seed: int) -> None:
    leaves = random_leaves(graph, sizes_of(steps), seed)
    expected = results(adjoint(graph), leaves, steps)
    same_results(expected, results(adjoint(canonicalize(graph)), leaves, steps))
    same_results(expected, results(canonicalize(adjoint(graph)), leaves, steps))


@bounded
@given(graphs, lengths, seeds)
def test_unroll_keeps_every_value(graph: Graph, steps: int, seed: int) -> None:
    graph = adjoint(graph)
    leaves = random_leaves(graph, sizes_of(steps), seed)
    values = interpret(graph, leaves, sizes_of(steps))
    dag = unroll(graph, steps)
    unrolled = interpret(dag, step_leaves(dag, leaves), sizes_of(steps))
    for name, copy in covering(dag).items():
        if copy is not None and "t" in graph[copy[0]].type.axes:
            close(values[copy[0]][copy[1][0]], unrolled[name], name)
        elif name in values:
            close(values[name], unrolled[name], name)


@bounded
@given(graphs, lengths, seeds)
def test_a_simplified_unrolled_graph_has_the_same_results(
    graph: Graph, steps: int, seed: int
) -> None:
    leaves = random_leaves(graph, sizes_of(steps), seed)
    dag = unroll(adjoint(graph), steps)
    same_results(results(dag, leaves, steps), results(canonicalize(dag), leaves, steps))


@bounded
@given(graphs, lengths, seeds)
def test_unroll_and_adjoint_commute(graph: Graph, steps: int, seed: int) -> None:
    leaves = random_leaves(graph, sizes_of(steps), seed)
    one = results(unroll(adjoint(graph), steps), leaves, steps)
    other = results(adjoint(unroll(graph, steps)), leaves, steps)
    same_results(one, other)


@bounded
@given(graphs, lengths, seeds)
def test_unroll_and_adjoint_commute_for_cotangents_from_outside(
    graph: Graph, steps: int, seed: int
) -> None:
    derived = adjoint(graph, of="outputs")
    leaves = random_leaves(derived, sizes_of(steps), seed)
    seeds_of_steps = {
        f"~{name}.{step}:seed": leaves[f"~{name}:seed"][step]
        for _, name in graph.outputs
        if "t" in graph[name].type.axes
        for step in range(steps)
    }
    one = results(unroll(derived, steps), leaves, steps)
    other = adjoint(unroll(graph, steps), of="outputs")
    same_results(one, results(other, leaves | seeds_of_steps, steps))


@bounded
@given(delay_graphs(smooth=True), lengths, seeds)
def test_gradients_are_slopes(graph: Graph, steps: int, seed: int) -> None:
    """Along a random direction in all leaves at once, by central differences."""
    sizes = sizes_of(steps)
    leaves = random_leaves(graph, sizes, seed)
    way = random_leaves(graph, sizes, seed + 1)
    derived = adjoint(graph)
    arrays = interpret(derived, leaves, sizes)
    slope = sum(float((arrays[name] * way[leaf]).sum()) for leaf, name in derived.gradients)

    def loss(distance: float) -> float:
        moved = {
            name: array + distance * way[name] if array.dtype.kind == "f" else array
            for name, array in leaves.items()
        }
        return float(interpret(graph, moved, sizes)["loss"])

    step = 1e-5
    quotient = (loss(step) - loss(-step)) / (2 * step)
    size = max(1.0, abs(loss(0.0)), abs(slope))
    assert abs(quotient - slope) < 1e-4 * size


@bounded
@given(graphs, lengths, seeds)
def test_what_is_computed_again_is_what_it_was(graph: Graph, steps: int, seed: int) -> None:
    leaves = random_leaves(graph, sizes_of(steps), seed)
    lowered = lower(canonicalize(adjoint(graph)))
    again = rematerialize(lowered)
    assert verify(again) == []
    same_results(results(lowered, leaves, steps), results(again, leaves, steps))
