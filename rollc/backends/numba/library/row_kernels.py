"""Sums along rows in vector registers: what is left where no rows share a matrix.

``row_dot`` is the sum of the products of two rows.  ``weighted_row`` is the sum of many rows,
each times a number of its own, some vectors wide: those stay in registers, so that every row is
read once and in one piece.
"""

from __future__ import annotations

from typing import Any

from numba import boolean, config, int64, types
from numba.extending import intrinsic

from rollc.backends.numba.jit.simd import WORD, Vectors
from rollc.backends.numba.jit.target import host

WIDE = host().sums_in_flight
"""The vectors of a row that are summed up at once."""
_TOGETHER = 2  # vectors of a turn


def wide(itemsize: int) -> int:
    """The columns that :func:`weighted_row` takes at most."""
    return WIDE * host().lanes(itemsize)


def plain_row_dot(a: Any, a_start: int, b: Any, b_start: int, size: int) -> Any:
    """What ``row_dot`` means, in plain Python."""
    total = a.dtype.type(0)
    for k in range(size):
        total += a.reshape(-1)[a_start + k] * b.reshape(-1)[b_start + k]
    return total


def plain_weighted_row(
    a: Any,
    a_start: int,
    a_place: int,
    b: Any,
    b_start: int,
    b_place: int,
    inner: int,
    out: Any,
    out_start: int,
    columns: int,
    add: bool,
) -> None:
    """What ``weighted_row`` means, in plain Python."""
    a, b, out = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    for j in range(columns):
        total = out.dtype.type(0)
        for i in range(inner):
            total += a[a_start + i * a_place] * b[b_start + i * b_place + j]
        out[out_start + j] = out[out_start + j] + total if add else total


def _row_dot(typing_context: Any, a: Any, a_start: Any, b: Any, b_start: Any, size: Any) -> Any:
    """The sum of the products of two rows.  Arguments are arrays with their first element."""
    array = types.Array(a.dtype, 2, "C")

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        a, a_start, b, b_start, size = values
        code = Vectors(context, builder, array.dtype)
        one, other = code.data(a), code.data(b)

        def product(k: Any, number: int, total: Any, mask: Any = None) -> Any:
            places = ((one, a_start), (other, b_start))
            first, second = (
                code.load(code.place(data, builder.add(start, k), number * code.lanes), mask)
                for data, start in places
            )
            return code.multiply_add(first, second, total)

        def turn(k: Any, sums: list[Any]) -> list[Any]:
            return [product(k, number, total) for number, total in enumerate(sums)]

        def rest(k: Any, sums: list[Any]) -> list[Any]:
            return [product(k, 0, sums[0], code.mask(builder.sub(size, k)))]

        step = _TOGETHER * code.lanes
        sums, k = code.loop(WORD(0), size, step, [code.zero] * _TOGETHER, turn)
        (total,), _ = code.loop(k, size, code.lanes, [code.added(sums)], rest, whole=False)
        return code.total(total)

    return array.dtype(array, int64, array, int64, int64), generate


def _weighted_row(
    typing_context: Any,
    a: Any,
    a_start: Any,
    a_place: Any,
    b: Any,
    b_start: Any,
    b_place: Any,
    inner: Any,
    out: Any,
    out_start: Any,
    columns: Any,
    add: Any,
) -> Any:
    """The sum, over ``inner`` places i, of the numbers a[i] times the rows b[i].

    Arguments are arrays with the element at which to start and the step, in elements, from
    place to place.  ``columns`` are no more than :func:`wide` says; ``add`` adds to what
    ``out`` holds.
    """
    array = types.Array(a.dtype, 2, "C")
    places = (array, int64, int64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _WeightedRow(context, builder, array.dtype, values).build()
        return context.get_dummy_value()

    return types.none(*places, *places, int64, array, int64, int64, boolean), generate


class _WeightedRow:
    """The LLVM code of a sum of rows, for every number of vectors; the last one has a mask."""

    def __init__(self, context: Any, builder: Any, number: Any, values: Any) -> None:
        self.builder, self.code = builder, Vectors(context, builder, number)
        (a, self.a_start, self.a_place, b, self.b_start, self.b_place) = values[:6]
        (self.inner, out, self.out_start, self.columns, self.add) = values[6:]
        self.a, self.b, self.out = map(self.code.data, (a, b, out))

    def build(self) -> None:
        builder, lanes = self.builder, WORD(self.code.lanes)
        done = builder.append_basic_block("row.done")
        before = builder.sdiv(builder.sub(self.columns, WORD(1)), lanes)
        choice = builder.switch(before, done)
        for vectors in range(1, WIDE + 1):
            block = builder.append_basic_block(f"row.{vectors}")
            choice.add_case(WORD(vectors - 1), block)
            builder.position_at_end(block)
            self._variant(vectors)
            builder.branch(done)
        builder.position_at_end(done)

    def _variant(self, vectors: int) -> None:
        builder, code = self.builder, self.code
        masks = [None] * (vectors - 1) + [code.mask(self.columns, (vectors - 1) * code.lanes)]

        def turn(place: Any, sums: list[Any]) -> list[Any]:
            factor = code.same(builder.load(self._weight(place)))
            row = builder.add(self.b_start, builder.mul(place, self.b_place))
            values = (
                code.load(code.place(self.b, row, v * code.lanes), m) for v, m in enumerate(masks)
            )
            return [
                code.multiply_add(factor, value, total)
                for value, total in zip(values, sums, strict=True)
            ]

        sums = code.sums(vectors, self.inner, turn)
        for v in range(vectors):
            pointer = code.place(self.out, self.out_start, v * code.lanes)
            # What out held before may be anything, NaN included: it is selected, not scaled.
            both = builder.fadd(sums[v], code.load(pointer, masks[v]))
            code.store(builder.select(self.add, both, sums[v]), pointer, masks[v])

    def _weight(self, place: Any) -> Any:
        """Where the number of a row is."""
        index = self.builder.add(self.a_start, self.builder.mul(place, self.a_place))
        return self.builder.gep(self.a, [index], inbounds=True)


def _made(function: Any, plain: Any) -> Any:
    return plain if config.DISABLE_JIT else intrinsic(function)  # type: ignore[attr-defined]


row_dot, weighted_row = _made(_row_dot, plain_row_dot), _made(_weighted_row, plain_weighted_row)
