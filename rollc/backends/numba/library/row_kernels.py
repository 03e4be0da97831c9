"""The kernels of a single row: dot products, and a vector times a matrix (GEMV).

``dot_kernel`` is the dot product of two rows.  ``gemv_kernel`` is a row times a matrix, a few
vectors wide: the sums stay in registers, so that every row of the matrix is read once,
contiguously.
"""

from __future__ import annotations

from typing import Any

from numba import boolean, config, int64, types
from numba.extending import intrinsic

from rollc.backends.numba.jit.simd import WORD, Vectors
from rollc.backends.numba.jit.target import host

WIDE = host().sums_in_flight
"""The vectors of a row whose sums are in registers."""
_UNROLL = 2  # vectors of an iteration


def gemv_width(itemsize: int) -> int:
    """The most columns of :func:`gemv_kernel`."""
    return WIDE * host().lanes(itemsize)


def plain_dot_kernel(a: Any, b: Any, a_start: int, b_start: int, size: int) -> Any:
    """``dot_kernel`` in plain Python."""
    total = a.dtype.type(0)
    for k in range(size):
        total += a.reshape(-1)[a_start + k] * b.reshape(-1)[b_start + k]
    return total


def plain_gemv_kernel(
    a: Any,
    b: Any,
    out: Any,
    a_start: int,
    a_stride: int,
    b_start: int,
    b_stride: int,
    inner: int,
    out_start: int,
    columns: int,
    accumulate: bool,
) -> None:
    """``gemv_kernel`` in plain Python."""
    a, b, out = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    for j in range(columns):
        total = out.dtype.type(0)
        for k in range(inner):
            total += a[a_start + k * a_stride] * b[b_start + k * b_stride + j]
        index = out_start + j
        out[index] = out[index] + total if accumulate else total


def _dot_kernel(typing_context: Any, a: Any, b: Any, a_start: Any, b_start: Any, size: Any) -> Any:
    """The sum of the products of two rows; starts are in elements of the flat arrays."""
    array = types.Array(a.dtype, 2, "C")

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        a, b, a_start, b_start, size = values
        code = Vectors(context, builder, array.dtype)
        one, other = code.data(a), code.data(b)

        def product(k: Any, number: int, total: Any, mask: Any = None) -> Any:
            first, second = (
                code.load(code.pointer(data, builder.add(start, k), number * code.lanes), mask)
                for data, start in ((one, a_start), (other, b_start))
            )
            return code.multiply_add(first, second, total)

        def whole_vectors(k: Any, sums: list[Any]) -> list[Any]:
            return [product(k, number, total) for number, total in enumerate(sums)]

        def remainder(k: Any, sums: list[Any]) -> list[Any]:
            return [product(k, 0, sums[0], code.mask(builder.sub(size, k)))]

        step = _UNROLL * code.lanes
        sums, k = code.loop(WORD(0), size, step, [code.zero] * _UNROLL, whole_vectors)
        (total,), _ = code.loop(
            k, size, code.lanes, [code.pairwise_sum(sums)], remainder, whole=False
        )
        return code.reduce_sum(total)

    return array.dtype(array, array, int64, int64, int64), generate


def _gemv_kernel(
    typing_context: Any,
    a: Any,
    b: Any,
    out: Any,
    a_start: Any,
    a_stride: Any,
    b_start: Any,
    b_stride: Any,
    inner: Any,
    out_start: Any,
    columns: Any,
    accumulate: Any,
) -> Any:
    """A row of ``out = a @ b``, of at most :func:`gemv_width` columns.

    Starts and strides are in elements of the flat arrays.
    """
    array = types.Array(a.dtype, 2, "C")
    arguments = (*[array] * 3, *[int64] * 7, boolean)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _Gemv(context, builder, array.dtype, values).build()
        return context.get_dummy_value()

    return types.none(*arguments), generate


class _Gemv:
    """The LLVM code of a row: a variant for each number of vectors; the last vector is masked."""

    def __init__(self, context: Any, builder: Any, number: Any, values: Any) -> None:
        self.builder, self.code = builder, Vectors(context, builder, number)
        self.a, self.b, self.out = map(self.code.data, values[:3])
        (self.a_start, self.a_stride, self.b_start, self.b_stride) = values[3:7]
        (self.inner, self.out_start, self.columns, self.accumulate) = values[7:]

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

        def add_terms(k: Any, sums: list[Any]) -> list[Any]:
            factor = code.broadcast(builder.load(self._factor(k)))
            row = builder.add(self.b_start, builder.mul(k, self.b_stride))
            values = (
                code.load(code.pointer(self.b, row, v * code.lanes), m) for v, m in enumerate(masks)
            )
            return [
                code.multiply_add(factor, value, total)
                for value, total in zip(values, sums, strict=True)
            ]

        sums = code.sums(vectors, self.inner, add_terms)
        for v in range(vectors):
            pointer = code.pointer(self.out, self.out_start, v * code.lanes)
            # Uninitialized memory can hold NaN: it is selected, not multiplied by 0.
            both = builder.fadd(sums[v], code.load(pointer, masks[v]))
            code.store(builder.select(self.accumulate, both, sums[v]), pointer, masks[v])

    def _factor(self, k: Any) -> Any:
        """A pointer to an element of a."""
        index = self.builder.add(self.a_start, self.builder.mul(k, self.a_stride))
        return self.builder.gep(self.a, [index], inbounds=True)


def _made(function: Any, plain: Any) -> Any:
    return plain if config.DISABLE_JIT else intrinsic(function)  # type: ignore[attr-defined]


dot_kernel = _made(_dot_kernel, plain_dot_kernel)
gemv_kernel = _made(_gemv_kernel, plain_gemv_kernel)
