"""The ways to call a network, and the reference results of each.

A *way* is an entry point (``forward``, ``gradient``, ``vjp``) with or without a state, with
or without lengths.  The interpreter has no notion of lengths: the results of a ragged batch are
assembled from those of its sequences, each interpreted by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.adjoint import PREFIX, adjoint, differentiable, seed_name
from rollc.autodiff.by_sequence import by_sequence, why_not_by_sequence
from rollc.autodiff.tangent import pushforward, tangent_name
from rollc.entries.forward_mode import why_no_hessian
from rollc.ir.builder import Builder
from rollc.ir.graph import BATCH, Graph, Node, gradients_only
from rollc.ir.interpreter import interpret
from rollc.ir.names import STATE
from rollc.ir.operations import operation_of
from rollc.ir.operations.vectors.linear import over_axes
from rollc.ir.time.same_steps import made_alike
from rollc.ir.traversal import needed_names
from rollc.network.network import Network
from rollc.tools.verify.case import TOLERANCE, Case, with_state
from rollc.tools.verify.comparison import Row, compared
from rollc.transforms.empty_axes import without_steps
from rollc.transforms.ragged import own_outputs, why_no_lengths
from rollc.transforms.state import expose_state

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Entry = Literal["forward", "loss", "gradient", "by_sequence", "hvp", "vjp", "jvp"]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to call a network; ``lengths`` are by axis."""

    entry: Entry
    state: bool = False
    lengths: Mapping[str, Array] | None = None

    def __str__(self) -> str:
        state = " with a state" if self.state else ""
        lengths = f"{' and' if state else ' with'} lengths" if self.lengths is not None else ""
        return f"{self.entry} kernel{state}{lengths}"


def entries(graph: Graph, state: bool = False) -> Iterator[Entry]:
    """The entries of kernels that a graph has; those that take a ``state``."""
    if graph.outputs:
        yield "forward"
    if graph.loss is not None:
        yield "loss"
        yield "gradient"
        shared = state and any(BATCH not in graph[name].type.axes for name in graph.reach)
        if why_not_by_sequence(graph) is None and not shared:
            yield "by_sequence"
        if leaves_with_slopes(graph) and why_no_hessian(graph) is None:
            yield "hvp"
    if any(graph[name].type.kind == "float" for _, name in graph.outputs):
        yield "vjp"
        yield "jvp"


# The meaning ---------------------------------------------------------------------------


def own_lengths(case: Case) -> dict[str, Array]:
    """A length for each sequence along each axis: of the first all steps, of the last none."""
    count = case.sizes[BATCH]
    found = {}
    for place, axis in enumerate(case.graph.axes):
        steps = case.sizes[axis]
        # One axis goes down and the next one up, so that none passes for another.
        lengths = np.linspace(steps, 0, count).round().astype(np.int64)
        found[axis] = lengths if place % 2 == 0 else np.roll(lengths, 1)
    return made_alike(case.graph, found)


def can_be_alone(graph: Graph) -> bool:
    """Whether each sequence means the same alone: the batch meets in the loss, as a mean."""
    batched = [node for node in graph.nodes if _over(node.options.get("over"), BATCH)]
    return why_no_lengths(graph) is None and all(
        node.name == graph.loss and node.operation == "mean_over" for node in batched
    )


def _over(axes: object, axis: str) -> bool:
    return isinstance(axes, tuple) and axis in axes


def apart(graph: Graph) -> Graph:
    """The graph with a value for each sequence of every output that has one with lengths."""
    build, own = Builder(graph.nodes), own_outputs(graph)

    def spread(name: str) -> str:
        if BATCH in graph[name].type.axes:
            return name
        return build.define(f"{name}'each", "spread", (build.read(name),), axis=BATCH).edge.source

    outputs = tuple(
        (label, spread(name) if label in own else name) for label, name in graph.outputs
    )
    return replace(graph, nodes=tuple(build.nodes.values()), outputs=outputs)


