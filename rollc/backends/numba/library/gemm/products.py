"""Matrix products (GEMM) and sums of outer products.

:mod:`rollc.backends.numba.library.routines` explains the arguments.
"""

from __future__ import annotations

from rollc.backends.numba.jit.routine import Array, Pair, inlined, routine, shared
from rollc.backends.numba.jit.target import host
from rollc.backends.numba.library.gemm.kernel import micro_kernel, tile_width
from rollc.backends.numba.library.row_kernels import gemv_kernel, gemv_width
from rollc.backends.numba.library.team_layout import (
    CALLS,
    DONE,
    KIND,
    LIMIT,
    OWNED,
    TICKET,
    WORKERS,
)
from rollc.backends.numba.library.thread_team import (
    add,
    back_off,
    chunk_size,
    compare_exchange,
    describe,
    job_array,
    job_number,
    load,
    most_chunks,
    offer,
    store,
    taken,
    wait_until,
)

_ROWS = host().tile_rows
_GEMV_4, _GEMV_8 = gemv_width(4), gemv_width(8)
# Cache blocking: the rows of a product for which a column of tiles of the panel is in the cache,
# the terms of a sum of outer products, and the bytes of each factor for so many terms.
_CHUNK = host().stream_rows // 4
_DEPTH = host().stream_rows
_PART = host().cache_bytes // _DEPTH
_STAY = host().stay
_MATMUL_ROWS, _MATMUL_COLUMNS, _OUTER_PRODUCTS = 0, 1, 2  # the kinds of jobs of a team


@inlined
def multiply_tiles(
    a: Array,
    panel: Array,
    out: Array,
    rows: int,
    inner: int,
    columns: int,
    a_row: int,
    a_column: int,
    out_row: int,
    out_column: int,
    first: int,
) -> None:
    """:func:`matmul` by one thread, of ``columns`` columns from ``first`` on, a number of tiles."""
    tile = tile_width(a)
    a_stride, out_stride = a.shape[1], out.shape[1]
    for chunk in range(0, rows, _CHUNK):
        stop = min(chunk + _CHUNK, rows)
        for column in range(0, columns, tile):
            for row in range(chunk, stop, _ROWS):
                micro_kernel(
                    a,
                    panel,
                    out,
                    a_start=(a_row + row) * a_stride + a_column,
                    a_row_stride=a_stride,
                    a_inner_stride=1,
                    panel_start=(first + column) * inner,
                    panel_stride=tile,
                    inner=inner,
                    out_start=(out_row + row) * out_stride + out_column + first + column,
                    out_stride=out_stride,
                    rows=min(_ROWS, stop - row),
                    columns=min(tile, columns - column),
                    accumulate=False,
                )


