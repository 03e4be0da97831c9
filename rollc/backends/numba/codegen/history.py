"""Code generation of ``tail`` and its adjoints (:mod:`rollc.ir.operations.history`).

A sequence ends before a step that is the number of steps, or its own length; its tail
has a row for each step before that one, and for steps before the first a row of the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from rollc.backends.numba.codegen.printer import Writer
from rollc.kernel.program import Operand, Ref, Routine, Span


def row_of_step(write: Writer, rows: Operand, axis: str, length: str = "") -> str:
    """The expression of ``tail_steps``: the row of this step, or zero."""
    assert isinstance(rows, Ref)
    count = rows.shape[0]
    step, end = write.step(axis), length or write.steps(axis)
    inside = f"{end} - {count} <= {step}" + (f" < {end}" if length else "")
    value = write.element_of_row(rows, f"({step} - {end} + {count})")
    return f"({value} if {inside} else {write.zero(rows)})"


def write_tail(write: Writer, routine: Routine) -> None:
    """Write ``tail``: the rows of the last steps, and of the start."""
    y, start, *length = routine.operands
    assert isinstance(y, Ref) and isinstance(start, Ref)
    axis, count, out = _axis(routine), routine.shape[0], routine.out
    step, steps = write.step(axis), write.steps(axis)
    write.say(f"for r in range({count}):")
    write.depth += 1
    write.say(f"{step} = {_end(write, axis, length)} + r - {count}")
    write.say(f"if {step} < 0:")
    _copy(write, out, write.element_of_row(start, f"({step} + {count})"))
    write.say(f"elif {step} < {steps}:" if length else "else:")
    _copy(write, out, write.element(y))
    if length:
        write.say("else:")
        _copy(write, out, write.zero(out))
    write.depth -= 1


def write_tail_start(write: Writer, routine: Routine) -> None:
    """Write ``tail_start``: the rows that a tail takes from its start."""
    rows, *length = routine.operands
    assert isinstance(rows, Ref)
    axis, count, out = _axis(routine), routine.shape[0], routine.out
    end = _end(write, axis, length)
    write.say(f"for r in range({count}):")
    write.depth += 1
    write.say(f"if r < {end}:")
    _copy(write, out, write.zero(out))
    write.say("else:")
    _copy(write, out, write.element_of_row(rows, f"(r - {end})"))
    write.depth -= 1


def _copy(write: Writer, out: Ref, value: str) -> None:
    """Write the row ``r``, element by element."""
    write.depth += 1
    opened = write.open((), prod(out.shape[1:]), Span())
    write.assign(write.element_of_row(out, "r"), value)
    write.depth -= 1 + opened


def _end(write: Writer, axis: str, length: Sequence[Operand]) -> str:
    """The step behind the last one."""
    return write.whole(length[0]) if length else write.steps(axis)


def _axis(routine: Routine) -> str:
    axis = dict(routine.options)["axis"]
    assert isinstance(axis, str)
    return axis
