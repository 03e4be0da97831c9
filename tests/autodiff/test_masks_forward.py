"""What is not taken spoils no derivative in one direction, and no second one, whatever it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rollc.ir.graph import Graph
from rollc.ir.operations import OPERATIONS
from rollc.tools.verify.ways import leaves_with_slopes
from rollc.transforms.canonicalize import canonicalize
from tests.autodiff.test_masks import (
    BAD,
    SLOPED,
    changed,
    network,
    ordinary,
    sets_of,
    taken,
    varying,
)
from tests.helpers.directional_derivatives import (
    hessian_products,
    some_directions,
    tangents,
)
from tests.helpers.operation_cases import SIZES, Case

Derivative = Callable[[Graph, Any, Any, Any], dict[str, Any]]


def slope(graph: Graph, leaves: Any, sizes: Any, moved: Any) -> dict[str, Any]:
    assert graph.loss is not None
    return tangents(
        replace(graph, outputs=(("loss", graph.loss),), loss=None), leaves, sizes, moved
    )


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    "derivative", [slope, pytest.param(hessian_products, marks=pytest.mark.long)]
)
@pytest.mark.parametrize(("operation", "case"), SLOPED)
def test_what_is_not_taken_moves_nothing(
    operation: str, case: Case, derivative: Derivative
) -> None:
    if OPERATIONS[operation].once:
        return
    graph, ok = canonicalize(network(operation, case)), taken(operation, case)
    leaves = ordinary(graph, ok)
    moved = some_directions(leaves_with_slopes(graph), leaves, 3)
    with np.errstate(all="ignore"):
        expected = derivative(graph, leaves, SIZES, moved)
        assert all(np.isfinite(array).all() for array in expected.values())
        for bad in BAD:
            for names in sets_of(varying(case)):
                other = changed(leaves, names, ~ok, bad)
                for label, array in derivative(graph, other, SIZES, moved).items():
                    assert np.array_equal(expected[label], array), (names, bad, label)
