"""A product that a team shares, by rows or by columns: the same bits, and nothing else written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from rollc.backends.numba.jit.target import host
from rollc.backends.numba.library.gemm import products as gemm
from rollc.backends.numba.library.team_layout import (
    DONE,
    LIMIT,
    OWNED,
    TEAM,
    THREADS,
    TICKET,
    WORKERS,
)
from rollc.support.allocator import empty

Array = np.ndarray[Any, Any]


@njit(nogil=True)
def run(a: Any, panel: Any, out: Any, steps: int, rows: int, sizes: Any, team: int) -> None:
    inner, columns = sizes
    gemm.matmul_steps(
        a,
        panel,
        out,
        steps,
        rows,
        inner,
        columns,
        a_stride=rows,
        out_stride=rows,
        a_row=2,
        a_column=3,
        out_row=1,
        out_column=5,
        team=team,
    )


def team_of(count: int) -> Array:
    """A team whose workers seem to be there."""
    block = empty((1, TEAM), np.dtype(np.int64))
    block[...] = 0
    block[0, THREADS] = count
    block[0, WORKERS] = count - 1
    return block


@pytest.mark.parametrize("count", [2, 7, 64])
@pytest.mark.parametrize(
    ("steps", "rows", "inner", "columns"),
    [
        (1, 1, 300, 700),  # by columns, the last of them not a whole tile
        (1, 13, 100, 200),
        (2, 4, 400, 65),  # fewer tiles of columns than threads
        (40, 3, 70, 33),  # by rows
        (1, 500, 30, 20),
        (1, 2, 60_000, 1),  # nothing to share
    ],
)
def test_a_shared_product_has_the_same_bits(
    count: int, steps: int, rows: int, inner: int, columns: int
) -> None:
    random = np.random.default_rng(0)
    tile = host().tile_width(4)
    a = random.normal(size=(steps * rows + 3, inner + 4)).astype(np.float32)
    panel = random.normal(size=(1, -(-columns // tile) * tile * inner)).astype(np.float32)
    alone = np.full((steps * rows + 2, columns + 9), np.nan, np.float32)
    shared, block = alone.copy(), team_of(count)
    run(a, panel, alone, steps, rows, (inner, columns), 0)
    run(a, panel, shared, steps, rows, (inner, columns), int(block.ctypes.data))
    np.testing.assert_array_equal(shared, alone)
    assert np.isnan(shared[0]).all() and np.isnan(shared[:, columns + 5 :]).all()
    assert block[0, TICKET] == LIMIT
    assert block[0, DONE] >= 1
    assert block[0, OWNED] == 0


@pytest.mark.parametrize("field", [WORKERS, OWNED])
def test_a_product_is_not_shared_where_nobody_can_help(field: int) -> None:
    block = team_of(2)
    block[0, field] = 1 - block[0, field]  # no worker, or another call has the team
    a, panel, out = np.ones((4, 400), np.float32), np.ones((1, 320 * 396)), np.zeros((4, 400))
    panel, out = panel.astype(np.float32), out.astype(np.float32)
    run(a, panel, out, 1, 1, (396, 320), int(block.ctypes.data))
    np.testing.assert_array_equal(out[1, 5:325], 396)
    assert block[0, TICKET] == 0
    assert block[0, OWNED] == (field == OWNED)
