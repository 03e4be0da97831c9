"""Inputs that are read with a delay, where they are: not copied between rows of zeros.

    x[t-1] in a loop over steps     ->  the caller's x, and zero at the steps before it has any
    the sum over t of d[t] x[t-1]   ->  over the steps that have one

The kernel has the loop twice then: for the few steps at a border, with tests, and for all
others, without.  A copy would take as long as the arithmetic of a filter.

What this pass does not do: touch an input that something else reads with a delay (a product
with a matrix takes many rows at once), or one with an initial value.
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
    """The program without copies of the inputs that it can read as they are."""
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
        for ref in _at_once(statements, program)
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
    """Statements but for those that write rows around some buffers."""
    for statement in body:
        if isinstance(statement, Optional):
            rest = tuple(simple_statements(_without_fills(statement.body, buffers)))
            if rest:
                yield replace(statement, body=rest)
        elif not (isinstance(statement, Fill) and statement.buffer in buffers):
            yield statement


def _at_once(statements: Iterable[Statement], program: Program) -> Iterator[Ref]:
    """What is read not step by step in a loop, nor for a sum of products of numbers."""
    for statement in statements:
        if isinstance(statement, Optional):
            yield from _at_once(statement.body, program)
        elif isinstance(statement, Loop):
            yield from _at_once((*statement.before, *statement.after), program)
            for part in statement.body:
                if isinstance(part, Shifted):
                    yield from (ref for inner in part.body for ref in reads(inner))
                    continue
                stepwise = isinstance(part, Nest) and statement.span == Span()
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
