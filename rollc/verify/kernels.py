"""What a network offers, against the interpreter.

A *way* to call a network is a sort of kernel (``forward``, ``gradient``, ``vjp``) with or
without a state, with or without lengths.  The interpreter has no notion of lengths: what a
padded batch gives is put together from the sequences, each interpreted alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from rollc.arguments import why_no_state
from rollc.graph.adjoint import adjoint, seed_name
from rollc.graph.graph import BATCH, Graph, Node
from rollc.graph.lengths import why_no_lengths
from rollc.graph.simplify import simplify
from rollc.graph.split import CannotSplit, split
from rollc.graph.state import PREFIX, expose_state, streams
from rollc.interp import interpret
from rollc.network import Network
from rollc.pipeline import kernel_graphs
from rollc.verify.case import Case, with_state
from rollc.verify.comparison import Row, compared

if TYPE_CHECKING:
    from rollc.kernel.compiled import Kernel

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Sort = Literal["forward", "gradient", "vjp"]

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
WINDOW = 3  # steps


@dataclass(frozen=True, slots=True)
class Way:
    """A way to call a network; ``lengths`` are by axis."""

    sort: Sort
    state: bool = False
    lengths: Mapping[str, Array] | None = None

    def __str__(self) -> str:
        state = " with a state" if self.state else ""
        lengths = f"{' and' if state else ' with'} lengths" if self.lengths is not None else ""
        return f"{self.sort} kernel{state}{lengths}"


def sorts(graph: Graph) -> Iterator[Sort]:
    """The sorts of kernels that a graph has."""
    if graph.outputs:
        yield "forward"
    if graph.loss is not None:
        yield "gradient"
    if any(graph[name].type.kind == "float" for _, name in graph.outputs):
        yield "vjp"


def main_kernels(case: Case, network: Network, which: str) -> list[Row]:
    """The outputs, and the loss with its gradients."""
    ways = [Way(sort) for sort in sorts(case.graph) if sort != "vjp"]
    return [_compared(case, network, way, which) for way in ways]


def kernels(case: Case, network: Network) -> list[Row]:
    """What a network of any number of steps offers to everyone."""
    which = f", {network.dtype}"
    rows = [_compared(case, network, Way(sort), which) for sort in sorts(case.graph)]
    if _streams(case.graph):
        expected = {label: case.values()[name] for label, name in case.graph.outputs}
        found = _step_by_step(case, network)
        rows.append(compared(f"step by step{which}", expected, found, TOLERANCE[network.dtype]))
    return rows


def _streams(graph: Graph) -> bool:
    """Whether the outputs come step by step as they come all at once."""
    drawn = any("rate" not in node.options for node in graph.leaves("noise"))
    able = bool(graph.reach) and not drawn and why_no_state(graph) is None
    return able and "vjp" in sorts(graph) and streams(simplify(replace(graph, loss=None)))


def variants(case: Case, network: Network, rare: bool = True) -> list[Row]:
    """The kernels for sequences of different lengths, with a state, and of windows.

    To compile them takes long, and is done for the most telling ones, if at all.  Of the
    others the graphs are interpreted.
    """
    graph, which = case.graph, f", {network.dtype}"
    if graph.gradients:  # the text of an adjoint, which has no other kernels
        return []
    lengths = own_lengths(case) if can_be_alone(graph) else None
    stateful = bool(graph.reach) and why_no_state(graph) is None
    every = [
        *([Way(sort, True) for sort in sorts(graph)] if stateful else []),
        *([Way(sort, False, lengths) for sort in sorts(graph)] if lengths else []),
        *([Way(sort, True, lengths) for sort in sorts(graph)] if stateful and lengths else []),
    ]
    interpreted = Network(graph, _interpreted(graph), "float64")
    chosen = "gradient" if graph.loss is not None else "vjp"
    rows = []
    for way in every:
        compiled = way.sort == chosen and not (way.state and way.lengths is not None)
        compiled = compiled or (way.sort == "forward" and not way.state)
        if compiled and rare:
            rows.append(_compared(case, network, way, which))
        else:
            rows.append(_compared(case, interpreted, way, ", interpreted"))
    return [*rows, *_windows(case, network, which)] if rare else rows


# The meaning ---------------------------------------------------------------------------


def own_lengths(case: Case) -> dict[str, Array]:
    """A length for each sequence along each axis: of the first all steps, of the last one."""
    count = case.sizes[BATCH]
    found = {}
    for place, axis in enumerate(case.graph.axes):
        steps = case.sizes[axis]
        # One axis goes down and the next one up, so that none passes for another.
        lengths = np.linspace(steps, 1, count).round().astype(np.int64)
        found[axis] = lengths if place % 2 == 0 else np.roll(lengths, 1)
    return found


def can_be_alone(graph: Graph) -> bool:
    """Whether each sequence means the same alone: the batch meets in the loss, as a mean."""
    batched = [node for node in graph.nodes if _over(node.options.get("over"), BATCH)]
    return why_no_lengths(graph) is None and all(
        node.name == graph.loss and node.operation == "mean_over" for node in batched
    )


def _over(axes: object, axis: str) -> bool:
    return isinstance(axes, tuple) and axis in axes


def _meaning(case: Case, way: Way) -> dict[str, Array]:
    """What a way gives, by the interpreter."""
    derived = _derived(case.graph, way.sort)
    pairs = _results(derived, way)
    if way.lengths is None:
        values = case.values(derived)
        return {label: values[name] for label, name in pairs.items()}
    count = case.sizes[BATCH]
    found: dict[str, Array] = {}
    for sequence in range(count):
        sizes = {axis: int(lengths[sequence]) for axis, lengths in way.lengths.items()}
        leaves = {
            node.name: _part(case.leaves[node.name], node.type.axes, sizes, sequence)
            for node in derived.nodes
            if node.name in case.leaves
        }
        for node in derived.leaves("cotangent"):
            if BATCH not in node.type.axes:  # of an output that all sequences share
                leaves[node.name] = leaves[node.name] / count
        values = interpret(derived, leaves, {**sizes, BATCH: 1})
        for label, name in pairs.items():
            axes = derived[name].type.axes
            # The loss is the mean over the sequences; outputs have cotangents of their own.
            mean = label == "loss" or (label.startswith("gradient ") and way.sort == "gradient")
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


def _part(array: Array, axes: Sequence[str], sizes: Mapping[str, int], sequence: int) -> Array:
    """What one sequence has of an array of the batch: a view."""
    places = {axis: slice(steps) for axis, steps in sizes.items()}
    places[BATCH] = slice(sequence, sequence + 1)
    return array[tuple(places[axis] for axis in axes)]


def _derived(graph: Graph, sort: Sort) -> Graph:
    if sort == "forward":
        return graph
    return adjoint(graph if sort == "gradient" else replace(graph, loss=None), _OF[sort])


_OF: dict[str, Literal["loss", "outputs"]] = {"gradient": "loss", "vjp": "outputs"}


def _results(derived: Graph, way: Way) -> dict[str, str]:
    """The nodes of what a way gives, by label."""
    found = {}
    for label, name in derived.outputs:
        if way.sort == "forward" or (way.sort == "gradient" and label.startswith(PREFIX)):
            found[f"output {label}"] = name
    if way.sort == "gradient" and derived.loss is not None:
        found["loss"] = derived.loss
    if way.sort != "forward":
        found |= {f"gradient {label}": name for label, name in derived.gradients}
    return found


# The network ---------------------------------------------------------------------------


def _compared(case: Case, network: Network, way: Way, which: str) -> Row:
    """One way to call a network, against its meaning."""
    if way.state:
        # What leaves the graph at the end of one window enters the next.
        exposed = expose_state(case.graph)
        case = Case(exposed, with_state(case).leaves, case.sizes)
    cotangents: dict[str, Array] = {}
    if way.sort == "vjp":
        cotangents = _cotangents(case)
        case = replace(case, leaves={**case.leaves, **_seeds(case.graph, cotangents)})
    expected = _meaning(case, way)
    found = _called(case, network, way, cotangents)
    return compared(f"{way}{which}", expected, found, TOLERANCE[network.dtype])


def _called(
    case: Case, network: Network, way: Way, cotangents: Mapping[str, Array]
) -> dict[str, Array]:
    """What the network gives, with labels and layouts as the interpreter has them."""
    params, inputs, targets = given(case, network)
    if way.lengths is not None:
        graph, outputs = case.graph, dict(case.graph.outputs)
        inputs = {name: _spoilt(graph[name], inputs[name], way.lengths) for name in inputs}
        targets = {name: _spoilt(graph[name], targets[name], way.lengths) for name in targets}
        cotangents = {
            label: _spoilt(graph[outputs[label]], cotangents[label], way.lengths)
            for label in cotangents
        }
    steps = {axis: case.sizes[axis] for axis in network.axes}
    state = None
    if way.state:
        leaves = {PREFIX + name: case.leaves[PREFIX + name] for name in network.states}
        state = {name.removeprefix(PREFIX): _turned(network, name, leaves[name]) for name in leaves}
    if way.sort == "forward":
        found = network.forward(params, inputs, state, steps, lengths=way.lengths)
        return _labelled(network, "output", found)
    if way.sort == "vjp":
        _, pullback = network.vjp(params, inputs, steps, state=state, lengths=way.lengths)
        outside = {label: _turned(network, label, cotangents[label]) for label in cotangents}
        return _labelled(network, "gradient", pullback(outside))
    everything = {**inputs, **targets}
    if state is None:
        loss, gradients = network.value_and_grad(params, everything, steps, lengths=way.lengths)
        after: Arrays = {}
    else:
        loss, gradients, following = network.value_and_grad(
            params, everything, steps, state=state, lengths=way.lengths
        )
        after = {PREFIX + name: array for name, array in following.items()}
    return {
        **_labelled(network, "output", after),
        "loss": np.asarray(loss),
        **_labelled(network, "gradient", gradients),
    }


def given(case: Case, network: Network) -> tuple[Arrays, Arrays, Arrays]:
    """The parameters, inputs and targets."""
    sorts = (network.params, network.inputs, network.targets)
    params, inputs, targets = ({name: case.leaves[name] for name in sort} for sort in sorts)
    inputs |= {name: targets[name] for name in sorted(network.fed)}
    return params, inputs, targets


def _labelled(network: Network, sort: str, arrays: Arrays) -> dict[str, Array]:
    return {f"{sort} {label}": _turned(network, label, arrays[label]) for label in arrays}


def _turned(network: Network, label: str, array: Array) -> Array:
    """A state with its depth and its batch exchanged: outside, the depth comes first."""
    name = label.removeprefix(PREFIX)
    state = network.states.get(name) if name != label and label not in network.outputs else None
    return np.moveaxis(array, 0, 1) if state is not None and state.batch else array


def _spoilt(node: Node, array: Array, lengths: Mapping[str, Array]) -> Array:
    """The array of a node with padding that would do harm."""
    if BATCH not in node.type.axes or not node.type.time:
        return array
    found = np.full_like(array, np.nan if node.type.kind == "float" else -1)
    for sequence in range(array.shape[len(node.type.time)]):
        sizes = {axis: int(own[sequence]) for axis, own in lengths.items()}
        inside = _part(array, node.type.axes, sizes, sequence)
        _part(found, node.type.axes, sizes, sequence)[...] = inside
    return found


def _cotangents(case: Case) -> dict[str, Array]:
    """Some numbers for each output that takes a cotangent."""
    found = {}
    for place, (label, name) in enumerate(case.graph.outputs):
        type_ = case.graph[name].type
        if type_.kind == "float":
            shape = (*(case.sizes[axis] for axis in type_.axes), *type_.shape)
            count = int(np.prod(shape))
            found[label] = np.cos(np.arange(count) + place).reshape(shape)
    return found


def _seeds(graph: Graph, cotangents: Mapping[str, Array]) -> dict[str, Array]:
    """The cotangents by leaf; two outputs may be one node."""
    seeds: dict[str, Array] = {}
    for label, name in graph.outputs:
        if label in cotangents:
            leaf = seed_name(name)
            seeds[leaf] = seeds[leaf] + cotangents[label] if leaf in seeds else cotangents[label]
    return seeds


class _Interpreted:
    """The graph of a kernel, called like the kernel."""

    def __init__(self, graph: Graph) -> None:
        read = {edge.source for node in graph.nodes for edge in node.reads()}
        read.update(graph.results())  # other leaves stay in a graph, and need no array
        self.graph = graph.with_nodes(node for node in graph.nodes if node.name in read)

    def run(
        self, leaves: Arrays, steps: Mapping[str, int], batch: int, phases: Sequence[str]
    ) -> dict[tuple[str, str], Array]:
        values = interpret(self.graph, leaves, {**steps, BATCH: batch})
        found = {("output", label): values[name] for label, name in self.graph.outputs}
        found |= {("gradient", label): values[name] for label, name in self.graph.gradients}
        if self.graph.loss is not None:
            found["loss", "loss"] = values[self.graph.loss]
        return found


def _interpreted(graph: Graph) -> Callable[[str], Kernel]:
    """The kernels of a network before they are compiled."""
    makers = kernel_graphs(graph)
    return lambda entry: cast("Kernel", _Interpreted(makers[entry]()))


def _step_by_step(case: Case, network: Network) -> dict[str, Array]:
    """The outputs of the steps, one call each, with the state handed on."""
    params, inputs, _ = given(case, network)
    (steps,) = (case.sizes[axis] for axis in network.axes)
    leaves = {**network.inputs, **network.targets}
    state = network.initial_state(params, inputs)
    found: dict[str, list[Array]] = {label: [] for label in network.outputs}
    for step in range(steps):
        now = {name: array[step] if leaves[name].time else array for name, array in inputs.items()}
        outputs, state = network.step(params, state, now)
        for label, array in outputs.items():
            found[label].append(array)
    return {
        label: np.stack(arrays) if network.outputs[label].time else arrays[-1]
        for label, arrays in found.items()
    }


def _windows(case: Case, network: Network, which: str) -> Iterator[Row]:
    """The gradient computed in windows, where the network can."""
    try:
        split(simplify(case.graph))
    except CannotSplit:
        return
    params, inputs, targets = given(case, network)
    steps = {axis: case.sizes[axis] for axis in network.axes}
    _, compute = network.windows(params, {**inputs, **targets}, steps, checkpoint=WINDOW)
    loss, gradients = compute()
    found = {"loss": np.asarray(loss), **_labelled(network, "gradient", gradients)}
    expected = _meaning(case, Way("gradient"))
    yield compared(f"windows of {WINDOW} steps{which}", expected, found, TOLERANCE[network.dtype])
