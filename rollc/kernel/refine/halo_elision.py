"""Halo elision: inputs that are read with a delay are read in place, without a padded copy.

    x[t-1] in a loop over steps     ->  the caller's x, and zero outside the sequence
    the sum over t of d[t] x[t-1]   ->  over the steps inside the sequence

Code generation then splits the loop (boundary peeling): a few iterations at a boundary with
tests, and all others without.  A copy would take as long as the arithmetic of a filter.

What this pass does not do: elide the halo of an input with other delayed readers (a product
with a matrix takes many rows at once), or of one with an initial value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from rollc.ir.graph import BATCH
from rollc.kernel.program import (
    Fill,
    Loop,
    Nest,
    Optional,
    OuterProduct,
    Program,
    Ref,
    Shifted,
    Span,
    Statement,
    reads,
    simple_statements,
)


def elide_halos(program: Program) -> Program:
    """The program with its inputs unpadded where that is legal."""
    delayed = {
        buffer.name: buffer
        for buffer in program.buffers
        if buffer.role == "leaf" and buffer.before + buffer.after and buffer.axes == (buffer.axis,)
    }
    statements = [statement for function in program.functions for statement in function.body]
    excluded = {result.ref.buffer for result in program.results}
    fills = (part for part in simple_statements(statements) if isinstance(part, Fill))
    excluded.update(fill.buffer for fill in fills if fill.initial)
    excluded.update(
        ref.buffer
        for ref in _reads_of_many_rows(statements, program)
        if ref.buffer in delayed and (ref.shift, ref.row) != (delayed[ref.buffer].before, "step")
    )
    chosen = delayed.keys() - excluded
    if not chosen:
        return program
    functions = tuple(
        replace(function, body=tuple(_without_fills(function.body, chosen)))
        for function in program.functions
    )
    buffers = tuple(
        replace(buffer, unpadded=True) if buffer.name in chosen else buffer
        for buffer in program.buffers
    )
    return replace(program, buffers=buffers, functions=functions)


def _without_fills(body: Iterable[Statement], buffers: Collection[str]) -> Iterator[Statement]:
    """The statements without the fills of some buffers."""
    for statement in body:
        if isinstance(statement, Optional):
            rest = tuple(simple_statements(_without_fills(statement.body, buffers)))
            if rest:
                yield replace(statement, body=rest)
        elif not (isinstance(statement, Fill) and statement.buffer in buffers):
            yield statement


def _reads_of_many_rows(statements: Iterable[Statement], program: Program) -> Iterator[Ref]:
    """The reads that are neither step by step in a loop nor of a sum of products of numbers."""
    for statement in statements:
        if isinstance(statement, Optional):
            yield from _reads_of_many_rows(statement.body, program)
        elif isinstance(statement, Loop):
            yield from _reads_of_many_rows((*statement.before, *statement.after), program)
            for part in statement.body:
                if isinstance(part, Shifted):
                    yield from (ref for inner in part.body for ref in reads(inner))
                    continue
                if isinstance(part, Loop):
                    yield from (ref for inner in part.simple() for ref in reads(inner))
                    continue
                plain = statement.span == Span() and not statement.across
                stepwise = isinstance(part, Nest) and plain
                for ref in reads(part):
                    if not (stepwise and program.buffer(ref.buffer).axis == statement.axis):
                        yield ref
        elif not (isinstance(statement, OuterProduct) and _is_dot(statement, program)):
            yield from reads(statement)


def _is_dot(product: OuterProduct, program: Program) -> bool:
    """Whether a sum of products is over all rows of two arrays of numbers."""
    a, b = (program.buffer(ref.buffer) for ref in (product.a, product.b))
    rows = (*a.axes, *((BATCH,) if a.batch else ()))
    alike = (a.axes, a.batch) == (b.axes, b.batch) and len(a.axes) == 1
    return alike and not a.shape and product.over == rows and product.span.stop is None
