"""Matrices copied to where products read them: side by side, tile by tile.

A large one is copied by all threads of a call for all of them, slice by slice: each takes the
next slice by counting up, and nobody waits for a thread that has taken none.
"""

from __future__ import annotations

from rollc.backends.numba.jit.routine import Array, at, routine, shared
from rollc.backends.numba.jit.target import host
from rollc.backends.numba.library.gemm_kernel import tile_width
from rollc.backends.numba.library.team_layout import COPIED, MATRIX, TAKEN
from rollc.backends.numba.library.thread_team import increase, reach
from rollc.backends.numba.library.transpose_kernel import turn
from rollc.support.target import VECTORS

SLICE = host().stream_rows // 4  # rows that a thread copies at a time


@routine
def pack(
    weight: Array,
    height: int,
    width: int,
    transposed: bool,
    panel: Array,
    place: int,
    inner: int,
    columns: int,
    words: int,
    number: int,
) -> None:
    """Copy a matrix into a panel of ``inner`` rows, from the column ``place`` on.

    A panel holds its columns tile by tile, and the last tile is filled up with zeros.  If there
    are ``words`` (:mod:`.team_layout`), all threads take part, and the matrix has a
    ``number`` there.
    """
    slices = -(-height // SLICE)
    first = number * MATRIX
    taken = 0 if words == 0 else increase(words, first + TAKEN)
    while taken < slices:
        begin = taken * SLICE
        end = min(begin + SLICE, height)
        if transposed:
            _pack_columns(weight, begin, end, width, panel, place, inner)
        else:
            _pack_rows(weight, begin, end, width, panel, place, inner)
        if end == height and place + (height if transposed else width) == columns:
            _fill_up(panel, inner, columns)
        if words == 0:
            taken += 1
        else:
            increase(words, first + COPIED)
            taken = increase(words, first + TAKEN)
    if words != 0:
        reach(words, first + COPIED, slices)


@shared
def _pack_columns(
    weight: Array, begin: int, end: int, width: int, panel: Array, place: int, inner: int
) -> None:
    """Copy rows of a matrix into columns of a panel, by square blocks where they fit."""
    step = tile_width(weight)
    lanes = step // VECTORS
    j = begin
    while j < end:
        column = place + j
        start = column // step * step * inner + column % step
        columns = lanes if column % lanes == 0 and j + lanes <= end else 1
        blocks = inner // lanes * lanes if columns == lanes else 0
        for i in range(0, blocks, lanes):
            turn(weight, j * width + i, width, panel, start + i * step, step)
        for i in range(blocks, inner):
            for k in range(columns):
                panel[0, at(start + i * step + k)] = weight[0, at((j + k) * width + i)]
        j += columns


@shared
def _pack_rows(
    weight: Array, begin: int, end: int, width: int, panel: Array, place: int, inner: int
) -> None:
    """Copy rows of a matrix into rows of a panel."""
    step = tile_width(weight)
    for i in range(begin, end):
        j = 0
        while j < width:
            column = place + j
            start = column // step * step * inner + column % step + i * step
            few = min(step - column % step, width - j)
            for k in range(few):
                panel[0, at(start + k)] = weight[0, at(i * width + j + k)]
            j += few


@shared
def _fill_up(panel: Array, inner: int, columns: int) -> None:
    """Write zeros behind the last column."""
    step = tile_width(panel)
    start = columns // step * step * inner
    for i in range(inner if columns % step else 0):
        for k in range(columns % step, step):
            panel[0, at(start + i * step + k)] = 0
