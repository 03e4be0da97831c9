"""Truncation: values stay, and gradients are those of reads that cross no border."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.truncation import truncate
from rollc.ir.graph import Edge, Graph
from rollc.ir.interpreter import interpret
from rollc.ir.time.causality import check
from rollc.ir.verifier import verify
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.covering import step_leaves
from rollc.transforms.unroll import unroll
from tests.helpers.strategies.delay_graphs import delay_graphs, random_leaves

pytestmark = pytest.mark.long  # properties, of many random examples

Array = NDArray[Any]

bounded = settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
steps = st.integers(1, 7)
sizes = st.integers(1, 4)
seeds = st.integers(0, 1000)


def gradients(graph: Graph, leaves: dict[str, Array], length: int) -> dict[str, Array]:
    found = interpret(graph, leaves, {"t": length, "batch": 2})
    return {label: found[name] for label, name in graph.gradients}


def close(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for label, array in expected.items():
        np.testing.assert_allclose(found[label], array, rtol=1e-8, atol=1e-10, err_msg=label)


def cut_dag(graph: Graph, length: int, window: int) -> Graph:
    """The unrolled graph, with a ``stop`` at each edge that crosses a border."""
    dag = unroll(graph, length)
    delayed = {
        (node.name, place): edge
        for node in graph.nodes
        for place, edge in enumerate(node.operands)
        if edge.delay
    }
    nodes = []
    for node in dag.nodes:
        name, _, number = node.name.rpartition(".")
        operands = list(node.operands)
        for place, edge in enumerate(node.operands):
            if not number.isdigit() or (name, place) not in delayed:
                continue
            step, delay = int(number), delayed[name, place].delay
            at = step - delay
            free = step < window if delay > 0 else at >= length
            if free or at // window == step // window:
                continue
            stop = f"{node.name}'stop{place}"
            type_ = dag[edge.source].type
            nodes.append(replace(node, name=stop, operation="stop", operands=(edge,), type=type_))
            nodes[-1] = replace(nodes[-1], attributes=())
            operands[place] = Edge(stop)
        nodes.append(replace(node, operands=tuple(operands)))
    return dag.with_nodes(nodes)


@bounded
@given(delay_graphs(), steps, sizes, seeds)
def test_gradients_are_those_of_the_dag_with_cut_edges(
    graph: Graph, length: int, window: int, seed: int
) -> None:
    # Unrolled, such a read is no copy of an edge.
    assume(
        not any(
            node.operands[0].delay
            for node in graph.nodes
            if "over" in node.options or node.operation in ("first", "last")
        )
    )
    cut = truncate(graph, window)
    assert verify(cut) == []
    assert check(cut).graph is not None
    leaves = random_leaves(graph, {"t": length, "batch": 2}, seed)
    found = gradients(canonicalize(adjoint(cut)), leaves, length)
    dag = adjoint(cut_dag(graph, length, window))
    expected = gradients(dag, step_leaves(dag, leaves), length)
    whole = {}
    for label, array in found.items():
        if label in expected:
            whole[label] = expected[label]
        else:
            rows = [expected[f"{label}.{step}"] for step in range(length)]
            whole[label] = np.stack([np.broadcast_to(row, array.shape[1:]) for row in rows])
    close(found, whole)


@bounded
@given(delay_graphs(), steps, sizes, seeds)
def test_values_stay(graph: Graph, length: int, window: int, seed: int) -> None:
    extent = {"t": length, "batch": 2}
    leaves = random_leaves(graph, extent, seed)
    before = interpret(graph, leaves, extent)
    after = interpret(truncate(graph, window), leaves, extent)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)


@bounded
@given(delay_graphs(), steps, seeds)
def test_a_window_as_long_as_the_sequence_cuts_nothing(
    graph: Graph, length: int, seed: int
) -> None:
    leaves = random_leaves(graph, {"t": length, "batch": 2}, seed)
    expected = gradients(adjoint(graph), leaves, length)
    close(gradients(adjoint(truncate(graph, length)), leaves, length), expected)
