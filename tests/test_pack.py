"""Panels: matrices side by side, column by column in tiles, whatever their sizes and places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from rollc.kernel import linear
from rollc.kernel.host import VECTORS, host, panel_size
from rollc.kernel.turn import plain_turn, turn

Array = np.ndarray[Any, Any]


@njit
def run_turn(a: Any, out: Any) -> None:
    turn(a, 3, a.shape[1], out, 5, out.shape[1])


@njit
def run_pack(
    weight: Any, height: int, width: int, turned: bool, panel: Any, place: int, sizes: Any
) -> None:
    linear.pack(weight, height, width, turned, panel, place, sizes[0], sizes[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_block_is_turned_and_nothing_else_is_written(dtype: Any) -> None:
    lanes = host().lanes(np.dtype(dtype).itemsize)
    a = np.random.default_rng(0).normal(size=(lanes + 1, lanes + 7)).astype(dtype)
    out = np.full((lanes + 1, lanes + 6), np.nan, dtype)
    expected = out.copy()
    run_turn(a, out)
    plain_turn(a, 3, lanes + 7, expected, 5, lanes + 6)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(out.ravel()[5 : 5 + lanes], a[:, 3][:lanes])


def columns_of(panel: Array, inner: int, columns: int) -> Array:
    """A panel as a matrix, filled up to whole tiles."""
    tile = host().width(panel.itemsize)
    tiles = panel.reshape(-1, inner, tile)
    return np.concatenate(list(tiles), axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turned", [False, True])
def test_matrices_lie_side_by_side_in_a_panel(dtype: Any, turned: bool) -> None:
    lanes = host().lanes(np.dtype(dtype).itemsize)
    random = np.random.default_rng(0)
    several = ([1], [lanes], [VECTORS * lanes], [3, lanes, 2 * lanes], [lanes, 5 * lanes + 1, 3])
    for inner in (1, lanes - 1, lanes, 2 * lanes + 3):
        for widths in several:
            columns = sum(widths)
            panel = np.full(
                (1, panel_size(inner, columns, np.dtype(dtype).itemsize)), np.nan, dtype
            )
            parts = [random.normal(size=(inner, width)).astype(dtype) for width in widths]
            # The last first: what is written past a matrix stays.
            for number, part in reversed(list(enumerate(parts))):
                weight = part.T.copy() if turned else part
                place = sum(widths[:number])
                run_pack(
                    weight.reshape(1, -1), *weight.shape, turned, panel, place, (inner, columns)
                )
            found = columns_of(panel, inner, columns)
            np.testing.assert_array_equal(found[:, :columns], np.concatenate(parts, axis=1))
            assert not found[:, columns:].any()
