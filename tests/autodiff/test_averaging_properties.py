"""Gradients by mean: those of the reads at every step, divided by their number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.averaging import mean_adjoint, weight_nodes
from rollc.ir.graph import Edge, Graph
from rollc.ir.interpreter import interpret
from rollc.ir.verifier import verify
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.covering import step_leaves
from rollc.transforms.unroll import unroll
from tests.helpers.strategies.delay_graphs import delay_graphs, random_leaves

pytestmark = pytest.mark.long  # properties, of many random examples

bounded = settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def parted(graph: Graph) -> Graph:
    """Each parameter, and all that is computed from parameters alone, as two: one for what
    reads it at every step, one for all else.
    """
    weights = weight_nodes(graph)

    def timed(edge: Edge) -> Edge:
        return Edge(f"{edge.source}_timed") if edge.source in weights else edge

    nodes = []
    for node in graph.nodes:
        operands = tuple(timed(edge) for edge in node.operands)
        if node.name in weights:
            nodes.append(replace(node, name=f"{node.name}_timed", operands=operands))
        nodes.append(replace(node, operands=operands) if node.type.time else node)
    return graph.with_nodes(nodes)


@bounded
@given(delay_graphs(), st.integers(1, 6), st.integers(0, 1000))
def test_each_read_over_time_counts_by_its_mean(graph: Graph, steps: int, seed: int) -> None:
    sizes = {"t": steps, "batch": 2}
    leaves = random_leaves(graph, sizes, seed)
    two = adjoint(parted(graph))
    both = {f"{node.name}_timed": leaves[node.name] for node in graph.leaves("param")}
    sums = interpret(two, leaves | both, sizes)
    split = {label: sums[name] for label, name in two.gradients}
    derived = mean_adjoint(graph)
    assert verify(derived) == []
    assert derived.loss is not None
    short = canonicalize(derived)
    dag = unroll(derived, steps)
    found = interpret(derived, leaves, sizes)
    shorter = interpret(short, leaves, sizes)
    unrolled = interpret(dag, step_leaves(dag, leaves), sizes)
    np.testing.assert_array_equal(found[derived.loss], sums["loss"])
    of_short, of_dag = dict(short.gradients), dict(dag.gradients)
    for label, name in derived.gradients:
        expected = split[label]
        if graph[label].operation == "param":
            expected = expected + split[f"{label}_timed"] / steps
            np.testing.assert_allclose(unrolled[of_dag[label]], expected, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(found[name], expected, rtol=1e-8, atol=1e-10, err_msg=label)
        np.testing.assert_allclose(shorter[of_short[label]], expected, rtol=1e-8, atol=1e-10)
