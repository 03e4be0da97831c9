"""Which output of a network is held to which data: what its loss compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import Graph
from rollc.ir.operations import OPERATIONS, operation_of
from rollc.ir.traversal import in_step_order, needed_names
from rollc.network.network import Network
from rollc.training.data.likelihood import Variance, variance_of
from rollc.training.data.preparation import Preparation

if TYPE_CHECKING:
    from rollc.network.arrays import Spec

Array = NDArray[Any]
Kind = Literal["numbers", "scores", "probabilities", "choice", "binary_score", "binary"]

_KINDS: dict[str, Kind] = {"numbers": "numbers", "classes": "scores", "yes": "binary_score"}
_ANSWERS: dict[Kind, dict[str, Kind]] = {  # of what a loss reads
    "scores": {"scores": "scores", "probabilities": "probabilities", "choice": "choice"},
    "binary_score": {"probability": "binary"},
}


class Interface(Protocol):
    """A network, or what is known of it before it is built."""

    @property
    def graph(self) -> Graph: ...
    @property
    def inputs(self) -> Mapping[str, Spec]: ...
    @property
    def targets(self) -> Mapping[str, Spec]: ...


@dataclass(frozen=True)
class Pair:
    """An output, the input or target that the loss holds it to, and what its numbers are.

    ``numbers`` like those of the data; ``scores`` of classes before softmax, their
    ``probabilities``, or the ``choice`` itself; of a yes or no the ``binary_score`` before sigmoid,
    or its ``binary`` probability.  ``compared`` is the name of the data, and ``mask`` that of an
    input or target which the loss is multiplied with: where it is 0, nothing counts.  ``variance``
    is that of the data, where the loss is the likelihood of a normal distribution.
    """

    output: str
    compared: str
    kind: Kind
    mask: str | None = None
    variance: Variance | None = None


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


def deviations(
    network: Network,
    params: Mapping[str, Array],
    results: Mapping[str, Array],
    preparation: Preparation,
) -> dict[str, Array]:
    """The standard deviation of what outputs predict, by their names and in the units of the data,
    as far as the loss has one and outputs and parameters tell it.

    ``results`` are the outputs as the network gives them.
    """
    graph, found = network.graph, dict[str, Array]()
    known = {**params, **{node: results[name] for name, node in graph.outputs if name in results}}
    for pair in pairs_of(network):
        if pair.variance is None or not pair.variance.nodes <= known.keys():
            continue
        own, dimensions = results[pair.output], len(network.outputs[pair.output].shape)
        values = {}
        for name in pair.variance.nodes:
            value = np.asarray(known[name])
            is_number = value.ndim and not graph[name].type.shape  # one for all elements
            values[name] = value[(..., *[None] * dimensions)] if is_number else value
        deviation = np.broadcast_to(np.sqrt(pair.variance.of(values)), own.shape)
        scale = preparation.scales.get(pair.compared)
        in_its_units = deviation if scale is None else deviation * scale.spread
        found[pair.output] = in_its_units.astype(own.dtype)
    return found


def probabilities(scores: Array, pair: Pair) -> Array:
    """Probabilities of what the loss compares, from an output ``[..., K]``."""
    if pair.kind == "scores":
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    if pair.kind == "binary_score":
        return np.asarray(0.5 * (1 + np.tanh(0.5 * scores)))
    return scores


def compared(network: Interface) -> dict[str, Kind]:
    """The inputs and targets that the loss compares something with, and with what."""
    return {each.data: each.kind for each in _comparisons(network)}


def pairs_of(network: Network) -> list[Pair]:
    """The outputs that can be held to data; the most telling of each, where there are several."""
    graph, found = network.graph, dict[str, Pair]()
    by_node = {node: label for label, node in graph.outputs}
    for each in _comparisons(network):
        choices: list[tuple[str, Kind]] = [(each.source, each.kind)]
        for node in graph.nodes:
            derived = _ANSWERS.get(each.kind, {}).get(operation_of(node).answers)
            if derived and [(e.source, e.delay) for e in node.operands] == [(each.source, 0)]:
                choices.append((node.name, derived))
        for name, what in choices:
            if name in by_node:
                mask = _mask(network, each.node)
                variance = variance_of(graph, each.node) if what == "numbers" else None
                found.setdefault(each.data, Pair(by_node[name], each.data, what, mask, variance))
    return list(found.values())


def pair_of(network: Network, output: str, data: str) -> Pair | None:
    """An output and data that it can be held to, whether the loss does so or not; None where their
    shapes or kinds do not fit each other."""
    found = [pair for pair in pairs_of(network) if (pair.output, pair.compared) == (output, data)]
    if found:
        return found[0]
    one, other = network.outputs[output], {**network.inputs, **network.targets}[data]
    if other.bound is None:
        is_like = one.shape == other.shape and one.kind == "float"
        return Pair(output, data, "numbers") if is_like else None
    if one.shape == (other.bound,):
        return Pair(output, data, "scores")
    return Pair(output, data, "choice") if one.kind == "index" else None


@dataclass(frozen=True)
class _Comparison:
    """A node of a loss that compares another one, ``source``, with data."""

    node: str
    source: str
    data: str
    kind: Kind


def _comparisons(network: Interface) -> list[_Comparison]:
    graph: Graph = network.graph
    if graph.loss is None:
        return []
    slots, needed = {**network.inputs, **network.targets}, needed_names(graph, [graph.loss])
    read = needed_names(graph, [node for _, node in graph.outputs])
    found = []
    for node in graph.nodes:
        compares = operation_of(node).compares
        if not compares or node.name not in needed or any(e.delay for e in node.operands[:2]):
            continue
        one, other = (edge.source for edge in node.operands[:2])
        for source, data in ((one, other), (other, one)):
            is_target = data in network.targets
            # A difference from an input is part of many equations, which outputs read too.
            is_loss = is_target or not OPERATIONS[node.operation].linear or node.name not in read
            is_computed = source not in slots and bool(graph[source].operands)
            if data in slots and is_computed and is_loss:
                found.append(_Comparison(node.name, source, data, _KINDS[compares]))
                break
    return found


def _mask(network: Network, comparison: str) -> str | None:
    """The input or target that a comparison is multiplied with on its way to the loss."""
    graph, slots = network.graph, {**network.inputs, **network.targets}
    behind = {comparison}
    for node in in_step_order(graph.nodes):
        now = {edge.source for edge in node.operands if not edge.delay}
        if not now & behind:
            continue
        behind.add(node.name)
        entry, others = operation_of(node), now - behind
        if entry.elementwise and entry.linear == "each" and len(node.operands) == 2:
            found = next(iter(others & slots.keys()), None)
            if found is not None:
                return found
    return None
