"""Loop-invariant code of calls: statements of parameters alone are the prologue of a function.

A network that is called step by step, or many times with the same parameters, would spend more
time on packing weights into panels than on products with them.  A caller that keeps the results of
the prologue can skip it (:class:`~rollc.kernel.program.Function`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from rollc.ir.graph import Attribute
from rollc.kernel.program import (
    Function,
    Loop,
    MatMul,
    Nest,
    Pack,
    Program,
    Routine,
    Simple,
    Statement,
    reads,
    simple_statements,
    writes,
)


def separate_prologue(program: Program) -> Program:
    """The program with the statements of parameters alone in the prologue of each function."""
    params = {name for name, operation in program.leaves if operation == "param"}
    results = {result.ref.buffer for result in program.results}
    fixed = {
        buffer.name
        for buffer in program.buffers
        if not (buffer.axes or buffer.batch or buffer.name in results)
        and buffer.role in ("scratch", "panel", "tape")
    }
    while others := fixed.intersection(_written_elsewhere(program, params, fixed)):
        fixed -= others
    return replace(
        program,
        functions=tuple(_separated(function, params, fixed) for function in program.functions),
    )


def _separated(function: Function, params: Collection[str], fixed: Collection[str]) -> Function:
    first: list[Simple] = []
    rest: list[Statement] = []
    for statement in function.body:
        if isinstance(statement, Loop) or not _is_fixed(statement, params, fixed):
            rest.append(statement)
        else:
            first.append(statement)
    return replace(function, body=tuple(rest), prologue=(*function.prologue, *first))


def _written_elsewhere(
    program: Program, params: Collection[str], fixed: Collection[str]
) -> Iterator[str]:
    """The buffers that statements outside a prologue write."""
    for function in program.functions:
        body = function.body
        own = {ref.buffer for statement in simple_statements(body) for ref in writes(statement)}
        for statement in body:
            if isinstance(statement, Loop) or not _is_fixed(
                statement, params, own.intersection(fixed)
            ):
                for inner in simple_statements([statement]):
                    yield from (ref.buffer for ref in writes(inner))


def _is_fixed(statement: Simple, params: Collection[str], fixed: Collection[str]) -> bool:
    """Whether a statement reads parameters alone, and writes buffers of a prologue alone."""
    return (
        not reads_sizes(statement)
        and all(ref.buffer in params or ref.buffer in fixed for ref in reads(statement))
        and all(ref.buffer in fixed for ref in writes(statement))
    )


def reads_sizes(statement: Simple) -> bool:
    """Whether a statement can depend on the number of steps or of sequences.

    An operation depends on these by an axis among its options.
    """
    match statement:
        case Pack():
            return False
        case MatMul():
            return bool(statement.over)
        case Nest():
            options = [option for assign in statement.body for option in assign.options]
            return bool(statement.over) or _names_axis(options)
        case Routine():
            return bool(statement.over or statement.kept) or _names_axis(statement.options)
    return True


def _names_axis(options: Collection[tuple[str, Attribute]]) -> bool:
    """Whether an option is a time axis or the batch; a number is a dimension of the value."""
    return any(name in ("axis", "over") and not isinstance(value, int) for name, value in options)
