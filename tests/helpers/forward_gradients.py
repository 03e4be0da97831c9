"""Forward sensitivities without kernels: each graph stands for its own kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.segments import segments
from rollc.entries.forward_mode import tangent_kernels
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import BATCH, Graph
from rollc.ir.interpreter import interpret
from rollc.network.derivatives.forward_mode import Sensitivities
from rollc.network.network import Network

Array = NDArray[Any]


class Interpreted:
    """A kernel that is no code but the meaning of its graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def bytes(self, sizes: Mapping[str, int]) -> int:
        return 0

    def run(
        self,
        leaves: Mapping[str, Array],
        steps: Mapping[str, int],
        batch: int,
        phases: Sequence[str],
    ) -> dict[tuple[str, str], Array]:
        found = interpret(self.graph, leaves, {**steps, BATCH: batch})
        results = {("output", label): found[name] for label, name in self.graph.outputs}
        results |= {("gradient", label): found[name] for label, name in self.graph.gradients}
        return results | ({("loss", "loss"): found[self.graph.loss]} if self.graph.loss else {})


def uncompiled(graph: Graph, truncate: int | None = None, combine: str = "sum") -> Network:
    """The network of a checked graph, without kernels."""
    makers = kernel_graphs(graph, truncate, combine)
    kernel: Any = cache(lambda entry: Interpreted(makers[entry]()))
    return Network(graph, kernel, "float64", truncate=truncate)


def forward_gradients(
    graph: Graph, leaves: Mapping[str, Array], sizes: Mapping[str, int], every: int
) -> tuple[float, dict[str, Array]]:
    """The loss and the gradients of parameters, in windows of ``every`` steps."""
    makers = tangent_kernels(segments(graph))
    kernel: Any = cache(lambda entry: Interpreted(makers[entry]()))
    run = Sensitivities(graph, kernel, "float64", longest=every)
    steps = {axis: count for axis, count in sizes.items() if axis != BATCH}
    return run.value_and_grad(leaves, steps, sizes[BATCH])


def compare(
    graph: Graph, leaves: Mapping[str, Array], sizes: Mapping[str, int], every: int
) -> None:
    """Both ways give the same numbers, to rounding."""
    derived = adjoint(graph)
    expected = interpret(derived, leaves, sizes)
    loss, gradients = forward_gradients(graph, leaves, sizes, every)
    np.testing.assert_allclose(loss, expected[graph.loss or ""], rtol=1e-10, atol=1e-12)
    assert list(gradients) == [node.name for node in graph.leaves("param")]
    for label, name in derived.gradients:
        if label in gradients:
            scale = max(1.0, float(np.abs(expected[name]).max(initial=0.0)))
            np.testing.assert_allclose(
                gradients[label], expected[name], rtol=1e-9, atol=1e-10 * scale, err_msg=label
            )
