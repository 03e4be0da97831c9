"""Verify: it passes what is right, and finds what is wrong in every sort of kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_axes import attention

from rollc.graph.graph import Graph
from rollc.network import Network
from rollc.pipeline import read_spec
from rollc.verify.case import Case, finite_case
from rollc.verify.comparison import Row
from rollc.verify.kernels import Way, can_be_alone, interpreted, own_lengths, variants
from rollc.verify.stages import stages

TEXT = """
net small
input x: [2], w: index(3)
target y: [2]
param A: [2, 2], E: [3, 2]
static input z: [2]
h = tanh(A @ h[t-2] + x + embed(E, w))
init h = z
m = mean(h, over t)
pick = argmax(h)
output h, m, pick
loss mean(sum((h - y) ** 2), over t) + sum(last(h) * m)
"""


def case_of(graph: Graph) -> Case:
    case = finite_case(graph, np.random.default_rng(0))
    assert case is not None
    return case


def rows(graph: Graph) -> list[Row]:
    return variants(case_of(graph), Network(graph, interpreted(graph), "float64"), rare=False)


def graph_of(text: str = TEXT) -> Graph:
    return read_spec(text, "small.roll")[0]


def failed(found: list[Row]) -> set[str]:
    return {row.what.split(" kernel")[1].split(",")[0].strip() for row in found if not row.passed}


def test_every_variant_is_compared() -> None:
    found = rows(graph_of())
    assert [row for row in found if not row.passed] == []
    names = {row.what.split(",")[0] for row in found}
    ways = [Way(sort, state) for sort in ("forward", "gradient", "vjp") for state in (False, True)]
    own = own_lengths(case_of(graph_of()))
    expected = {str(way) for way in ways if way.state}
    expected |= {str(Way(way.sort, way.state, own)) for way in ways}
    assert names == expected


def test_both_axes_have_lengths_of_their_own() -> None:
    graph = attention()
    case = case_of(graph)
    assert case.sizes["s"] != case.sizes["t"]
    lengths = own_lengths(case)
    assert {tuple(own) for own in lengths.values()} == {(7, 4, 1), (1, 8, 4)}
    found = rows(graph)
    assert [row for row in found if not row.passed] == []
    assert {row.what.split(",")[0] for row in found} == {
        f"{sort} kernel with lengths" for sort in ("forward", "gradient", "vjp")
    }
    assert [row.what for row in stages(case)] == ["simplified graph"]


def _no_end(alive: Any, share: Any, beyond: Any) -> Any:
    return share


@pytest.mark.parametrize(
    ("place", "wrong", "where"),
    [
        # The padding counts in a sum.
        ("rollc.graph.lengths._BEYOND", {"sum_over": 1.0, "mean_over": 1.0}, {"with lengths"}),
        # The state that is handed on is that of a step before.
        ("rollc.graph.state.call", "early", {"with a state"}),
    ],
)
def test_what_is_wrong_is_found(
    monkeypatch: pytest.MonkeyPatch, place: str, wrong: Any, where: set[str]
) -> None:
    if wrong == "early":
        from rollc.graph.expression import call

        def early(operation: str, *operands: Any, **options: Any) -> Any:
            return call("first" if operation == "last" else operation, *operands, **options)

        wrong = early
    graph = graph_of()
    with monkeypatch.context() as patch:
        patch.setattr(place, wrong)
        kernels: Callable[..., Any] = interpreted(graph)
        network = Network(graph, kernels, "float64")
        made = {entry: kernels(entry) for entry in ENTRIES}
    network._kernel = made.__getitem__
    assert where <= failed(variants_with(graph, network))


ENTRIES = (
    *("stream", "gradient.state", "vjp.state"),
    *("forward.lengths", "gradient.lengths", "vjp.lengths"),
    *("stream.lengths", "gradient.state.lengths", "vjp.state.lengths"),
)


def test_the_batch_may_only_meet_in_the_loss() -> None:
    graph = graph_of()
    assert can_be_alone(graph)
    assert not can_be_alone(graph.with_nodes(graph.nodes[:-1] + (graph.nodes[-1],)))
