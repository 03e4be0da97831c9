"""Is a spec compiled to what it means?  Every stage held to the next, on random data.

The interpreter on the checked graph, in float64, is the meaning.  Held to it are the other
stages in the interpreter, the kernels in both precisions, and its gradients: those against
central differences, which know nothing of the adjoint.

Errors are relative to the largest element of each array, since a single element may be the
small difference of large ones; what should cancel to nothing is measured against the other
arrays of the comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.graph.adjoint import adjoint
from rollc.graph.graph import BATCH, LEAVES, Graph, Node
from rollc.graph.simplify import simplify
from rollc.graph.state import expose_state, streams
from rollc.graph.unroll import UnrollError, step_leaves, unroll
from rollc.interp import interpret
from rollc.network import Network
from rollc.noise import draw_noise
from rollc.parameters import initial_parameters
from rollc.pipeline import DTYPES, build_text, read_spec

Array = NDArray[Any]
Arrays = Mapping[str, Array]

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
STAGES = 1e-9  # between two stages, both in float64
DIFFERENCES = 1e-6
BATCH_SIZE = 3
FEWEST_STEPS, MOST_STEPS = 7, 100
ATTEMPTS = 8
# A small array is compared at this part of the largest one's scale.
NEGLIGIBLE = 1e-3


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: its largest error, the error that is allowed, and where it was."""

    what: str
    error: float
    tolerance: float
    where: str = ""

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Case:
    """A graph, the values of its leaves, and the length of each axis."""

    graph: Graph
    leaves: dict[str, Array]
    sizes: dict[str, int]

    def values(self, graph: Graph | None = None) -> dict[str, Array]:
        """What the interpreter makes of the graph, or of another one with these leaves."""
        graph = graph or self.graph
        leaves = self.leaves if graph.steps is None else step_leaves(graph, self.leaves)
        return interpret(graph, leaves, self.sizes)


def verify(
    text: str,
    name: str = "spec.roll",
    *,
    sets: Mapping[str, int] | None = None,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    fixed: bool = True,
) -> list[Row]:
    """Compare all stages of a spec, or of the text of a graph, on random data.

    ``dtypes`` are those of the kernels; ``fixed`` is whether those of a fixed number of
    steps are built too.  Raises :class:`rollc.errors.SpecError` where the spec is wrong, and
    :class:`rollc.errors.InputError` where no data gives finite results.
    """
    graph, _ = read_spec(text, name, sets)
    case = _finite_case(graph, np.random.default_rng(seed))
    if case is None:
        raise InputError(f"`{graph.name}` gives no finite results on random data to compare")
    try:
        rows = _stages(case)
    except UnrollError as error:
        raise InputError(f"`{graph.name}` cannot be unrolled: {error}") from error
    rows.append(_differences(case, seed))
    for dtype in dtypes:
        network, _ = build_text(text, name, sets=sets, dtype=dtype)
        rows += _kernels(case, network, dtype)
        if fixed:
            steps = case.sizes["t"]
            network, _ = build_text(text, name, sets=sets, dtype=dtype, steps=steps)
            rows += _main_kernels(case, network, f" of {steps} steps, {dtype}")
    return rows


# Data ----------------------------------------------------------------------------------


def _finite_case(graph: Graph, random: np.random.Generator) -> Case | None:
    """Data on which all results are finite: normal, or positive where a root needs it."""
    delays = (max(reach.past, reach.future) for reach in graph.reach.values())
    steps = min(max(FEWEST_STEPS, 2 + max(delays, default=0)), MOST_STEPS)
    sizes = {**dict.fromkeys(graph.axes, steps), BATCH: BATCH_SIZE}
    for positive in ((), ("input", "target"), ("input", "target", "param")):
        case = Case(graph, _leaves(graph, sizes, positive, random), sizes)
        values = case.values(with_gradients(graph))
        if all(np.isfinite(values[name]).all() for name in with_gradients(graph).results()):
            return case
    return None


def _leaves(
    graph: Graph, sizes: Mapping[str, int], positive: Sequence[str], random: np.random.Generator
) -> dict[str, Array]:
    """Values for all leaves; single precision holds them exactly, so both see the same."""
    start = initial_parameters(graph, seed=int(random.integers(2**31)), dtype=np.float64)
    leaves: dict[str, Array] = {}
    for node in _open_leaves(with_gradients(graph)):
        shape = (*(sizes[axis] for axis in node.type.axes), *node.type.shape)
        if node.type.kind == "index":
            leaves[node.name] = random.integers(0, node.type.bound or 1, shape)
            continue
        drawn = random.normal(size=shape)
        if node.operation == "param":
            drawn = start[node.name] + 0.2 * drawn
        if node.operation in positive:
            drawn = np.abs(drawn) + 0.1
        leaves[node.name] = drawn.astype(np.float32).astype(np.float64)
    return leaves | draw_noise(graph, sizes, 0, training=False, dtype=np.float64)


