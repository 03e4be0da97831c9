"""Derivatives in one direction are those of the adjoint, on random graphs and every operation; so
are second ones those of differences of gradients, and alike both ways round.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollc.autodiff.truncation import truncate
from rollc.ir.graph import Graph
from rollc.ir.operations import OPERATIONS
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.ragged import with_lengths
from rollc.transforms.state import expose_state, why_no_state
from tests.helpers.directional_derivatives import agrees_with_differences, agrees_with_the_adjoint
from tests.helpers.operation_cases import SIZES, Case, each_case, on_a_bench, values
from tests.helpers.strategies.delay_graphs import delay_graphs, random_leaves
from tests.helpers.strategies.random_specs import spec_graphs
from tests.helpers.strategies.two_axis_graphs import two_axis_graphs


@pytest.mark.long
@pytest.mark.sampled(15)
@pytest.mark.parametrize(("operation", "case"), each_case())
def test_every_operation(operation: str, case: Case) -> None:
    graph = on_a_bench(operation, case, operation)
    with np.errstate(all="ignore"):
        agrees_with_the_adjoint(graph, values(graph, SIZES), SIZES)


def prepared(graph: Graph, window: int | None, state: bool, lengths: bool) -> Graph:
    """A graph as an entry of a network has it before it is differentiated."""
    graph = expose_state(graph) if state and why_no_state(graph) is None else graph
    graph = graph if window is None else truncate(graph, window)
    return with_lengths(graph) if lengths else graph


@pytest.mark.long
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    graph=st.one_of(delay_graphs(), delay_graphs(clocks=True), spec_graphs()),
    steps=st.integers(1, 6),
    window=st.sampled_from([None, None, 1, 2]),
    state=st.booleans(),
    simple=st.booleans(),
    seed=st.integers(0, 99),
)
def test_random_graphs(
    graph: Graph, steps: int, window: int | None, state: bool, simple: bool, seed: int
) -> None:
    graph = prepared(graph, window, state, lengths=False)
    sizes = {"t": steps, "batch": 2}
    with np.errstate(all="ignore"):
        graph = canonicalize(graph) if simple else graph
        agrees_with_the_adjoint(graph, random_leaves(graph, sizes, seed), sizes, seed)


@pytest.mark.long
@settings(max_examples=25, deadline=None, derandomize=True)
@given(graph=two_axis_graphs(), seed=st.integers(0, 99))
def test_random_graphs_of_two_axes(graph: Graph, seed: int) -> None:
    sizes = {"s": 3, "t": 4, "batch": 2}
    with np.errstate(all="ignore"):
        agrees_with_the_adjoint(graph, random_leaves(graph, sizes, seed), sizes, seed)


# Second derivatives ------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.sampled(15)
@pytest.mark.parametrize(("operation", "case"), each_case())
def test_second_derivatives_of_every_operation(operation: str, case: Case) -> None:
    graph = on_a_bench(operation, case, operation)
    if OPERATIONS[operation].once or OPERATIONS[operation].adjoint is None:
        return  # no second derivative is said, or none passes
    with np.errstate(all="ignore"):
        agrees_with_differences(graph, values(graph, SIZES), SIZES)


@pytest.mark.long
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    graph=st.one_of(delay_graphs(smooth=True), spec_graphs(smooth=True)),
    steps=st.integers(1, 5),
    state=st.booleans(),
    simple=st.booleans(),
    seed=st.integers(0, 99),
)
def test_second_derivatives_of_random_graphs(
    graph: Graph, steps: int, state: bool, simple: bool, seed: int
) -> None:
    graph = prepared(graph, None, state, lengths=False)
    sizes = {"t": steps, "batch": 2}
    with np.errstate(all="ignore"):
        graph = canonicalize(graph) if simple else graph
        agrees_with_differences(graph, random_leaves(graph, sizes, seed), sizes, seed)
