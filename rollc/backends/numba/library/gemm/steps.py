"""Matrix products of the rows of several steps, which are not contiguous."""

from __future__ import annotations

from rollc.backends.numba.jit.routine import Array, routine
from rollc.backends.numba.jit.target import host
from rollc.backends.numba.library.gemm.kernel import micro_kernel, tile_width
from rollc.backends.numba.library.gemm.products import matmul_steps

_ROWS = host().tile_rows


@routine
def matmul_apart(
    a: Array,
    panel: Array,
    out: Array,
    steps: int,
    rows: int,
    inner: int,
    columns: int,
    a_stride: int,
    out_stride: int,
    a_row: int = 0,
    a_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
    team: int = 0,
) -> None:
    """:func:`matmul_steps`, where few ``rows`` in tiles of a row of each of several steps."""
    if rows >= _ROWS:
        matmul_steps(
            a,
            panel,
            out,
            steps,
            rows,
            inner,
            columns,
            a_stride,
            out_stride,
            a_row=a_row,
            a_column=a_column,
            out_row=out_row,
            out_column=out_column,
            team=team,
        )
        return
    tile = tile_width(a)
    a_step, out_step = a_stride * a.shape[1], out_stride * out.shape[1]
    for row in range(rows):
        a_start = (a_row + row) * a.shape[1] + a_column
        out_start = (out_row + row) * out.shape[1] + out_column
        for column in range(0, columns, tile):
            for step in range(0, steps, _ROWS):
                micro_kernel(
                    a,
                    panel,
                    out,
                    a_start=a_start + step * a_step,
                    a_row_stride=a_step,
                    a_inner_stride=1,
                    panel_start=column * inner,
                    panel_stride=tile,
                    inner=inner,
                    out_start=out_start + step * out_step + column,
                    out_stride=out_step,
                    rows=min(_ROWS, steps - step),
                    columns=min(tile, columns - column),
                    accumulate=False,
                )
