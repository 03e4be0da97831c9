"""A graph with random data, on which everything compiled from it is compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rollc.autodiff.adjoint import adjoint, seed_name
from rollc.driver.artefact import DTYPES
from rollc.errors import InputError
from rollc.ir.graph import BATCH, LEAVES, Graph, Node
from rollc.ir.interpreter import interpret
from rollc.ir.time.same_steps import made_alike
from rollc.network.arrays import unknown
from rollc.network.interface import interface_of
from rollc.network.noise_draws import draw_noise
from rollc.network.parameters import initial_parameters
from rollc.tools.verify.comparison import Row, largest_error, not_compared
from rollc.transforms.covering import step_leaves
from rollc.transforms.state import expose_state

Array = NDArray[Any]

BATCH_SIZE = 3
FEWEST_STEPS, MOST_STEPS = 7, 100
MOST_SEQUENCES = 8
SCALES = (1.0, 0.3, 0.1)
# Between two computations in a precision, relative to the largest element.
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


@dataclass(frozen=True)
class Given:
    """What a user says of the data: arrays by name, and bounds of those that are drawn."""

    arrays: Mapping[str, Array] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A graph, the values of its leaves, and the length of each axis.

    ``rounding`` says, by precision, how far rounding alone moves the results.
    """

    graph: Graph
    leaves: dict[str, Array]
    sizes: dict[str, int]
    rounding: Mapping[str, float] = field(default_factory=dict)

    @property
    def unsteadiness(self) -> float:
        """How many times a tenth of what is allowed rounding takes, at most."""
        shares = (10 * error / TOLERANCE[dtype] for dtype, error in self.rounding.items())
        return max((share if share == share else np.inf for share in shares), default=0.0)

    def judged(self, row: Row, dtype: str) -> Row:
        """The row, or why its error says nothing: rounding alone makes one as large."""
        rounding = self.rounding.get(dtype, 0.0)
        if row.failed and not row.error > 30 * rounding:
            reason = f"rounding to {dtype} alone moves these results by {rounding:.0e}"
            return not_compared(row.what, reason, row.tolerance)
        return row

    def values(self, graph: Graph | None = None) -> dict[str, Array]:
        """What the interpreter makes of the graph, or of another one with these leaves."""
        graph = graph or self.graph
        leaves = step_leaves(graph, self.leaves) if graph.is_unrolled else self.leaves
        return interpret(graph, leaves, self.sizes)


def finite_case(
    graph: Graph, random: np.random.Generator, given: Given | None = None
) -> Case | None:
    """Data on which all results are finite, and what rounding changes stays small.

    Normal numbers, positive ones where a root needs it, and smaller ones where a network runs
    away on those of size 1.  Where rounding grows on all of them, the case says how far.
    """
    delays = (max(reach.past, reach.future) for reach in graph.reach.values())
    steps = min(max(FEWEST_STEPS, 2 + max(delays, default=0)), MOST_STEPS)
    # No two axes have the same length, so that none passes for another one, if they need not.
    counts = {axis: steps + more for more, axis in enumerate(graph.axes)}
    counts = made_alike(graph, counts) or {"t": steps}  # of a graph without time, as unrolled
    sizes = counts | {BATCH: BATCH_SIZE}
    best: Case | None = None
    for scale in SCALES:
        for positive in ((), ("input", "target"), ("input", "target", "param")):
            leaves = _leaves(graph, sizes, positive, scale, random)
            case = with_rounding(
                Case(graph, _within(graph, leaves, given or Given(), random), sizes)
            )
            if case is not None and (best is None or case.unsteadiness < best.unsteadiness):
                best = case
            if best is not None and best.unsteadiness <= 1:
                return best
    return best


def case_of(graph: Graph, given: Given, random: np.random.Generator) -> Case:
    """The case of a user's own data: as much of them as the interpreter runs in a moment.

    Raises :class:`rollc.errors.InputError` where an array does not fit.
    """
    interface = interface_of(graph, "float64", None)
    params = initial_parameters(graph, seed=0, dtype=np.float64)
    params |= {name: given.arrays[name] for name in interface.params if name in given.arrays}
    inputs = {name: array for name, array in given.arrays.items() if name not in interface.params}
    leaves, sizes = interface.leaves(params, inputs)
    if sizes.empty:
        what = "steps" if sizes.batch else "sequences"
        raise InputError(f"`{graph.name}`: these data have no {what}: there is nothing to compare")
    kept = {axis: min(count, MOST_STEPS) for axis, count in sizes.steps.items()}
    kept |= {BATCH: min(sizes.batch, MOST_SEQUENCES)}
    cut = {
        node.name: leaves[node.name][tuple(slice(kept[axis]) for axis in node.type.axes)]
        for node in _open_leaves(graph)
        if node.name in leaves
    }
    cut |= draw_noise(graph, kept, 0, training=False, dtype=np.float64)
    cut = {name: _in_single(array) for name, array in cut.items()}
    cut = _within(graph, cut, given, random) | _cotangents(graph, kept, random)
    found = with_rounding(Case(graph, cut, kept))
    if found is None:
        raise InputError(f"`{graph.name}` gives results that are not finite on these data")
    return found


