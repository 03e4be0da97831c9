"""A builder of LLVM code over vector registers: what the micro-kernels share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.np.arrayobj import make_array

from rollc.backends.numba.jit.target import host

WORD = ir.IntType(64)
CHAINS = host().sums_in_flight
"""Independent sums that hide the latency of multiply-adds."""

_INDEX = ir.IntType(32)
_BIT = ir.IntType(1)

Iteration = Callable[[Any, list[Any]], list[Any]]
"""The body of a loop: from an index and the loop-carried vectors to their next values."""


class Vectors:
    """Emits code at a builder's position, over float32 or float64.

    Data is a pointer to numbers, with the index of a first one.  A mask says which lanes of a
    vector are read or written; None is all.
    """

    def __init__(self, context: Any, builder: Any, number: Any) -> None:
        self.context, self.builder, self.kind = context, builder, number
        self.number = context.get_data_type(number)
        self.bytes = 4 if number == types.float32 else 8
        self.lanes = host().lanes(self.bytes)
        self.vector = ir.VectorType(self.number, self.lanes)
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)

    def data(self, array: Any) -> Any:
        """The data pointer of an array of two dimensions."""
        kind = types.Array(self.kind, 2, "C")
        return make_array(kind)(self.context, self.builder, array).data  # type: ignore[no-untyped-call]

    def pointer(self, data: Any, index: Any, offset: int = 0, stride: Any = None) -> Any:
        """A pointer to a vector, ``offset`` times ``stride`` (or 1) numbers after an index."""
        builder = self.builder
        if stride is not None:
            index = builder.add(index, builder.mul(stride, WORD(offset)))
        elif offset:
            index = builder.add(index, WORD(offset))
        pointer = builder.gep(data, [index], inbounds=True)
        return builder.bitcast(pointer, self.vector.as_pointer())

    def load(self, pointer: Any, mask: Any = None) -> Any:
        """Load a vector; zeros in masked lanes."""
        if mask is None:
            return self.builder.load(pointer, align=self.bytes)
        flags = ir.VectorType(_BIT, self.lanes)
        kinds = [self.vector.as_pointer(), _INDEX, flags, self.vector]
        function = self.intrinsic("masked.load", self.vector, kinds, ".p0")
        return self.builder.call(function, [pointer, _INDEX(self.bytes), mask, self.zero])

    def store(self, value: Any, pointer: Any, mask: Any = None) -> None:
        """Store a vector, except for masked lanes."""
        if mask is None:
            self.builder.store(value, pointer, align=self.bytes)
            return
        flags = ir.VectorType(_BIT, self.lanes)
        kinds = [self.vector, self.vector.as_pointer(), _INDEX, flags]
        function = self.intrinsic("masked.store", ir.VoidType(), kinds, ".p0")
        self.builder.call(function, [value, pointer, _INDEX(self.bytes), mask])

    def multiply_add(self, a: Any, b: Any, total: Any) -> Any:
        """``a * b + total``, rounded once."""
        function = self.intrinsic("fma", self.vector, [self.vector] * 3)
        return self.builder.call(function, [a, b, total])

    def broadcast(self, number: Any, kind: Any = None) -> Any:
        """One number in every lane."""
        builder, vector = self.builder, kind or self.vector
        empty = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(empty, number, _INDEX(0))
        zeros = ir.Constant(ir.VectorType(_INDEX, self.lanes), [0] * self.lanes)
        return builder.shuffle_vector(first, empty, zeros)

    def mask(self, count: Any, first: int = 0) -> Any:
        """The lanes below a count, of a vector whose first lane has the number ``first``."""
        lanes = ir.VectorType(WORD, self.lanes)
        numbers = ir.Constant(lanes, [first + lane for lane in range(self.lanes)])
        return self.builder.icmp_signed("<", numbers, self.broadcast(count, lanes))

    def sums(self, count: int, length: Any, add_terms: Iteration) -> list[Any]:
        """Vectors of ``count`` sums over the indices below ``length``; ``add_terms`` adds those of
        one index.

        A loop of few sums is bound by their latency, so it is unrolled, with partial sums for
        each copy of the body.
        """
        factor = max(1, CHAINS // count)

        def unrolled(index: Any, sums: list[Any]) -> list[Any]:
            return [
                more
                for part in range(factor)
                for more in add_terms(
                    self.builder.add(index, WORD(part)), sums[part * count : (part + 1) * count]
                )
            ]

        sums, index = [self.zero] * count, WORD(0)
        if factor > 1:
            found, index = self.loop(index, length, factor, sums * factor, unrolled)
            sums = [self.pairwise_sum(found[number::count]) for number in range(count)]
        return self.loop(index, length, 1, sums, add_terms)[0]

    def loop(
        self,
        first: Any,
        end: Any,
        step: int,
        starts: list[Any],
        iteration: Iteration,
        whole: bool = True,
    ) -> tuple[list[Any], Any]:
        """Emit a loop over ``range(first, end, step)``; returns the loop-carried vectors and the
        index behind the last one.  If steps need not be ``whole``, the last one may extend beyond
        the end.
        """
        builder = self.builder
        before = builder.block
        head, body, after = (
            builder.append_basic_block(f"loop.{name}") for name in ("head", "body", "after")
        )
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(WORD)
        index.add_incoming(first, before)
        vectors = [builder.phi(self.vector) for _ in starts]
        for one, start in zip(vectors, starts, strict=True):
            one.add_incoming(start, before)
        following = builder.add(index, WORD(step))
        condition = ("<=", following, end) if whole else ("<", index, end)
        builder.cbranch(builder.icmp_signed(*condition), body, after)
        builder.position_at_end(body)
        for one, more in zip(vectors, iteration(index, vectors), strict=True):
            one.add_incoming(more, builder.block)
        index.add_incoming(following, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return vectors, index

    def pairwise_sum(self, parts: list[Any]) -> Any:
        """The sum of a few vectors, pair by pair."""
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=False)
            odd = parts[len(parts) - len(parts) % 2 :]
            parts = [self.builder.fadd(one, other) for one, other in pairs] + odd
        return parts[0]

    def reduce_sum(self, vector: Any) -> Any:
        """The sum of a vector's lanes, in any order."""
        name = f"llvm.vector.reduce.fadd.v{self.lanes}f{8 * self.bytes}"
        module = self.builder.module
        if name not in module.globals:
            kinds = [self.number, self.vector]
            ir.Function(module, ir.FunctionType(self.number, kinds), name)
        start = ir.Constant(self.number, -0.0)
        return self.builder.call(module.globals[name], [start, vector], fastmath=("reassoc",))

    def shuffle(self, one: Any, other: Any, lanes: Sequence[int]) -> Any:
        """A vector of some lanes of two that are concatenated."""
        choice = ir.Constant(ir.VectorType(_INDEX, self.lanes), list(lanes))
        return self.builder.shuffle_vector(one, other, choice)

    def intrinsic(self, name: str, result: Any, arguments: list[Any], end: str = "") -> Any:
        """An LLVM intrinsic for these vectors."""
        full = f"llvm.{name}.v{self.lanes}f{8 * self.bytes}{end}"
        module = self.builder.module
        if full not in module.globals:
            ir.Function(module, ir.FunctionType(result, arguments), full)
        return module.globals[full]
