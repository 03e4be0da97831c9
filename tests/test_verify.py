"""Verify: it passes what is right, and finds what is wrong in every variant of a kernel.

The kernels' graphs are interpreted: to compile them takes long, and `test_specs.py` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_axes import attention

from rollc.graph.graph import BATCH, Graph
from rollc.graph.lengths import with_lengths
from rollc.graph.operations import tail
from rollc.pipeline import read_spec
from rollc.verify.case import Case, finite_case
from rollc.verify.comparison import Row
from rollc.verify.kernels import interpreted, kernels, variants
from rollc.verify.stages import stages
from rollc.verify.ways import can_be_alone, own_lengths

TEXT = """
net small
input x: [2], w: index(3)
target y: [2]
param A: [2, 2], E: [3, 2]
static input z: [2]
h = tanh(A @ h[t-2] + x + embed(E, w))
init h = z
pick = argmax(h)
q = A @ z
output h, pick, q
loss mean(sum((h - y) ** 2), over t) + sum(last(h) * z)
"""
INDICES = """
net indices
input x: [2], w: index(3)
target y: index(2)
param A: [2, 2], E: [3, 2], F: [2, 2]
h = tanh(A @ h[t-1] + x + embed(E, w[t-3]) + embed(F, pick[t-2]) + embed(F, y[t-1]))
pick = argmax(h)
output h, pick
loss mean(cross_entropy(h, y), over t)
"""
GRID = """
net grid
time s, t
input r[s]: [2], v[t]: [2], u[s]: [2], w[t]: index(3)
target y[t]
param A: [2, 2], E: [3, 2], f0: [2] = 0.3
b = tanh(u + A @ b[s+1] - 0.3 * b[s+3])
init b = f0
x = r * v
g = tanh(x + A @ g[t-2] + b)
init g = last(b)
c = mean(g, over s) + embed(E, w)
k = last(argmax(x * c), over s)
d = 0.5 * d[t+1] + max(g * c, over s) + where(k > 0, c, 2 * c[t-1])
init d = last(b)
init c = f0
share = softmax(sum(g), over s)
whole = mean(mean(g, over t), over s)
z = sum(share * log(share), over s)
all = max(max(g, over s), over t)
output d, k, z, g, all
loss mean((sum(d) + z - y) ** 2, over t) + sum(last(d)) + sum(whole) + sum(first(d))
"""
SHARED = """
net shared
input x: [2]
target y
param a: [2] = 0.4, A: [2, 2] = orthogonal
phase = where(phase[t-1] + 1.5 < 3, phase[t-1] + 1, 0)
init phase = 2
clock = tanh(A @ clock[t-1] + a)
back = tanh(clock + A @ back[t+1])
tick = phase < 0.5
late = sin(phase + last(phase))
from = clock * 2
init from = last(clock)
h = where(tick, tanh(A @ h[t-1] + x), h[t-1] * clock[t-2]) + from[t-1] + log(2.5 - phase)
turned = sum(softmax(clock, over t) * clock, over t) + max(clock, over t) + first(clock[t+1])
output h, phase, back, late, turned, tick
loss mean((sum(h + back) - y) ** 2, over t) + sum(turned * mean(clock, over t))
"""
SORTS = ("forward", "gradient", "vjp")


def small() -> Graph:
    return read_spec(TEXT, "small.roll")[0]


def grid() -> Graph:
    """Reductions, ends and chains along either of two axes, and over both."""
    return read_spec(GRID, "grid.roll")[0]


def case_of(graph: Graph) -> Case:
    case = finite_case(graph, np.random.default_rng(0))
    assert case is not None
    return case


def rows(graph: Graph) -> list[Row]:
    case, network = case_of(graph), interpreted(graph)
    return [*kernels(case, network), *variants(case, network, rare=False)]


def names(found: list[Row]) -> set[str]:
    return {row.what.split(",")[0] for row in found}


def indices() -> Graph:
    """Delayed indices: an input, the network's own choice and the target."""
    return read_spec(INDICES, "indices.roll")[0]


@pytest.mark.parametrize("graph", [small, indices])
def test_every_variant_is_compared(graph: Callable[[], Graph]) -> None:
    found = rows(graph())
    assert [row for row in found if not row.passed] == []
    extras = ("", " with a state", " with lengths", " with a state and lengths")
    ways = {f"{sort} kernel{extra}" for sort in SORTS for extra in extras}
    assert names(found) == ways | {"step by step", "two windows", "forward sensitivities"}


@pytest.mark.parametrize(("graph", "along"), [(attention, " along t"), (grid, None)])
def test_both_axes_have_lengths_of_their_own(graph: Callable[[], Graph], along: str | None) -> None:
    case = case_of(graph())
    assert case.sizes["s"] != case.sizes["t"]
    lengths = own_lengths(case)
    assert [own[0] for own in lengths.values()] == [case.sizes["s"], 1]
    found = rows(graph())
    assert [row for row in found if not row.passed] == []
    ways = [f"{sort} kernel" for sort in SORTS]
    ways += [] if along is None else [f"step by step{along}"]
    assert names(found) == {f"{way}{extra}" for way in ways for extra in ("", " with lengths")}
    assert names(stages(case)) == {"simplified graph"}


def test_what_all_sequences_share_has_lengths() -> None:
    """It runs on over the padding, and what looks at its end is each sequence's own."""
    graph = read_spec(SHARED, "shared.roll")[0]
    found = rows(graph)
    assert [row for row in found if not row.passed] == []
    assert {f"{sort} kernel with lengths" for sort in SORTS} <= names(found)
    ragged = with_lengths(graph)
    assert {
        name for name in ("phase", "clock", "tick", "from") if BATCH in ragged[name].type.axes
    } == set()
    assert BATCH in ragged["late"].type.axes and BATCH in ragged["back"].type.axes


PICKED = tail._picked


def _early(x: Any, first: Any, count: int, place: int) -> Any:
    """Rows from a step too early on."""
    return PICKED(x, first - 1, count, place)


@pytest.mark.parametrize(
    ("place", "wrong", "where"),
    [
        ("rollc.graph.lengths._BEYOND", {"sum_over": 1.0, "mean_over": 1.0}, "with lengths"),
        ("rollc.graph.operations.tail._picked", _early, "two windows"),
    ],
)
def test_what_is_wrong_is_found(
    monkeypatch: pytest.MonkeyPatch, place: str, wrong: Any, where: str
) -> None:
    monkeypatch.setattr(place, wrong)
    assert any(where in row.what for row in rows(small()) if not row.passed)


def test_sequences_that_meet_before_the_loss_are_not_compared_alone() -> None:
    graph = small()
    assert can_be_alone(graph)
    assert graph.loss is not None
    mean = graph[graph.loss]
    largest = replace(mean, operation="max_over")
    assert mean.operation == "mean_over"
    others = [node for node in graph.nodes if node.name != graph.loss]
    assert not can_be_alone(graph.with_nodes([*others, largest]))
