"""SIMD transpose: a square block of a matrix is transposed in vector registers.

As many rows as a vector has lanes are loaded, and exchanged in stages (a butterfly): in stage s,
rows whose indices differ in bit s exchange the elements whose columns do.
"""

from __future__ import annotations

from typing import Any

from numba import config, int64, types
from numba.extending import intrinsic

from rollc.backends.numba.jit.simd import Vectors
from rollc.backends.numba.jit.target import host


def plain_transpose_block(
    a: Any, out: Any, a_start: int, a_stride: int, out_start: int, out_stride: int
) -> None:
    """``transpose_block`` in plain Python."""
    lanes = host().lanes(a.itemsize)
    a, out = a.reshape(-1), out.reshape(-1)
    for i in range(lanes):
        for j in range(lanes):
            out[out_start + j * out_stride + i] = a[a_start + i * a_stride + j]


def _transpose_block(
    typing_context: Any,
    a: Any,
    out: Any,
    a_start: Any,
    a_stride: Any,
    out_start: Any,
    out_stride: Any,
) -> Any:
    """Write the transpose of a block that has as many rows and columns as a vector has lanes.

    Starts, and strides from row to row, are in elements of the flat arrays.
    """
    array = types.Array(a.dtype, 2, "C")

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        a, out, a_start, a_stride, out_start, out_stride = values
        code = Vectors(context, builder, array.dtype)
        data, target = code.data(a), code.data(out)
        rows = [code.load(code.pointer(data, a_start, r, a_stride)) for r in range(code.lanes)]
        half = 1
        while half < code.lanes:
            for r in range(code.lanes):
                if not r & half:
                    rows[r], rows[r + half] = _exchange(code, rows[r], rows[r + half], half)
            half *= 2
        for number, row in enumerate(rows):
            code.store(row, code.pointer(target, out_start, number, out_stride))
        return context.get_dummy_value()

    return types.none(array, array, int64, int64, int64, int64), generate


def _exchange(code: Vectors, one: Any, other: Any, half: int) -> tuple[Any, Any]:
    """One stage for two rows: they exchange the elements whose columns differ in a bit."""
    lanes = range(code.lanes)
    # Lanes of the two rows concatenated: those of the second begin at ``lanes``.
    low = [e + code.lanes - half if e & half else e for e in lanes]
    high = [e + code.lanes if e & half else e + half for e in lanes]
    return code.shuffle(one, other, low), code.shuffle(one, other, high)


transpose_block: Any = plain_transpose_block if config.DISABLE_JIT else intrinsic(_transpose_block)  # type: ignore[attr-defined]
