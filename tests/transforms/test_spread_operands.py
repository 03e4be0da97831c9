"""What another operand runs over need not be spread: a product reads a matrix as it is."""

from __future__ import annotations

import numpy as np
import pytest

from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.operation_cases import SIZES, values

LEAVES = """\
x = input()                          : float[3] over t, batch
k = input()                          : index(4) over t, batch
z = input()                          : float[3] over batch
W = param() {initialiser=zeros}      : float[2, 3]
E = param() {initialiser=zeros}      : float[4, 3]
a = param() {initialiser=zeros}      : float[3]
Wt = spread(W) {axis=t}              : float[2, 3] over t
Wtb = spread(Wt) {axis=batch}        : float[2, 3] over t, batch
Et = spread(E) {axis=t}              : float[4, 3] over t
at = spread(a) {axis=t}              : float[3] over t
zt = spread(z) {axis=t}              : float[3] over t, batch
"""


def graph_of(line: str) -> Graph:
    text = f"rollc graph 1  stage checked\nnet small\naxis t\n\n{LEAVES}o = {line}\n\noutput o\n"
    return parse_graph(text)


def spreads(line: str) -> int:
    """How many spreads are left; the value is the same."""
    graph = graph_of(line)
    simple = canonicalize(graph)
    leaves = values(graph, SIZES)
    found, expected = (interpret(each, leaves, SIZES)["o"] for each in (simple, graph))
    np.testing.assert_allclose(np.broadcast_to(found, np.shape(expected)), expected, rtol=1e-12)
    return sum(node.operation == "spread" for node in simple.nodes)


@pytest.mark.parametrize(
    "line",
    [
        "matmul(Wtb, x) : float[2] over t, batch",
        "matmul(Wt, x) : float[2] over t, batch",
        "embed(Et, k) : float[3] over t, batch",
        "dot(at, x) : float over t, batch",
        "outer(at, x) {over=[t]} : float[3, 3] over batch",
        "concat(zt, x) {axis=0} : float[6] over t, batch",
    ],
)
def test_what_is_spread_is_read_as_it_is(line: str) -> None:
    assert spreads(line) == 0


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("matmul(Wt, a) : float[2] over t", 1),  # or there would be one product
        ("matmul(Wtb, z) : float[2] over t, batch", 1),
        ("outer(at, a) {over=[t]} : float[3, 3]", 1),  # as many as there are steps
    ],
)
def test_what_nothing_else_runs_over_stays(line: str, left: int) -> None:
    assert spreads(line) >= left


def test_derivatives_of_matrices_are_made_once() -> None:
    """No product of a kernel reads a matrix for each step that all steps share."""
    graph, _ = read_spec(
        """net cell
input x: [3], k: index(4)
param W: [2, 3], U: [2, 2], E: [4, 2]
h = tanh(W @ x + U @ h[t-1] + embed(E, k))
output h
loss mean(sum(h ** 2), over t)
""",
        "cell.roll",
    )
    for entry in ("jvp", "hvp"):
        for node in kernel_graphs(graph)[entry]().nodes:
            assert node.operation != "spread" or len(node.type.shape) < 2, (entry, node.name)
