"""What the nodes of an unrolled graph are copies of: the map to its source, a covering of graphs.

h.2         h at the step 2
h.1.2       h at the step 1 along the first of two axes and at 2 along the other
x.s1, y.t2  what runs over one of two axes, at a step along it
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import LEAVES, Graph, Node

Array = NDArray[np.generic]

Place = tuple[int | None, ...]
"""The step along each axis; None along one that a node does not run over."""

_ONE = re.compile(r"(.+)\.(\d{1,9})")
_BOTH = re.compile(r"(.+)\.(\d{1,9})\.(\d{1,9})")


def covering(dag: Graph) -> Mapping[str, tuple[str, Place] | None]:
    """For each node of an unrolled graph the node that it is a copy of, and at which steps.

    None for static nodes and for those of boundary values.
    """
    return {node.name: _copy_of(node.name, dag) for node in dag.nodes}


def apart(graph: Graph) -> Graph:
    """The graph with no static value that has the name of a copy, as a pass ``v.0`` of v may."""
    known = {node.name for node in graph.nodes}
    names = {}
    for node in graph.nodes:
        if node.operation not in LEAVES and not node.type.time:
            copied = _BOTH.fullmatch(node.name), _ONE.fullmatch(node.name)
            if any(match and match[1] in known for match in copied):
                names[node.name] = f"{node.name}'once"
    return graph.renamed(names) if names else graph


def step_leaves(dag: Graph, leaves: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of the leaves of an unrolled graph, from its own or from those of its source.

    Those of the source have the time first (``[t, batch, ...]``); those of a step are views.
    """
    found: dict[str, Array] = {}
    for node in dag.nodes:
        if node.operation in LEAVES and node.operation != "constant":
            of = node.options.get("of")
            if isinstance(of, str) and node.name not in leaves:
                found[node.name] = leaves[of][steps_of(node)]
            else:
                found[node.name] = leaves[node.name]
    return found


def steps_of(node: Node) -> tuple[int, ...]:
    """The steps of a leaf that is a copy, one along each axis."""
    step = node.options.get("step", ())
    return tuple(int(k) for k in (step if isinstance(step, tuple) else (step,)))


def _copy_of(name: str, dag: Graph) -> tuple[str, Place] | None:
    if not dag.grid:
        match = _ONE.fullmatch(name)
        inside = match is not None and int(match[2]) < (dag.steps or 0)
        return (match[1], (int(match[2]),)) if match and inside else None
    (first, rows), (_, columns) = dag.grid
    if match := _BOTH.fullmatch(name):
        row, column = int(match[2]), int(match[3])
        return (match[1], (row, column)) if row < rows and column < columns else None
    for axis, count in dag.grid:
        match = re.fullmatch(rf"(.+)\.{axis}(\d{{1,9}})", name)
        if match and int(match[2]) < count:
            step = int(match[2])
            return match[1], (step, None) if axis == first else (None, step)
    return None
