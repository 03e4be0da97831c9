"""The work of a program: how many operations on numbers it takes."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from rollc.graph.graph import BATCH
from rollc.kernel.program import Loop, Nest, Product, Program, Simple, Times, simple_statements


def work(program: Program, steps: int, batch: int) -> int:
    """The operations of all phases, for a number of steps and of sequences."""
    total = 0
    for function in program.functions:
        for statement in function.body:
            if isinstance(statement, Loop):
                for part in simple_statements((*statement.before, *statement.after)):
                    total += _operations(program, part, steps, batch)
                for part in replace(statement, before=(), after=()).simple():
                    total += steps * _operations(program, part, steps, batch)
            else:
                for part in simple_statements([statement]):
                    total += _operations(program, part, steps, batch)
    return total


def _operations(program: Program, statement: Simple, steps: int, batch: int) -> int:
    """The operations of one statement; what only moves numbers counts once a place."""
    over: tuple[str, ...] = getattr(statement, "over", ())
    places = prod(batch if axis == BATCH else steps for axis in over)
    match statement:
        case Times():
            return 2 * places * prod(program.buffer(statement.panel).shape)
        case Product():
            return 2 * places * prod(statement.a.shape) * prod(statement.b.shape)
        case Nest():
            return places * prod(statement.shape) * len(statement.body)
    return places
