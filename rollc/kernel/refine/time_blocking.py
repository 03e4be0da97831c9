"""Time blocking (strip mining and loop fusion): statements over all steps join their loop.

A statement that computes all steps at once fills a buffer for all of them, which has left the
cache when the loop reads it.  Here it joins the loop and computes one block of steps at a time,
before the block's iterations, or after them where it reads values of the loop:

    a = x @ W  for all steps           for each block of steps:
    for each step t:                       a = x @ W  for its steps
        h = f(a[t], h[t-1])         ->     for each step t of the block:
    d = sum over t of a[t] h[t]                h = f(a[t], h[t-1])
                                           d += sum over them of a[t] h[t]

A block has as many rows as the cost model says, of all sequences together, so that a matrix
product is as fast as over all steps.  A buffer that only one block needs has no rows for the
others; rows that are read a few steps later are carried over to the next block.

What is guaranteed: all dependences.  Sums over the steps are accumulated block by block, and
rounded differently.  What this pass does not do: block loops over a part of the steps or with
shifts, or statements over another time axis.

Wolfe, Iteration space tiling for memory hierarchies (1987), SIAM PPSC 3.
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
        # The number of functions that use a buffer.
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
        """The statements of a function, with those that a loop takes in moved inside it."""
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
        """The statements before a loop whose values only it reads, at the current step."""
        inside = {id(statement) for statement in loop.simple()}
        readers: dict[str, list[tuple[Simple, Ref]]] = {}
        for other in simple_statements(body):
            for ref in reads(other):
                readers.setdefault(ref.buffer, []).append((other, ref))
        chosen: list[Simple] = []
        known = set(inside)
        for statement in reversed(body[:position]):
            if isinstance(statement, Loop) or not self._movable(statement, loop):
                continue
            names = {ref.buffer for ref in writes(statement)}
            if not all(self._private(name, loop) for name in names):
                continue
            mine = (each for name in names for each in readers.get(name, ()))
            if all(id(other) in known and ref.row == "step" for other, ref in mine):
                chosen.append(statement)
                known.add(id(statement))
        # A statement moves only with all others that use its buffers.
        chosen = self._closed(chosen, body, inside)
        return chosen[::-1]

    def _closed(
        self, chosen: list[Simple], body: list[Statement], inside: set[int]
    ) -> list[Simple]:
        """Those of some statements whose buffers no statement that stays outside uses."""
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
        """The packs that have to come before a loop, and the statements after it that join it.

        The latter read values of the loop that are computed by the end of a block; the former
        are the panels that they need.
        """
        made = {ref.buffer for statement in loop.simple() for ref in writes(statement)}
        late: set[str] = set()  # written by statements that stay after the loop
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
        """Whether a statement can run for a block of steps at a time."""
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
        """Whether a buffer is local to a function, has a value for each step, and no halo."""
        return not self.by_name[name].axis and self._own(name, loop)

    def _own(self, name: str, loop: Loop) -> bool:
        """Whether a buffer is local to a function and has a value for each step."""
        steps = self.by_name[name].axes == (loop.axis,)
        return steps and name not in self.results and self.shared[name] == 1

    def _ready(self, ref: Ref, loop: Loop) -> bool:
        """Whether the loop has computed the value of a read at the current step."""
        buffer = self.by_name[ref.buffer]
        if ref.row != "step" or buffer.axes != (loop.axis,):
            return False
        ahead = ref.shift - buffer.before
        return ahead <= 0 if loop.direction == "forward" else ahead >= 0

    def _short(self, loop: Loop, others: Iterable[Statement]) -> Iterator[str]:
        """The buffers that need only the rows of one block."""
        known = _touched(others)
        for name in self._written(loop):
            if name not in known and self._private(name, loop):
                yield name

    def _carried(
        self, loop: Loop, ahead: Sequence[Statement], behind: Sequence[Statement]
    ) -> Iterator[str]:
        """The buffers that need the rows of one block and a few of the block before."""
        fills = [part for part in ahead if isinstance(part, Fill)]
        known = _touched([part for part in ahead if not isinstance(part, Fill)])
        known |= _touched(behind) | {ref.buffer for fill in fills for ref in reads(fill)}
        for name in self._written(loop):
            buffer = self.by_name[name]
            back, ahead_of = buffer.before, buffer.after
            if loop.direction == "backward":
                back, ahead_of = ahead_of, back
            carried = buffer.axis == loop.axis and is_carried(back) and not ahead_of
            if carried and name not in known and self._own(name, loop):
                yield name

    def _written(self, loop: Loop) -> list[str]:
        """The buffers that a loop writes, and reads at the current step only."""
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
    return loop.span == Span() and not shifted and not loop.nested and not loop.across


def _sums(statements: Iterable[Simple]) -> list[str]:
    """The buffers that statements accumulate into."""
    return [
        statement.out.buffer
        for statement in simple_statements(statements)
        if isinstance(statement, OuterProduct | Reduce)
        or (isinstance(statement, Routine) and statement.accumulate)
    ]


def _of_block(statement: Simple) -> Simple:
    """A statement for the steps of a block; a sum accumulates those of all blocks."""
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