def meaning(case: Case, way: Way) -> dict[str, Array]:
    """What a way gives, by the interpreter."""
    if way.lengths is None:
        derived = _derived(case.graph, way.entry)
        values = case.values(derived)
        return {label: values[name] for label, name in _results(derived, way).items()}
    count = case.sizes[BATCH]
    found: dict[str, Array] = {}
    for sequence in range(count):
        sizes = {axis: int(lengths[sequence]) for axis, lengths in way.lengths.items()}
        empty = frozenset(axis for axis, steps in sizes.items() if not steps)
        derived = _derived(_without_slopes(without_steps(case.graph, empty), empty), way.entry)
        leaves = {
            node.name: _part(case.leaves[node.name], node.type.axes, sizes, sequence)
            for node in derived.nodes
            if node.name in case.leaves
        }
        for node in derived.leaves("cotangent"):
            if BATCH not in node.type.axes:  # of an output that all sequences share
                leaves[node.name] = leaves[node.name] / count
        values = interpret(derived, leaves, {**sizes, BATCH: 1})
        for label, name in _results(derived, way).items():
            axes = derived[name].type.axes
            # The loss is the mean over the sequences; outputs have cotangents of their own.
            of_mean = way.entry in ("loss", "gradient", "hvp")
            mean = of_mean and not label.startswith("output ")
            share = values[name] / (count if mean else 1)
            shape = (*(case.sizes[axis] for axis in axes), *derived[name].type.shape)
            whole = found.setdefault(label, np.zeros(shape, dtype=share.dtype))
            if BATCH in axes:
                _part(whole, axes, sizes, sequence)[...] = share
            elif label.startswith("output "):
                found[label] = share
            else:
                whole += share
    return found


def _without_slopes(graph: Graph, empty: frozenset[str]) -> Graph:
    """The graph where no derivative passes what is a mean or an extreme of nothing."""
    build = Builder(graph.nodes)
    for node in graph.nodes:
        defined = operation_of(node).reduces in (None, "sum")
        if not defined and not empty.isdisjoint(over_axes(node.options)):
            name = f"{node.name}'nothing"
            build.nodes[name] = replace(node, name=name, initial=None)
            build.define(node.name, "stop", (build.read(name),))
            build.nodes[node.name] = replace(build.nodes[node.name], initial=node.initial)
    return replace(graph, nodes=tuple(build.nodes.values()))


def _part(array: Array, axes: Sequence[str], sizes: Mapping[str, int], sequence: int) -> Array:
    """What one sequence has of an array of the batch: a view."""
    places = {axis: slice(steps) for axis, steps in sizes.items()}
    places[BATCH] = slice(sequence, sequence + 1)
    return array[tuple(places[axis] for axis in axes)]


def _derived(graph: Graph, entry: Entry) -> Graph:
    if entry in ("forward", "loss"):
        return graph
    if entry == "by_sequence":
        return by_sequence(graph)
    if entry == "jvp":
        return pushforward(replace(graph, loss=None), leaves_with_slopes(graph))
    if entry == "hvp":
        return pushforward(gradients_only(adjoint(graph)), leaves_with_slopes(graph), values=False)
    return adjoint(graph if entry == "gradient" else replace(graph, loss=None), _OF[entry])


_OF: dict[str, Literal["loss", "outputs"]] = {"gradient": "loss", "vjp": "outputs"}


def _results(derived: Graph, way: Way) -> dict[str, str]:
    """The nodes of what a way gives, by label."""
    found = {}
    for label, name in derived.outputs:
        if way.entry == "by_sequence":
            lead = "gradient " if label.startswith(PREFIX) else "output " if label != "loss" else ""
            found[lead + label.removeprefix(PREFIX)] = name
        if way.entry == "hvp":
            found[f"gradient {label.removesuffix(tangent_name(''))}"] = name
        if way.entry in ("forward", "jvp") or (way.entry == "gradient" and label.startswith(STATE)):
            found[f"output {label}"] = name
    if way.entry in ("loss", "gradient") and derived.loss is not None:
        found["loss"] = derived.loss
    if way.entry in ("gradient", "vjp"):
        found |= {f"gradient {label}": name for label, name in derived.gradients}
    return found


