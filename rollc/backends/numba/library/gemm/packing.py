"""Packing: matrices are copied into panels, in the order in which products read them.

A large panel is shared by the threads of a call, which pack it together: each takes the next
slice by incrementing a counter, and none waits for a thread that has not taken a slice.
"""

from __future__ import annotations

from rollc.backends.numba.jit.routine import Array, Pair, routine, shared, uint
from rollc.backends.numba.jit.target import host
from rollc.backends.numba.library.gemm.kernel import tile_width
from rollc.backends.numba.library.gemm.transpose import transpose_block
from rollc.backends.numba.library.team_layout import COPIED, MATRIX, TAKEN
from rollc.backends.numba.library.thread_team import add, wait_until
from rollc.support.target import VECTORS

SLICE = host().stream_rows // 4  # rows that a thread copies at a time


@routine
def pack(
    weight: Array,
    out: Array,
    shape: Pair,
    transposed: bool,
    panel_shape: Pair,
    panel_column: int = 0,
    progress: int = 0,
    number: int = 0,
) -> None:
    """Copy a matrix of a shape, or its transpose, into a panel, from a column on.

    A panel holds its columns tile by tile, and the last tile is padded with zeros.  With a control
    block ``progress`` (:mod:`rollc.backends.numba.library.team_layout`), all threads pack the
    matrix together; its counters there have the ``number``.
    """
    height, width = shape
    inner, columns = panel_shape
    slices = -(-height // SLICE)
    counters = number * MATRIX
    taken = 0 if progress == 0 else add(progress, counters + TAKEN, 1)
    while taken < slices:
        begin = taken * SLICE
        end = min(begin + SLICE, height)
        if transposed:
            _pack_columns(weight, begin, end, width, out, panel_column, inner)
        else:
            _pack_rows(weight, begin, end, width, out, panel_column, inner)
        if end == height and panel_column + (height if transposed else width) == columns:
            _fill_up(out, inner, columns)
        if progress == 0:
            taken += 1
        else:
            add(progress, counters + COPIED, 1)
            taken = add(progress, counters + TAKEN, 1)
    if progress != 0:
        wait_until(progress, counters + COPIED, slices)


@shared
def _pack_columns(
    weight: Array, begin: int, end: int, width: int, panel: Array, panel_column: int, inner: int
) -> None:
    """Copy rows of a matrix into columns of a panel, by transposed square blocks where they fit."""
    tile = tile_width(weight)
    lanes = tile // VECTORS
    j = begin
    while j < end:
        column = panel_column + j
        start = column // tile * tile * inner + column % tile
        columns = lanes if column % lanes == 0 and j + lanes <= end else 1
        blocks = inner // lanes * lanes if columns == lanes else 0
        for i in range(0, blocks, lanes):
            transpose_block(weight, panel, j * width + i, width, start + i * tile, tile)
        for i in range(blocks, inner):
            for k in range(columns):
                panel[0, uint(start + i * tile + k)] = weight[0, uint((j + k) * width + i)]
        j += columns


@shared
def _pack_rows(
    weight: Array, begin: int, end: int, width: int, panel: Array, panel_column: int, inner: int
) -> None:
    """Copy rows of a matrix into rows of a panel."""
    tile = tile_width(weight)
    for i in range(begin, end):
        j = 0
        while j < width:
            column = panel_column + j
            start = column // tile * tile * inner + column % tile + i * tile
            count = min(tile - column % tile, width - j)
            for k in range(count):
                panel[0, uint(start + k)] = weight[0, uint(i * width + j + k)]
            j += count


@shared
def _fill_up(panel: Array, inner: int, columns: int) -> None:
    """Pad the last tile with zeros."""
    tile = tile_width(panel)
    start = columns // tile * tile * inner
    for i in range(inner if columns % tile else 0):
        for k in range(columns % tile, tile):
            panel[0, uint(start + i * tile + k)] = 0
