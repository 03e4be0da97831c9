"""Inputs read with a delay: which the kernels take as they are, and with the same results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.backends.numba.codegen.module import emit
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.interpreter import interpret
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.program import Assign, Buffer, Fill, Function, Nest, Optional, Program, Ref
from rollc.kernel.refine.halo_elision import elide_halos as pass_
from rollc.kernel.text import parse_program, print_program
from rollc.runtime.kernel import Kernel
from rollc.transforms.canonicalize import canonicalize

FILTER = """
net filter
input x, u
param a, b, c, d
y = a * x[t-3] + b * x[t+2] - u[t-1] + c * y[t-1]
z = d * z[t+1] + x[t-1] * u + u[t+1]
output y, z
loss mean(y * z, over t)
"""
VECTORS = """
net vectors
dim H = 3
input x: [H], k: index(4)
param W: [H, H], e: [4, H]
h = tanh(W @ h[t-1] + x[t-1] * x[t-2]) + embed(e, k[t-1])
output h
loss mean(sum(h), over t)
"""
PRODUCT = """
net product
dim H = 3
input x: [H]
param W: [H, H]
h = tanh(W @ x[t-1] + h[t-1])
output h
loss mean(sum(h), over t)
"""
STARTED = """
net started
input x
param a, s
y = a * y[t-1] + x[t-1]
init x = s
output y
loss mean(y, over t)
"""
CROSSED = """
net crossed
time s, t
input x[s], z[t]
param a
g = tanh(a * g[t-1] + x[s-1] * z)
output g
"""


def program_of(text: str, kernel: str = "forward") -> Program:
    return compiled(kernel_graphs(read_spec(text, "test.roll")[0])[kernel](), "float64").program


def elide_halos(program: Program) -> set[str]:
    return {buffer.name for buffer in program.buffers if buffer.unpadded}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (FILTER, {"x", "u"}),
        (VECTORS, {"x"}),  # an index is read by a routine
        (PRODUCT, set()),
        (STARTED, set()),
        (CROSSED, set()),  # its loop goes along the other axis
    ],
)
def test_what_is_not_copied(text: str, names: set[str]) -> None:
    program = program_of(text)
    assert elide_halos(program) == names
    filled = {part.buffer for f in program.functions for part in f.body if isinstance(part, Fill)}
    assert not filled & names
    assert parse_program(print_program(program)) == program


def test_a_gradient_needs_no_copy_for_sums_of_products() -> None:
    assert elide_halos(program_of(FILTER.replace("x[t-1] * u", "x[t-1]"), "gradient")) == {"x", "u"}
    # What W is multiplied with is read again, with its delay, by W's gradient.
    assert elide_halos(program_of(PRODUCT, "gradient")) == set()


def test_an_optional_part_fills_no_rows_that_there_are_not() -> None:
    """A cotangent of which no later step is read after all."""
    given = Buffer("g", "leaf", "float", (3,), ("t",), True, axis="t", after=2)
    out = Buffer("d", "result", "float", (3,), ("t",), True)
    copied = Assign("d", "identity", (Ref("g", (3,)),), (), Ref("d", (3,)))
    parts = (Fill("g"), Nest(("t", "batch"), (3,), (copied,)))
    body = tuple(Optional("inputs", (part,)) for part in parts)
    function = Function("adjoint", ("g", "d"), body, optional="inputs")
    program = pass_(Program("n", (given, out), (function,), (), (("g", "input"),)))
    assert elide_halos(program) == {"g"}
    assert program.functions[0].body == body[1:]


@pytest.fixture(
    scope="module", params=[(FILTER, True), (VECTORS, False)], ids=["filter", "vectors"]
)
def kernel(
    backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Kernel:
    text, gradient = request.param
    graph = canonicalize(read_spec(text, "test.roll")[0])
    graph = canonicalize(adjoint(graph)) if gradient else graph
    program = planned(scheduled(graph), 8)  # a few steps in each block
    assert elide_halos(program)
    path: Path = tmp_path_factory.mktemp("direct") / "kernel.py"
    path.write_text(emit(program, "float64"))
    kernel = Kernel(program, path, "float64", None, backend)
    kernel.__dict__["graph"] = graph
    return kernel


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9, 20])
def test_results_stay(kernel: Kernel, steps: int, batch: int) -> None:
    graph = kernel.__dict__["graph"]
    random = np.random.default_rng(steps)
    sizes = {"t": steps, "batch": batch}
    leaves = {}
    for node in graph.nodes:
        if node.operation in ("input", "param"):
            shape = (*(sizes[axis] for axis in node.type.axes), *node.type.shape)
            whole = node.type.kind == "index"
            leaves[node.name] = (
                random.integers(0, 4, shape) if whole else 0.5 * random.normal(size=shape)
            )
    found = kernel.run(leaves, steps, batch, ("primal", "adjoint", "inputs"))
    expected = interpret(graph, leaves, sizes)
    names = {**dict(graph.outputs), **dict(graph.gradients), "loss": graph.loss}
    for (_, label), array in found.items():
        np.testing.assert_allclose(array, expected[names[label]], rtol=1e-10, atol=1e-12)
