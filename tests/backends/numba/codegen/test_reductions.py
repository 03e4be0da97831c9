"""Sums over time as products of matrices: attention's gradients, and sums of whole matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.runtime.kernel import Kernel
from tests.helpers.compiled_networks import assert_close

SIZES = {"s": 11, "t": 5, "batch": 3}
WIDE = 37  # more than a tile, and no whole number of vectors

# Two axes: what the reads are is a row per source step, a number per source and target step.
ATTENTION = f"""
net n
time s, t
input x[s]: [{WIDE}], q[t]: [{WIDE}]
target y[t]: [{WIDE}]
param U: [{WIDE}, {WIDE}], A: [{WIDE}, {WIDE}], V: [{WIDE + 5}, {WIDE}]
e = tanh(U @ e[s-1] + x)
w = tanh(V @ x)
share = softmax(dot(e, A @ q), over s)
before = sum(share[t-1] * e[s-2], over s)
part = sum(share * w[3:{WIDE + 3}], over s)
d = before + part
output d
loss mean(mse(d, y), over t)
"""

# One axis: the terms are all steps, in several blocks, and the rows are the sequences.
SHARED = f"""
net n
input x
param v: [{WIDE}], a
w = tanh(v * w[t-1] + a)
d = sum(x * w, over t)
output d
"""


@pytest.mark.long
@pytest.mark.sampled(2)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 3, 9])
@pytest.mark.parametrize(
    ("text", "entry"), [(ATTENTION, "forward"), (ATTENTION, "gradient"), (SHARED, "forward")]
)
def test_vectors_times_numbers_are_one_product(
    text: str, entry: str, batch: int, dtype: str, tmp_path: Path
) -> None:
    graph, _ = read_spec(text, "n.roll")
    sizes = {axis: SIZES[axis] if len(graph.axes) > 1 else 500 for axis in graph.axes}
    compare(graph, entry, {**sizes, "batch": batch}, dtype, tmp_path)


@pytest.mark.long
def test_all_rows_that_follow_each_other_are_terms(tmp_path: Path) -> None:
    """The gradient of a vector that inputs of all steps and sequences are multiplied with."""
    text = f"""
net n
input x: [{WIDE}]
param p: [{WIDE}]
y = tanh(dot(p, x))
loss mean(y * y, over t)
"""
    graph, _ = read_spec(text, "n.roll")
    compare(graph, "gradient", SIZES, "float64", tmp_path)


def compare(graph: Graph, entry: str, sizes: dict[str, int], dtype: str, folder: Path) -> None:
    """A kernel, which has a product of vectors and numbers, gives what the graph says."""
    built = compiled(kernel_graphs(graph)[entry](), dtype)
    assert "lib.matmul_strided(" in built.source
    path = folder / "n.py"
    path.write_text(built.source)
    steps = {axis: sizes[axis] for axis in graph.axes}
    random = np.random.default_rng(0)
    leaves = {
        node.name: random.normal(
            scale=0.3, size=(*map(sizes.get, node.type.axes), *node.type.shape)
        )
        for node in graph.nodes
        if node.operation in ("input", "target", "param")
    }
    phases = ("primal", "adjoint", "inputs")
    kernel = Kernel(built.program, path, dtype)
    given = {name: leaves[name].astype(dtype) for name, _ in kernel.program.leaves}
    found = kernel.run(given, steps, sizes["batch"], phases)
    whole = adjoint(graph) if entry == "gradient" else graph
    expected = interpret(whole, leaves, sizes)
    names = dict(whole.gradients) if entry == "gradient" else dict(whole.outputs)
    sort = "gradient" if entry == "gradient" else "output"
    for label, name in names.items():
        if (sort, label) in found:
            assert_close(found[sort, label], expected[name], dtype, label, 1000)
    assert sum(key[0] == sort for key in found) == len(names)
