"""A square block of a matrix transposed in vector registers: the other micro-kernel.

As many rows as a vector has numbers are loaded, and exchange ever larger halves: after the
stage s, rows whose numbers differ in the bit s have exchanged the numbers whose places do.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import config, int64, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from rollc.kernel.host import host

_word = ir.IntType(64)


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
        bytes_ = 4 if array.dtype == types.float32 else 8
        lanes = host().lanes(bytes_)
        vector = ir.VectorType(context.get_data_type(array.dtype), lanes)

        def place(of: Any, start: Any, row: Any, number: int) -> Any:
            data = make_array(array)(context, builder, of).data  # type: ignore[no-untyped-call]
            index = builder.add(start, builder.mul(row, _word(number)))
            return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

        rows = [builder.load(place(a, a_start, a_row, r), align=bytes_) for r in range(lanes)]
        for number, row in enumerate(_exchanged(builder, rows)):
            builder.store(row, place(out, out_start, out_row, number), align=bytes_)
        return context.get_dummy_value()

    return types.none(array, int64, int64, array, int64, int64), generate


def _exchanged(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of the rows."""
    lanes = len(rows)
    choice = ir.VectorType(ir.IntType(32), lanes)
    half = 1
    while half < lanes:
        # Places of the two rows one behind the other: those of the second begin at ``lanes``.
        low = [e + lanes - half if e & half else e for e in range(lanes)]
        high = [e + lanes if e & half else e + half for e in range(lanes)]
        for r in range(lanes):
            if not r & half:
                one, other = rows[r], rows[r + half]
                rows[r] = builder.shuffle_vector(one, other, ir.Constant(choice, low))
                rows[r + half] = builder.shuffle_vector(one, other, ir.Constant(choice, high))
        half *= 2
    return rows


turn: Any = plain_turn if config.DISABLE_JIT else intrinsic(_turn)  # type: ignore[attr-defined]
