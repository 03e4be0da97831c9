"""Arrays of the caller's that threads use where they are: no copies of their parts.

A thread computes some of the sequences.  A vector's rows for them lie apart then, step by
step: as many rows as there are sequences in all.  Elementwise work goes row by row in any
case, and a product with a matrix takes the rows of one step after those of another.

What this pass does not do: touch what a sum of products reads (it takes many rows at once),
or numbers, which lie side by side.
"""

from __future__ import annotations

from dataclasses import replace

from rollc.kernel.program import OuterProduct, Program, Reduce, Simple, reads, simple_statements


def stride_io(program: Program) -> Program:
    """The program with those of its inputs and results marked whose rows may lie apart."""
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
    """Whether a statement is a sum of products, of many rows that follow each other."""
    weighted = isinstance(statement, Reduce) and statement.factor is not None
    return weighted or isinstance(statement, OuterProduct)
