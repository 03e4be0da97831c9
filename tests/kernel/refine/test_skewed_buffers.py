"""Buffers in the order of diagonals: loops over other diagonals read the same numbers elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.interpreter import interpret
from rollc.kernel.interpretation.interpreter import interpret_program
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.verification.verifier import verify_program

SPEC = """
net crossing
time s, t
input x[s, t]
param p = -0.25
a = 0.5 * a[t-2] - 0.3 * a[s-1] - p
b = sigmoid(-0.3 * b[s+1] - 0.4 * b[t-3] + 0.7 * a + x)
c = sigmoid(-0.3 * c{} - 0.4 * c[t-3] + 0.7 * a + b)
output a, b, c
loss mean(mean(a * b * c, over s), over t)
"""
SAME, OTHER, STEEP = "[s-1]", "[s-1, t+1]", "[s+2, t-1]"


@pytest.mark.parametrize("read", [SAME, OTHER, STEEP])
@pytest.mark.parametrize("kernel", ["forward", "gradient"])
def test_what_diagonals_of_several_directions_read(read: str, kernel: str) -> None:
    graph = kernel_graphs(read_spec(SPEC.format(read), "crossing")[0])[kernel]()
    program = planned(scheduled(graph))
    assert verify_program(program) == []
    sizes = {"s": 5, "t": 7, "batch": 2}
    leaves = {"x": np.random.default_rng(0).normal(size=(5, 7, 2)), "p": np.array(-0.25)}
    expected = interpret(graph, leaves, sizes)
    names = {**dict(graph.outputs), **dict(graph.gradients), "loss": graph.loss}
    for (_, label), array in interpret_program(program, leaves, sizes).items():
        np.testing.assert_allclose(array, expected[names[label]], rtol=1e-12, atol=1e-14)
