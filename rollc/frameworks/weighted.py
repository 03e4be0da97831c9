"""The outputs of a network as a loss: their sum, weighted by cotangents.

The gradients of outputs for cotangents are the gradients of that sum.  Its network is one like any
other, with an input more for each output, and gives those of each sequence too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import BATCH, Graph, Type, ordered_axes

Array = NDArray[Any]
Arrays = Mapping[str, Array]


def weighted(graph: Graph) -> Graph:
    """A checked graph with the sum of its outputs, times an input for each, as its loss."""
    build = Builder(graph.nodes)
    build.prefix = "weighted"
    total: Value | None = None
    for label, name in graph.outputs:
        node = graph[name]
        if node.type.kind != "float":
            continue
        axes = ordered_axes({*node.type.axes, BATCH})
        weight = build.leaf(
            weight_name(graph, label), "input", Type("float", node.type.shape, axes)
        )
        product = build.read(name) * weight
        product = call("sum", product) if node.type.shape else product
        times = tuple(axis for axis in axes if axis != BATCH)
        product = call("sum_over", product, over=times) if times else product
        total = product if total is None else total + product
    assert total is not None
    loss = call("mean_over", total, over=(BATCH,))
    return replace(graph, nodes=tuple(build.nodes.values()), loss=loss.edge.source)


def weight_name(graph: Graph, label: str) -> str:
    """The name of the input that weights an output; nothing of the graph has it."""
    name = f"weight.{label}"
    while name in graph.by_name:
        name = f"weight.{name}"
    return name