def _open_leaves(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        if node.operation in LEAVES and node.operation != "constant":
            yield node


def with_gradients(graph: Graph) -> Graph:
    """The graph with its adjoint: of the loss, or of the outputs where there is none."""
    return adjoint(graph, "outputs" if graph.loss is None else "loss")


# Stages --------------------------------------------------------------------------------


def _stages(case: Case) -> list[Row]:
    """The passes, each in the interpreter."""
    derived = with_gradients(case.graph)
    steps = case.sizes["t"]
    expected = _results(case, derived)
    dag = unroll(derived, steps)
    unrolled = unroll(case.graph, steps)
    rows = [
        _row(
            "simplified graph",
            expected,
            _results(case, simplify(with_gradients(simplify(case.graph)))),
        ),
        _row("unrolled graph", expected, _results(case, dag)),
        _row("unrolled graph, simplified", expected, _results(case, simplify(dag))),
    ]
    if case.graph.loss is not None:
        # The square commutes; cotangents of outputs would have other names on this way.
        other = _results(case, adjoint(unrolled))
        rows.append(_row("adjoint of the unrolled graph", expected, other))
    return rows


def _results(case: Case, graph: Graph) -> dict[str, Array]:
    """What leaves a graph, rolled or not: a value over time as one entry a step."""
    values = case.values(graph)
    pairs = [(f"output {label}", name) for label, name in graph.outputs]
    pairs += [(f"gradient {label}", name) for label, name in graph.gradients]
    pairs += [("loss", graph.loss)] if graph.loss is not None else []
    found: dict[str, Array] = {}
    for label, name in pairs:
        if graph[name].type.time:
            found |= {f"{label}.{step}": value for step, value in enumerate(values[name])}
        else:
            found[label] = values[name]
    return found


# Differences ---------------------------------------------------------------------------


def _differences(case: Case, seed: int) -> Row:
    """The adjoint against slopes, for each parameter, input and state in turn."""
    found = list(slope_errors(case, np.random.default_rng(seed)))
    if all(not reach.future for reach in case.graph.reach.values()):
        found += slope_errors(_with_state(case, seed), np.random.default_rng(seed), "state")
    error, where = max(found, default=(0.0, ""))
    return Row("adjoint, central differences", error, DIFFERENCES, where)


def _with_state(case: Case, seed: int) -> Case:
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
    return Case(exposed, leaves, case.sizes)


def slope_errors(
    case: Case, random: np.random.Generator, sort: str = ""
) -> Iterator[tuple[float, str]]:
    """For each leaf that has a gradient (of the ``sort``, such as ``"param"``) the relative
    error of its adjoint along a random direction, and its name.
    """
    derived = with_gradients(case.graph)
    values = case.values(derived)
    for leaf, name in derived.gradients:
        if sort in ("", derived[leaf].operation):
            yield _slope_error(case, leaf, values[name], random), leaf


def _slope_error(case: Case, leaf: str, gradient: Array, random: np.random.Generator) -> float:
    error = math.inf
    for _ in range(ATTEMPTS):
        direction = random.normal(size=gradient.shape)
        slope = float((gradient * direction).sum())
        size = float(np.sqrt((gradient**2).sum()))
        value, difference, kink = _difference(_along(case, leaf, direction))
        # Along a direction the slope may be small by chance, and in all by nature.
        scale = max(abs(slope), size, 1e-4 * abs(value), 1e-30)
        error = abs(difference - slope) / scale
        if not kink > 1e-7 * scale:
            break
    return error if error == error else math.inf


def _along(case: Case, leaf: str, direction: Array) -> Callable[[float], float]:
    """The loss, or the outputs weighted by the cotangents, as the leaf moves."""
    graph = case.graph

    def moved(distance: float) -> float:
        leaves = {**case.leaves, leaf: case.leaves[leaf] + distance * direction}
        values = interpret(graph, leaves, case.sizes)
        if graph.loss is not None:
            return float(values[graph.loss])
        names = dict.fromkeys(name for _, name in graph.outputs)
        floats = [name for name in names if graph[name].type.kind == "float"]
        return sum(float((values[name] * leaves[f"~{name}:seed"]).sum()) for name in floats)

    return moved


def _difference(moved: Callable[[float], float], h: float = 1e-4) -> tuple[float, float, float]:
    """The value, its slope, and how far it is from smooth.

    The slope is the central difference of fourth order (Abramowitz and Stegun 1964, 25.3.6).
    Of a smooth function the two one-sided slopes differ in proportion to the step; of one
    with a kink nearby they do not, and the slope means nothing.
    """
    value = moved(0.0)
    right, left, far_right, far_left = moved(h), moved(-h), moved(2 * h), moved(-2 * h)
    slope = (8 * (right - left) - (far_right - far_left)) / (12 * h)
    near_gap = (right - 2 * value + left) / h
    far_gap = (far_right - 2 * value + far_left) / (2 * h)
    return value, slope, abs(far_gap - 2 * near_gap)


# Kernels -------------------------------------------------------------------------------


def _given(case: Case, network: Network) -> tuple[Arrays, Arrays, Arrays]:
    """The parameters, inputs and targets."""
    sorts = (network.params, network.inputs, network.targets)
    params, inputs, targets = ({name: case.leaves[name] for name in sort} for sort in sorts)
    inputs |= {name: targets[name] for name in sorted(network.fed)}
    return params, inputs, targets


def _main_kernels(case: Case, network: Network, which: str) -> list[Row]:
    """The outputs, and the loss with its gradients, against the interpreter."""
    graph, tolerance, steps = case.graph, TOLERANCE[network.dtype], case.sizes["t"]
    params, inputs, targets = _given(case, network)
    values = case.values()
    rows = []
    if graph.outputs:
        outputs = {label: values[name] for label, name in graph.outputs}
        found = network.forward(params, inputs, steps=steps)
        rows.append(_row(f"forward kernel{which}", outputs, found, tolerance))
    if graph.loss is not None:
        slopes = _gradients(case, adjoint(graph))
        loss, gradients = network.value_and_grad(params, {**inputs, **targets}, steps=steps)
        expected = {"loss": values[graph.loss], **slopes}
        found = {"loss": np.asarray(loss), **gradients}
        rows.append(_row(f"gradient kernel{which}", expected, found, tolerance))
    return rows


def _kernels(case: Case, network: Network, dtype: str) -> list[Row]:
    """All that a network of any number of steps offers, against the interpreter."""
    graph, tolerance, steps = case.graph, TOLERANCE[dtype], case.sizes["t"]
    params, inputs, _ = _given(case, network)
    values = case.values()
    outputs = {label: values[name] for label, name in graph.outputs}
    rows = _main_kernels(case, network, f", {dtype}")
    floats = [label for label, name in graph.outputs if graph[name].type.kind == "float"]
    if floats:
        cotangents = {label: np.cos(np.arange(outputs[label].size)) for label in floats}
        cotangents = {
            label: array.reshape(outputs[label].shape) for label, array in cotangents.items()
        }
        _, pullback = network.vjp(params, inputs, steps=steps)
        seeds: dict[str, Array] = {}
        for label, name in graph.outputs:
            if label in cotangents:
                leaf = f"~{name}:seed"
                seeds[leaf] = seeds.get(leaf, np.zeros(1)) + cotangents[label]
        outer = replace(case, leaves={**case.leaves, **seeds})
        expected = _gradients(outer, adjoint(replace(graph, loss=None), "outputs"))
        rows.append(_row(f"vjp kernel, {dtype}", expected, pullback(cotangents), tolerance))
    drawn = any("rate" not in node.options for node in graph.leaves("noise"))
    if network.states and floats and not drawn and streams(simplify(replace(graph, loss=None))):
        found = _step_by_step(network, params, inputs, steps)
        rows.append(_row(f"step by step, {dtype}", outputs, found, tolerance))
    return rows


def _gradients(case: Case, derived: Graph) -> dict[str, Array]:
    values = case.values(derived)
    return {leaf: values[name] for leaf, name in derived.gradients}


def _step_by_step(network: Network, params: Arrays, inputs: Arrays, steps: int) -> dict[str, Array]:
    """The outputs of the steps, one call each, with the state handed on."""
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


# Comparison ----------------------------------------------------------------------------


def _row(what: str, expected: Arrays, found: Arrays, tolerance: float = STAGES) -> Row:
    error, where = largest_error(expected, found)
    return Row(what, error, tolerance, where)


def largest_error(expected: Arrays, found: Arrays) -> tuple[float, str]:
    """The largest relative error, and the name of its array.

    Infinite where an array is missing, has another shape, or is NaN where it should not be.
    """
    names = sorted({*expected, *found})
    if expected.keys() != found.keys():
        odd = next(name for name in names if (name in expected) != (name in found))
        return math.inf, odd
    top = max((_magnitude(array) for array in expected.values()), default=0.0)
    floor = max(NEGLIGIBLE * top, 1e-30)
    errors = [(_error(expected[name], found[name], floor), name) for name in names]
    return max(errors, default=(0.0, ""))


def _magnitude(array: Array) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max(initial=0.0))


def _error(expected: Array, found: Array, floor: float) -> float:
    try:
        expected, found = np.broadcast_arrays(expected, found)
    except ValueError:
        return math.inf
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    with np.errstate(invalid="ignore"):
        gaps = np.abs(np.where(same, 0.0, expected - found.astype(np.float64)))
    gap = float(gaps.max(initial=0.0))
    return gap / max(_magnitude(expected), floor) if gap == gap else math.inf
