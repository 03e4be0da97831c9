"""Where the first number that is none comes from: the node, the step and the sequence.

The graph of the loss and its gradients is interpreted.  From what is wrong among its results,
values that are not finite lead back to where they began, the first of them in the order of
evaluation.  Others, such as padding or the -inf of a mask, lead to no result and are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import BATCH, LEAVES, Graph, Node
from rollc.ir.interpreter import interpret
from rollc.ir.names import STATE
from rollc.ir.time.loops import components
from rollc.ir.traversal import reachable
from rollc.network.evaluation import Evaluation

Array = NDArray[Any]


@dataclass(frozen=True)
class NotFinite:
    """The first value that is no number, or infinite.

    ``name`` and ``line`` are those of the spec, ``value`` is what was found; ``places`` are the
    steps by axis and the sequence, from 0.  ``leaf`` is what it was if it was given: ``input``,
    ``param`` …; ``of_gradient`` is whether the loss itself is finite.
    """

    name: str
    line: int
    operation: str
    value: float
    places: dict[str, int]
    leaf: str
    of_gradient: bool

    def __str__(self) -> str:
        steps = [f"step {at} of {axis}" for axis, at in self.places.items() if axis != BATCH]
        where = ", ".join(steps)
        if BATCH in self.places:
            where += f"{', ' if where else ''}sequence {self.places[BATCH]}"
        what = f"the {self.leaf} `{self.name}`" if self.leaf else f"`{self.name}`"
        line = f" (line {self.line})" if self.line else ""
        begins = "the gradient through " if self.of_gradient else ""
        return f"{begins}{what}{line} is {self.value}" + (f" at {where}" if where else "")


def first_not_finite(evaluation: Evaluation) -> NotFinite | None:
    """Where the loss or a gradient of a call stops being finite; None where all are.

    It is looked for in the precision of the network, and takes the memory of all values.
    """
    network = evaluation.network
    stateful = evaluation.state and network.interface.states
    variant = network.interface.variant if stateful else ""
    variant += ".lengths" if evaluation.lengths else ""
    graph = kernel_graphs(network.graph, network.truncate)[f"gradient{variant}"]()
    sizes = {**evaluation.sizes.steps, BATCH: evaluation.sizes.batch}
    values = interpret(graph, evaluation.leaves, sizes, network.dtype)

    def is_wrong(name: str) -> bool:
        return graph[name].type.kind == "float" and not np.isfinite(values[name]).all()

    def before(name: str) -> Iterator[str]:
        for edge in graph[name].reads():
            for source in (edge.source, graph[edge.source].initial):
                if source is not None and is_wrong(source):
                    yield source

    assert graph.loss is not None
    results = [graph.loss, *(name for _, name in graph.gradients)]
    led = set(reachable(filter(is_wrong, results), before))
    forward = {node.name for node in network.graph.nodes}
    for component, loop in components(graph):
        found = [
            (abs(at.get(axis, 0) - (0 if loop.direction == 1 else sizes[axis])), order, node, at)
            for order, node in enumerate(component)
            if node.name in led
            if (at := _first(node, values[node.name], loop.direction)) is not None
            for axis in (node.type.time or ("",))[:1]
        ]
        if found:
            _, _, node, at = min(found, key=lambda each: each[:2])
            return _described(graph, node, values[node.name], at, forward)
    return None


def _first(node: Node, array: Array, direction: int) -> dict[str, int] | None:
    """The first place at which a value is not finite, in the direction of the loop."""
    if node.type.kind != "float":
        return None
    wrong = np.asarray(~np.isfinite(array))
    if not wrong.any():
        return None
    rows = wrong.reshape(*wrong.shape[: len(node.type.axes)], -1)
    found = np.argwhere(rows.any(axis=-1))
    if not node.type.axes:
        return {}
    row = found[0] if direction == 1 or not node.type.time else found[found[:, 0].argmax()]
    return dict(zip(node.type.axes, map(int, row), strict=True))


def _described(
    graph: Graph, node: Node, array: Array, at: dict[str, int], forward: set[str]
) -> NotFinite:
    own = array[tuple(at.values())]
    value = float(own[~np.isfinite(own)].flat[0]) if own.ndim else float(own)
    leaf = node.operation if node.operation in LEAVES else ""
    of_gradient = node.name.startswith("~") or (not leaf and _is_of_adjoint(node, forward))
    name = node.name.removeprefix(STATE) if leaf == "state" else node.name
    return NotFinite(
        name.strip("~").split("'")[0].split(":")[0].split("^")[0],
        node.line,
        node.operation,
        value,
        at,
        leaf,
        of_gradient,
    )


def _is_of_adjoint(node: Node, forward: set[str]) -> bool:
    return ":" in node.name and node.name not in forward
