"""A program whose parts are timed: a clock is read after each of them.

Parts are the statements outside of loops over time, those that a loop runs once a block of steps,
and the loops themselves.  Of a loop over time whose steps do so much work that a reading of the
clock is little beside it, and of the outer one of two, the statements of its body are parts too.
What a part does is counted: an operation for each element that a statement computes, two for each
multiply-add of a product, and the bytes of every value that a statement reads or writes, once each
time that it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from rollc.ir.graph import BATCH
from rollc.ir.operations import OPERATIONS
from rollc.kernel.program import (
    Buffer,
    Carry,
    Clear,
    Fill,
    Function,
    Lap,
    Loop,
    MatMul,
    Nest,
    Optional,
    OuterProduct,
    Pack,
    Program,
    Reduce,
    Routine,
    Shifted,
    Simple,
    Span,
    Statement,
    reads,
    writes,
)
from rollc.kernel.totals import multiply_adds

LAPS = "laps%"
"""The buffer with the times: the last lap, then the sums of each part, in nanoseconds."""
ENOUGH = 20_000
"""The operations of a statement beside which a reading of the clock is little: some percents."""


@dataclass(frozen=True)
class Part:
    """Statements that are timed together, in ``phase``, inside of loops over the axes ``inside``.

    ``loop`` is the axis, or the diagonals of two, that they are a loop over, if they are one.
    ``runs`` is how often they run, ``operations`` and ``bytes`` what they do in all runs together.
    """

    phase: str
    inside: tuple[str, ...]
    loop: str
    statements: tuple[Simple, ...]
    runs: int
    operations: int
    bytes: int


def with_laps(
    program: Program, sizes: Mapping[str, int], dtype: str
) -> tuple[Program, tuple[Part, ...]]:
    """A program that adds up the times of its parts in a leaf :data:`LAPS`, and the parts.

    ``sizes`` are the steps by axis and the sequences that it is to be timed for, which decide what
    is a part.  The leaf is ``int64`` and has one element more than there are parts.
    """
    made = _Instrumented(program, sizes, dtype)
    functions = tuple(map(made.function, program.functions))
    buffer = Buffer(LAPS, "leaf", "index", (len(made.parts) + 1,))
    timed = replace(
        program,
        buffers=(*program.buffers, buffer),
        functions=functions,
        leaves=(*program.leaves, (LAPS, "input")),
    )
    return timed, tuple(made.parts)


class _Instrumented:
    def __init__(self, program: Program, sizes: Mapping[str, int], dtype: str) -> None:
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        self.sizes = sizes
        self.itemsize = {"float": np.dtype(dtype).itemsize, "index": 8, "bool": 1}
        self.parts: list[Part] = []
        self.phase = ""

    def function(self, function: Function) -> Function:
        begin = Lap(LAPS, 0)
        self.phase = function.phase
        prologue: list[Simple] = []
        for statement in function.prologue:
            prologue += self._timed(statement)
        return replace(
            function,
            buffers=(*function.buffers, LAPS),
            prologue=(begin, *prologue) if prologue else (),
            body=(begin, *self._all(function.body, ())),
        )

    def _all(self, body: Iterable[Statement], inside: tuple[str, ...]) -> Iterator[Statement]:
        """Statements, each followed by a lap."""
        for statement in body:
            if not isinstance(statement, Loop):
                yield from self._timed(statement, inside)
            elif statement.blocks:
                yield self._blocked(statement)
            elif self._is_opened(statement):
                around = (*inside, statement.axis)
                body = tuple(self._all(_plain(statement.body), around))
                yield replace(statement, body=body)
            else:
                yield from (statement, self._lap(statement.simple(), inside, statement))

    def _blocked(self, loop: Loop) -> Loop:
        """A loop over blocks of steps: what comes before and after the steps are parts."""
        carries = [one for one in loop.before if isinstance(one, Carry)]
        before: list[Simple] = [*carries]
        if carries:
            before.append(self._lap(carries))
        for statement in loop.before:
            if not isinstance(statement, Carry):
                before += self._timed(statement)
        steps = replace(loop, before=(), after=())
        body, after = loop.body, list[Simple]()
        if self._is_opened(loop):
            body = tuple(self._all(_plain(loop.body), (loop.axis,)))
        else:
            after.append(self._lap(steps.simple(), (), steps))
        for statement in loop.after:
            after += self._timed(statement)
        return replace(loop, before=tuple(before), body=body, after=tuple(after))

    def _timed(self, statement: Simple, inside: tuple[str, ...] = ()) -> list[Simple]:
        """A statement and its lap; what is optional is not run where times are taken."""
        if isinstance(statement, Optional):
            return [statement]
        return [statement, self._lap([statement], inside)]

    def _is_opened(self, loop: Loop) -> bool:
        """Whether the statements of a loop's body are timed: they do enough, or are loops."""
        if loop.across or any(isinstance(part, Shifted) for part in loop.body):
            return False
        work = sum(
            self._operations(one) for one in loop.body if not isinstance(one, Loop | Shifted)
        )
        return loop.nested or work >= ENOUGH * len(loop.body)

    def _lap(
        self, statements: Iterable[Simple], inside: tuple[str, ...] = (), loop: Loop | None = None
    ) -> Lap:
        """The lap after some statements, which are one part."""
        own = tuple(one for one in statements if not isinstance(one, Optional))
        runs = prod(self.sizes[axis] for axis in inside)
        times = runs * (1 if loop is None else self._steps(loop.span, loop.axis))
        axis = "" if loop is None else loop.axis
        if loop is not None and loop.across:
            axis = f"diagonals of {loop.across} and {axis}"
        operations = times * sum(map(self._operations, own))
        moved = times * sum(map(self._bytes, own))
        self.parts.append(Part(self.phase, inside, axis, own, runs, operations, moved))
        return Lap(LAPS, len(self.parts))

    # What a statement does ---------------------------------------------------------------

    def _steps(self, span: Span, axis: str) -> int:
        if axis == BATCH:
            return self.sizes[BATCH]
        return max(0, (self.sizes[axis] if span.stop is None else span.stop) - span.start)

    def _operations(self, statement: Simple) -> int:
        over = (*getattr(statement, "over", ()), *getattr(statement, "kept", ()))
        span = getattr(statement, "span", Span())
        runs = prod(self._steps(span, axis) for axis in dict.fromkeys(over))
        match statement:
            case MatMul() | OuterProduct():
                return 2 * runs * multiply_adds(statement)
            case Routine() if OPERATIONS[statement.operation].is_product:
                return 2 * runs * multiply_adds(statement)
            case Routine():
                return runs * max(prod(ref.shape) for ref in (*reads(statement), statement.out))
            case Nest():
                return runs * prod(statement.shape) * len(statement.body)
            case Reduce():
                return runs * prod(statement.shape) * (1 if statement.factor is None else 2)
        return 0

    def _bytes(self, statement: Simple) -> int:
        over = (*getattr(statement, "over", ()), *getattr(statement, "kept", ()))
        span = getattr(statement, "span", Span())
        halo, moved = isinstance(statement, Fill | Carry), isinstance(statement, Clear | Pack)
        found = 0
        for ref in dict.fromkeys((*reads(statement), *writes(statement))):
            buffer = self.buffers[ref.buffer]
            whole = halo or moved or buffer.role == "panel"
            size = prod(buffer.shape if whole else ref.shape) * self.itemsize[buffer.kind]
            for axis in (*buffer.axes, *((BATCH,) if buffer.batch else ())):
                if halo and axis == buffer.axis:
                    size *= buffer.around
                elif whole or (axis in over and (ref.row == "step" or axis != ref.end)):
                    size *= self._steps(span, axis)
            found += size
        return found


def _plain(body: Sequence[Simple | Shifted | Loop]) -> Iterator[Statement]:
    return (part for part in body if not isinstance(part, Shifted))
