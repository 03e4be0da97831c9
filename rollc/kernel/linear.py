"""The routines of linear algebra: matrix products of many rows at once, and small ones.

See :mod:`rollc.kernel.library` for what their arguments are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rollc.kernel.host import host
from rollc.kernel.linking import Array, at, routine, shared
from rollc.kernel.tile import tile

_ROWS = host().rows
_WIDTH_4, _WIDTH_8 = host().width(4), host().width(8)
_CHUNK = 64  # rows of a product that share a panel while it is in the cache
_DEPTH = 256  # places of a sum of products that stay in the cache


@shared
def tile_width(array: Array) -> int:
    """The columns of a tile in the precision of an array."""
    return _WIDTH_4 if array.itemsize == 4 else _WIDTH_8


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
) -> None:
    """Copy a matrix into a panel of ``inner`` rows, from the column ``place`` on.

    A panel holds its columns tile by tile, and the last tile is filled up with zeros.
    """
    step = tile_width(weight)
    count = height if transposed else width
    for first in range(0, inner, _CHUNK):  # a tile's rows stay in the cache for all its columns
        last = min(first + _CHUNK, inner)
        if transposed:
            for j in range(count):
                column = place + j
                start = column // step * step * inner + column % step
                for i in range(first, last):
                    panel[0, at(start + i * step)] = weight[0, at(j * width + i)]
        else:
            for i in range(first, last):
                j = 0
                while j < count:
                    column = place + j
                    start = column // step * step * inner + column % step + i * step
                    few = min(step - column % step, count - j)
                    for k in range(few):
                        panel[0, at(start + k)] = weight[0, at(i * width + j + k)]
                    j += few
    if place + count == columns:
        start = columns // step * step * inner
        for i in range(inner if columns % step else 0):
            for k in range(columns % step, step):
                panel[0, at(start + i * step + k)] = 0


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
) -> None:
    """As :func:`times`, of ``count`` rows at each step, ``apart`` rows of a and ``aside`` of out
    from one step to the next.
    """
    together = apart == count and aside == count
    rows = count * steps if together else count
    for s in range(1 if together else steps):
        source, aim = row + s * apart, target + s * aside
        times(a, source, first, panel, inner, width, out, aim, place, rows)


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
) -> None:
    """The matrix of the sums, over ``count`` rows, of the products of two vectors."""
    step = tile_width(a)
    along, beside = a.shape[1], b.shape[1]
    for start in range(0, count, _DEPTH):
        depth = min(_DEPTH, count - start)
        for block in range(0, width, step):
            for i in range(0, height, _ROWS):
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
                    i * width + block,
                    width,
                    min(_ROWS, height - i),
                    min(step, width - block),
                    accumulate or start > 0,
                )


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
    total = a.dtype.type(0)
    for k in range(size):
        total += a[row, at(first + k)] * b[other, at(second + k)]
    return total


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
