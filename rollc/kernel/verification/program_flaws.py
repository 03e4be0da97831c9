"""The verifier of programs: buffers, functions, results and conditions.

Statements are verified by :mod:`.statement_flaws`, and the order of reads and writes by
:mod:`.account`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import get_args

from rollc.ir.graph import ordered_axes
from rollc.ir.verifier import Flaw
from rollc.kernel.program import (
    PHASES,
    Buffer,
    Function,
    MatMul,
    Nest,
    Operand,
    Pack,
    Program,
    Ref,
    Role,
    Simple,
    reads,
    simple_statements,
    used,
)
from rollc.kernel.verification.account import account_flaws, name_of
from rollc.kernel.verification.statement_flaws import Statements, ref_flaws

ROLES = get_args(Role)


def program_flaws(program: Program) -> Iterator[Flaw]:
    """Everything that makes a program invalid, of the first check that finds anything.

    Each check relies on those before it.
    """
    for check in (_buffers, _leaves, _functions, _results, _statements, account_flaws):
        flaws = list(check(program))
        yield from flaws
        if flaws:
            return


def _buffers(program: Program) -> Iterator[Flaw]:
    counts = Counter(buffer.name for buffer in program.buffers)
    for name, count in counts.items():
        if count > 1:
            yield Flaw(name, "is declared more than once")
    for buffer in program.buffers:
        yield from (Flaw(buffer.name, text) for text in _buffer(program, buffer))


def _buffer(program: Program, buffer: Buffer) -> Iterator[str]:
    if buffer.role not in ROLES or buffer.kind not in ("float", "index", "bool"):
        yield f"`{buffer.role}` of `{buffer.kind}` is no buffer"
    if not all(isinstance(size, int) and size > 0 for size in buffer.shape):
        yield "a shape has positive sizes"
    if not set(buffer.axes) <= {*program.axes} or buffer.axes != ordered_axes(buffer.axes):
        yield "its axes are not time axes of the program, in their order"
    if buffer.before < 0 or buffer.after < 0:
        yield "the number of rows around a sequence is negative"
    if buffer.before + buffer.after > 0 and buffer.axis not in buffer.axes:
        yield "has rows around the sequence along no axis of its own"
    if buffer.role == "panel" and (len(buffer.shape) != 2 or buffer.axes or buffer.batch):
        yield "a panel is one matrix"
    if buffer.role == "block" and (len(buffer.axes) != 1 or program.block < 1):
        yield "holds a block of the steps along one axis, of a program that has blocks"
    own = buffer.role in ("scratch", "tape") and len(buffer.axes) == 2
    if buffer.skew and (buffer.shape or not own):
        yield "is in the order of diagonals, and holds no numbers over two axes of the kernel's own"
    if buffer.unpadded and buffer.role != "leaf":
        yield "is unpadded, and no leaf"


def _leaves(program: Program) -> Iterator[Flaw]:
    roles = {buffer.name: buffer.role for buffer in program.buffers}
    counts = Counter(name for name, _ in program.leaves)
    for name, count in counts.items():
        if count > 1:
            yield Flaw(name, "is a leaf more than once")
        if roles.get(name) != "leaf":
            yield Flaw(name, "is a leaf, and no buffer for one")
    for name, role in roles.items():
        if role == "leaf" and name not in counts:
            yield Flaw(name, "is a buffer for a leaf that the program does not name")


def _functions(program: Program) -> Iterator[Flaw]:
    phases = [function.phase for function in program.functions]
    known = [phase for phase in PHASES if phase in phases]
    if phases != known:
        yield Flaw(None, f"the functions are {', '.join(phases)}: expected some of {PHASES}, once")
    for function in program.functions:
        optional = function.optional
        if optional and (optional not in PHASES or optional in phases):
            yield Flaw(None, f"`{optional}` is no other phase that {function.phase} can compute")
        yield from _function_buffers(program, function)


def _function_buffers(program: Program, function: Function) -> Iterator[Flaw]:
    declared = {buffer.name for buffer in program.buffers}
    for name, count in Counter(function.buffers).items():
        if count > 1:
            yield Flaw(name, f"is an argument of {function.phase} more than once")
    touched = used(function.statements)
    for name in touched:
        if name not in declared:
            yield Flaw(name, f"is used by {function.phase}, and is no buffer")
        elif name not in function.buffers:
            yield Flaw(name, f"is used by {function.phase}, and is not among its arguments")
    for name in function.buffers:
        if name not in touched:
            yield Flaw(name, f"is an argument of {function.phase}, which does not use it")


def _results(program: Program) -> Iterator[Flaw]:
    buffers = {buffer.name: buffer for buffer in program.buffers}
    counts = Counter((result.kind, result.label) for result in program.results)
    done = {phase for one in program.functions for phase in (one.phase, one.optional) if phase}
    for result in program.results:
        if counts[result.kind, result.label] > 1:
            yield Flaw(result.label, f"is a result of the kind {result.kind} more than once")
        buffer = buffers.get(result.ref.buffer)
        if buffer is None or buffer.role in ("block", "panel"):
            yield Flaw(result.label, f"is a result, and `{result.ref.buffer}` holds none")
            continue
        yield from (Flaw(result.label, text) for text in ref_flaws(result.ref, buffer))
        if result.ref.row != "step":
            yield Flaw(result.label, "a result has all steps")
        if buffer.role != "leaf" and result.phase not in done:
            text = f"is a result of the phase {result.phase}, which no function computes"
            yield Flaw(result.label, text)


def _statements(program: Program) -> Iterator[Flaw]:
    for function in program.functions:
        yield from Statements(program, function).flaws()
    yield from _jobs(program)
    yield from _conditional(program)


def _jobs(program: Program) -> Iterator[Flaw]:
    """Jobs by which threads pack panels together: each belongs to one panel."""
    panels: dict[int, str] = {}
    for function in program.functions:
        for pack in simple_statements(function.statements):
            if isinstance(pack, Pack) and pack.job is not None:
                for job in range(pack.job, pack.job + len(pack.parts)):
                    if panels.setdefault(job, pack.panel) != pack.panel:
                        yield Flaw(name_of(pack), f"packs by job {job}, which is another panel's")


def _conditional(program: Program) -> Iterator[Flaw]:
    """A predicated product is read only by a select with the same condition."""
    predicated = {
        (statement.out.buffer, element): statement.when
        for function in program.functions
        for statement in simple_statements(function.statements)
        if isinstance(statement, MatMul) and statement.when is not None
        for element in _elements(statement.out)
    }
    for result in program.results if predicated else ():
        if any((result.ref.buffer, element) in predicated for element in _elements(result.ref)):
            yield Flaw(result.label, "is a result, and predicated")
    for function in program.functions if predicated else ():
        for statement in simple_statements(function.statements):
            for name, ref, condition in _reads_with_conditions(statement):
                conditions = {predicated.get((ref.buffer, element)) for element in _elements(ref)}
                if conditions - {None, condition}:
                    yield Flaw(name, f"reads `{ref.buffer}` where it may not be computed")


def _reads_with_conditions(statement: Simple) -> Iterator[tuple[str, Ref, Operand | None]]:
    """The reads of a statement, each with the condition under which a select uses it."""
    if not isinstance(statement, Nest):
        yield from ((name_of(statement), ref, None) for ref in reads(statement))
        return
    for assign in statement.body:
        for position, ref in enumerate(assign.operands):
            if isinstance(ref, Ref):
                selected = assign.operation == "where" and position == 1
                yield assign.name, ref, assign.operands[0] if selected else None


def _elements(ref: Ref) -> range:
    return range(ref.offset, ref.offset + prod(ref.shape))
