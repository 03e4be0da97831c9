"""A graph with random data, on which all that is made of it is compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.graph.adjoint import adjoint
from rollc.graph.graph import BATCH, LEAVES, Graph, Node
from rollc.graph.state import expose_state
from rollc.graph.unroll import step_leaves
from rollc.interp import interpret
from rollc.noise import draw_noise
from rollc.parameters import initial_parameters

Array = NDArray[Any]

BATCH_SIZE = 3
FEWEST_STEPS, MOST_STEPS = 7, 100


@dataclass(frozen=True)
class Case:
    """A graph, the values of its leaves, and the length of each axis."""

    graph: Graph
    leaves: dict[str, Array]
    sizes: dict[str, int]

    def values(self, graph: Graph | None = None) -> dict[str, Array]:
        """What the interpreter makes of the graph, or of another one with these leaves."""
        graph = graph or self.graph
        leaves = self.leaves if graph.steps is None else step_leaves(graph, self.leaves)
        return interpret(graph, leaves, self.sizes)


def finite_case(graph: Graph, random: np.random.Generator) -> Case | None:
    """Data on which all results are finite: normal, or positive where a root needs it."""
    delays = (max(reach.past, reach.future) for reach in graph.reach.values())
    steps = min(max(FEWEST_STEPS, 2 + max(delays, default=0)), MOST_STEPS)
    # No two axes have the same length, so that none passes for another one.
    sizes = {axis: steps + more for more, axis in enumerate(graph.axes)} | {BATCH: BATCH_SIZE}
    for positive in ((), ("input", "target"), ("input", "target", "param")):
        case = Case(graph, _leaves(graph, sizes, positive, random), sizes)
        values = case.values(with_gradients(graph))
        if all(np.isfinite(values[name]).all() for name in with_gradients(graph).results()):
            return case
    return None


def _leaves(
    graph: Graph, sizes: Mapping[str, int], positive: Sequence[str], random: np.random.Generator
) -> dict[str, Array]:
    """Values for all leaves; single precision holds them exactly, so both see the same."""
    start = initial_parameters(graph, seed=int(random.integers(2**31)), dtype=np.float64)
    leaves: dict[str, Array] = {}
    for node in _open_leaves(with_gradients(graph)):
        shape = (*(sizes[axis] for axis in node.type.axes), *node.type.shape)
        if node.type.kind == "index":
            leaves[node.name] = random.integers(0, node.type.bound or 1, shape)
            continue
        drawn = random.normal(size=shape)
        if node.operation == "param":
            drawn = start[node.name] + 0.2 * drawn
        if node.operation in positive:
            drawn = np.abs(drawn) + 0.1
        leaves[node.name] = drawn.astype(np.float32).astype(np.float64)
    return leaves | draw_noise(graph, sizes, 0, training=False, dtype=np.float64)


def _open_leaves(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        if node.operation in LEAVES and node.operation != "constant":
            yield node


def with_gradients(graph: Graph) -> Graph:
    """The graph with its adjoint: of the loss, or of the outputs where there is none."""
    return adjoint(graph, "outputs" if graph.loss is None else "loss")


def with_state(case: Case) -> Case:
    """The case with its state as leaves: values as they were late in the sequence, so that
    they are possible ones.
    """
    exposed = replace(expose_state(case.graph), outputs=case.graph.outputs)
    values = case.values()
    leaves = dict(case.leaves)
    for node in exposed.leaves("state"):
        depth = node.type.shape[0]
        rows = values[node.name.removeprefix("state.")][-depth:]
        missing = depth - len(rows)
        rows = np.concatenate([np.repeat(rows[:1], missing, axis=0), rows])
        leaves[node.name] = np.moveaxis(rows, 0, 1) if BATCH in node.type.axes else rows
    return Case(exposed, leaves, case.sizes)
