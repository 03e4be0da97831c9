"""The choices of a network: where it is not smooth.

A comparison, a largest element, the branch of a ``where``: while none of them changes, a network
is a smooth function of its parameters, inputs and state.  Where one changes there is a kink or a
jump, and a difference quotient across it is no derivative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.ir.builder import Builder
from rollc.ir.graph import LEAVES, Graph
from rollc.ir.operations import OPERATIONS
from rollc.ir.traversal import needed

Array = NDArray[Any]


@dataclass(frozen=True)
class Choices:
    """A graph that holds every choice as a node, and whose choice each node is."""

    graph: Graph
    owners: Mapping[str, str]

    def taken(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The choices among the values of the graph's nodes."""
        return {name: values[name] for name in self.owners}

    def changed(self, before: Mapping[str, Array], after: Mapping[str, Array]) -> str | None:
        """The first node whose choice is another one, in words; None where all are the same."""
        for name, owner in self.owners.items():
            if not np.array_equal(before[name], after[name]):
                return _in_words(self.graph, owner)
        return None


def with_choices(graph: Graph, results: Iterable[str]) -> Choices:
    """The part of a graph that the results need, with the choices that it makes."""
    graph = needed(graph, results)
    build = Builder(graph.nodes, mark="?")
    owners: dict[str, str] = {}
    for node in graph.nodes:
        if node.operation in LEAVES:
            continue
        if node.type.kind != "float":
            owners[node.name] = node.name
            continue
        entry = OPERATIONS[node.operation]
        if entry.choices is None:
            continue
        build.prefix, build.line = node.name, node.line
        operands = [build.read(edge.source, edge.delay, edge.axis) for edge in node.operands]
        for choice in entry.choices(build.read(node.name), *operands, **node.options):
            owners[choice.edge.source] = node.name
    return Choices(replace(graph, nodes=tuple(build.nodes.values())), owners)


def _in_words(graph: Graph, name: str) -> str:
    node = graph[name]
    line = f" in line {node.line}" if node.line else ""
    return f"`{node.operation}`{line} (`{name}`)"