def with_rounding(case: Case) -> Case | None:
    """The case with how far rounding moves its results; None where one is not finite."""
    graph = with_gradients(case.graph)
    expected = _results_of(case, graph, np.float64)
    if not all(np.isfinite(array).all() for array in expected.values()):
        return None
    rounding = {}
    for dtype in DTYPES:
        moved = replace(case, leaves={**case.leaves, **_nudged(case, float(np.finfo(dtype).eps))})
        errors = [largest_error(expected, _results_of(moved, graph, np.float64))[0]]
        if dtype != "float64":
            errors.append(largest_error(expected, _results_of(case, graph, dtype))[0])
        rounding[dtype] = max(errors)
    return replace(case, rounding=rounding)


def _results_of(case: Case, graph: Graph, dtype: DTypeLike) -> dict[str, Array]:
    values = interpret(graph, case.leaves, case.sizes, dtype)
    return {name: values[name] for name in graph.results()}


def _nudged(case: Case, epsilon: float) -> dict[str, Array]:
    """Each number changed by as much as rounding may."""
    random = np.random.default_rng(0)
    return {
        name: array * (1 + 2 * epsilon * random.uniform(-1, 1, array.shape))
        for name, array in case.leaves.items()
        if array.dtype.kind == "f"
    }


def _leaves(
    graph: Graph,
    sizes: Mapping[str, int],
    positive: Sequence[str],
    scale: float,
    random: np.random.Generator,
) -> dict[str, Array]:
    """Values for all leaves; single precision holds them exactly, so both see the same."""
    start = initial_parameters(graph, seed=int(random.integers(2**31)), dtype=np.float64)
    leaves: dict[str, Array] = {}
    for node in _open_leaves(graph):
        shape = (*(sizes[axis] for axis in node.type.axes), *node.type.shape)
        if node.type.kind == "index":
            leaves[node.name] = random.integers(0, node.type.bound or 1, shape)
            continue
        drawn = scale * random.normal(size=shape)
        if node.operation == "param":
            drawn = start[node.name] + (0.0 if node.options.get("frozen") else 0.2) * drawn
        if node.operation in positive and not node.options.get("frozen"):
            drawn = np.abs(drawn) + 0.1 * scale
        leaves[node.name] = _in_single(drawn)
    for name, drawn in _cotangents(graph, sizes, random).items():
        leaves[name] = _in_single(scale * drawn)
    return leaves | draw_noise(graph, sizes, 0, training=False, dtype=np.float64)


def _in_single(array: Array) -> Array:
    """Numbers that single precision holds exactly, in double; indices as they are."""
    return array.astype(np.float32).astype(np.float64) if array.dtype.kind == "f" else array


def _within(
    graph: Graph, leaves: dict[str, Array], given: Given, random: np.random.Generator
) -> dict[str, Array]:
    """The leaves with those that have bounds drawn between them."""
    found = dict(leaves)
    for name, (low, high) in given.ranges.items():
        if name not in leaves or graph[name].type.kind != "float":
            known = [node.name for node in _open_leaves(graph) if node.type.kind == "float"]
            raise InputError(unknown("name of a range", name, dict.fromkeys(known)))
        found[name] = _in_single(random.uniform(low, high, leaves[name].shape))
    return found


def _cotangents(
    graph: Graph, sizes: Mapping[str, int], random: np.random.Generator
) -> dict[str, Array]:
    """Those of all outputs that are numbers, whether anything has a gradient or not."""
    if graph.loss is not None:
        return {}
    floats = (graph[name] for _, name in graph.outputs if graph[name].type.kind == "float")
    return {
        seed_name(node.name): random.normal(
            size=(*(sizes[axis] for axis in node.type.axes), *node.type.shape)
        )
        for node in dict.fromkeys(floats)
    }


def _open_leaves(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        if node.operation in LEAVES and node.operation != "constant":
            yield node


def with_gradients(graph: Graph) -> Graph:
    """The graph with its adjoint: of the loss, or of the outputs where there is none."""
    return adjoint(graph, "outputs" if graph.loss is None else "loss")


def with_state(case: Case) -> Case:
    """The case with its state as leaves: values as they were late in the sequence, so that
    they are possible ones.
    """
    exposed = replace(expose_state(case.graph), outputs=case.graph.outputs)
    values = case.values()
    leaves = dict(case.leaves)
    for node in exposed.leaves("state"):
        depth = node.type.shape[0]
        rows = values[node.name.removeprefix("state.")][-depth:]
        missing = depth - len(rows)
        rows = np.concatenate([np.repeat(rows[:1], missing, axis=0), rows])
        leaves[node.name] = np.moveaxis(rows, 0, 1) if BATCH in node.type.axes else rows
    return replace(case, graph=exposed, leaves=leaves)
