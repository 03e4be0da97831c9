"""The order in which a program runs: functions, loops, blocks of steps, steps, statements.

What a statement does is what a subclass makes of it: :mod:`.interpreter` computes, and
:mod:`rollc.kernel.verification.verifier` keeps account of what is there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from rollc.ir.graph import ordered_axes
from rollc.kernel.interpretation.storage import Place, ProgramFault, Storage
from rollc.kernel.program import (
    Carry,
    Function,
    Loop,
    MatMul,
    Nest,
    Optional,
    OuterProduct,
    Reduce,
    Role,
    Routine,
    Shifted,
    Simple,
    simple_statements,
    writes,
)

OWN: frozenset[Role] = frozenset({"scratch", "block", "panel"})  # of one run of a function alone


class Walk(ABC):
    """Goes through the statements of a program as they run, for one number of steps."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.program = storage.program
        self.sizes: Mapping[str, int] = storage.sizes
        self._phases: frozenset[str] = frozenset()

    @abstractmethod
    def statement(self, statement: Simple, place: Place) -> None:
        """What a statement does; it is neither of those with statements in them, nor a carry."""

    def run(self, phases: Collection[str]) -> None:
        """Run some phases, in the order of the program."""
        self._phases = frozenset(phases)
        for function in self.program.functions:
            if function.phase in phases:
                self.function(function)

    def function(self, function: Function) -> None:
        arrays, buffers = self.storage.arrays, self.storage.buffers
        for name in function.buffers:
            if name not in buffers:
                raise ProgramFault(f"`{name}` is no buffer")
            if buffers[name].role == "leaf" and name not in arrays:
                raise KeyError(name)
            if buffers[name].role in OWN or name not in arrays:
                arrays[name] = self.storage.new(name)
        for statement in function.body:
            if isinstance(statement, Loop):
                self._loop(statement)
            else:
                self._simple(statement, Place())

    def _simple(self, statement: Simple, place: Place) -> None:
        if isinstance(statement, Optional):
            for inner in statement.body if statement.phase in self._phases else ():
                self._simple(inner, place)
            return
        self.statement(statement, placed(statement, place))

    def _loop(self, loop: Loop) -> None:
        if loop.blocks:
            for begin, end in self._blocks(loop):
                inside = Place(block=(begin, end))
                self._all([one for one in loop.before if not isinstance(one, Carry)], inside)
                self._steps(loop, begin, end, inside)
                self._all(loop.after, inside)
            return
        # Parts with a shift go on until the last of them is through with the sequence.
        longest = max((abs(one.shift) for one in loop.body if isinstance(one, Shifted)), default=0)
        steps = self.sizes[loop.axis]
        low, high = loop.span.start, steps if loop.span.stop is None else loop.span.stop
        if loop.direction == "forward":
            high += longest if loop.span.stop is None else 0
        else:
            low -= longest
        self._steps(loop, low, high, Place())

    def _blocks(self, loop: Loop) -> Iterator[tuple[int, int]]:
        """The blocks of a loop, what is carried from one to the next in its place."""
        steps, count = self.sizes[loop.axis], self.program.block_steps(self.sizes["batch"])
        starts = range(0, steps, count)
        ranges = [(begin, min(begin + count, steps)) for begin in starts]
        if loop.direction == "backward":
            ranges = [(max(end - count, 0), end) for end in range(steps, 0, -count)]
        for number, (begin, end) in enumerate(ranges):
            if number:
                self._next_block(loop, count, end - begin)
            yield begin, end

    def _next_block(self, loop: Loop, before: int, now: int) -> None:
        """Have new arrays for a block of ``now`` steps, behind one of ``before`` steps."""
        arrays, buffers = self.storage.arrays, self.storage.buffers
        written = {ref.buffer for one in simple_statements([loop]) for ref in writes(one)}
        carried = {one.buffer for one in loop.before if isinstance(one, Carry)}
        source, target = (before, 0) if loop.direction == "forward" else (0, now)
        for name in sorted(written):
            if buffers[name].role != "block":
                continue
            old, arrays[name] = arrays[name], self.storage.new(name)
            if name in carried:
                count = buffers[name].around
                arrays[name][target : target + count] = old[source : source + count]

    def _steps(self, loop: Loop, low: int, high: int, place: Place) -> None:
        steps = range(low, high)
        for now in steps if loop.direction == "forward" else reversed(steps):
            for part in loop.body:
                if isinstance(part, Shifted):
                    step = now - part.shift
                    if 0 <= step < self.sizes[loop.axis]:
                        self._all(part.body, replace(place, steps={loop.axis: step}))
                else:
                    self._simple(part, replace(place, steps={loop.axis: now}))

    def _all(self, statements: Sequence[Simple], place: Place) -> None:
        for statement in statements:
            self._simple(statement, place)


def placed(statement: Simple, place: Place) -> Place:
    """Where a statement runs, with the axes and the steps that it goes over itself."""
    match statement:
        case Nest() | MatMul() | OuterProduct() | Routine():
            return replace(place, over=statement.over, span=statement.span)
        case Reduce():
            over = ordered_axes((*statement.over, *statement.kept))
            return replace(place, over=over, span=statement.span)
    return place
