"""Short ways from one step to the next: the same values, and fewer of them carried."""

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.driver.sources import read_spec
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.verifier import verify
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.reassociate.recurrence_height import with_late_scaling
from tests.helpers.lowering import lower, shorten

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


CUBE = """
net cube
input x
param a, b, c
y = x - a * y[t-1] - b * y[t-1] - c * y[t-1] * y[t-1] * y[t-1]
output y
loss mean(y, over t)
"""
SWING = """
net swing
input x
param c = 0.5, k = 1.0, e = 0.2
v1 = v[t-1] + 0.1 * (x - c * v[t-1] - k * p[t-1] - e * p[t-1] * p[t-1] * p[t-1])
q = p[t-1] + 0.1 * v[t-1]
v = v[t-1] + 0.1 * (x - c * v1 - k * q - q * q * e * q)
p = p[t-1] + 0.1 * v1 * q - v1 * q * p[t-1]
output p
loss mean(p * v, over t)
"""
ELEMENTS = """
net elements
input x: [3]
param c: [3], k, W: [3, 3]
v = v[t-1] + 0.1 * (x - c * v[t-1] - k * p[t-1] - c * p[t-1] * p[t-1] * p[t-1])
p = p[t-1] + 0.1 * v * p[t-1] - k * v + W @ q[t-1]
q = q[t-1] * c * p + q[t-1] * x - x * q[t-1] * c
output p, q
loss mean(sum(p * v) + sum(q), over t)
"""
TWICE = """
net twice
input x, z
param a
y = -(a * y[t-1] * x) - x * y[t-1] * a - y[t-1] * z
w = a * w[t-1] * y + w[t-1] * y * x
output y, w
loss mean(y + w, over t)
"""


def both(text: str) -> tuple[Graph, Graph]:
    before = lower(canonicalize(adjoint(read_spec(text, "n.roll")[0])))
    return before, shorten(before)


def delayed(graph: Graph) -> set[tuple[str, int]]:
    return {
        (edge.source, edge.delay) for node in graph.nodes for edge in node.operands if edge.delay
    }


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
@pytest.mark.parametrize(
    "text", [FILTER, SPREAD, STARTED, SOURCE_STARTED, NEGATIVE, CUBE, SWING, ELEMENTS, TWICE]
)
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


def test_what_is_scaled_twice_is_read_late_along_one_axis() -> None:
    """All delayed reads of a value are along one axis, also if several are multiples of it."""
    text = "net n\ntime s, t\ninput x[s, t]\nparam w, q\nu = tanh(x)\na = w * u\nb = q * u\n"
    text += "h = sin(a[s-1]) * b[t-1]\noutput h\n"
    graph = canonicalize(read_spec(text, "n.roll")[0])
    late = with_late_scaling(graph)
    assert verify(late) == []
    assert "a" not in late.by_name and "b" in late.by_name  # the first one is read late


def test_reads_with_one_delay_become_one() -> None:
    before, after = both(SPREAD)
    assert sum(delay < 0 for _, delay in delayed(before)) == 3
    assert {source for source, delay in delayed(after) if delay < 0} == {"~h^next1"}


def test_an_initial_value_stays_where_it_is() -> None:
    _, after = both(STARTED)
    assert ("u", 1) in delayed(after)
    assert after["u"].initial == "s"


def products_of(graph: Graph, source: str) -> list[str]:
    """The products that a value, or its past, is a factor of."""
    return [
        node.name
        for node in graph.nodes
        if node.operation == "multiply" and source in {edge.source for edge in node.operands}
    ]


def test_a_factor_that_is_known_last_is_taken_out() -> None:
    graph = lower(canonicalize(read_spec(CUBE, "cube.roll")[0]))
    after = shorten(graph)
    assert len(products_of(graph, "y")) == 5
    # c y, c y y, and y times the sum: nothing else waits for y.
    assert len(products_of(after, "y")) == 3
    together = [node for node in after.nodes if node.operation == "add" and not node.type.axes]
    assert [{edge.source for edge in node.operands} for node in together] == [{"a", "b"}]


def test_factors_of_vectors_are_taken_out_too() -> None:
    graph = lower(canonicalize(read_spec(ELEMENTS, "elements.roll")[0]))
    assert len([name for name in products_of(graph, "q") if name.startswith("q")]) == 2
    after = shorten(graph)
    assert len([name for name in products_of(after, "q") if name.startswith("q")]) == 1


def test_products_of_the_same_factors_are_one() -> None:
    after = shorten(lower(canonicalize(read_spec(TWICE, "twice.roll")[0])))
    assert 2.0 in {node.options.get("value") for node in after.nodes}
    assert [name for name in products_of(after, "y") if name.startswith("y")] == ["y^factor4"]


def test_no_product_is_left_that_nothing_reads() -> None:
    after = shorten(lower(canonicalize(read_spec(CUBE, "cube.roll")[0])))
    read = {edge.source for node in after.nodes for edge in node.reads()}
    assert {node.name for node in after.nodes if node.operands} <= read | set(after.results())
