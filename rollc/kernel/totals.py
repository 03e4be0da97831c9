"""Totals of a program: the size of its tape, and its multiply-adds in and outside loops.

A total is by axes, for one iteration over them: ``("t", "batch")`` is for a step and a sequence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isqrt, prod

from rollc.ir.graph import Kind, ordered_axes
from rollc.ir.operations import OPERATIONS
from rollc.kernel.program import (
    Loop,
    MatMul,
    OuterProduct,
    Program,
    Routine,
    Simple,
    reads,
    repeated,
    simple_statements,
)

Axes = tuple[str, ...]


@dataclass(frozen=True)
class Totals:
    """``tape`` is the number of elements kept for the adjoint, by axes and kind, in ``buffers``.

    ``inside`` has the multiply-adds of matrix products in the bodies of loops, ``outside``
    those of all others.  ``ahead`` and ``behind`` count the statements that run once a block of
    steps, before its iterations and after them.
    """

    buffers: int
    tape: Mapping[tuple[Axes, Kind], int]
    inside: Mapping[Axes, int]
    outside: Mapping[Axes, int]
    ahead: int
    behind: int


def totals(program: Program) -> Totals:
    """The totals of all functions of a program."""
    taped = [buffer for buffer in program.buffers if buffer.role == "tape"]
    tape: Counter[tuple[Axes, Kind]] = Counter()
    for buffer in taped:
        axes = (*buffer.axes, *(("batch",) if buffer.batch else ()))
        tape[axes, buffer.kind] += prod(buffer.shape)
    inside: Counter[Axes] = Counter()
    outside: Counter[Axes] = Counter()
    ahead = behind = 0
    for function in program.functions:
        for statement in function.statements:
            if isinstance(statement, Loop):
                body = Loop(statement.direction, statement.axis, statement.body)
                inside.update(_inside(body))
                blocks = (
                    [*simple_statements(statement.before)],
                    [*simple_statements(statement.after)],
                )
                outside.update(_products((*blocks[0], *blocks[1])))
                ahead, behind = ahead + len(blocks[0]), behind + len(blocks[1])
            else:
                outside.update(_products(simple_statements([statement])))
    return Totals(len(taped), tape, inside, outside, ahead, behind)


def _inside(loop: Loop, bound: Axes = ()) -> Counter[Axes]:
    """The multiply-adds of a loop and those in it, inside of loops over ``bound``."""
    axes = (*bound, loop.axis)
    inner = [part for part in loop.body if isinstance(part, Loop)]
    own = replace(loop, body=tuple(part for part in loop.body if not isinstance(part, Loop)))
    found = _products(own.simple(), axes)
    for part in inner:
        found.update(_inside(part, axes))
    return found


def _products(statements: Iterable[Simple], bound: Axes = ()) -> Counter[Axes]:
    """The multiply-adds of some statements inside loops over ``bound``."""
    found: Counter[Axes] = Counter()
    for statement in statements:
        if isinstance(statement, MatMul | OuterProduct | Routine):
            if isinstance(statement, Routine) and not OPERATIONS[statement.operation].is_product:
                continue
            axes = ordered_axes({*statement.over, *bound})
            found[axes] += multiply_adds(statement)
    return found


def multiply_adds(statement: MatMul | OuterProduct | Routine) -> int:
    """The multiply-adds of an iteration: m k n for [m, k] times [k, n], each of which can be 1."""
    out = prod(statement.out.shape)
    if isinstance(statement, MatMul):
        return out * prod(statement.operand.shape)
    pair = (statement.a, statement.b) if isinstance(statement, OuterProduct) else reads(statement)
    many = prod(repeated(statement)) if isinstance(statement, Routine) else 1
    first, second = (prod(ref.shape) // many for ref in pair)
    return many * isqrt(first * second * out // many)
