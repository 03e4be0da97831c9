"""The control flow of a program: functions, loops, blocks of steps, steps, statements.

Subclasses say what a statement does: :mod:`.interpreter` computes it, and
:mod:`rollc.kernel.verification.account` notes which elements it reads and writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from rollc.ir.graph import ordered_axes
from rollc.ir.time.wavefront import cells, diagonals
from rollc.kernel.interpretation.storage import Domain, ProgramFault, Storage
from rollc.kernel.program import (
    PROLOGUE,
    REST,
    WHOLE,
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
    used,
    writes,
)

OWN: frozenset[Role] = frozenset({"scratch", "block", "panel"})  # allocated by each function


class Walk(ABC):
    """Visits the statements of a program in the order of execution, for given sizes."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.program = storage.program
        self.sizes: Mapping[str, int] = storage.sizes
        self.part = WHOLE  # what of each function is to run
        self.upwards = False  # in which order the cells of a diagonal are visited
        self._phases: frozenset[str] = frozenset()

    @abstractmethod
    def statement(self, statement: Simple, domain: Domain) -> None:
        """Run a statement that contains no others and is no carry, in its iteration domain."""

    def run(self, phases: Collection[str]) -> None:
        """Run some phases, in the order of the program."""
        self._phases = frozenset(phases)
        for function in self.program.functions:
            if function.phase in phases:
                self.function(function)

    def function(self, function: Function) -> None:
        """Run one function; raises :class:`ProgramFault`, and ``KeyError`` for a missing leaf."""
        arrays, buffers = self.storage.arrays, self.storage.buffers
        body = {WHOLE: function.statements, PROLOGUE: function.prologue, REST: function.body}
        kept = {ref.buffer for one in function.prologue for ref in writes(one)}
        for name in function.buffers if self.part == WHOLE else used(body[self.part]):
            if name not in buffers:
                raise ProgramFault(f"`{name}` is no buffer")
            if buffers[name].role == "leaf" and name not in arrays:
                raise KeyError(name)
            if self.part == REST and name in kept:
                continue
            if buffers[name].role in OWN or name not in arrays:
                arrays[name] = self.storage.new(name)
        for statement in body[self.part]:
            if isinstance(statement, Loop):
                self._loop(statement, Domain())
            else:
                self._simple(statement, Domain())

    def _simple(self, statement: Simple, domain: Domain) -> None:
        if isinstance(statement, Optional):
            for inner in statement.body if statement.phase in self._phases else ():
                self._simple(inner, domain)
            return
        self.statement(statement, domain_of(statement, domain))

    def _loop(self, loop: Loop, domain: Domain) -> None:
        if loop.blocks:
            for begin, end in self._blocks(loop):
                inside = Domain(block=(begin, end))
                self._all([one for one in loop.before if not isinstance(one, Carry)], inside)
                self._steps(loop, begin, end, inside)
                self._all(loop.after, inside)
            return
        if loop.across:
            self._diagonals(loop, domain)
            return
        # Shifted parts need iterations beyond the sequence.
        longest = _longest_shift(loop)
        steps = self.sizes[loop.axis]
        low, high = loop.span.start, steps if loop.span.stop is None else loop.span.stop
        if loop.direction == "forward":
            high += longest if loop.span.stop is None else 0
        else:
            low -= longest
        self._steps(loop, low, high, domain)

    def _blocks(self, loop: Loop) -> Iterator[tuple[int, int]]:
        """The blocks of a loop, each after its carried rows have been copied."""
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
        """Allocate arrays for a block of ``now`` steps, after one of ``before`` steps."""
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

    def _steps(self, loop: Loop, low: int, high: int, domain: Domain) -> None:
        steps = range(low, high)
        for now in steps if loop.direction == "forward" else reversed(steps):
            for part in loop.body:
                step = now - part.shift if isinstance(part, Shifted) else now
                inside = replace(domain, steps={**domain.steps, loop.axis: step})
                if isinstance(part, Loop):
                    self._loop(part, inside)
                elif not isinstance(part, Shifted):
                    self._simple(part, inside)
                elif 0 <= step < self.sizes[loop.axis]:
                    self._all(part.body, inside)

    def _diagonals(self, loop: Loop, domain: Domain) -> None:
        """Run a loop over diagonals: each statement of one at all of its cells, in any order."""
        extents = self.sizes[loop.across], self.sizes[loop.axis]
        steps, longest = diagonals(loop.weights, *extents), _longest_shift(loop)
        forward = loop.direction == "forward"
        low, high = steps.start - (not forward) * longest, steps.stop + forward * longest
        for now in range(low, high) if forward else range(high - 1, low - 1, -1):
            for part in loop.body:
                diagonal = now - part.shift if isinstance(part, Shifted) else now
                found = list(cells(loop.weights, diagonal, *extents))
                for one in part.body if isinstance(part, Shifted) else (part,):
                    assert not isinstance(one, Loop)
                    for row, step in reversed(found) if self.upwards else found:
                        at = {**domain.steps, loop.across: row, loop.axis: step}
                        self._simple(one, replace(domain, steps=at, across=loop.across))

    def _all(self, statements: Sequence[Simple], domain: Domain) -> None:
        for statement in statements:
            self._simple(statement, domain)


def _longest_shift(loop: Loop) -> int:
    return max((abs(one.shift) for one in loop.body if isinstance(one, Shifted)), default=0)


def domain_of(statement: Simple, domain: Domain) -> Domain:
    """The iteration domain of a statement inside that of its loops."""
    match statement:
        case Nest() | MatMul() | OuterProduct() | Routine():
            over = statement.over
        case Reduce():
            over = ordered_axes((*statement.over, *statement.kept))
        case _:
            return domain
    own = tuple(axis for axis in over if axis != domain.across)
    return replace(domain, over=own, span=statement.span)
