"""Contraction fusion: a product and its sum become one statement, and the product is not stored.

    p = a * b  for each row             ->    s = the sum of a * b over those axes
    s = the sum of p over some axes

The gradient of a coefficient is such a sum, and so is the result of attention.  What is
guaranteed: the same terms, added in another order.  What this pass does not do: fuse a product
that has other readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from rollc.kernel.program import (
    Buffer,
    Function,
    Local,
    Loop,
    Nest,
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
    needed = {name for function in functions for name in function.buffers} | results
    kept = tuple(buffer for buffer in program.buffers if buffer.name in needed)
    return replace(program, functions=tuple(functions), buffers=kept)


class _Fuser:
    """Fuses the contractions of one function; ``known`` are the buffers of others."""

    def __init__(self, function: Function, known: set[str], buffers: Mapping[str, Buffer]) -> None:
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
        found: dict[str, tuple[Ref, Ref]] = {}
        nests = [statement for statement in body if isinstance(statement, Nest)]
        for reduction in body:
            if isinstance(reduction, Reduce) and isinstance(reduction.operand, Ref):
                name = reduction.operand.buffer
                for nest in nests if self._fits(reduction) else ():
                    if (pair := self._factors(name, nest, reduction)) is not None:
                        found[name] = pair
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

    def _factors(self, name: str, nest: Nest, reduction: Reduce) -> tuple[Ref, Ref] | None:
        """The operands of the product that a nest writes to a buffer, if it does."""
        same = {*nest.over} == {*reduction.over, *reduction.kept} and nest.span == reduction.span
        if not same or nest.shape != reduction.shape:
            return None
        for assign in nest.body:
            stored = assign.store is not None and assign.store.buffer == name
            if not stored or assign.operation != "multiply":
                continue
            a, b = assign.operands
            inside = any(Local(assign.name) in other.operands for other in nest.body)
            if isinstance(a, Ref) and isinstance(b, Ref) and not inside:
                numbers = all(self.buffers[ref.buffer].kind == "float" for ref in (a, b))
                return (a, b) if numbers else None
        return None

    def _without(
        self, body: Iterable[Any], found: Mapping[str, tuple[Ref, Ref]]
    ) -> Iterator[Statement]:
        """The statements without the products, and with fused sums."""
        for statement in body:
            match statement:
                case Nest():
                    rest = tuple(
                        assign
                        for assign in statement.body
                        if assign.store is None or assign.store.buffer not in found
                    )
                    if rest:
                        yield replace(statement, body=rest)
                case Reduce(operand=Ref(buffer=name)) if name in found:
                    yield self._sum(statement, *found[name])
                case _:
                    yield statement

    def _sum(self, reduction: Reduce, a: Ref, b: Ref) -> OuterProduct | Reduce:
        if reduction.kept or not all(self._is_row(ref, reduction.over) for ref in (a, b)):
            return replace(reduction, operand=a, factor=b)
        own = (reduction.name, reduction.out, a, b, reduction.over)
        return OuterProduct(*own, reduction.span, reduction.line)

    def _is_row(self, ref: Ref, over: tuple[str, ...]) -> bool:
        """Whether a value is one number for each iteration, contiguous in memory."""
        buffer = self.buffers[ref.buffer]
        rows = (*buffer.axes, *(("batch",) if buffer.batch else ()))
        return not buffer.shape and ref.row == "step" and rows == over
