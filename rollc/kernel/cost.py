"""The cost of a program: the number of its arithmetic operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import TypeGuard

from rollc.ir.graph import BATCH
from rollc.kernel.program import (
    Loop,
    MatMul,
    Nest,
    OuterProduct,
    Program,
    Simple,
    simple_statements,
)


def work(program: Program, steps: int, batch: int) -> int:
    """The operations of all phases, for a number of steps and a batch size."""
    return sum(
        times * _operations(program, statement, steps, batch)
        for times, statement in _statements(program, steps)
    )


def product_work(program: Program, steps: int, batch: int) -> int:
    """The operations of its matrix products; a sum of products of numbers is none."""
    return sum(
        times * _operations(program, statement, steps, batch)
        for times, statement in _statements(program, steps)
        if _is_product(statement)
    )


def divisible_work(program: Program, steps: int, batch: int, least: int) -> int:
    """The operations of its products that a worker team can divide.

    Those are the products over all steps, and those of a step with ``least`` operations or more.
    """
    found = 0
    for times, statement in _statements(program, steps):
        if _is_product(statement):
            operations = _operations(program, statement, steps, batch)
            in_step = isinstance(statement, MatMul) and operations >= least
            if in_step or set(statement.over) - {BATCH}:
                found += times * operations
    return found


def multiplies_each_step(program: Program) -> bool:
    """Whether a loop multiplies by a matrix at each step."""
    return any(
        isinstance(part, MatMul)
        for function in program.functions
        for loop in function.body
        if isinstance(loop, Loop)
        for _, part in _each_step(replace(loop, before=(), after=()), 1, 1)
    )


def _is_product(statement: Simple) -> TypeGuard[MatMul | OuterProduct]:
    return isinstance(statement, MatMul) or (
        isinstance(statement, OuterProduct) and statement.a.shape != ()
    )


def _statements(program: Program, steps: int) -> Iterator[tuple[int, Simple]]:
    """Every statement, with its trip count."""
    for function in program.functions:
        for statement in function.statements:
            if isinstance(statement, Loop):
                around = (*statement.before, *statement.after)
                yield from ((1, part) for part in simple_statements(around))
                yield from _each_step(replace(statement, before=(), after=()), steps, steps)
            else:
                yield from ((1, part) for part in simple_statements([statement]))


def _each_step(loop: Loop, times: int, steps: int) -> Iterator[tuple[int, Simple]]:
    """The statements of a loop's body, and of the loops in it, with their trip counts."""
    for part in loop.body:
        if isinstance(part, Loop):
            yield from _each_step(part, times * steps, steps)
        else:
            yield from ((times, one) for one in Loop(loop.direction, loop.axis, (part,)).simple())


def _operations(program: Program, statement: Simple, steps: int, batch: int) -> int:
    """The operations of one statement; one without arithmetic counts once an iteration."""
    over: tuple[str, ...] = getattr(statement, "over", ())
    iterations = prod(batch if axis == BATCH else steps for axis in over)
    match statement:
        case MatMul():
            return 2 * iterations * prod(program.buffer(statement.panel).shape)
        case OuterProduct():
            return 2 * iterations * prod(statement.a.shape) * prod(statement.b.shape)
        case Nest():
            return iterations * prod(statement.shape) * len(statement.body)
    return iterations
