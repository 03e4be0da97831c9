"""The adjoint against central differences, which know nothing of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.arguments import why_no_state
from rollc.graph.slopes import told_slopes
from rollc.interp import interpret
from rollc.verify.case import Case, with_gradients, with_state
from rollc.verify.comparison import Row

Array = NDArray[Any]

DIFFERENCES = 1e-6
ATTEMPTS = 8


def differences(case: Case, seed: int) -> Row:
    """The adjoint against slopes, for each parameter, input and state in turn."""
    found = list(slope_errors(case, np.random.default_rng(seed)))
    if why_no_state(case.graph) is None:
        found += slope_errors(with_state(case), np.random.default_rng(seed), "state")
    error, where = max(found, default=(0.0, ""))
    return Row("adjoint, central differences", error, DIFFERENCES, where)


def slope_errors(
    case: Case, random: np.random.Generator, sort: str = ""
) -> Iterator[tuple[float, str]]:
    """For each leaf that has a gradient (of the ``sort``, such as ``"param"``) the relative
    error of its adjoint along a random direction, and its name.
    """
    derived = with_gradients(case.graph)
    values = case.values(derived)
    plain = _with_slopes_as_told(case)
    for leaf, name in derived.gradients:
        if sort in ("", derived[leaf].operation):
            yield _slope_error(plain, leaf, values[name], random), leaf


def _with_slopes_as_told(case: Case) -> Case:
    """The case with every `stop` held at its value, so that differences see no slope either,
    and every derivative of one's own as that of a straight line.
    """
    graph = told_slopes(case.graph)
    values = case.values(graph)
    held = {node.name: values[node.name] for node in graph.nodes if node.operation == "stop"}
    nodes = [
        replace(node, operation="input", operands=(), initial=None) if node.name in held else node
        for node in graph.nodes
    ]
    return replace(case, graph=graph.with_nodes(nodes), leaves=case.leaves | held)


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
