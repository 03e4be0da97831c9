"""The passes, each in the interpreter."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.ir.graph import Graph
from rollc.tools.verify.case import Case, with_gradients
from rollc.tools.verify.comparison import Row, compared
from rollc.transforms.canonicalize import simplify
from rollc.transforms.unroll import unroll

Array = NDArray[Any]


def stages(case: Case) -> list[Row]:
    """Each pass; a graph with one time axis is unrolled too.

    Raises :class:`rollc.transforms.unroll.UnrollError`.
    """
    derived = with_gradients(case.graph)
    expected = _results(case, derived)
    simple = simplify(with_gradients(simplify(case.graph)))
    rows = [compared("simplified graph", expected, _results(case, simple))]
    if len(case.graph.axes) > 1:
        return rows
    (steps,) = (case.sizes[axis] for axis in case.graph.axes)
    dag = unroll(derived, steps)
    rows += [
        compared("unrolled graph", expected, _results(case, dag)),
        compared("unrolled graph, simplified", expected, _results(case, simplify(dag))),
    ]
    if case.graph.loss is not None:
        # The square commutes; cotangents of outputs would have other names on this way.
        other = _results(case, adjoint(unroll(case.graph, steps)))
        rows.append(compared("adjoint of the unrolled graph", expected, other))
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
