"""Loops in blocks of steps: what is free of time runs close to the loop that needs it.

A statement that computes all steps at once fills a buffer for all of them, which the loop
reads only after it has left the cache.  Here it goes into the loop instead, and computes
the steps of one block in front of them, or after them where it reads what the loop
computes:

    a = x @ W  for all steps           for each block of steps:
    for each step t:                       a = x @ W  for its steps
        h = f(a[t], h[t-1])         ->     for each step t of the block:
    d = sum over t of a[t] h[t]                h = f(a[t], h[t-1])
                                           d += sum over them of a[t] h[t]

A block has as many steps as make up :data:`ROWS` rows of all sequences, or more of narrow
ones, so that a matrix product loses nothing.  A buffer that only one block needs has no rows
for the others; what is read a few steps back besides is carried over from the block before.

What is guaranteed: each statement still runs after all that it reads and before all that
reads it.  Sums over the steps are added up block by block, so they are rounded differently.
What this pass does not do: touch loops over a part of the steps, with shifts, or statements
that run over another time axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import prod

from rollc.kernel.cost_model import block_rows, is_carried
from rollc.kernel.program import (
    Buffer,
    Carry,
    Clear,
    Fill,
    Function,
    Loop,
    MatMul,
    Nest,
    Optional,
    OuterProduct,
    Pack,
    Program,
    Reduce,
    Ref,
    Routine,
    Shifted,
    Simple,
    Span,
    Statement,
    reads,
    simple_statements,
    used,
    writes,
)
from rollc.support.target import GENERIC, Target


def block_time(program: Program, rows: int | None = None, target: Target = GENERIC) -> Program:
    """The program with its loops in blocks of steps, of about ``rows`` rows each."""
    if program.steps is not None and program.steps <= 1:
        return program
    if rows is None:
        widest = max((prod(buffer.shape) for buffer in program.buffers if buffer.axes), default=1)
        rows = block_rows(target, widest)
    blocked = _Blocker(program)
    functions = tuple(blocked.function(function) for function in program.functions)
    if functions == program.functions:
        return program
    return replace(program, functions=functions, buffers=blocked.buffers(), block=rows)


class _Blocker:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.by_name = {buffer.name: buffer for buffer in program.buffers}
        self.results = {result.ref.buffer for result in program.results}
        # In how many functions a buffer is known.
        self.shared: dict[str, int] = {}
        for function in program.functions:
            for name in function.buffers:
                self.shared[name] = self.shared.get(name, 0) + 1
        self.short: set[str] = set()

    def buffers(self) -> tuple[Buffer, ...]:
        return tuple(
            replace(buffer, role="block") if buffer.name in self.short else buffer
            for buffer in self.program.buffers
        )

    def function(self, function: Function) -> Function:
        body = list(function.body)
        position = 0
        while position < len(body):
            loop = body[position]
            if isinstance(loop, Loop) and _whole(loop):
                body, position = self._filled(body, position, loop)
            position += 1
        if tuple(body) == function.body:
            return function
        return replace(function, body=tuple(body), buffers=used(body))

    def _filled(
        self, body: list[Statement], position: int, loop: Loop
    ) -> tuple[list[Statement], int]:
        """The statements around a loop, with those gone that now are inside."""
        before = self._before(body, position, loop)
        packs, after = self._after(body, position, loop)
        moved = {id(statement) for statement in (*before, *packs, *after)}
        cleared = [Clear(name) for name in _sums(after)]
        clears: list[Simple] = []
        for statement in after:
            names = {ref.buffer for ref in writes(statement)}
            mine = tuple(clear for clear in cleared if clear.buffer in names)
            if mine and isinstance(statement, Optional):
                clears.append(Optional(statement.phase, mine))
            else:
                clears.extend(mine)
        filled = replace(
            loop,
            before=tuple(_of_block(statement) for statement in before),
            after=tuple(_of_block(statement) for statement in after),
        )
        ahead = [statement for statement in body[:position] if id(statement) not in moved]
        behind = [statement for statement in body[position + 1 :] if id(statement) not in moved]
        carried = list(self._carried(filled, ahead, behind))
        filled = replace(filled, before=(*map(Carry, carried), *filled.before))
        if not filled.blocks:
            return body, position
        self.short.update(self._short(filled, [*ahead, *behind]), carried)
        return [*ahead, *packs, *clears, filled, *behind], len([*ahead, *packs, *clears])

    def _before(self, body: list[Statement], position: int, loop: Loop) -> list[Simple]:
        """The statements whose values only the loop reads, at its own step."""
        inside = {id(statement) for statement in loop.simple()}
        chosen: list[Simple] = []
        for statement in reversed(body[:position]):
            if isinstance(statement, Loop) or not self._movable(statement, loop):
                continue
            names = {ref.buffer for ref in writes(statement)}
            if not all(self._private(name, loop) for name in names):
                continue
            known = inside | {id(other) for other in chosen}
            readers = [
                (other, ref)
                for other in simple_statements(body)
                for ref in reads(other)
                if ref.buffer in names
            ]
            if all(id(other) in known and ref.row == "step" for other, ref in readers):
                chosen.append(statement)
        # A buffer moves with all that write to it.
        chosen = self._together(chosen, body, inside)
        return chosen[::-1]

    def _together(
        self, chosen: list[Simple], body: list[Statement], inside: set[int]
    ) -> list[Simple]:
        while True:
            known = inside | {id(statement) for statement in chosen}
            partly = {
                ref.buffer
                for other in simple_statements(body)
                if id(other) not in known
                for ref in (*writes(other), *reads(other))
            }
            kept = [
                statement
                for statement in chosen
                if not any(ref.buffer in partly for ref in writes(statement))
            ]
            if len(kept) == len(chosen):
                return kept
            chosen = kept

    def _after(
        self, body: list[Statement], position: int, loop: Loop
    ) -> tuple[list[Simple], list[Simple]]:
        """The statements that read what the loop has computed by the end of a block.

        In front of them, the panels that they may need: those can be packed at once.
        """
        made = {ref.buffer for statement in loop.simple() for ref in writes(statement)}
        late: set[str] = set()  # what the statements that stay behind the loop write
        packs: list[Simple] = []
        chosen: list[Simple] = []
        for statement in body[position + 1 :]:
            if isinstance(statement, Loop):
                for inner in statement.simple():
                    late.update(ref.buffer for ref in writes(inner))
                continue
            mine = list(reads(statement))
            fits = (
                self._movable(statement, loop)
                and any(ref.buffer in made for ref in mine)
                and not any(ref.buffer in late for ref in (*mine, *writes(statement)))
                and all(self._ready(ref, loop) for ref in mine if ref.buffer in made)
            )
            names = {ref.buffer for ref in writes(statement)}
            if fits:
                chosen.append(statement)
                made |= names
            elif _packs(statement) and not any(ref.buffer in made | late for ref in mine):
                packs.append(statement)
            else:
                late |= names
        return packs, chosen

    def _movable(self, statement: Simple, loop: Loop) -> bool:
        """Whether a statement can run for the steps of a block."""
        match statement:
            case Optional():
                return all(self._movable(inner, loop) for inner in statement.body)
            case OuterProduct():
                over, fits = statement.over, not statement.accumulate
            case Reduce():
                over, fits = statement.over, statement.operation == "sum_over"
            case Routine():
                over = statement.over
                fits = not (statement.accumulate and loop.axis in statement.kept)
            case Nest() | MatMul():
                over, fits = statement.over, True
            case _:
                return False
        others = {*over, *(statement.kept if isinstance(statement, Reduce) else ())}
        return (
            fits
            and loop.axis in over
            and others <= {loop.axis, "batch"}
            and statement.span == Span()
        )

    def _private(self, name: str, loop: Loop) -> bool:
        """Whether no one outside a function knows a buffer of values for each step."""
        return not self.by_name[name].axis and self._own(name, loop)

    def _own(self, name: str, loop: Loop) -> bool:
        """The same of a buffer that may have rows outside the sequence."""
        steps = self.by_name[name].axes == (loop.axis,)
        return steps and name not in self.results and self.shared[name] == 1

    def _ready(self, ref: Ref, loop: Loop) -> bool:
        """Whether the loop has computed what is read, for the step at hand."""
        buffer = self.by_name[ref.buffer]
        if ref.row != "step" or buffer.axes != (loop.axis,):
            return False
        ahead = ref.shift - buffer.before
        return ahead <= 0 if loop.direction == "forward" else ahead >= 0

    def _short(self, loop: Loop, others: Iterable[Statement]) -> Iterator[str]:
        """The buffers that a block alone needs."""
        known = _touched(others)
        for name in self._written(loop):
            if name not in known and self._private(name, loop):
                yield name

    def _carried(
        self, loop: Loop, ahead: Sequence[Statement], behind: Sequence[Statement]
    ) -> Iterator[str]:
        """The buffers that a block needs with a few rows of the one before."""
        fills = [part for part in ahead if isinstance(part, Fill)]
        known = _touched([part for part in ahead if not isinstance(part, Fill)])
        known |= _touched(behind) | {ref.buffer for fill in fills for ref in reads(fill)}
        for name in self._written(loop):
            buffer = self.by_name[name]
            back, ahead_of = buffer.before, buffer.after
            if loop.direction == "backward":
                back, ahead_of = ahead_of, back
            near = buffer.axis == loop.axis and is_carried(back) and not ahead_of
            if near and name not in known and self._own(name, loop):
                yield name

    def _written(self, loop: Loop) -> list[str]:
        """What a loop writes, and reads at none but its own steps."""
        inner = list(simple_statements(loop.simple()))
        names = dict.fromkeys(ref.buffer for statement in inner for ref in writes(statement))
        elsewhere = {
            ref.buffer for statement in inner for ref in reads(statement) if ref.row != "step"
        }
        return [name for name in names if name not in elsewhere]


def _touched(statements: Iterable[Statement]) -> set[str]:
    return {
        ref.buffer
        for statement in simple_statements(statements)
        for ref in (*reads(statement), *writes(statement))
    }


def _packs(statement: Simple) -> bool:
    if isinstance(statement, Optional):
        return all(_packs(inner) for inner in statement.body)
    return isinstance(statement, Pack)


def _whole(loop: Loop) -> bool:
    shifted = any(isinstance(part, Shifted) for part in loop.body)
    return loop.span == Span() and not shifted


def _sums(statements: Iterable[Simple]) -> list[str]:
    """The buffers that statements add to."""
    return [
        statement.out.buffer
        for statement in simple_statements(statements)
        if isinstance(statement, OuterProduct | Reduce)
        or (isinstance(statement, Routine) and statement.accumulate)
    ]


def _of_block(statement: Simple) -> Simple:
    """A statement for the steps of a block; a sum adds to the blocks before."""
    span = Span(block=True)
    match statement:
        case Optional():
            return replace(statement, body=tuple(_of_block(inner) for inner in statement.body))
        case OuterProduct() | Reduce():
            return replace(statement, span=span, accumulate=True)
        case Routine():
            return replace(statement, span=span, cleared=statement.accumulate)
        case Nest() | MatMul():
            return replace(statement, span=span)
    raise AssertionError(statement)
