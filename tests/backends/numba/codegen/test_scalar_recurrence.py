"""Recurrences of numbers for one sequence: what runs along with the steps, and what does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.backends.numba.codegen.module import emit
from rollc.driver.sources import read_spec
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.kernel.passes import planned, scheduled
from rollc.runtime.kernel import Kernel
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.compiled_networks import agrees_in_undefined_memory, kernel_of

Array = np.ndarray[Any, Any]

SPECS = {
    # Sums for parameters; a state that is carried; a target.
    "pendulum": """
param a, c, k
v = v[t-1] + 0.1 * (x - c * v[t-1] - k * sin(y[t-1]))
y = y[t-1] + 0.1 * a * v
init y = 0.4
loss mean((y - u) ** 2, over t)
""",
    # An input is read with delays, where it lies; a sum with a factor that is no result.
    "filter": """
param a, b0, b1, b2
y = b0 * x + b1 * x[t-1] + b2 * x[t-3] - a * y[t-1] - 0.2 * y[t-2]
loss mean(y * u, over t)
""",
    # Further back than variables go, and an output besides.
    "comb": """
param a, b
y = x + a * y[t-11] + b * tanh(y[t-2])
z = a * y[t-1] * u
output z
loss mean(z * z, over t)
""",
    # What all sequences share, and one value for each beside it.
    "shared": """
param a, b
p = tanh(a * p[t-1] + b)
y = p * x
loss mean(y * y * u, over t)
""",
    # A vector reads the numbers: it stays behind.
    "vector": """
param a, w: [3]
y = a * y[t-1] + x
h = w * y
output h
loss mean(sum(h * h) * u, over t)
""",
    # Read further back behind the loop than in it.
    "behind": """
param a
y = a * y[t-1] + x
z = y * y[t-2] + y[t-3]
output z
loss mean(z * u, over t)
""",
    # A condition and a count, and a loop that runs back.
    "back": """
param a, b
n = where(n[t-1] + 1.5 < 3, n[t-1] + 1, 0)
y = where(n < 0.5, b * x, a * y[t+1] + x)
loss mean(y * u, over t)
""",
}


def made(text: str, folder: Path, gradient: bool = True) -> tuple[Graph, Kernel]:
    body = f"net n\ninput x, u\n{text.strip()}\n"
    if "output" not in body:
        body += "output y\n"
    graph = canonicalize(read_spec(body, "n.roll")[0])
    if gradient:
        graph = canonicalize(adjoint(graph))
    return graph, kernel_of(graph, 8, folder)


@pytest.fixture(
    scope="module",
    params=[(text, gradient) for text in SPECS.values() for gradient in (True, False)],
    ids=[f"{name}-{entry}" for name in SPECS for entry in ("gradient", "forward")],
)
def network(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Graph, Kernel]:
    text, gradient = request.param
    return made(text, tmp_path_factory.mktemp("single"), gradient)


@pytest.mark.long
@pytest.mark.sampled(8)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("steps", [1, 2, 7, 8, 30])
def test_the_numbers_are_the_interpreters(
    network: tuple[Graph, Kernel], steps: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What nobody stores is not read.
    agrees_in_undefined_memory(*network, steps, batch, monkeypatch)


def sums(kernel: Kernel) -> int:
    """The sums that run along with the steps."""
    return len(re.findall(r"^ +v_\w+_sum = 0\.0$", kernel.source.read_text(), re.MULTILINE))


def test_what_runs_along(tmp_path: Path) -> None:
    _, kernel = made(SPECS["pendulum"], tmp_path)
    source = kernel.source.read_text()
    assert sums(kernel) >= 4  # the loss, and a term or more for each parameter
    alone, together = source.split("def adjoint")[1].split("if B == 1:")[1].split("else:")[:2]
    # The cotangents of what is added up are stored for several sequences only.
    assert alone.count(" d_") > 0
    stores = re.compile(r"^ +(d_\w+)\[.*\] = v_", re.MULTILINE)
    assert set(stores.findall(alone)) < set(stores.findall(together))
    assert "lib.dot(" not in alone
    assert "lib.dot(" in together


@pytest.mark.long
def test_float32_adds_up_in_float64(tmp_path: Path) -> None:
    """A hundred thousand steps of the same sign, one after the other."""
    text = "net n\ninput x\nparam a\ny = a * y[t-1] + x\noutput y\nloss mean(y, over t)\n"
    graph = canonicalize(adjoint(canonicalize(read_spec(text, "n.roll")[0])))
    program = planned(scheduled(graph))
    path = tmp_path / "kernel.py"
    path.write_text(emit(program, "float32"))
    kernel = Kernel(program, path, "float32")
    steps = 100_000
    leaves = {"a": np.array(0.5, np.float32), "x": np.full((steps, 1), 0.1, np.float32)}
    found = kernel.run(leaves, steps, 1, ("primal", "adjoint"))
    assert sums(kernel) >= 1
    expected = interpret(graph, leaves, {"t": steps, "batch": 1})
    gradient = float(expected[dict(graph.gradients)["a"]])
    assert float(found["gradient", "a"]) == pytest.approx(gradient, rel=1e-6)
