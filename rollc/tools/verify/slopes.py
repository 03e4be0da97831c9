"""The adjoint compared with central differences.

A difference quotient is a derivative where the network is smooth between its points: where none of
its choices (:mod:`.choices`) changes, and where quotients over several distances agree.  A leaf
without such a direction is not compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.custom_gradients import explicit_custom_gradients
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.tools.verify.case import Case, with_gradients, with_state
from rollc.tools.verify.choices import Choices, with_choices
from rollc.tools.verify.comparison import Row, not_compared
from rollc.transforms.state import why_no_state

Array = NDArray[Any]

DIFFERENCES = 1e-6
ATTEMPTS = 8
DISTANCES = (1e-4, 1e-5, 1e-6, 1e-7)
_WHAT = "adjoint, central differences"


@dataclass(frozen=True, slots=True)
class Slope:
    """How far the adjoint of a leaf is from a difference, relative to the leaf's slopes.

    ``reason`` says why there is no difference to compare with, where that is so.
    """

    leaf: str
    error: float
    reason: str = ""


def differences(case: Case, seed: int) -> list[Row]:
    """The adjoint against slopes, for each parameter, input and state in turn."""
    found = list(slopes(case, np.random.default_rng(seed)))
    if why_no_state(case.graph) is None:
        found += slopes(with_state(case), np.random.default_rng(seed), "state")
    compared = [(slope.error, slope.leaf) for slope in found if not slope.reason]
    rows = []
    if compared or not found:
        error, where = max(compared, default=(0.0, ""))
        rows.append(Row(_WHAT, error, DIFFERENCES, where))
    for reason in dict.fromkeys(slope.reason for slope in found if slope.reason):
        leaves = ", ".join(f"`{slope.leaf}`" for slope in found if slope.reason == reason)
        rows.append(not_compared(f"{_WHAT} in {leaves}", reason, DIFFERENCES))
    return rows


def slopes(case: Case, random: np.random.Generator, sort: str = "") -> Iterator[Slope]:
    """One for each leaf that has a gradient (of the ``sort``, such as ``"param"``), along a
    random direction.
    """
    derived = with_gradients(case.graph)
    values = case.values(derived)
    plain = _with_slopes_as_told(case)
    loss = plain.graph.loss
    choices = with_choices(plain.graph, _float_outputs(plain.graph) if loss is None else [loss])
    for leaf, name in derived.gradients:
        if sort in ("", derived[leaf].operation):
            yield _slope(plain, choices, leaf, values[name], random)


def _float_outputs(graph: Graph) -> dict[str, None]:
    """The nodes of the outputs that have cotangents."""
    names = (name for _, name in graph.outputs)
    return dict.fromkeys(name for name in names if graph[name].type.kind == "float")


def _with_slopes_as_told(case: Case) -> Case:
    """The case with every `stop` held at its value, so that differences see no slope either,
    and every derivative of one's own as that of a straight line.
    """
    graph = explicit_custom_gradients(case.graph)
    values = case.values(graph)
    held = {node.name: values[node.name] for node in graph.nodes if node.operation == "stop"}
    nodes = [
        replace(node, operation="input", operands=(), initial=None) if node.name in held else node
        for node in graph.nodes
    ]
    return replace(case, graph=graph.with_nodes(nodes), leaves=case.leaves | held)


def _slope(
    case: Case, choices: Choices, leaf: str, gradient: Array, random: np.random.Generator
) -> Slope:
    if leaf not in choices.graph.by_name:  # nothing depends on it, and differences would be 0
        return Slope(leaf, float(np.abs(gradient).max(initial=0.0)))
    if not np.isfinite(gradient).all():
        return Slope(leaf, math.nan, "its gradient is not finite on these data")
    reason = ""
    for _ in range(ATTEMPTS):
        direction = random.normal(size=gradient.shape)
        slope = float((gradient * direction).sum())
        moved = _along(case, choices, leaf, direction)
        value, here = moved(0.0)
        # Along a direction the slope may be small by chance, and in all by nature.
        size = float(np.sqrt((gradient**2).sum()))
        scale = max(abs(slope), size, 1e-4 * abs(value), 1e-30)
        before: float | None = None
        for distance in DISTANCES:
            found, reason = _difference(moved, choices, here, distance)
            if reason:
                continue
            error = abs(found - slope) / scale
            if error <= DIFFERENCES:
                return Slope(leaf, error)
            # Two distances that agree show the slope; of a curve that is sharp beside them, or
            # wild, they do not.
            gap = math.inf if before is None else abs(found - before)
            noise = 16 * float(np.finfo(np.float64).eps) * abs(value) / distance
            if gap <= max(1e-4 * abs(found), noise) and gap + noise < 0.1 * error * scale:
                return Slope(leaf, error)
            before = found
            reason = "no two differences agree: it bends sharply, or is lost in rounding"
    return Slope(leaf, math.nan, reason)


_Moved = Callable[[float], tuple[float, dict[str, Array]]]


def _along(case: Case, choices: Choices, leaf: str, direction: Array) -> _Moved:
    """The loss, or the outputs weighted by the cotangents, as the leaf moves; and the choices."""
    loss = case.graph.loss

    def moved(distance: float) -> tuple[float, dict[str, Array]]:
        leaves = {**case.leaves, leaf: case.leaves[leaf] + distance * direction}
        values = interpret(choices.graph, leaves, case.sizes)
        taken = choices.taken(values)
        if loss is not None:
            return float(values[loss]), taken
        floats = _float_outputs(case.graph)
        return sum(float((values[name] * leaves[f"~{name}:seed"]).sum()) for name in floats), taken

    return moved


def _difference(
    moved: _Moved, choices: Choices, here: Mapping[str, Array], distance: float
) -> tuple[float, str]:
    """The central difference over a distance; and why it is none, if it is not.

    It is of fourth order (Abramowitz and Stegun 1964, 25.3.6).
    """
    values = []
    for place in (-2, -1, 1, 2):
        value, taken = moved(place * distance)
        values.append(value)
        changed = choices.changed(here, taken)
        if changed is not None:
            return math.nan, f"there is a kink or a jump here: {changed} changes its choice"
    far_left, left, right, far_right = values
    slope = (8 * (right - left) - (far_right - far_left)) / (12 * distance)
    return slope, "" if math.isfinite(slope) else "the values nearby are not finite"
