"""Second derivatives of outputs: those of a loss that is their sum, weighted by cotangents.

The gradients of outputs for cotangents are the gradients of that sum, and so are their derivatives.
The network of the sum is one like any other, with an input more for each output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import BATCH, Graph, Type, ordered_axes
from rollc.ir.names import STATE
from rollc.network.network import Network

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


def products(
    network: Network,
    sums: Network,
    arguments: Mapping[str, Any],
    vectors: Arrays,
    cotangents: Arrays,
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, Array]:
    """The derivatives of the gradients in the direction of ``vectors``.

    ``sums`` is the network of the weighted sum of the outputs of ``network``, whose ``shapes``
    are those of this call.
    """
    batch = next(_batches(network, arguments, shapes), None)
    count = 1 if batch is None else batch
    weights = {}
    for label, spec in network.outputs.items():
        if spec.kind != "float":
            continue
        own = cotangents.get(label, np.zeros(shapes[label], network.dtype))
        lead = len(spec.time)
        if batch is not None and own.ndim == lead + len(spec.shape):  # all sequences share it
            own = np.repeat(np.expand_dims(own, lead) / count, count, axis=lead)
        weights[weight_name(network.graph, label)] = own
    inputs = {**arguments["inputs"], **weights}
    found = sums.hvp(**{**arguments, "inputs": inputs}, vectors=vectors)
    return {name: np.asarray(array * count) for name, array in found.items()}  # it is of a mean


def _batches(
    network: Network, arguments: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[int]:
    """The number of sequences, from each array that has it."""
    slots = {**network.inputs, **network.targets, **network.outputs}
    found = {name: array.shape for name, array in arguments["inputs"].items()}
    for name, shape in [*found.items(), *shapes.items()]:
        if name.startswith(STATE):
            continue
        lead = len(slots[name].time)
        if len(shape) > lead + len(slots[name].shape):
            yield shape[lead]
    for name, array in (arguments["state"] or {}).items():
        spec = network.states[name]
        if array.ndim > len(spec.time) + len(spec.shape):
            yield array.shape[1 + len(spec.time)]
