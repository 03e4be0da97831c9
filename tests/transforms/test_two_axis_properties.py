"""Random encoders and decoders: the check, simplification, gradients as slopes, and lengths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollc.autodiff.adjoint import adjoint
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.time.causality import check
from rollc.ir.verifier import verify
from rollc.tools.verify.case import finite_case
from rollc.tools.verify.kernels import interpreted
from rollc.tools.verify.ways import Way, compare, entries, own_lengths
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.covering import step_leaves
from rollc.transforms.unroll import unroll
from tests.helpers.strategies.delay_graphs import random_leaves
from tests.helpers.strategies.two_axis_graphs import two_axis_graphs

pytestmark = pytest.mark.long  # properties, of many random examples


@settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(two_axis_graphs(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1000))
def test_unrolled_along_both_axes_is_the_same(
    graph: Graph, source: int, target: int, seed: int
) -> None:
    sizes = {"s": source, "t": target, "batch": 2}
    leaves = random_leaves(graph, sizes, seed)
    derived = adjoint(graph)
    dag, other = unroll(derived, sizes), adjoint(unroll(graph, sizes))
    assert verify(dag) == []
    given = step_leaves(dag, leaves)
    expected = interpret(derived, leaves, sizes)
    found, twin = interpret(dag, given, sizes), interpret(other, given, sizes)
    names, twins = dict(dag.gradients), dict(other.gradients)
    assert names.keys() == twins.keys()
    for label, name in derived.gradients:
        time = derived[name].type.time
        for place in np.ndindex(expected[name].shape[: len(time)]):
            mark = f".{'' if len(time) > 1 else time[0]}" if time else ""
            copy = label + mark + ".".join(map(str, place))
            close = {"rtol": 1e-8, "atol": 1e-10, "err_msg": copy}
            np.testing.assert_allclose(found[names[copy]], expected[name][place], **close)
            np.testing.assert_allclose(twin[twins[copy]], expected[name][place], **close)


@settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(two_axis_graphs(), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000))
def test_every_stage_agrees_and_gradients_are_slopes(
    graph: Graph, source: int, target: int, seed: int
) -> None:
    assert verify(graph) == []
    assert check(graph).graph is not None
    sizes = {"s": source, "t": target, "batch": 2}
    derived = adjoint(graph)
    short = canonicalize(adjoint(canonicalize(graph)))
    leaves = random_leaves(graph, sizes, seed)
    for stage in (derived, short):
        assert verify(stage) == []
        assert parse_graph(print_graph(stage)) == stage
    expected, found = interpret(derived, leaves, sizes), interpret(short, leaves, sizes)
    of = dict(short.gradients)
    for label, name in derived.gradients:
        np.testing.assert_allclose(
            found[of[label]], expected[name], rtol=1e-8, atol=1e-10, err_msg=label
        )
    way = random_leaves(graph, sizes, seed + 1)
    slope = sum(float((expected[name] * way[label]).sum()) for label, name in derived.gradients)

    def loss(distance: float) -> float:
        moved = {
            name: array + distance * way[name] if array.dtype.kind == "f" else array
            for name, array in leaves.items()
        }
        return float(interpret(graph, moved, sizes)["loss"])

    step = 1e-5
    quotient = (loss(step) - loss(-step)) / (2 * step)
    assert abs(quotient - slope) < 1e-4 * max(1.0, abs(loss(0.0)), abs(slope))


@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(two_axis_graphs(), st.integers(0, 1000))
def test_pairs_in_a_padded_batch_are_as_alone(graph: Graph, seed: int) -> None:
    case = finite_case(replace(graph, stage="checked"), np.random.default_rng(seed))
    assert case is not None
    for entry in entries(case.graph):
        row = compare(case, interpreted(case.graph), Way(entry, lengths=own_lengths(case)), "")
        assert row.passed, row
