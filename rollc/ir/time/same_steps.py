"""Time axes that have the same steps: those between which values are renamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from rollc.ir.graph import Graph
from rollc.ir.operations import operation_of

Own = TypeVar("Own")


def same_steps(graph: Graph) -> Mapping[str, str]:
    """For each time axis the first one that has the same steps in every sequence."""
    first = {axis: axis for axis in graph.axes}
    for node in graph.nodes:
        if operation_of(node).renames:
            one, other = sorted(first[str(node.options[end])] for end in ("axis", "to"))
            first = {axis: one if of == other else of for axis, of in first.items()}
    return first


def made_alike(graph: Graph, own: Mapping[str, Own]) -> dict[str, Own]:
    """What is given for each axis, the same for all that have the same steps."""
    return {axis: own[first] for axis, first in same_steps(graph).items()}
