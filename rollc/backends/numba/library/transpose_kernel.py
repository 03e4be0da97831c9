"""A square block of a matrix transposed in vector registers: the other micro-kernel.

As many rows as a vector has numbers are loaded, and exchange ever larger parts: after the
stage s, rows whose numbers differ in the bit s have exchanged the numbers whose places do.
"""

from __future__ import annotations

from typing import Any

from numba import config, int64, types
from numba.extending import intrinsic

from rollc.backends.numba.jit.simd import Vectors
from rollc.backends.numba.jit.target import host


def plain_turn(a: Any, a_start: int, a_row: int, out: Any, out_start: int, out_row: int) -> None:
    """What ``turn`` means, in plain Python."""
    lanes = host().lanes(a.itemsize)
    a, out = a.reshape(-1), out.reshape(-1)
    for r in range(lanes):
        for j in range(lanes):
            out[out_start + j * out_row + r] = a[a_start + r * a_row + j]


def _turn(
    typing_context: Any, a: Any, a_start: Any, a_row: Any, out: Any, out_start: Any, out_row: Any
) -> Any:
    """Write the transpose of a block, as wide and high as a vector is long.

    Arguments are arrays with the element at which to start and the step, in elements, from
    row to row.
    """
    array = types.Array(a.dtype, 2, "C")

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        (a, a_start, a_row, out, out_start, out_row) = values
        code = Vectors(context, builder, array.dtype)
        data, target = code.data(a), code.data(out)
        rows = [code.load(code.place(data, a_start, r, a_row)) for r in range(code.lanes)]
        half = 1
        while half < code.lanes:
            for r in range(code.lanes):
                if not r & half:
                    rows[r], rows[r + half] = _exchange(code, rows[r], rows[r + half], half)
            half *= 2
        for number, row in enumerate(rows):
            code.store(row, code.place(target, out_start, number, out_row))
        return context.get_dummy_value()

    return types.none(array, int64, int64, array, int64, int64), generate


def _exchange(code: Vectors, one: Any, other: Any, half: int) -> tuple[Any, Any]:
    """Two rows that have exchanged the numbers whose places differ in a bit."""
    lanes = range(code.lanes)
    # Places of the two rows one behind the other: those of the second begin at ``lanes``.
    low = [e + code.lanes - half if e & half else e for e in lanes]
    high = [e + code.lanes if e & half else e + half for e in lanes]
    return code.shuffled(one, other, low), code.shuffled(one, other, high)


turn: Any = plain_turn if config.DISABLE_JIT else intrinsic(_turn)  # type: ignore[attr-defined]
