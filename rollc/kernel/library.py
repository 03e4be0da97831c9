"""The routines that kernels call: matrix products, and what works on a whole vector.

All arrays are C-contiguous and are given by the caller; nothing is allocated, nothing can
raise, and the interpreter's lock is not held.  NaN in, NaN out: no compiler flag assumes
it away.  Compiled code is cached, so that a spec pays only for its own kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

Array = Any


def routine(function: Callable[..., Any]) -> Any:
    """Compile on first use; sums may be reordered so that they vectorise."""
    return njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})(
        function
    )


@routine
def pack(weight: Array, transposed: bool, panel: Array, offset: int) -> None:
    """Copy a matrix into the columns of a panel from ``offset`` on."""
    if transposed:
        for i in range(weight.shape[0]):
            for j in range(weight.shape[1]):
                panel[j, offset + i] = weight[i, j]
    else:
        for i in range(weight.shape[0]):
            for j in range(weight.shape[1]):
                panel[i, offset + j] = weight[i, j]


@routine
def times(a: Array, first: int, panel: Array, out: Array, place: int) -> None:
    """``out[r, place:] = a[r, first:] @ panel`` for every row r."""
    rows = a.shape[0]
    inner, width = panel.shape
    r = 0
    while r + 4 <= rows:
        for j in range(width):
            out[r, place + j] = 0
            out[r + 1, place + j] = 0
            out[r + 2, place + j] = 0
            out[r + 3, place + j] = 0
        for i in range(inner):
            a0 = a[r, first + i]
            a1 = a[r + 1, first + i]
            a2 = a[r + 2, first + i]
            a3 = a[r + 3, first + i]
            for j in range(width):
                w = panel[i, j]
                out[r, place + j] += a0 * w
                out[r + 1, place + j] += a1 * w
                out[r + 2, place + j] += a2 * w
                out[r + 3, place + j] += a3 * w
        r += 4
    while r < rows:
        for j in range(width):
            out[r, place + j] = 0
        for i in range(inner):
            a0 = a[r, first + i]
            for j in range(width):
                out[r, place + j] += a0 * panel[i, j]
        r += 1


@routine
def product(a: Array, first: int, b: Array, second: int, out: Array, accumulate: bool) -> None:
    """``out[i, j] = sum over rows r of a[r, first + i] * b[r, second + j]``."""
    rows = a.shape[0]
    height, width = out.shape
    if not accumulate:
        for i in range(height):
            for j in range(width):
                out[i, j] = 0
    r = 0
    while r + 4 <= rows:
        for i in range(height):
            a0 = a[r, first + i]
            a1 = a[r + 1, first + i]
            a2 = a[r + 2, first + i]
            a3 = a[r + 3, first + i]
            for j in range(width):
                out[i, j] += (
                    a0 * b[r, second + j]
                    + a1 * b[r + 1, second + j]
                    + a2 * b[r + 2, second + j]
                    + a3 * b[r + 3, second + j]
                )
        r += 4
    while r < rows:
        for i in range(height):
            a0 = a[r, first + i]
            for j in range(width):
                out[i, j] += a0 * b[r, second + j]
        r += 1


@routine
def matrix_vector(a: Array, b: Array, out: Array, transpose_a: bool) -> None:
    if transpose_a:
        for i in range(out.shape[0]):
            out[i] = 0
        for j in range(b.shape[0]):
            for i in range(out.shape[0]):
                out[i] += a[j, i] * b[j]
    else:
        for i in range(out.shape[0]):
            total = out.dtype.type(0)
            for j in range(b.shape[0]):
                total += a[i, j] * b[j]
            out[i] = total


@routine
def matrix_matrix(a: Array, b: Array, out: Array, transpose_a: bool, transpose_b: bool) -> None:
    inner = a.shape[0] if transpose_a else a.shape[1]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = out.dtype.type(0)
            for k in range(inner):
                left = a[k, i] if transpose_a else a[i, k]
                right = b[j, k] if transpose_b else b[k, j]
                total += left * right
            out[i, j] = total


@routine
def dot(a: Array, b: Array) -> Any:
    total = a.dtype.type(0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@routine
def outer(a: Array, b: Array, out: Array, accumulate: bool) -> None:
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            value = a[i] * b[j]
            out[i, j] = out[i, j] + value if accumulate else value


@routine
def transpose(a: Array, out: Array) -> None:
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[j, i] = a[i, j]


@routine
def embed(table: Array, index: int, out: Array) -> None:
    for j in range(out.shape[0]):
        out[j] = table[index, j]


@routine
def embed_adjoint(cotangent: Array, index: int, out: Array, accumulate: bool) -> None:
    if not accumulate:
        for i in range(out.shape[0]):
            for j in range(out.shape[1]):
                out[i, j] = 0
    for j in range(cotangent.shape[0]):
        out[index, j] += cotangent[j]


@routine
def one_hot(index: int, out: Array) -> None:
    for j in range(out.shape[0]):
        out[j] = 0
    out[index] = 1


@routine
def copy_block(x: Array, start: int, out: Array, place: int, length: int) -> None:
    """Copy ``length`` elements along the middle of three dimensions."""
    for i in range(x.shape[0]):
        for j in range(length):
            for k in range(x.shape[2]):
                out[i, place + j, k] = x[i, start + j, k]


@routine
def repeat(x: Array, out: Array) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                out[i, j, k] = x[i, 0, k]


@routine
def sum_along(x: Array, out: Array, mean: bool) -> None:
    """The sum (or the mean) along the middle of three dimensions."""
    scale = out.dtype.type(1)
    if mean:
        scale /= out.dtype.type(x.shape[1])
    for i in range(x.shape[0]):
        for k in range(x.shape[2]):
            out[i, 0, k] = 0
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                out[i, 0, k] += x[i, j, k]
        for k in range(x.shape[2]):
            out[i, 0, k] *= scale


@routine
def extreme_along(x: Array, out: Array, largest: bool) -> None:
    """The largest (or smallest) along the middle of three dimensions; NaN wins."""
    for i in range(x.shape[0]):
        for k in range(x.shape[2]):
            best = x[i, 0, k]
            for j in range(1, x.shape[1]):
                value = x[i, j, k]
                better = value > best if largest else value < best
                if better or value != value:
                    best = value
                elif best != best:
                    break
            out[i, 0, k] = best


@routine
def argmax(x: Array) -> int:
    best = 0
    for j in range(1, x.shape[0]):
        if x[j] > x[best] or (x[j] != x[j] and x[best] == x[best]):
            best = j
    return best


@routine
def largest(x: Array) -> Any:
    best = x[0]
    for j in range(1, x.shape[0]):
        if x[j] > best or x[j] != x[j]:
            best = x[j]
    return best


@routine
def logsumexp(x: Array) -> Any:
    top = largest(x)
    total = x.dtype.type(0)
    for j in range(x.shape[0]):
        total += math.exp(x[j] - top)
    return np.log(total) + top


@routine
def softmax(x: Array, out: Array) -> None:
    top = largest(x)
    total = x.dtype.type(0)
    for j in range(x.shape[0]):
        value = math.exp(x[j] - top)
        out[j] = value
        total += value
    for j in range(x.shape[0]):
        out[j] /= total


@routine
def log_softmax(x: Array, out: Array) -> None:
    shift = logsumexp(x)
    for j in range(x.shape[0]):
        out[j] = x[j] - shift


@routine
def cross_entropy(scores: Array, target: int) -> Any:
    top = largest(scores)
    total = scores.dtype.type(0)
    for j in range(scores.shape[0]):
        total += math.exp(scores[j] - top)
    return np.log(total) - (scores[target] - top)


@routine
def normalise(x: Array, epsilon: float, out: Array) -> None:
    """x, shifted and scaled to mean 0 and variance 1."""
    count = x.dtype.type(x.shape[0])
    mean = x.dtype.type(0)
    for j in range(x.shape[0]):
        mean += x[j]
    mean /= count
    variance = x.dtype.type(0)
    for j in range(x.shape[0]):
        variance += (x[j] - mean) * (x[j] - mean)
    deviation = np.sqrt(variance / count + x.dtype.type(epsilon))
    for j in range(x.shape[0]):
        out[j] = (x[j] - mean) / deviation