# The network ---------------------------------------------------------------------------


def compare(case: Case, network: Network, way: Way, which: str) -> Row:
    """One way to call a network, against its meaning."""
    if way.state:
        # What leaves the graph at the end of one window enters the next.
        exposed = expose_state(case.graph)
        case = replace(case, graph=exposed, leaves=with_state(case).leaves)
    if way.lengths is not None:
        case = replace(case, graph=apart(case.graph))
    cotangents: dict[str, Array] = {}
    if way.entry in ("jvp", "hvp"):
        tangents = {tangent_name(name): array for name, array in some_tangents(case).items()}
        case = replace(case, leaves={**case.leaves, **tangents})
    if way.entry == "vjp":
        cotangents = some_cotangents(case)
        case = replace(case, leaves={**case.leaves, **seeds_of(case.graph, cotangents)})
    expected = meaning(case, way)
    found = _called(case, network, way, cotangents)
    return compared(f"{way}{which}", expected, found, TOLERANCE[network.dtype])


def _called(
    case: Case, network: Network, way: Way, cotangents: Mapping[str, Array]
) -> dict[str, Array]:
    """What the network gives, with labels and layouts as the interpreter has them."""
    params, inputs, targets = given(case, network)
    if way.lengths is not None:
        graph, outputs = case.graph, dict(case.graph.outputs)
        inputs = {name: spoilt(graph[name], inputs[name], way.lengths) for name in inputs}
        targets = {name: spoilt(graph[name], targets[name], way.lengths) for name in targets}
        cotangents = {
            label: spoilt(graph[outputs[label]], cotangents[label], way.lengths)
            for label in cotangents
        }
    steps = {axis: case.sizes[axis] for axis in network.axes}
    state = given_state(case, network) if way.state else None
    if way.entry == "forward":
        found = network.forward(params, inputs, state, steps, lengths=way.lengths)
        return labelled(network, "output", found)
    if way.entry == "vjp":
        _, pullback = network.vjp(params, inputs, steps, state=state, lengths=way.lengths)
        outside = {label: _turned(network, label, cotangents[label]) for label in cotangents}
        return labelled(network, "gradient", pullback(outside))
    if way.entry == "jvp":
        return _moved(case, network, way, params, inputs, state)
    if way.entry == "hvp":
        vectors = _tangents(case, network, way)
        products = network.hvp(
            params, {**inputs, **targets}, vectors, steps, state=state, lengths=way.lengths
        )
        return labelled(network, "gradient", products)
    everything = {**inputs, **targets}
    if way.entry == "loss":
        loss = network.loss(params, everything, steps, state=state, lengths=way.lengths)
        return {"loss": np.asarray(loss)}
    if way.entry == "by_sequence":
        losses, gradients, *left = network.value_and_grad(
            params, everything, steps, state=state, lengths=way.lengths, per_sequence=True
        )
        rows = {STATE + name: array for each in left for name, array in each.items()}
        found = labelled(network, "output", rows) | labelled(network, "gradient", gradients)
        return {**found, "loss": losses}
    if state is None:
        loss, gradients = network.value_and_grad(params, everything, steps, lengths=way.lengths)
        after: Arrays = {}
    else:
        loss, gradients, following = network.value_and_grad(
            params, everything, steps, state=state, lengths=way.lengths
        )
        after = {STATE + name: array for name, array in following.items()}
    return {
        **labelled(network, "output", after),
        "loss": np.asarray(loss),
        **labelled(network, "gradient", gradients),
    }


def _tangents(case: Case, network: Network, way: Way) -> dict[str, Array]:
    """Some direction, as a caller of the network gives it."""
    found = some_tangents(case)
    if way.lengths is not None:
        graph, lengths = case.graph, way.lengths
        found = {name: spoilt(graph[name], found[name], lengths) for name in found}
    return {name: _turned(network, name, array) for name, array in found.items()}


