"""Random graphs in windows of steps give the loss and the gradients of the whole sequence."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.window_split import CannotSplit, split
from rollc.entries.windows import window_kernels
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.network.derivatives.checkpointing import Windowed
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.strategies.delay_graphs import delay_graphs, random_leaves

pytestmark = pytest.mark.long  # properties, of many random examples

Array = NDArray[Any]


class Interpreted:
    """A kernel that is no code but the meaning of its graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def run(
        self, leaves: dict[str, Array], steps: dict[str, int], batch: int, phases: object
    ) -> dict[tuple[str, str], Array]:
        found = interpret(self.graph, leaves, {**steps, "batch": batch})
        outputs = {("output", label): found[name] for label, name in self.graph.outputs}
        return outputs | {("gradient", label): found[name] for label, name in self.graph.gradients}


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    # Most random graphs read the future, and cannot run in windows.
    suppress_health_check=[HealthCheck.filter_too_much],
)
@given(
    graph=delay_graphs(),
    steps=st.integers(1, 9),
    every=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_windows_give_the_gradients_of_the_whole(
    graph: Graph, steps: int, every: int, seed: int
) -> None:
    simple = canonicalize(graph)
    try:
        parts = split(simple)
    except CannotSplit as reason:
        event(str(reason).partition("`")[0] + str(reason).rpartition("`")[2])
        assume(False)
    makers = window_kernels(parts)
    kernel: Any = cache(lambda entry: Interpreted(makers[entry]()))
    sizes = {"t": steps, "batch": 2}
    leaves = random_leaves(graph, sizes, seed)
    whole = adjoint(simple)
    expected = interpret(whole, leaves, sizes)
    loss, gradients = Windowed(simple, parts, kernel, "float64", sizes).value_and_grad(
        leaves, every
    )
    np.testing.assert_allclose(loss, expected["loss"], rtol=1e-9, atol=1e-12)
    for label, name in whole.gradients:
        found = gradients.get(label, np.zeros_like(expected[name]))
        np.testing.assert_allclose(found, expected[name], rtol=1e-8, atol=1e-10, err_msg=label)
