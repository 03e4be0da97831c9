"""Contraction fusion: a product and its sum become one statement, and the product is not stored.

    p = a * b  for each row             ->    s = the sum of a * b over those axes
    s = the sum of p over some axes
    p = expand(n) * v                         the same, of vectors v and a number n for each
    p = where(c, n * v, 0)              ->    m = where(c, n, 0), and the sum of m * v where c holds

The gradient of a coefficient is such a sum, and so is the result of attention, with heads and for
earlier steps alone.  What is guaranteed: the same terms, added in another order.  What this pass
does not do: fuse a product that has other readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rollc.ir.graph import BATCH
from rollc.kernel.program import (
    Assign,
    Buffer,
    Function,
    Local,
    Loop,
    Nest,
    Number,
    OuterProduct,
    Program,
    Reduce,
    Ref,
    Statement,
    reads,
    simple_statements,
    used,
    writes,
)


def fuse_contractions(program: Program) -> Program:
    """The program with sums of products as one statement each."""
    results = {result.ref.buffer for result in program.results}
    buffers = {buffer.name: buffer for buffer in program.buffers}
    functions = []
    for function in program.functions:
        others = (other.body for other in program.functions if other is not function)
        known = results | {
            ref.buffer
            for body in others
            for statement in simple_statements(body)
            for ref in (*reads(statement), *writes(statement))
        }
        body = _Fuser(function, known, buffers).body()
        functions.append(replace(function, body=body, buffers=used(body)))
    if tuple(functions) == program.functions:
        return program
    program = replace(program, buffers=tuple(buffers.values()))
    needed = {name for function in functions for name in function.buffers} | results
    kept = tuple(buffer for buffer in program.buffers if buffer.name in needed)
    return replace(program, functions=tuple(functions), buffers=kept)


@dataclass(frozen=True, slots=True)
class _Product:
    """The factors of a product, and the condition outside which it is zero."""

    a: Ref
    b: Ref
    when: Ref | None = None


class _Fuser:
    """Fuses the contractions of one function; ``known`` are the buffers of others.

    Those of masked numbers are added to the ``buffers``.
    """

    def __init__(self, function: Function, known: set[str], buffers: dict[str, Buffer]) -> None:
        self.function = function
        self.known = known
        self.buffers = buffers
        self.reading: dict[str, int] = {}
        self.writing: dict[str, int] = {}
        for statement in simple_statements(function.body):
            for ref in reads(statement):
                self.reading[ref.buffer] = self.reading.get(ref.buffer, 0) + 1
            for ref in writes(statement):
                self.writing[ref.buffer] = self.writing.get(ref.buffer, 0) + 1

    def body(self) -> tuple[Statement, ...]:
        return tuple(
            replace(statement, body=self._fused(statement.body))
            if isinstance(statement, Loop)
            else statement
            for statement in self._fused(self.function.body)
        )

    def _fused(self, body: tuple[Any, ...]) -> tuple[Any, ...]:
        """The statements of a function or of a loop, fused within it."""
        found: dict[str, _Product] = {}
        nests = [statement for statement in body if isinstance(statement, Nest)]
        for reduction in body:
            if isinstance(reduction, Reduce) and isinstance(reduction.operand, Ref):
                name = reduction.operand.buffer
                for nest in nests if self._fits(reduction) else ():
                    if (product := self._factors(name, nest, reduction)) is not None:
                        found[name] = product
        return tuple(self._without(body, found)) if found else body

    def _fits(self, reduction: Reduce) -> bool:
        """Whether a sum is the only reader of a buffer that is written once."""
        assert isinstance(reduction.operand, Ref)
        name = reduction.operand.buffer
        return (
            reduction.operation == "sum_over"
            and reduction.factor is None
            and not reduction.accumulate
            and reduction.operand.row == "step"
            and name not in self.known
            and self.reading[name] == self.writing.get(name) == 1
            and not self.buffers[name].axis
        )

    def _factors(self, name: str, nest: Nest, reduction: Reduce) -> _Product | None:
        """The product that a nest writes to a buffer, if it does."""
        same = {*nest.over} == {*reduction.over, *reduction.kept} and nest.span == reduction.span
        if not same or nest.shape != reduction.shape:
            return None
        assigns = {assign.name: assign for assign in nest.body}
        for assign in nest.body:
            if assign.store is None or assign.store.buffer != name:
                continue
            if any(Local(assign.name) in other.operands for other in nest.body):
                return None
            when: Ref | None = None
            match assign.operation, assign.operands:
                case "where", (Ref() as condition, Local(inner), Number(value=0.0)):
                    assign, when = assigns[inner], condition
            if assign.operation != "multiply":
                return None
            product = self._product(assign, assigns, nest, when)
            masked = product is not None and (when is None or self._can_be_masked(product, nest))
            return product if masked else None
        return None

    def _product(
        self, assign: Assign, assigns: Mapping[str, Assign], nest: Nest, when: Ref | None
    ) -> _Product | None:
        """The factors of a product: both as they are, or vectors and a number for each."""
        for one, other in (assign.operands, assign.operands[::-1]):
            if isinstance(one, Local) and isinstance(other, Ref) and len(nest.shape) > 1:
                inner = assigns[one.name]
                (one, *rest) = inner.operands
                last = dict(inner.options).get("axis") == len(nest.shape) - 1
                if rest or not last or inner.operation != "expand" or not isinstance(one, Ref):
                    continue
                if one.shape == nest.shape[:-1] and other.shape == nest.shape:
                    return self._of_numbers(other, one, when)
        a, b = assign.operands
        if isinstance(a, Ref) and isinstance(b, Ref):
            return self._of_numbers(a, b, when)
        return None

    def _of_numbers(self, a: Ref, b: Ref, when: Ref | None) -> _Product | None:
        numbers = all(self.buffers[ref.buffer].kind == "float" for ref in (a, b))
        return _Product(a, b, when) if numbers else None

    def _can_be_masked(self, product: _Product, nest: Nest) -> bool:
        """Whether a product has a number for each vector, all of whose rows are contiguous."""
        assert product.when is not None
        for vectors, numbers in ((product.a, product.b), (product.b, product.a)):
            buffer = self.buffers[vectors.buffer]
            if vectors.shape == nest.shape and numbers.shape in ((), nest.shape[:-1]):
                plain = not (buffer.axis or buffer.strided or product.when.shape)
                return plain and len(nest.shape) > len(numbers.shape)
        return False

    def _without(self, body: Iterable[Any], found: Mapping[str, _Product]) -> Iterator[Statement]:
        """The statements without the products, and with fused sums."""
        for statement in body:
            match statement:
                case Nest():
                    rest = _needed(
                        assign
                        for assign in statement.body
                        if assign.store is None or assign.store.buffer not in found
                    )
                    if rest:
                        yield replace(statement, body=rest)
                case Reduce(operand=Ref(buffer=name)) if name in found:
                    yield from self._sum(statement, found[name])
                case _:
                    yield statement

    def _sum(self, reduction: Reduce, product: _Product) -> Iterator[Statement]:
        a, b = product.a, product.b
        if product.when is not None:
            vectors, numbers = (a, b) if a.shape == reduction.shape else (b, a)
            yield from self._masked(reduction, vectors, numbers, product.when)
        elif reduction.kept or not all(self._is_row(ref, reduction.over) for ref in (a, b)):
            yield replace(reduction, operand=a, factor=b)
        else:
            own = (reduction.name, reduction.out, a, b, reduction.over)
            yield OuterProduct(*own, reduction.span, reduction.line)

    def _masked(
        self, reduction: Reduce, vectors: Ref, numbers: Ref, when: Ref
    ) -> Iterator[Statement]:
        """The numbers, zero where a condition does not hold, and the sum of products with them."""
        assert isinstance(reduction.operand, Ref)
        name = f"{reduction.operand.buffer}@numbers"  # no node has such a name
        axes = (*reduction.over, *reduction.kept)
        time = tuple(sorted(axis for axis in axes if axis != BATCH))
        over = (*time, *((BATCH,) if BATCH in axes else ()))
        self.buffers[name] = Buffer(name, "scratch", "float", numbers.shape, time, BATCH in axes)
        out = Ref(name, numbers.shape)
        chosen = (when, numbers, Number(0.0))
        assign = Assign(name, "where", chosen, (), out, reduction.line)
        yield Nest(over, numbers.shape, (assign,), reduction.span)
        yield replace(reduction, operand=vectors, factor=out, when=when)

    def _is_row(self, ref: Ref, over: tuple[str, ...]) -> bool:
        """Whether a value is one number for each iteration, contiguous in memory."""
        buffer = self.buffers[ref.buffer]
        rows = (*buffer.axes, *(("batch",) if buffer.batch else ()))
        return not buffer.shape and ref.row == "step" and rows == over


def _needed(body: Iterable[Assign]) -> tuple[Assign, ...]:
    """The assignments that are stored, and those that these read."""
    kept: list[Assign] = []
    read: set[str] = set()
    for assign in reversed([*body]):
        if assign.store is not None or assign.name in read:
            kept.append(assign)
            read |= {one.name for one in assign.operands if isinstance(one, Local)}
    return tuple(reversed(kept))
