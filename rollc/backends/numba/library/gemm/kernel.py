"""The register-blocked micro-kernel: a tile of a matrix product, held in vector registers.

``micro_kernel`` sums, over ``inner`` indices k, the products of ``a[i, k]`` with the row k
of a panel, for a few rows i at once.  The sums stay in registers; each row of the panel is
loaded once for all the rows of the tile.  The size of a tile follows from the target
(:mod:`rollc.backends.numba.jit.target`).

Goto and van de Geijn, Anatomy of high-performance matrix multiplication (2008), section 4.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import boolean, config, int64, types
from numba.extending import intrinsic

from rollc.backends.numba.jit.routine import Array, shared
from rollc.backends.numba.jit.simd import WORD, Vectors
from rollc.backends.numba.jit.target import host
from rollc.support.target import VECTORS

_WIDTH_4, _WIDTH_8 = host().tile_width(4), host().tile_width(8)


@shared
def tile_width(array: Array) -> int:
    """The columns of a tile in the precision of an array."""
    return _WIDTH_4 if array.itemsize == 4 else _WIDTH_8


def plain_micro_kernel(
    a: Any,
    panel: Any,
    out: Any,
    a_start: int,
    a_row_stride: int,
    a_inner_stride: int,
    panel_start: int,
    panel_stride: int,
    inner: int,
    out_start: int,
    out_stride: int,
    rows: int,
    columns: int,
    accumulate: bool,
) -> None:
    """``micro_kernel`` in plain Python."""
    a, panel, out = a.reshape(-1), panel.reshape(-1), out.reshape(-1)
    for i in range(rows):
        for j in range(columns):
            total = out.dtype.type(0)
            for k in range(inner):
                weight = panel[panel_start + k * panel_stride + j]
                total += a[a_start + i * a_row_stride + k * a_inner_stride] * weight
            index = out_start + i * out_stride + j
            out[index] = out[index] + total if accumulate else total


def _micro_kernel(
    typing_context: Any,
    a: Any,
    panel: Any,
    out: Any,
    a_start: Any,
    a_row_stride: Any,
    a_inner_stride: Any,
    panel_start: Any,
    panel_stride: Any,
    inner: Any,
    out_start: Any,
    out_stride: Any,
    rows: Any,
    columns: Any,
    accumulate: Any,
) -> Any:
    """A tile of ``out = a @ panel``: ``rows`` rows and ``columns`` columns, or fewer than fit.

    Starts and strides are in elements of the flat arrays: ``a`` has one stride from row to row
    and one along the sum.
    """
    number = a.dtype
    array = types.Array(number, 2, "C")
    arguments = (*[array] * 3, *[int64] * 10, boolean)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _Tile(context, builder, number, values).build()
        return context.get_dummy_value()

    return types.none(*arguments), generate


micro_kernel: Any = plain_micro_kernel if config.DISABLE_JIT else intrinsic(_micro_kernel)  # type: ignore[attr-defined]


class _Tile:
    """The LLVM code of a tile: a variant for each number of rows and vectors, with and without
    masks."""

    def __init__(self, context: Any, builder: Any, number: Any, values: Any) -> None:
        self.builder = builder
        self.code = Vectors(context, builder, number)
        self.a, self.panel, self.out = map(self.code.data, values[:3])
        (self.a_start, self.a_row_stride, self.a_inner_stride) = values[3:6]
        (self.panel_start, self.panel_stride, self.inner) = values[6:9]
        (self.out_start, self.out_stride, self.rows, self.columns, self.accumulate) = values[9:]

    def build(self) -> None:
        builder = self.builder
        done = builder.append_basic_block("tile.done")
        for vectors, masked, start in self._branches():
            builder.position_at_end(start)
            choice = builder.switch(self.rows, done)
            for rows in range(1, host().tile_rows + 1):
                block = builder.append_basic_block(f"tile.{rows}")
                choice.add_case(WORD(rows), block)
                builder.position_at_end(block)
                self._variant(rows, vectors, masked)
                builder.branch(done)
        builder.position_at_end(done)

    def _branches(self) -> list[tuple[int, bool, Any]]:
        """The blocks of the variants: the number of vectors, and whether they are masked."""
        builder, lanes = self.builder, self.code.lanes
        whole, part, more, few = (
            builder.append_basic_block(f"tile.{name}") for name in ("whole", "part", "more", "few")
        )
        full = builder.icmp_signed("==", self.columns, WORD(VECTORS * lanes))
        builder.cbranch(full, whole, part)
        builder.position_at_end(part)
        builder.cbranch(builder.icmp_signed(">", self.columns, WORD(lanes)), more, few)
        return [(VECTORS, False, whole), (VECTORS, True, more), (1, True, few)]

    def _variant(self, rows: int, vectors: int, masked: bool) -> None:
        masks = [
            self.code.mask(self.columns, v * self.code.lanes) if masked else None
            for v in range(vectors)
        ]
        for row in range(rows):
            self._prefetch(row, vectors)

        def add_terms(k: Any, sums: list[Any]) -> list[Any]:
            weights, found = self._weights(k, masks), []
            for row in range(rows):
                factor = self._factor(row, k)
                mine = zip(weights, sums[row * vectors :], strict=False)
                found += [self.code.multiply_add(factor, weight, total) for weight, total in mine]
            return found

        sums = self.code.sums(rows * vectors, self.inner, add_terms)
        for row in range(rows):
            for v in range(vectors):
                self._store(row, v, sums[row * vectors + v], masks[v])

    def _weights(self, k: Any, masks: list[Any]) -> list[Any]:
        index = self.builder.add(self.panel_start, self.builder.mul(k, self.panel_stride))
        return [
            self.code.load(self.code.pointer(self.panel, index, v * self.code.lanes), masks[v])
            for v in range(len(masks))
        ]

    def _factor(self, row: int, k: Any) -> Any:
        """One element of a, in every lane."""
        builder = self.builder
        offset = builder.mul(self.a_row_stride, WORD(row))
        index = builder.add(builder.add(self.a_start, offset), builder.mul(k, self.a_inner_stride))
        return self.code.broadcast(builder.load(builder.gep(self.a, [index], inbounds=True)))

    def _out(self, row: int, v: int) -> Any:
        """A pointer to a vector of the result."""
        start = self.builder.add(self.out_start, self.builder.mul(self.out_stride, WORD(row)))
        return self.code.pointer(self.out, start, v * self.code.lanes)

    def _prefetch(self, row: int, vectors: int) -> None:
        """Prefetch a row of out, which is stored after the sums."""
        builder = self.builder
        globals_ = builder.module.globals
        integer, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        name = "llvm.prefetch.p0"
        if name not in globals_:
            type_ = ir.FunctionType(ir.VoidType(), [byte, integer, integer, integer])
            ir.Function(builder.module, type_, name)
        to_write, to_all_caches, data = integer(1), integer(3), integer(1)
        for v in range(vectors):
            pointer = builder.bitcast(self._out(row, v), byte)
            builder.call(globals_[name], [pointer, to_write, to_all_caches, data])

    def _store(self, row: int, v: int, value: Any, mask: Any) -> None:
        pointer = self._out(row, v)
        # Uninitialized memory can hold NaN: it is selected, not multiplied by 0.
        sum_ = self.builder.fadd(value, self.code.load(pointer, mask))
        self.code.store(self.builder.select(self.accumulate, sum_, value), pointer, mask)
