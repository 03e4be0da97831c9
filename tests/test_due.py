"""Products that a clock holds back: where they are left out, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollc.graph.adjoint import adjoint
from rollc.graph.graph import Graph
from rollc.graph.simplify import simplify
from rollc.interp import interpret
from rollc.kernel import compiled as kernels
from rollc.kernel.compiled import Kernel
from rollc.kernel.due import guards
from rollc.kernel.emit import emit
from rollc.kernel.plan import plan
from rollc.kernel.program import Product, Program, Times, simple_statements
from rollc.kernel.text import parse_program, print_program
from rollc.pipeline import read_spec, scheduled

CLOCK = """
net clock
dim H = 3
input x: [H]
param W: [H, H], U: [H, H], V: [H, H], b: [H]
p = where(p[t-1] + 1.5 < 3, p[t-1] + 1, 0)
init p = 2
q = where(q[t-1] + 1.5 < 2, q[t-1] + 1, 0)
h = where(p < 0.5, tanh(W @ x + U @ h[t-1] + b), h[t-1])
g = where(q < 0.5, sigmoid(V @ h + U @ g[t-1]), 0.5 * g[t-1])
output h, g
loss mean(sum(h * g), over t)
"""
# Nothing of these may be left out: a line of a body, and what it reads.
NEVER = {
    "a condition of each sequence": "h = where(x[0] > 0, tanh(W @ x), h[t-1])",
    "read elsewhere": "m = W @ x\nh = where(c, tanh(m), m)",
    "read later": "m = W @ x\nh = where(c, tanh(m), h[t-1]) + m[t-1]",
    "infinite at zero": "h = where(c, log(W @ x), h[t-1])",
    "the other choice": "h = where(c, h[t-1], tanh(W @ x))",
    "an output": "h = W @ x\nk = where(c, tanh(h), h[t-1])",
}
BODY = """
net never
dim H = 3
input x: [H]
param W: [H, H]
p = where(p[t-1] + 1.5 < 3, p[t-1] + 1, 0)
c = p < 0.5
{}
output h
"""


def graph_of(text: str, gradient: bool = True) -> Graph:
    graph = simplify(read_spec(text, "test.roll")[0])
    return simplify(adjoint(graph)) if gradient else graph


def conditions(program: Program) -> dict[str, str]:
    """The products with a condition, by name."""
    found = {}
    for function in program.functions:
        for part in simple_statements(function.body):
            if isinstance(part, Times | Product) and part.when is not None:
                name = part.names[0] if isinstance(part, Times) else part.name
                found[name] = part.when.buffer
    return found


def test_what_waits_for_a_clock() -> None:
    program = plan(scheduled(graph_of(CLOCK)))
    found = conditions(program)
    # Forward W, U and V, U; backward the same transposed (W only for x), and their gradients.
    assert len([name for name in found if name.startswith("h'")]) == 2
    assert len([name for name in found if name.startswith("g'")]) == 2
    assert {"~W", "~V"} <= found.keys()
    assert "~U" not in found  # its two terms wait for two clocks
    assert len(set(found.values())) == 2
    assert parse_program(print_program(program)) == program


@pytest.mark.parametrize("line", NEVER.values(), ids=NEVER)
def test_what_may_be_wanted_at_any_step(line: str) -> None:
    assert not guards(scheduled(graph_of(BODY.format(line), gradient=False)).graph)


def test_gates_of_one_clock_are_stacked() -> None:
    text = BODY.replace("param W: [H, H]", "param W: [H, H], U: [H, H]")
    for other, products in (("c", 1), ("p > 1.5", 2)):
        line = f"g = where({other}, tanh(U @ x), g[t-1])\nh = g + where(c, tanh(W @ x), h[t-1])"
        program = plan(scheduled(graph_of(text.format(line), gradient=False)))
        parts = [p for f in program.functions for p in simple_statements(f.body)]
        assert sum(isinstance(part, Times) for part in parts) == products


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    program = plan(scheduled(graph_of(CLOCK)), 8)  # a few steps in each block
    path: Path = tmp_path_factory.mktemp("due") / "kernel.py"
    path.write_text(emit(program, "float64"))
    return Kernel(program, path, "float64")


@pytest.mark.parametrize("batch", [1, 3, 5])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20])
def test_what_is_left_out_is_not_read(
    kernel: Kernel, steps: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undefined(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        return np.full(shape, np.nan if dtype.kind == "f" else 1, dtype)

    monkeypatch.setattr(kernels, "empty", undefined)
    graph = graph_of(CLOCK)
    random = np.random.default_rng(steps)
    sizes = {"t": steps, "batch": batch}
    leaves = {
        node.name: random.normal(size=(*(sizes[a] for a in node.type.axes), *node.type.shape))
        for node in graph.nodes
        if node.operation in ("input", "param")
    }
    found = kernel.run(leaves, steps, batch, ("primal", "adjoint", "inputs"))
    expected = interpret(graph, leaves, sizes)
    assert graph.loss is not None
    names = {**dict(graph.outputs), **dict(graph.gradients), "loss": graph.loss}
    for (_, label), array in found.items():
        np.testing.assert_allclose(array, expected[names[label]], rtol=1e-10, atol=1e-12)
