"""Wavefronts: the smallest weights of two axes that order delays, and the cells of a diagonal."""

from __future__ import annotations

from itertools import product
from math import gcd

import numpy as np
import pytest

from rollc.ir.graph import Edge
from rollc.ir.time.retiming import Timing
from rollc.ir.time.wavefront import (
    cells,
    diagonals,
    parse_diagonals,
    print_diagonals,
    wavefront_of,
)


def loop_of(*delays: tuple[int, int]) -> Timing | None:
    """The wavefront of a value h that is read with delays along s and t, by way of copies."""
    reads = []
    for number, (s, t) in enumerate(delays):
        reads.append((f"c{number}", Edge("h", s, "s" if s else "")))
        reads.append(("h", Edge(f"c{number}", t, "t" if t else "")))
    return wavefront_of(reads, ("s", "t"))


@pytest.mark.parametrize(
    ("delays", "direction", "weights"),
    [
        ([(1, 0), (0, 1), (1, 1)], 1, (1, 1)),
        ([(-1, 0), (0, -1)], -1, (1, 1)),
        ([(1, 0), (0, -1)], -1, (-1, 1)),
        ([(-1, 0), (0, 1)], 1, (-1, 1)),
        ([(-1, 2), (1, 0)], 1, (1, 1)),
        ([(1, -1), (0, 1)], 1, (2, 1)),
        ([(2, -3), (-1, 2)], 1, (5, 3)),
        ([(3, -2), (-4, 3)], 1, (5, 7)),
    ],
)
def test_the_smallest_weights(
    delays: list[tuple[int, int]], direction: int, weights: tuple[int, int]
) -> None:
    found = loop_of(*delays)
    assert found is not None
    assert (found.direction, found.weights) == (direction, weights)
    for number, (s, t) in enumerate(delays):
        copy = f"c{number}"
        there = found.distance(copy, Edge("h", s, "s" if s else ""))
        back = found.distance("h", Edge(copy, t, "t" if t else ""))
        assert min(there, back) >= 0
        assert there + back == direction * (weights[0] * s + weights[1] * t) > 0


def test_weights_exist_where_no_sum_of_delays_is_nothing() -> None:
    places = list(product((-2, -1, 0, 1, 2), repeat=2))
    for first, second in product(places, repeat=2):
        # Of two delays some sum is nothing where they are opposite, or one of them is.
        turn = first[0] * second[1] - first[1] * second[0]
        along = first[0] * second[0] + first[1] * second[1]
        opposite = (turn == 0 and along <= 0) or (0, 0) in (first, second)
        assert (loop_of(first, second) is None) == opposite, (first, second)
    assert loop_of((1, 0), (0, 1), (-1, -1)) is None
    assert loop_of((2, -1), (-1, 2), (-1, -1)) is None


@pytest.mark.parametrize("weights", [(1, 1), (-1, 1), (2, 1), (-3, 2), (5, 3), (1, 4)])
@pytest.mark.parametrize("extents", [(4, 6), (1, 5), (5, 1), (1, 1), (7, 3)])
def test_every_pair_of_steps_is_on_one_diagonal(
    weights: tuple[int, int], extents: tuple[int, int]
) -> None:
    assert gcd(*weights) == 1
    number = np.full(extents, -99)
    for diagonal in diagonals(weights, *extents):
        for row, step in cells(weights, diagonal, *extents):
            assert number[row, step] == -99
            number[row, step] = diagonal
    rows, steps = np.indices(extents)
    np.testing.assert_array_equal(number, weights[0] * rows + weights[1] * steps)


def test_no_diagonals_of_no_steps_have_cells() -> None:
    for weights, extents in product([(1, 1), (-2, 3)], [(0, 3), (3, 0), (0, 0)]):
        for diagonal in diagonals(weights, *extents):
            assert not list(cells(weights, diagonal, *extents))


@pytest.mark.parametrize("weights", [(1, 1), (-1, 1), (2, 1), (-3, 2), (1, 4)])
def test_the_text_of_diagonals(weights: tuple[int, int]) -> None:
    text = print_diagonals("row_1", "s2", weights)
    assert parse_diagonals(text) == ("row_1", "s2", weights)
    for wrong in ("", "s", "s+", "1+t", "s*t", "s+t+u"):
        with pytest.raises(ValueError, match="expected diagonals such as"):
            parse_diagonals(wrong)
