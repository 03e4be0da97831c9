"""Scores of -infinity, which is how a state is said to be impossible, and of infinity."""

from __future__ import annotations

from math import inf, log, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rollc
from rollc.autodiff.adjoint import adjoint, seed_name
from rollc.ir.builder import Builder
from rollc.ir.decomposition import decomposed_over
from rollc.ir.graph import BATCH, Graph, Type
from rollc.ir.interpreter import interpret
from rollc.ir.names import LENGTHS
from rollc.transforms.covering import step_leaves
from rollc.transforms.ragged import with_lengths
from rollc.transforms.unroll import unroll
from tests.helpers.lowering import lower

Array = NDArray[Any]

# Scores over three steps, and their shares.
SCORES = {
    "all impossible": ([-inf, -inf, -inf], [0, 0, 0]),
    "one possible": ([-inf, 2, -inf], [0, 1, 0]),
    "one infinite": ([1, inf, -inf], [0, 1, 0]),
    "two infinite": ([inf, 5, inf], [0.5, 0, 0.5]),
    "equal and large": ([1e15, 1e15, 1e15], [1 / 3, 1 / 3, 1 / 3]),
    "no number": ([0, nan, inf], [nan, nan, nan]),
}
COTANGENTS = np.array([[1.0], [-2.0], [0.5]])


def shared() -> Graph:
    build = Builder()
    build.leaf("x", "input", Type("float", (), ("t", BATCH)))
    build.define("y", "softmax_over", (build.read("x"),), over=("t",))
    return Graph("shared", "checked", tuple(build.nodes.values()), (("y", "y"),), None)


def in_full() -> Graph:
    return decomposed_over(shared(), ["t"])


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("make", [shared, in_full])
def test_a_softmax_over_the_steps(name: str, make: Any) -> None:
    scores, expected = SCORES[name]
    derived = adjoint(make(), "outputs")
    leaves = {"x": np.array(scores)[:, None], seed_name("y"): COTANGENTS}
    for graph in (derived, lower(derived)):
        found = interpret(graph, leaves, {"t": 3, BATCH: 1})
        np.testing.assert_allclose(found["y"][:, 0], expected, rtol=1e-15)
        gradient = found[dict(graph.gradients)["x"]]
        assert np.isfinite(gradient).all() or name == "no number"
        if name in ("one possible", "one infinite", "all impossible"):
            assert not gradient.any()
    dag = unroll(derived, 3)
    copies = interpret(dag, step_leaves(dag, leaves), {BATCH: 1})
    steps = [copies[label][0] for _, label in dag.outputs]
    np.testing.assert_allclose(steps, expected, rtol=1e-15)
    slopes = np.array([copies[label] for _, label in dag.gradients])
    assert np.isfinite(slopes).all() or name == "no number"


@pytest.mark.parametrize("name", SCORES)
def test_padding_takes_no_share(name: str) -> None:
    scores, expected = SCORES[name]
    graph = with_lengths(shared())
    x = np.array([*scores, nan, inf])[:, None]
    found = interpret(graph, {"x": x, LENGTHS: np.array([3])}, {"t": 5, BATCH: 1})
    np.testing.assert_allclose(found[dict(graph.outputs)["y"]][:, 0], [*expected, 0, 0], rtol=1e-15)


CHAIN = """
# A hidden Markov model in log space: from state 1 to 2 to 3, and never back.
net chain
input e: [3]
param stay, go
a1 = a1[t-1] + stay + e[0]
a2 = logsumexp(concat(a2[t-1] + stay, a1[t-1] + go)) + e[1]
a3 = logsumexp(concat(a3[t-1] + stay, a2[t-1] + go)) + e[2]
init a1 = 0
init a2 = none
init a3 = none
static input none
p = logsumexp(concat(a1, a2, a3))
output p
loss -last(p)
"""


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.long), "float64"])
@pytest.mark.long
@pytest.mark.sampled(1)
def test_a_chain_with_states_that_cannot_be_reached(dtype: str, tmp_path: Path) -> None:
    spec = tmp_path / "chain.roll"
    spec.write_text(CHAIN, encoding="utf-8")
    net = rollc.build(spec, dtype=dtype)
    params = {"stay": np.array(log(0.5), dtype), "go": np.array(log(0.5), dtype)}
    seen = np.zeros((2, 3), dtype)
    loss, gradients = net.value_and_grad(params, {"e": seen, "none": np.array(-inf, dtype)})
    # Four ways, each as likely as the others.
    assert loss == pytest.approx(0, abs=1e-6)
    assert gradients["stay"] == pytest.approx(-1, rel=1e-5)
    assert gradients["go"] == pytest.approx(-1, rel=1e-5)
    seen[1] = -inf  # impossible
    loss, gradients = net.value_and_grad(params, {"e": seen, "none": np.array(-inf, dtype)})
    assert loss == inf
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