def _moved(
    case: Case, network: Network, way: Way, params: Arrays, inputs: Arrays, state: Arrays | None
) -> dict[str, Array]:
    """The outputs and their derivatives in some direction."""
    tangents = _tangents(case, network, way)
    steps = {axis: case.sizes[axis] for axis in network.axes}
    values, slopes = network.jvp(params, inputs, tangents, steps, state=state, lengths=way.lengths)
    found = labelled(network, "output", values)
    moved = labelled(network, "output", slopes)
    return found | {tangent_name(label): array for label, array in moved.items()}


def given(case: Case, network: Network) -> tuple[Arrays, Arrays, Arrays]:
    """The parameters, inputs and targets; inputs have the targets that outputs or states need."""
    groups = (network.params, network.inputs, network.targets)
    params, inputs, targets = ({name: case.leaves[name] for name in group} for group in groups)
    carried = needed_names(network.graph, list(network.states))
    inputs |= {name: targets[name] for name in targets if name in carried or name in network.fed}
    return params, inputs, targets


def given_state(case: Case, network: Network) -> Arrays:
    """The state, of a case that has it as leaves."""
    leaves = {name: STATE + name for name in network.states}
    return {name: _turned(network, leaf, case.leaves[leaf]) for name, leaf in leaves.items()}


def labelled(network: Network, kind: str, arrays: Arrays) -> dict[str, Array]:
    """Arrays of the network as :func:`meaning` has them."""
    return {f"{kind} {label}": _turned(network, label, arrays[label]) for label in arrays}


def _turned(network: Network, label: str, array: Array) -> Array:
    """A state with its depth and its batch exchanged: outside, the depth comes first."""
    name = label.removeprefix(STATE)
    state = network.states.get(name) if name != label and label not in network.outputs else None
    return np.moveaxis(array, 0, 1) if state is not None and state.batch else array


def spoilt(node: Node, array: Array, lengths: Mapping[str, Array]) -> Array:
    """The array of a node with padding that would do harm."""
    if BATCH not in node.type.axes or not node.type.time:
        return array
    found = np.full_like(array, np.nan if node.type.kind == "float" else -1)
    for sequence in range(array.shape[len(node.type.time)]):
        sizes = {axis: int(own[sequence]) for axis, own in lengths.items()}
        inside = _part(array, node.type.axes, sizes, sequence)
        _part(found, node.type.axes, sizes, sequence)[...] = inside
    return found


def some_cotangents(case: Case) -> dict[str, Array]:
    """Some numbers for each output that takes a cotangent."""
    found = {}
    for place, (label, name) in enumerate(case.graph.outputs):
        type_ = case.graph[name].type
        if type_.kind == "float":
            shape = (*(case.sizes[axis] for axis in type_.axes), *type_.shape)
            count = int(np.prod(shape))
            found[label] = np.cos(np.arange(count) + place).reshape(shape)
    return found


def leaves_with_slopes(graph: Graph) -> tuple[str, ...]:
    """The leaves that have a derivative."""
    return tuple(node.name for node in graph.nodes if differentiable(node))


def some_tangents(case: Case) -> dict[str, Array]:
    """Some numbers for each leaf that has a derivative."""
    found = {}
    for place, name in enumerate(leaves_with_slopes(case.graph)):
        shape = case.leaves[name].shape
        found[name] = np.sin(np.arange(case.leaves[name].size) + place).reshape(shape)
    return found


def seeds_of(graph: Graph, cotangents: Mapping[str, Array]) -> dict[str, Array]:
    """The cotangents by leaf; two outputs may be one node."""
    seeds: dict[str, Array] = {}
    for label, name in graph.outputs:
        if label in cotangents:
            leaf = seed_name(name)
            seeds[leaf] = seeds[leaf] + cotangents[label] if leaf in seeds else cotangents[label]
    return seeds
