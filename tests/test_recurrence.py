"""Short ways from one step to the next: the same values, and fewer of them carried."""

import numpy as np
import pytest

from rollc.graph.adjoint import adjoint
from rollc.graph.graph import Graph
from rollc.graph.simplify import simplify
from rollc.interp import interpret
from rollc.kernel.lower import lower
from rollc.kernel.recurrence import shorten
from rollc.pipeline import read_spec

FILTER = """
net filter
input x
param a = 0.3, b = -0.4, c = 0.2
y = x + 0.5 * x[t-1] - a * y[t-1] - b * y[t-2] + c * y[t-3]
output y
loss mean(y, over t)
"""
SPREAD = """
net spread
input x: [3]
param a: [3], b: [3]
h = tanh(x + a * h[t-1]) + sigmoid(b * h[t-1]) * h[t-1]
output h
loss mean(sum(h), over t)
"""
STARTED = """
net started
input x
param a, s
y = x + u[t-1]
u = a * y
init u = s
output y
loss mean(y, over t)
"""
SOURCE_STARTED = """
net source_started
input x
param a, s
y = x + w[t-1]
w = a * u
u = 0.5 * y + u[t-1]
init u = s
output y
loss mean(y, over t)
"""
NEGATIVE = """
net negative
input x
param a, b
y = -(a * y[t-1]) - b * y[t-2] - x
output y
loss mean(y, over t)
"""


def both(text: str) -> tuple[Graph, Graph]:
    before = lower(simplify(adjoint(read_spec(text, "n.roll")[0])))
    return before, shorten(before)


def delayed(graph: Graph) -> set[tuple[str, int]]:
    return {
        (edge.source, edge.delay) for node in graph.nodes for edge in node.operands if edge.delay
    }


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
@pytest.mark.parametrize("text", [FILTER, SPREAD, STARTED, SOURCE_STARTED, NEGATIVE])
def test_values_stay(text: str, steps: int) -> None:
    before, after = both(text)
    random = np.random.default_rng(0)
    sizes = {"t": steps, "batch": 2}
    leaves = {
        node.name: random.normal(size=(*(sizes[a] for a in node.type.axes), *node.type.shape))
        for node in before.nodes
        if node.operation in ("input", "param")
    }
    expected, found = interpret(before, leaves, sizes), interpret(after, leaves, sizes)
    for name in before.results():
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-14)


def test_the_nearest_past_is_added_last() -> None:
    _, after = both(FILTER)
    last = after["y"].operands[1].source
    assert after["y"].operation == "subtract"
    assert [(edge.source, edge.delay) for edge in after[last].operands][-1] == ("y", 1)


def test_what_is_scaled_is_read_late() -> None:
    before, after = both(FILTER)
    names = {source for source, delay in delayed(before) if delay < 0}
    assert len(names) == 4  # a cotangent for each delay, each a product
    late = {source for source, delay in delayed(after) if delay < 0}
    assert len(late) <= 2
    assert "~y" in late


def test_reads_with_one_delay_become_one() -> None:
    before, after = both(SPREAD)
    assert sum(delay < 0 for _, delay in delayed(before)) == 3
    assert {source for source, delay in delayed(after) if delay < 0} == {"~h^next1"}


def test_an_initial_value_stays_where_it_is() -> None:
    _, after = both(STARTED)
    assert ("u", 1) in delayed(after)
    assert after["u"].initial == "s"
