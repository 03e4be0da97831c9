"""A batch of sequences of different lengths: each as if it were alone, whatever the padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.truncation import truncate
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.names import LENGTHS
from rollc.ir.time.causality import check
from rollc.ir.verifier import verify
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.covering import step_leaves
from rollc.transforms.empty_axes import without_steps
from rollc.transforms.ragged import why_no_lengths, with_lengths
from rollc.transforms.unroll import unroll
from tests.helpers.strategies.delay_graphs import delay_graphs, random_leaves, streamed_graphs

Array = NDArray[Any]

bounded = settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
STEPS = 6
own_lengths = st.lists(st.integers(0, STEPS), min_size=1, max_size=3)
seeds = st.integers(0, 1000)


def padded(graph: Graph, lengths: list[int], seed: int) -> dict[str, Array]:
    """Leaves whose padding is NaN, or the index 0; where there is no step, what is read there."""
    leaves = random_leaves(graph, {"t": STEPS, "batch": len(lengths)}, seed)
    for node in graph.nodes:
        if node.operation in ("input", "target") and "t" in node.type.axes:
            for sequence, length in enumerate(lengths):
                if length:
                    beyond = 0 if node.type.kind == "index" else np.nan
                    leaves[node.name][length:, sequence] = beyond
    return leaves


def alone(graph: Graph, leaves: dict[str, Array], sequence: int, length: int) -> dict[str, Array]:
    """The leaves of one sequence without its padding."""
    found = {}
    for node in graph.nodes:
        if node.name in leaves:
            array = leaves[node.name]
            if "batch" in node.type.axes:
                array = array.take([sequence], axis=node.type.axes.index("batch"))
            found[node.name] = array[:length] if "t" in node.type.axes else array
    return found


def part(graph: Graph, name: str, array: Array, sequence: int, length: int) -> Array:
    """What a sequence has of a value of the batch."""
    axes = graph[name].type.axes
    if "batch" in axes:
        array = array.take([sequence], axis=axes.index("batch"))
    return array[:length] if "t" in axes else array


def close(found: Array, expected: Array, label: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10, err_msg=label)


@bounded
@given(delay_graphs(clocks=True), own_lengths, seeds, st.sampled_from([None, None, 1, 2, 3]))
def test_each_sequence_is_as_if_alone(
    graph: Graph, lengths: list[int], seed: int, window: int | None
) -> None:
    leaves = padded(graph, lengths, seed)
    sizes = {"t": STEPS, "batch": len(lengths)}
    graph = graph if window is None else truncate(graph, window)
    ragged = canonicalize(adjoint(canonicalize(with_lengths(graph))))
    found = interpret(ragged, {**leaves, LENGTHS: np.array(lengths)}, sizes)
    plain = adjoint(graph)
    none = adjoint(without_steps(graph, frozenset({"t"})))
    assert plain.outputs == none.outputs
    assert plain.gradients == none.gradients
    singles = [
        interpret(
            plain if length else none,
            alone(graph, leaves, sequence, length),
            {"t": length, "batch": 1},
        )
        for sequence, length in enumerate(lengths)
    ]
    assert ragged.loss is not None and plain.loss is not None
    close(found[ragged.loss], np.mean([one[plain.loss] for one in singles]), "loss")
    for (label, mine), (_, theirs) in zip(ragged.outputs, plain.outputs, strict=True):
        for sequence, (length, one) in enumerate(zip(lengths, singles, strict=True)):
            alike = part(plain, theirs, one[theirs], 0, length)
            if "batch" not in plain[theirs].type.axes and "batch" in ragged[mine].type.axes:
                alike = np.expand_dims(alike, ragged[mine].type.axes.index("batch"))
            close(part(ragged, mine, found[mine], sequence, length), alike, label)
            if "t" in ragged[mine].type.axes:
                assert not found[mine][length:, sequence].any()
    of = dict(plain.gradients)
    for label, mine in ragged.gradients:
        theirs = of[label]
        if "batch" not in ragged[mine].type.axes:
            mean = np.mean([one[theirs] for one in singles], axis=0)
            close(found[mine], mean, label)
            continue
        for sequence, (length, one) in enumerate(zip(lengths, singles, strict=True)):
            share = part(ragged, mine, found[mine], sequence, length) * len(lengths)
            close(share, one[theirs], label)
            if "t" in ragged[mine].type.axes:
                assert not found[mine][length:, sequence].any()


@pytest.mark.long
@bounded
@given(st.one_of(delay_graphs(clocks=True), streamed_graphs()), own_lengths, seeds)
def test_every_stage_with_lengths_agrees(graph: Graph, lengths: list[int], seed: int) -> None:
    assume(why_no_lengths(graph) is None)
    ragged = with_lengths(graph)
    assert verify(ragged) == []
    assert check(ragged).graph is not None
    derived = adjoint(ragged)
    assert not any(
        node.operation == "extent" and node.options["axis"] == "t" for node in ragged.nodes
    )
    leaves = {**padded(graph, lengths, seed), LENGTHS: np.array(lengths)}
    sizes = {"t": STEPS, "batch": len(lengths)}
    dag = canonicalize(unroll(derived, STEPS))
    assert verify(dag) == []
    rolled = interpret(derived, leaves, sizes)
    unrolled = interpret(dag, step_leaves(dag, leaves), sizes)
    assert derived.loss is not None and dag.loss is not None
    close(unrolled[dag.loss], rolled[derived.loss], "loss")
    gradients = dict(dag.gradients)
    for label, name in derived.gradients:
        if label in gradients:
            close(unrolled[gradients[label]], rolled[name], label)
