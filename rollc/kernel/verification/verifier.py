"""The verifiers of schedules and programs, of passes' results and of texts that people edit.

Nothing raises: whatever is wrong is returned as data, as :mod:`rollc.ir.verifier` does of graphs.
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
    """The flaws of a pass's result: of a graph, a schedule or a program; none of other values."""
    match value:
        case Graph():
            return verify(value)
        case Schedule():
            return verify_schedule(value)
        case Program():
            return verify_program(value)
    return []


def verify_schedule(scheduled: Schedule) -> list[Flaw]:
    """Everything that makes a schedule invalid; an empty list where nothing does.

    Every node is computed once, after its operands, initial value and condition; the flaws of its
    graph are among them.
    """
    return list(schedule_flaws(scheduled))


def verify_program(program: Program) -> list[Flaw]:
    """Everything that makes a program invalid; an empty list where nothing does.

    A flaw has the name of a buffer, a result, or the value that a statement computes.
    """
    return list(program_flaws(program))
