"""Strided input and output: threads use the caller's arrays in place, without copies of shards.

A thread computes a shard of the batch, whose rows are strided in the caller's array: from step to
step by the size of the whole batch.  Elementwise operations take them row by row anyway, and a
product with a matrix takes the rows of one step after those of another.

What this pass does not do: stride operands of a sum of products, which takes many rows at once,
or numbers, which need to be contiguous.
"""

from __future__ import annotations

from dataclasses import replace

from rollc.kernel.program import OuterProduct, Program, Reduce, Simple, reads, simple_statements


def stride_io(program: Program) -> Program:
    """The program with those of its inputs and results marked whose rows may be strided."""
    if not program.splits:
        return program
    at_once = {
        ref.buffer
        for function in program.functions
        for statement in simple_statements(function.body)
        if _takes_rows_at_once(statement)
        for ref in reads(statement)
    }
    return replace(
        program,
        buffers=tuple(
            replace(buffer, strided=True)
            if buffer.shape
            and buffer.axes
            and buffer.batch
            and buffer.name not in at_once
            and (buffer.role == "result" or (buffer.role == "leaf" and not buffer.around))
            else buffer
            for buffer in program.buffers
        ),
    )


def _takes_rows_at_once(statement: Simple) -> bool:
    """Whether a statement is a sum of products, which takes contiguous rows."""
    weighted = isinstance(statement, Reduce) and statement.factor is not None
    return weighted or isinstance(statement, OuterProduct)
