"""The stages of a network, compared in the interpreter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint, seed_name
from rollc.autodiff.tangent import pushforward, tangent_name
from rollc.ir.graph import BATCH, Graph
from rollc.ir.time.same_steps import made_alike
from rollc.tools.verify.case import Case, with_gradients, with_state
from rollc.tools.verify.comparison import Row, compared
from rollc.tools.verify.ways import leaves_with_slopes, some_tangents
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.state import why_no_state
from rollc.transforms.unroll import unroll

Array = NDArray[Any]

FEW = 3
"""Steps along one of two axes, over which a graph is unrolled."""


def stages(case: Case) -> list[Row]:
    """Each pass; the graph is unrolled too, one with two time axes over the first few steps.

    Raises :class:`rollc.transforms.unroll.UnrollError`.
    """
    derived = with_gradients(case.graph)
    expected = _results(case, derived)
    simple = canonicalize(with_gradients(canonicalize(case.graph)))
    rows = [compared("simplified graph", expected, _results(case, simple)), _tangents(case)]
    if case.graph.reach and why_no_state(case.graph) is None:
        rows.append(_tangents(with_state(case), " with a state"))
    if case.graph.is_unrolled or not case.graph.axes:
        return rows
    if len(case.graph.axes) > 1:
        case = _beginning(case)
        expected = _results(case, derived)
    dag = unroll(derived, case.sizes)
    rows += [
        compared("unrolled graph", expected, _results(case, dag)),
        compared("unrolled graph, simplified", expected, _results(case, canonicalize(dag))),
    ]
    if case.graph.loss is not None:
        # The square commutes; cotangents of outputs would have other names on this way.
        other = _results(case, adjoint(unroll(case.graph, case.sizes)))
        rows.append(compared("adjoint of the unrolled graph", expected, other))
    return rows


def _tangents(case: Case, which: str = "") -> Row:
    """The slope of the loss, or of the outputs by their cotangents, in one direction: forwards in
    time by tangents, and by the adjoint; both with the size of what is added up for it.
    """
    graph, moved, derived = case.graph, some_tangents(case), with_gradients(case.graph)
    if graph.loss is not None:
        graph = replace(graph, outputs=(("loss", graph.loss),), loss=None)
    given = {tangent_name(name): array for name, array in moved.items()}
    pushed = pushforward(graph, leaves_with_slopes(graph), values=False)
    forwards = replace(case, leaves={**case.leaves, **given}).values(pushed)
    backwards = case.values(derived)
    products = [backwards[name] * moved[leaf] for leaf, name in derived.gradients if leaf in moved]
    slope, size = (sum(float(f(each).sum()) for each in products) for f in (np.asarray, np.abs))
    names = dict.fromkeys(name for _, name in graph.outputs if graph[name].type.kind == "float")
    weights = {name: case.leaves.get(seed_name(name), np.ones(())) for name in names}
    found = sum(float((forwards[tangent_name(name)] * weights[name]).sum()) for name in names)
    expected = {"slope": np.array([slope, size])}
    return compared(
        f"tangents{which}, by the adjoint", expected, {"slope": np.array([found, size])}
    )


def _beginning(case: Case) -> Case:
    """The first steps along each of two axes, not as many if they need not be."""
    few = {axis: min(case.sizes[axis], FEW + more) for more, axis in enumerate(case.graph.axes)}
    sizes = made_alike(case.graph, few) | {BATCH: case.sizes[BATCH]}
    leaves = {
        node.name: case.leaves[node.name][tuple(slice(sizes[axis]) for axis in node.type.axes)]
        for node in with_gradients(case.graph).nodes
        if node.name in case.leaves
    }
    return replace(case, sizes=sizes, leaves=leaves)


def _results(case: Case, graph: Graph) -> dict[str, Array]:
    """What leaves a graph, rolled or not: a value over time as one entry a step."""
    values = case.values(graph)
    pairs = [(f"output {label}", name) for label, name in graph.outputs]
    pairs += [(f"gradient {label}", name) for label, name in graph.gradients]
    pairs += [("loss", graph.loss)] if graph.loss is not None else []
    found: dict[str, Array] = {}
    for label, name in pairs:
        time = graph[name].type.time
        mark = "" if len(graph.axes) < 2 or len(time) > 1 else "".join(time)
        for place in np.ndindex(values[name].shape[: len(time)]):
            steps = "".join(f".{mark}{step}" for step in place)
            found[label + steps] = values[name][place]
    return found
