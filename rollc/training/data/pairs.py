"""Which output of a network is held to which data: what its loss compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import Graph, Node
from rollc.ir.operations.loss import LOSS
from rollc.ir.traversal import needed_names
from rollc.network.network import Network
from rollc.training.data.preparation import Preparation

Array = NDArray[Any]
Kind = Literal["numbers", "scores", "probabilities", "choice", "binary_score", "binary"]

_LOSSES = {operation.name for operation in LOSS} | {"subtract"}
_DERIVED: dict[str, dict[str, Kind]] = {  # of the scores that a loss reads
    "scores": {"softmax": "probabilities", "argmax": "choice"},
    "binary_score": {"sigmoid": "binary"},
    "numbers": {},
}


@dataclass(frozen=True)
class Pair:
    """An output, the input or target that the loss holds it to, and what its numbers are.

    ``numbers`` like those of the data; ``scores`` of classes before softmax, their
    ``probabilities``, or the ``choice`` itself; of a yes or no the ``binary_score`` before sigmoid,
    or its ``binary`` probability.  ``compared`` is the name of the data.
    """

    output: str
    compared: str
    kind: Kind


def in_units(
    network: Network, results: Mapping[str, Array], preparation: Preparation
) -> dict[str, Array]:
    """Outputs in the units of the data that the loss holds them to."""
    found = dict(results)
    for pair in pairs_of(network):
        scale = preparation.scales.get(pair.compared)
        if pair.kind == "numbers" and scale is not None and pair.output in found:
            output = np.asarray(found[pair.output])
            found[pair.output] = scale.back(output).astype(output.dtype)
    return found


def probabilities(scores: Array, pair: Pair) -> Array:
    """Probabilities of what the loss compares, from an output ``[..., K]``."""
    if pair.kind == "scores":
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    if pair.kind == "binary_score":
        return np.asarray(0.5 * (1 + np.tanh(0.5 * scores)))
    return scores


def compared(network: Network) -> dict[str, Kind]:
    """The inputs and targets that the loss compares something with, and with what."""
    return {data: kind for _, data, kind in _comparisons(network)}


def pairs_of(network: Network) -> list[Pair]:
    """The outputs that can be held to data; the most telling of each, where there are several."""
    graph, found = network.graph, dict[str, Pair]()
    by_node = {node: label for label, node in graph.outputs}
    for source, data, kind in _comparisons(network):
        choices: list[tuple[str, Kind]] = [(source, kind)]
        for node in graph.nodes:
            derived = _DERIVED[kind].get(node.operation)
            if derived and [(edge.source, edge.delay) for edge in node.operands] == [(source, 0)]:
                choices.append((node.name, derived))
        for name, what in choices:
            if name in by_node:
                found.setdefault(data, Pair(by_node[name], data, what))
    return list(found.values())


def _comparisons(network: Network) -> list[tuple[str, str, Kind]]:
    """A node, the data that a loss compares it with, and what its numbers are."""
    graph: Graph = network.graph
    if graph.loss is None:
        return []
    slots, needed = {**network.inputs, **network.targets}, needed_names(graph, [graph.loss])
    found = []
    for node in graph.nodes:
        if node.name not in needed or node.operation not in _LOSSES or len(node.operands) != 2:
            continue
        if any(edge.delay for edge in node.operands):
            continue
        one, other = (edge.source for edge in node.operands)
        for source, data in ((one, other), (other, one)):
            is_target = data in network.targets
            if (
                data in slots
                and source not in slots
                and (is_target or node.operation != "subtract")
            ):
                found.append((source, data, _kind(node, graph[data])))
                break
    return found


def _kind(loss: Node, data: Node) -> Kind:
    if data.type.kind == "index":
        return "scores"
    return (
        "binary_score" if loss.operation in ("binary_cross_entropy", "logistic_loss") else "numbers"
    )