@routine
def matmul(
    a: Array,
    panel: Array,
    out: Array,
    rows: int,
    inner: int,
    columns: int,
    a_row: int = 0,
    a_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
    team: int = 0,
) -> None:
    """``out = a @ panel`` for ``rows`` rows, of a panel of ``inner`` rows and ``columns`` columns
    (:func:`~rollc.backends.numba.library.gemm.packing.pack`).

    A team shares the rows, or the columns where there are fewer tiles of rows.
    """
    work = rows * inner * columns
    if not taken(team, work):
        multiply_tiles(a, panel, out, rows, inner, columns, a_row, a_column, out_row, out_column, 0)
        return
    tile = tile_width(a)
    chunks = most_chunks(team, work)
    by_columns = rows // _ROWS < min(chunks, columns // tile)
    count = columns if by_columns else rows
    size = chunk_size(chunks, count, tile if by_columns else _ROWS)
    kind = _MATMUL_COLUMNS if by_columns else _MATMUL_ROWS
    numbers = (size, a_row, a_column, inner, columns, out_row, out_column, rows)
    describe(team, kind, numbers, a, panel, out)
    _run_job(team, -(-count // size), a)


@routine
def matmul_steps(
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
    """:func:`matmul` for ``rows`` rows at each of some steps.

    ``a_stride`` and ``out_stride`` are the strides of the steps, in rows.
    """
    if a_stride == rows and out_stride == rows:
        rows, steps = rows * steps, 1
    for step in range(steps):
        matmul(
            a,
            panel,
            out,
            rows,
            inner,
            columns,
            a_row=a_row + step * a_stride,
            a_column=a_column,
            out_row=out_row + step * out_stride,
            out_column=out_column,
            team=team,
        )


@routine
def outer_products_rows(
    a: Array,
    b: Array,
    out: Array,
    rows: int,
    a_size: int,
    b_size: int,
    a_row: int,
    a_column: int,
    b_row: int,
    b_column: int,
    out_column: int,
    accumulate: bool,
) -> None:
    """``a_size`` rows of the result of :func:`sum_outer_products`, from ``out_column`` on."""
    tile = tile_width(a)
    a_stride, b_stride = a.shape[1], b.shape[1]
    part = _PART // a.itemsize // _ROWS * _ROWS
    for start in range(0, rows, _DEPTH):
        depth = min(_DEPTH, rows - start)
        for top in range(0, a_size, part):
            bottom = min(top + part, a_size)
            for j in range(0, b_size, tile):
                for i in range(top, bottom, _ROWS):
                    micro_kernel(
                        a,
                        b,
                        out,
                        a_start=(a_row + start) * a_stride + a_column + i,
                        a_row_stride=1,
                        a_inner_stride=a_stride,
                        panel_start=(b_row + start) * b_stride + b_column + j,
                        panel_stride=b_stride,
                        inner=depth,
                        out_start=out_column + i * b_size + j,
                        out_stride=b_size,
                        rows=min(_ROWS, bottom - i),
                        columns=min(tile, b_size - j),
                        accumulate=accumulate or start > 0,
                    )


@routine
def sum_outer_products(
    a: Array,
    b: Array,
    out: Array,
    rows: int,
    a_size: int,
    b_size: int,
    a_row: int = 0,
    a_column: int = 0,
    b_row: int = 0,
    b_column: int = 0,
    out_column: int = 0,
    accumulate: bool = False,
    team: int = 0,
) -> None:
    """``out = a.T @ b``: the sum, over ``rows`` rows, of the outer products of two vectors."""
    work = a_size * b_size * rows
    if not taken(team, work):
        outer_products_rows(
            a,
            b,
            out,
            rows,
            a_size,
            b_size,
            a_row,
            a_column,
            b_row,
            b_column,
            out_column=out_column,
            accumulate=accumulate,
        )
        return
    size = chunk_size(most_chunks(team, work), a_size, _ROWS)
    numbers = (
        *(size, a_row, a_column, a_size, b_row, b_column, b_size, rows, int(accumulate)),
        out_column,
    )
    describe(team, _OUTER_PRODUCTS, numbers, a, b, out)
    _run_job(team, -(-a_size // size), a)


@shared
def _run_job(team: int, chunks: int, like: Array) -> None:
    """Run the job that is described, together with the workers that join, and leave the team."""
    offer(team, chunks)
    team_chunks(team, like)
    wait_until(team, DONE, chunks)  # for chunks that workers have taken
    store(team, OWNED, 0)


@routine
def team_chunks(team: int, like: Array) -> None:
    """Take chunks of the current job and compute them, until none is left."""
    ticket = load(team, TICKET)
    while ticket % LIMIT > 0:
        # The job is read before a chunk of it is taken: afterwards it may be another one.
        kind, chunk = load(team, KIND), ticket % LIMIT - 1
        size, n1, n2 = job_number(team, 0), job_number(team, 1), job_number(team, 2)
        n3, n4, n5 = job_number(team, 3), job_number(team, 4), job_number(team, 5)
        n6, n7, n8 = job_number(team, 6), job_number(team, 7), job_number(team, 8)
        n9 = job_number(team, 9)
        a, b = job_array(team, 0, like), job_array(team, 1, like)
        out = job_array(team, 2, like)
        if compare_exchange(team, TICKET, ticket, ticket - 1):
            begin = chunk * size
            if kind == _OUTER_PRODUCTS:
                a_row, a_column, a_size, b_row, b_column, b_size = n1, n2, n3, n4, n5, n6
                rows, accumulate = n7, n8 != 0
                outer_products_rows(
                    a,
                    b,
                    out,
                    rows,
                    min(size, a_size - begin),
                    b_size,
                    a_row=a_row,
                    a_column=a_column + begin,
                    b_row=b_row,
                    b_column=b_column,
                    out_column=n9 + begin * b_size,
                    accumulate=accumulate,
                )
            else:
                a_row, a_column, inner, columns, out_row, out_column = n1, n2, n3, n4, n5, n6
                rows, first = n7, 0
                if kind == _MATMUL_ROWS:
                    a_row, out_row, rows = a_row + begin, out_row + begin, min(size, rows - begin)
                else:
                    first, columns = begin, min(size, columns - begin)
                multiply_tiles(
                    a, b, out, rows, inner, columns, a_row, a_column, out_row, out_column, first
                )
            add(team, DONE, 1)
        ticket = load(team, TICKET)


@routine
def work_for_team(team: int, like: Array) -> None:
    """The loop of a worker: take chunks of jobs, and leave after a while without a job or a call.

    ``like`` is an array of the jobs' precision.
    """
    add(team, WORKERS, 1)
    looks = idle = job = 0
    while idle < _STAY:
        ticket = load(team, TICKET)
        if ticket % LIMIT > 0:
            team_chunks(team, like)
        looks, idle = looks + 1, idle + 1
        if ticket // LIMIT != job:
            looks = idle = 0
        if load(team, CALLS) > 0:
            idle = 0
        job = ticket // LIMIT
        back_off(looks)
    add(team, WORKERS, -1)


@routine
def matmul_strided(
    a: Array,
    b: Array,
    out: Array,
    rows: int,
    inner: int,
    columns: int,
    a_strides: Pair,
    b_stride: int,
    out_stride: int = 0,
    a_column: int = 0,
    b_row: int = 0,
    b_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
    accumulate: bool = False,
) -> None:
    """``out = a @ b`` of unpacked matrices.

    ``a_strides`` are the strides of the rows and columns of a, in elements; ``b_stride`` and
    ``out_stride`` those of the rows of the others, in rows of their arrays.
    """
    tile = tile_width(a)
    b_start, b_step = b_row * b.shape[1] + b_column, b_stride * b.shape[1]
    out_start, out_step = out_row * out.shape[1] + out_column, out_stride * out.shape[1]
    if rows == 1:
        most = _GEMV_4 if a.itemsize == 4 else _GEMV_8
        for column in range(0, columns, most):
            gemv_kernel(
                a,
                b,
                out,
                a_start=a_column,
                a_stride=a_strides[1],
                b_start=b_start + column,
                b_stride=b_step,
                inner=inner,
                out_start=out_start + column,
                columns=min(most, columns - column),
                accumulate=accumulate,
            )
        return
    for column in range(0, columns, tile):
        for row in range(0, rows, _ROWS):
            micro_kernel(
                a,
                b,
                out,
                a_start=a_column + row * a_strides[0],
                a_row_stride=a_strides[0],
                a_inner_stride=a_strides[1],
                panel_start=b_start + column,
                panel_stride=b_step,
                inner=inner,
                out_start=out_start + row * out_step + column,
                out_stride=out_step,
                rows=min(_ROWS, rows - row),
                columns=min(tile, columns - column),
                accumulate=accumulate,
            )


@routine
def sum_outer_products_strided(
    a: Array,
    b: Array,
    out: Array,
    terms: int,
    a_size: int,
    b_size: int,
    a_stride: int,
    b_stride: int,
    a_row: int = 0,
    a_column: int = 0,
    b_row: int = 0,
    b_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    """``out += a.T @ b`` of strided rows of a and of b.

    ``a_stride`` and ``b_stride`` are the strides of the ``terms``, in rows of their arrays; the
    result is in one row of ``out``.
    """
    tile = tile_width(a)
    a_start, a_step = a_row * a.shape[1] + a_column, a_stride * a.shape[1]
    b_start, b_step = b_row * b.shape[1] + b_column, b_stride * b.shape[1]
    out_start = out_row * out.shape[1] + out_column
    for column in range(0, b_size, tile):
        for row in range(0, a_size, _ROWS):
            micro_kernel(
                a,
                b,
                out,
                a_start=a_start + row,
                a_row_stride=1,
                a_inner_stride=a_step,
                panel_start=b_start + column,
                panel_stride=b_step,
                inner=terms,
                out_start=out_start + row * b_size + column,
                out_stride=b_size,
                rows=min(_ROWS, a_size - row),
                columns=min(tile, b_size - column),
                accumulate=True,
            )
