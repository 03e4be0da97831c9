"""The routines that kernels call: matrix products, and what works on a whole vector.

Every buffer is an array of two dimensions: a row for each step and sequence, and in it the
elements of one value (a matrix row by row); numbers lie side by side in one row.  A value is
given by its array, its row and its first column.  Nothing is allocated, nothing can raise,
and the interpreter's lock is not held.  NaN in, NaN out: no compiler flag assumes it away.

A kernel calls a routine through its symbol: routines are compiled once for each precision,
and kept as object code (:mod:`rollc.kernel.linking`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rollc.kernel.elementary import exp, log
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
def element(x: Array, row: int, first: int, size: int, index: int) -> Any:
    if index < size:
        return x[row, at(first + index)]
    return x.dtype.type(0)


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


@routine
def embed(
    table: Array, row: int, first: int, index: int, out: Array, target: int, place: int, size: int
) -> None:
    for k in range(size):
        out[target, at(place + k)] = table[row, at(first + index * size + k)]


@routine
def embed_adjoint(
    cotangent: Array,
    row: int,
    first: int,
    index: int,
    out: Array,
    target: int,
    place: int,
    rows: int,
    size: int,
    accumulate: bool,
) -> None:
    if not accumulate:
        for k in range(rows * size):
            out[target, at(place + k)] = 0
    for k in range(size):
        out[target, at(place + index * size + k)] += cotangent[row, at(first + k)]


@routine
def one_hot(index: int, out: Array, target: int, place: int, size: int) -> None:
    for k in range(size):
        out[target, at(place + k)] = 0
    out[target, at(place + index)] = 1


@routine
def copy_block(
    x: Array,
    row: int,
    first: int,
    length: int,
    start: int,
    out: Array,
    target: int,
    place: int,
    space: int,
    into: int,
    outside: int,
    count: int,
    inside: int,
) -> None:
    """Copy ``count`` places along one dimension of a value to another value.

    The dimension has ``length`` places in x and ``space`` in out; the dimensions before it
    together have ``outside`` places, those after it ``inside``.
    """
    for i in range(outside):
        for j in range(count):
            for k in range(inside):
                source = (i * length + start + j) * inside + k
                out[target, at(place + (i * space + into + j) * inside + k)] = x[
                    row, at(first + source)
                ]


@routine
def carry(x: Array, row: int, first: int, target: int, place: int, rows: int, size: int) -> None:
    """Copy rows to other rows of the same array, or numbers along a row; they may overlap."""
    if row < target or first < place:
        for i in range(rows):
            for k in range(size):
                r, c = rows - 1 - i, size - 1 - k
                x[target + r, at(place + c)] = x[row + r, at(first + c)]
    else:
        for i in range(rows):
            for k in range(size):
                x[target + i, at(place + k)] = x[row + i, at(first + k)]


@routine
def clear(out: Array, target: int, place: int, size: int) -> None:
    for k in range(size):
        out[target, at(place + k)] = 0


@routine
def sum_along(
    x: Array,
    row: int,
    first: int,
    out: Array,
    target: int,
    place: int,
    outside: int,
    length: int,
    inside: int,
    mean: bool,
) -> None:
    """The sum, or the mean, along one dimension (see :func:`copy_block`)."""
    count = out.dtype.type(length if mean else 1)
    for i in range(outside):
        for k in range(inside):
            total = out.dtype.type(0)
            for j in range(length):
                total += x[row, at(first + (i * length + j) * inside + k)]
            out[target, at(place + i * inside + k)] = total / count


@routine
def total(x: Array, row: int, first: int, size: int) -> Any:
    """The sum of numbers that lie side by side, in several partial sums."""
    found = x.dtype.type(0)
    for k in range(size):
        found += x[row, at(first + k)]
    return found


@routine
def extreme_along(
    x: Array,
    row: int,
    first: int,
    out: Array,
    target: int,
    place: int,
    outside: int,
    length: int,
    inside: int,
    largest: bool,
) -> None:
    """The largest, or the smallest, along one dimension; a NaN wins."""
    for i in range(outside):
        for k in range(inside):
            best = x[row, at(first + i * length * inside + k)]
            for j in range(1, length):
                value = x[row, at(first + (i * length + j) * inside + k)]
                better = value > best if largest else value < best
                if better or value != value:
                    best = value
            out[target, at(place + i * inside + k)] = best


@routine
def argmax(x: Array, row: int, first: int, size: int) -> int:
    best = 0
    for k in range(1, size):
        value, most = x[row, at(first + k)], x[row, at(first + best)]
        if value > most or (value != value and most == most):
            best = k
    return best


@routine
def draw(p: Array, row: int, first: int, size: int, number: float) -> int:
    """The index whose share of the sum of ``p`` holds a number from 0 to 1; never outside."""
    total = p[row, at(first)]
    last = 0 if total > 0 else size - 1
    for k in range(1, size):
        total += p[row, at(first + k)]
        if p[row, at(first + k)] > 0:
            last = k
    below = p[row, at(first)]
    for k in range(size):
        if k > 0:
            below += p[row, at(first + k)]
        if number * total < below:
            return k
    return last


@shared
def largest(x: Array, row: int, first: int, size: int) -> Any:
    best = x[row, at(first)]
    for k in range(1, size):
        value = x[row, at(first + k)]
        if value > best or value != value:
            best = value
    return best


@routine
def logsumexp(x: Array, row: int, first: int, size: int) -> Any:
    top = largest(x, row, first, size)
    total = x.dtype.type(0)
    for k in range(size):
        total += exp(x[row, at(first + k)] - top)
    return log(total) + top


@routine
def softmax(x: Array, row: int, first: int, out: Array, target: int, place: int, size: int) -> None:
    top = largest(x, row, first, size)
    total = x.dtype.type(0)
    for k in range(size):
        value = exp(x[row, at(first + k)] - top)
        out[target, at(place + k)] = value
        total += value
    for k in range(size):
        out[target, at(place + k)] /= total


@routine
def log_softmax(
    x: Array, row: int, first: int, out: Array, target: int, place: int, size: int
) -> None:
    shift = logsumexp(x, row, first, size)
    for k in range(size):
        out[target, at(place + k)] = x[row, at(first + k)] - shift


@routine
def cross_entropy(scores: Array, row: int, first: int, target: int, size: int) -> Any:
    top = largest(scores, row, first, size)
    total = scores.dtype.type(0)
    for k in range(size):
        total += exp(scores[row, at(first + k)] - top)
    return log(total) - (scores[row, at(first + target)] - top)


@routine
def normalise(
    x: Array, row: int, first: int, epsilon: float, out: Array, target: int, place: int, size: int
) -> None:
    """x, shifted and scaled to mean 0 and variance 1."""
    count = x.dtype.type(size)
    mean = x.dtype.type(0)
    for k in range(size):
        mean += x[row, at(first + k)]
    mean /= count
    variance = x.dtype.type(0)
    for k in range(size):
        variance += (x[row, at(first + k)] - mean) * (x[row, at(first + k)] - mean)
    deviation = np.sqrt(variance / count + x.dtype.type(epsilon))
    for k in range(size):
        out[target, at(place + k)] = (x[row, at(first + k)] - mean) / deviation
