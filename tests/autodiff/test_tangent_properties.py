"""Gradients forward in time are those of the adjoint, on random graphs and on every operation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from rollc.autodiff.segments import segments
from rollc.autodiff.truncation import truncate
from rollc.autodiff.window_split import CannotSplit
from rollc.ir.graph import Edge, Graph, Node, attributes
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.forward_gradients import compare
from tests.helpers.operation_cases import OVER, SIZES, Case, each_case, on_a_bench, values
from tests.helpers.strategies.delay_graphs import delay_graphs, random_leaves


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    # Most random graphs read the future, and have no forward sensitivities.
    suppress_health_check=[HealthCheck.filter_too_much],
)
@given(
    graph=delay_graphs(),
    steps=st.integers(1, 7),
    every=st.integers(1, 4),
    window=st.sampled_from([None, None, 1, 2, 3]),
    seed=st.integers(0, 99),
)
def test_random_graphs(graph: Graph, steps: int, every: int, window: int | None, seed: int) -> None:
    simple = canonicalize(graph if window is None else truncate(graph, window))
    try:
        found = segments(simple)
    except CannotSplit as reason:
        event(str(reason).partition("`")[0] + str(reason).rpartition("`")[2])
        assume(False)
    event(f"{len(found.segments)} segments")
    sizes = {"t": steps, "batch": 2}
    compare(simple, random_leaves(simple, sizes, seed), sizes, every)


@pytest.mark.parametrize(("operation", "case"), each_case())
def test_every_operation(operation: str, case: Case) -> None:
    """Where a parameter is added to every input."""
    graph = _with_offsets(on_a_bench(operation, case, operation))
    apart = operation in ("mean_over", "outer", "embed_adjoint")
    whole = operation in ("impulse", "tail", "tail_steps", "position", "rename_axis")
    if whole or (apart and case.options.get("over") == OVER):
        with pytest.raises(CannotSplit):  # it cannot go window by window
            segments(graph)
        return
    with np.errstate(all="ignore"):
        compare(graph, values(graph, SIZES), SIZES, 2)


def _with_offsets(graph: Graph) -> Graph:
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.operation != "input" or node.type.kind != "float":
            nodes.append(node)
            continue
        nodes.append(Node(f"{node.name}'given", "input", (), node.type))
        zeros = attributes(initialiser="zeros")
        static = replace(node.type, axes=())
        nodes.append(Node(f"{node.name}'offset", "param", (), static, zeros))
        both = (Edge(f"{node.name}'given"), Edge(f"{node.name}'offset"))
        nodes.append(replace(node, operation="add", operands=both))
    return graph.with_nodes(nodes)
