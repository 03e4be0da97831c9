"""Is this a schedule, is this a program?  Whatever is wrong comes back as data.

The graph has :mod:`rollc.ir.verifier`, which asks the same.  A pass can ask what it has made, and
who reads a text can ask that.
"""

from __future__ import annotations

from rollc.ir.graph import Graph
from rollc.ir.verifier import Flaw, verify
from rollc.kernel.program import Program
from rollc.kernel.schedule import Schedule
from rollc.kernel.verification.program_flaws import program_flaws
from rollc.kernel.verification.schedule_flaws import schedule_flaws

__all__ = ["Flaw", "verify_any", "verify_program", "verify_schedule"]


def verify_any(value: object) -> list[Flaw]:
    """The flaws of what a pass makes: a graph, a schedule, a program, or none of them."""
    match value:
        case Graph():
            return verify(value)
        case Schedule():
            return verify_schedule(value)
        case Program():
            return verify_program(value)
    return []


def verify_schedule(scheduled: Schedule) -> list[Flaw]:
    """Everything that makes a schedule unusable; an empty list where nothing does.

    Every node is computed once, and after all that it reads, its initial value and its condition;
    what is wrong with the graph itself is a flaw too.
    """
    return list(schedule_flaws(scheduled))


def verify_program(program: Program) -> list[Flaw]:
    """Everything that makes a program unusable; an empty list where nothing does.

    The name of a flaw is that of a buffer, a result or the value that a statement computes.
    """
    return list(program_flaws(program))
