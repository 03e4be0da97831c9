"""The routines of linear algebra: matrix products of many rows at once, and small ones.

See :mod:`rollc.backends.numba.library.routines` for what their arguments are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rollc.backends.numba.jit.routine import Array, at, routine, shared
from rollc.backends.numba.jit.target import host
from rollc.backends.numba.library.gemm_kernel import tile, tile_width
from rollc.backends.numba.library.row_kernels import row_dot, weighted_row, wide
from rollc.backends.numba.library.team_layout import CLOSED, DONE, KIND, LIMIT, TICKET
from rollc.backends.numba.library.thread_team import (
    array,
    chunk_size,
    describe,
    exchange,
    get,
    increase,
    number,
    offer,
    reach,
    rest,
    worthwhile,
)

_ROWS = host().tile_rows
_WIDE_4, _WIDE_8 = wide(4), wide(8)
_CHUNK = host().stream_rows // 4  # rows of a product that share a panel while it is in the cache
_DEPTH = host().stream_rows  # places of a sum of products that stay in the cache
_PART = host().cache_bytes // _DEPTH  # bytes of a row that do, for all of those places
_TIMES, _PRODUCT = 0, 1  # the jobs of a team


@routine
def times(
    a: Array,
    row: int,
    first: int,
    panel: Array,
    inner: int,
    width: int,
    out: Array,
    target: int,
    place: int,
    count: int,
) -> None:
    """``out[target + r, place:] = a[row + r, first:] @ panel`` for ``count`` rows r."""
    step = tile_width(a)
    along, across = a.shape[1], out.shape[1]
    for chunk in range(0, count, _CHUNK):
        stop = min(chunk + _CHUNK, count)
        for block in range(0, width, step):
            for r in range(chunk, stop, _ROWS):
                tile(
                    a,
                    (row + r) * along + first,
                    along,
                    1,
                    panel,
                    block * inner,
                    step,
                    inner,
                    out,
                    (target + r) * across + place + block,
                    across,
                    min(_ROWS, stop - r),
                    min(step, width - block),
                    False,
                )


@routine
def steps_times(
    a: Array,
    row: int,
    apart: int,
    first: int,
    panel: Array,
    inner: int,
    width: int,
    out: Array,
    target: int,
    aside: int,
    place: int,
    count: int,
    steps: int,
    team: int,
) -> None:
    """As :func:`times`, of ``count`` rows at each step, ``apart`` rows of a and ``aside`` of out
    from one step to the next.  A team takes part where all rows are one below the other.
    """
    if apart != count or aside != count:
        for s in range(steps):
            source, aim = row + s * apart, target + s * aside
            times(a, source, first, panel, inner, width, out, aim, place, count)
        return
    rows = count * steps
    if not worthwhile(team, rows * inner * width):
        times(a, row, first, panel, inner, width, out, target, place, rows)
        return
    size = chunk_size(team, rows, _ROWS)
    numbers = (row, first, inner, width, target, place, rows, size)
    describe(team, _TIMES, numbers, a, panel, out)
    _together(team, -(-rows // size), a)


@routine
def rows_product(
    a: Array,
    row: int,
    first: int,
    height: int,
    b: Array,
    other: int,
    second: int,
    width: int,
    out: Array,
    place: int,
    count: int,
    accumulate: bool,
) -> None:
    """Rows of the matrix that :func:`product` makes, from the element ``place`` on."""
    step = tile_width(a)
    along, beside = a.shape[1], b.shape[1]
    most = _PART // a.itemsize // _ROWS * _ROWS
    for start in range(0, count, _DEPTH):
        depth = min(_DEPTH, count - start)
        for top in range(0, height, most):
            bottom = min(top + most, height)
            for block in range(0, width, step):
                for i in range(top, bottom, _ROWS):
                    tile(
                        a,
                        (row + start) * along + first + i,
                        1,
                        along,
                        b,
                        (other + start) * beside + second + block,
                        beside,
                        depth,
                        out,
                        place + i * width + block,
                        width,
                        min(_ROWS, bottom - i),
                        min(step, width - block),
                        accumulate or start > 0,
                    )


@routine
def product(
    a: Array,
    row: int,
    first: int,
    height: int,
    b: Array,
    other: int,
    second: int,
    width: int,
    out: Array,
    count: int,
    accumulate: bool,
    team: int,
) -> None:
    """The matrix of the sums, over ``count`` rows, of the products of two vectors."""
    if not worthwhile(team, height * width * count):
        rows_product(a, row, first, height, b, other, second, width, out, 0, count, accumulate)
        return
    size = chunk_size(team, height, _ROWS)
    numbers = (row, first, height, other, second, width, count, int(accumulate), size)
    describe(team, _PRODUCT, numbers, a, b, out)
    _together(team, -(-height // size), a)


@shared
def _together(team: int, chunks: int, like: Array) -> None:
    """Do the job that is laid out, with all helpers that come."""
    offer(team, chunks)
    team_chunks(team, like)
    reach(team, DONE, chunks)  # by those who have taken a chunk


@routine
def team_chunks(team: int, like: Array) -> None:
    """Take chunks of the job at hand until none is left."""
    ticket = get(team, TICKET)
    while ticket % LIMIT > 0:
        # All that is known of the job is read before a chunk of it is taken.
        kind, chunk = get(team, KIND), ticket % LIMIT - 1
        n0, n1, n2, n3 = number(team, 0), number(team, 1), number(team, 2), number(team, 3)
        n4, n5, n6, n7 = number(team, 4), number(team, 5), number(team, 6), number(team, 7)
        n8 = number(team, 8)
        one, two, out = array(team, 0, like), array(team, 1, like), array(team, 2, like)
        if exchange(team, TICKET, ticket, ticket - 1):
            if kind == _TIMES:
                begin = chunk * n7
                rows = min(n7, n6 - begin)
                times(one, n0 + begin, n1, two, n2, n3, out, n4 + begin, n5, rows)
            else:
                begin = chunk * n8
                rows = min(n8, n2 - begin)
                place = begin * n5
                rows_product(one, n0, n1 + begin, rows, two, n3, n4, n5, out, place, n6, n7 != 0)
            increase(team, DONE)
        ticket = get(team, TICKET)


@routine
def help_team(team: int, like: Array) -> None:
    """Take part in the jobs of a team until it is closed.  ``like`` has its precision."""
    looks = 0
    job = 0
    while get(team, CLOSED) == 0:
        ticket = get(team, TICKET)
        if ticket % LIMIT > 0:
            team_chunks(team, like)
        looks = 0 if ticket // LIMIT != job else looks + 1
        job = ticket // LIMIT
        rest(looks)


@routine
def matrix_product(
    a: Array,
    row: int,
    first: int,
    transpose_a: bool,
    b: Array,
    other: int,
    second: int,
    transpose_b: bool,
    out: Array,
    target: int,
    place: int,
    height: int,
    inner: int,
    width: int,
) -> None:
    """The product of one matrix with another; a vector is a matrix of one column."""
    for i in range(height):
        for j in range(width):
            total = out.dtype.type(0)
            for k in range(inner):
                left = k * height + i if transpose_a else i * inner + k
                right = j * inner + k if transpose_b else k * width + j
                total += a[row, at(first + left)] * b[other, at(second + right)]
            out[target, at(place + i * width + j)] = total


@routine
def dot(a: Array, row: int, first: int, b: Array, other: int, second: int, size: int) -> Any:
    return row_dot(a, row * a.shape[1] + first, b, other * b.shape[1] + second, size)


@routine
def dots(
    a: Array,
    row: int,
    row_apart: int,
    row_next: int,
    first: int,
    b: Array,
    other: int,
    other_apart: int,
    other_next: int,
    second: int,
    size: int,
    out: Array,
    place: int,
    place_apart: int,
    place_next: int,
    count: int,
    inner: int,
) -> None:
    """``count`` times ``inner`` times what :func:`dot` is, of rows and to numbers that lie
    ``apart`` from one to the next of the former, and those to the ``next`` of the latter.
    """
    along, beside = a.shape[1], b.shape[1]
    for i in range(count):
        for j in range(inner):
            one = (row + i * row_apart + j * row_next) * along + first
            two = (other + i * other_apart + j * other_next) * beside + second
            out[0, at(place + i * place_apart + j * place_next)] = row_dot(a, one, b, two, size)


@routine
def weighted_rows(
    a: Array,
    start: int,
    a_row: int,
    a_place: int,
    b: Array,
    row: int,
    apart: int,
    first: int,
    width: int,
    out: Array,
    target: int,
    aside: int,
    place: int,
    count: int,
    inner: int,
    accumulate: bool,
) -> None:
    """``out[target + r aside, place:]`` for ``count`` r: the sums, over ``inner`` k, of the numbers
    ``a[start + r a_row + k a_place]`` times the vectors ``b[row + k apart, first:]``.
    """
    step = tile_width(a)
    along, across = b.shape[1], out.shape[1]
    if count == 1:
        most = _WIDE_4 if a.itemsize == 4 else _WIDE_8
        for block in range(0, width, most):
            weighted_row(
                a,
                start,
                a_place,
                b,
                row * along + first + block,
                apart * along,
                inner,
                out,
                target * across + place + block,
                min(most, width - block),
                accumulate,
            )
        return
    for block in range(0, width, step):
        for r in range(0, count, _ROWS):
            tile(
                a,
                start + r * a_row,
                a_row,
                a_place,
                b,
                row * along + first + block,
                apart * along,
                inner,
                out,
                (target + r * aside) * across + place + block,
                aside * across,
                min(_ROWS, count - r),
                min(step, width - block),
                accumulate,
            )


@routine
def outer(
    a: Array,
    row: int,
    first: int,
    height: int,
    b: Array,
    other: int,
    second: int,
    width: int,
    out: Array,
    target: int,
    place: int,
    accumulate: bool,
) -> None:
    for i in range(height):
        for j in range(width):
            value = a[row, at(first + i)] * b[other, at(second + j)]
            k = place + i * width + j
            out[target, k] = out[target, k] + value if accumulate else value


@routine
def transpose(
    a: Array, row: int, first: int, height: int, width: int, out: Array, target: int, place: int
) -> None:
    for i in range(height):
        for j in range(width):
            out[target, at(place + j * height + i)] = a[row, at(first + i * width + j)]


@routine
def gauss_jordan(
    a: Array, row: int, first: int, height: int, width: int, out: Array, target: int, place: int
) -> None:
    """The inverse by elimination with row pivots, and in the row below it log |det a|.

    Golub and Van Loan, Matrix computations (fourth edition, 2013), section 3.4; in place, so
    that the row below holds where the pivots came from until all columns are done.
    """
    size = height
    below = place + size * size
    finite = True
    for k in range(size * size):
        out[target, place + k] = a[row, first + k]
        finite = finite and np.isfinite(a[row, first + k])
    for k in range(size):
        out[target, below + k] = k
    total = out.dtype.type(0)
    for k in range(size):
        pivot = k
        for i in range(k, size):
            value = abs(out[target, place + i * size + k])
            most = abs(out[target, place + pivot * size + k])
            if value > most:
                pivot = i
        out[target, below + k] = pivot
        for j in range(size):
            here, other = place + k * size + j, place + pivot * size + j
            out[target, here], out[target, other] = out[target, other], out[target, here]
        divisor = out[target, place + k * size + k]
        total += np.log(abs(divisor))
        if divisor == 0:
            break
        out[target, place + k * size + k] = 1
        for j in range(size):
            out[target, place + k * size + j] /= divisor
        for i in range(size):
            if i != k:
                factor = out[target, place + i * size + k]
                out[target, place + i * size + k] = 0
                for j in range(size):
                    out[target, place + i * size + j] -= factor * out[target, place + k * size + j]
    # Rows that were exchanged are columns of the inverse that are to be changed back.
    for back in range(size):
        k = size - 1 - back
        pivot = int(out[target, below + k])
        for i in range(size):
            here, other = place + i * size + k, place + i * size + pivot
            out[target, here], out[target, other] = out[target, other], out[target, here]
        out[target, below + k] = 0
    out[target, below] = total if finite else np.nan
    if not (finite and np.isfinite(total)):
        for k in range(size * size):
            out[target, place + k] = np.nan
