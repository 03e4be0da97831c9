"""Gradient rules on one read: `stop(h[t-1])`, and `stop(h[t-1], every=k)`."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.truncation import truncate
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.covering import step_leaves
from rollc.transforms.unroll import unroll
from tests.helpers.compiled_networks import network_of

Array = NDArray[Any]

# `D(…)` is a read with a delay, with or without a rule.
SPECS = {
    "both ways": """
        net both
        input x: [2], r
        param W: [2, 2], U: [2, 2], V: [2, 2], rows: [3, 2]
        h = tanh(W @ D(h[t-1]) + 0.5 * D(h[t-3]) + x + D(x[t-1]))
        init h = rows
        b = tanh(U @ D(b[t+2]) + V @ D(x[t+1]) + x)
        output h, b
        loss mean(sum(h * b + b), over t) + sum(rows) * sum(r, over t)
        """,
    "resets": """
        net resets
        input x: [2], r
        param W: [2, 2], U: [2, 2], p: [2]
        h = tanh(W @ D(h[t-1]) + U @ D(h[t-2]) + x)
        init h = p
        reset h when r > 0.4
        output h
        loss mean(sum(h * h), over t)
        """,
    "mixed": """
        net mixed
        input x: [2], r
        param W: [2, 2], U: [2, 2]
        a = tanh(W @ D(b[t+1]) + x)
        b = sin(U @ D(a[t-3])) + r
        output b
        loss mean(sum(a * b), over t)
        """,
    "cell": """
        net cells
        input x: [2], r
        cell layer(x; H) -> h {
            param W: [H, size(x)], U: [H, H], b: [H] = 0.3
            h = tanh(W @ x + U @ D(h[t-1]) + b)
            init h = b
        }
        low = layer(x; H=3)
        high = layer(concat(low, r); H=2)
        output high
        loss mean(sum(high * high), over t)
        """,
}
STEPS = 8


def graph_of(text: str) -> Graph:
    return read_spec(text, "test.roll")[0]


def spec(name: str, every: int | None) -> str:
    rule = rf"stop(\1, every={every})" if every else r"\1"
    return re.sub(r"D\((.*?)\)", rule, SPECS[name])


def leaves_of(graph: Graph, steps: int = STEPS) -> dict[str, Array]:
    random = np.random.default_rng(3)
    sizes = {"t": steps, "batch": 2}
    return {
        node.name: random.normal(size=(*(sizes[axis] for axis in node.type.axes), *node.type.shape))
        for node in graph.nodes
        if node.operation in ("input", "param")
    }


def gradients(graph: Graph, leaves: dict[str, Array], steps: int = STEPS) -> dict[str, Array]:
    derived = adjoint(graph)
    values = interpret(derived, leaves, {"t": steps, "batch": 2})
    return {leaf: values[name] for leaf, name in derived.gradients}


def same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for leaf, array in expected.items():
        np.testing.assert_allclose(found[leaf], array, atol=1e-12, err_msg=leaf)


@pytest.mark.parametrize("every", [1, 2, 3, STEPS])
@pytest.mark.parametrize("name", SPECS)
def test_a_rule_on_all_reads_is_truncation(name: str, every: int) -> None:
    plain, ruled = graph_of(spec(name, None)), graph_of(spec(name, every))
    leaves = leaves_of(plain)
    expected = gradients(truncate(plain, every), leaves)
    same(gradients(ruled, leaves), expected)
    same(gradients(canonicalize(ruled), leaves), expected)
    if every < STEPS:
        whole = gradients(plain, leaves)
        assert any(not np.allclose(whole[leaf], array) for leaf, array in expected.items())


@pytest.mark.parametrize("name", SPECS)
def test_the_rule_holds_in_the_unrolled_graph(name: str) -> None:
    ruled = graph_of(spec(name, 3))
    leaves = leaves_of(ruled)
    expected = gradients(ruled, leaves)
    dag = adjoint(unroll(ruled, STEPS))
    values = interpret(dag, step_leaves(dag, leaves), {"t": STEPS, "batch": 2})
    found = {leaf: values[name] for leaf, name in dag.gradients if leaf in expected}
    assert "x" not in found
    same(found, {leaf: expected[leaf] for leaf in found})


@pytest.mark.parametrize("name", SPECS)
def test_what_takes_no_derivative_knows_nothing_of_the_rule(name: str) -> None:
    plain, ruled = (kernel_graphs(graph_of(spec(name, every))) for every in (None, 3))
    operations = [
        sorted(node.operation for node in graphs["forward"]().nodes) for graphs in (plain, ruled)
    ]
    assert operations[0] == operations[1]


ONE = """
net one
input x
param w, v
h = w * {} + x
g = v * g[t-1] + h
output g
loss sum(g, over t)
"""


@pytest.mark.parametrize(
    ("read", "crosses"),
    [
        ("stop(h[t-1])", lambda t: True),
        ("stop(h[t-1], every=3)", lambda t: t >= 3 and t % 3 < 1),
        ("stop(h[t-2], every=3)", lambda t: t >= 3 and t % 3 < 2),
        ("stop(h[t-3], every=2)", lambda t: t >= 2),  # longer than a window
    ],
)
def test_one_read_is_cut_and_the_others_are_not(read: str, crosses: Any) -> None:
    """Against sensitivities run along by hand, in which a cut read is a constant."""
    graph = graph_of(ONE.format(read))
    x = np.random.default_rng(0).normal(size=(9, 2))
    leaves = {"x": x, "w": np.array(0.8), "v": np.array(0.6)}
    delay = int(read.partition("t-")[2][0])
    h, dh = np.zeros((2, 9 + delay, 2))  # rows of the past first
    g, dg, total = np.zeros((3, 2))
    for t in range(9):
        past, slope = h[t], dh[t] * (not crosses(t))
        h[t + delay] = 0.8 * past + x[t]
        dh[t + delay] = past + 0.8 * slope  # with respect to w
        g, dg = 0.6 * g + h[t + delay], 0.6 * dg + dh[t + delay]
        total = total + dg
    np.testing.assert_allclose(gradients(graph, leaves, 9)["w"], total.mean(), rtol=1e-12)


@pytest.mark.long
def test_the_kernels_keep_the_rule() -> None:
    text = spec("cell", 3)
    network = network_of(text, "float64")
    graph, _ = read_spec(text, "cell.roll")
    for steps in (1, 3, 4, 7):
        leaves = leaves_of(graph, steps)
        parameters = {name: leaves[name] for name in network.params}
        data = {name: leaves[name] for name in ("x", "r")}
        _, found = network.value_and_grad(parameters, data, wrt=("params", "inputs"))
        expected = gradients(graph, leaves, steps)
        same({name: found[name] for name in expected}, expected)
