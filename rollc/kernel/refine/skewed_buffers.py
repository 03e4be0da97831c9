"""Skewing: numbers that a loop over diagonals computes lie diagonal by diagonal in memory.

In a plain array the cells of a diagonal ``a s + t`` are almost a row of steps apart: each is on a
cache line of its own, and no vector loads several.  In a skewed one the row of a cell is its
diagonal, modulo the number of steps along t: two diagonals with the same one have no step s in
common, so that the array has the same size.

Buffers that only such loops use are skewed.  What else their nests of numbers read is copied
before, a diagonal at a time; and what else they write is computed in a skewed twin, and copied
after.

What this pass does not do: skew vectors, whose elements are contiguous anyway, or buffers for
diagonals that do not come by each step along t.

Wolfe, Loop skewing: the wavefront method revisited (1986), IJPP 15(4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeGuard

from rollc.ir.graph import BATCH
from rollc.kernel.program import (
    Assign,
    Buffer,
    Fill,
    Function,
    Loop,
    Nest,
    Operand,
    Program,
    Ref,
    Shifted,
    Simple,
    Statement,
    reads,
    simple_statements,
    used,
    writes,
)

Skew = tuple[tuple[str, ...], int]
"""The axes of a loop over diagonals, the second of weight 1, and the weight of the first."""


def skew_buffers(program: Program) -> Program:
    """The program with the numbers of loops over diagonals in the order of these."""
    loops = [one for function in program.functions for one in function.body if _skew_of(one)]
    if not loops:
        return program
    uses: dict[str, set[Skew | None]] = {}
    for function in program.functions:
        for ref, skew in _uses(function.statements):
            uses.setdefault(ref.buffer, set()).add(skew)
    results = {result.ref.buffer for result in program.results}
    buffers = {
        buffer.name: replace(buffer, skew=_skew(buffer, uses[buffer.name]))
        if buffer.name in uses and buffer.name not in results
        else buffer
        for buffer in program.buffers
    }
    functions = tuple(_Copies(function, buffers).function() for function in program.functions)
    return replace(program, buffers=tuple(buffers.values()), functions=functions)


def _skew_of(statement: Statement) -> Skew | None:
    """The diagonals of a loop for which buffers can be skewed; None of anything else."""
    if not isinstance(statement, Loop) or not statement.across or statement.weights[1] != 1:
        return None
    return (statement.across, statement.axis), statement.weights[0]


def _skew(buffer: Buffer, uses: set[Skew | None]) -> int:
    """The weight of the only diagonals that use a buffer of numbers; 0 of one that is plain."""
    if buffer.role not in ("scratch", "tape") or buffer.shape or len(uses) > 1:
        return 0
    (use,) = uses
    return use[1] if use is not None and use[0] == buffer.axes else 0


def _uses(body: Iterable[Statement]) -> Iterator[tuple[Ref, Skew | None]]:
    """The uses of buffers but for fills, each with the diagonals that it is on."""
    for statement in body:
        skew = _skew_of(statement)
        for simple in simple_statements([statement]):
            if not isinstance(simple, Fill):
                yield from ((ref, skew) for ref in (*reads(simple), *writes(simple)))
            elif isinstance(simple.initial, Ref):
                yield simple.initial, None


class _Copies:
    """The copies in a function; the buffers are added to ``buffers``."""

    def __init__(self, function: Function, buffers: dict[str, Buffer]) -> None:
        self.whole = function
        self.buffers = buffers
        self.filled = {one.buffer for one in function.body if isinstance(one, Fill)}
        self.twins: dict[tuple[str, Skew], str] = {}

    def function(self) -> Function:
        made = [self._loop(one) if isinstance(one, Loop) else one for one in self.whole.body]
        body: list[Statement] = []
        for statement in made:
            body.append(statement)
            if isinstance(statement, Fill):
                twins = [twin for (name, _), twin in self.twins.items() if name == statement.buffer]
                body += [replace(statement, buffer=twin) for twin in twins]
        found = tuple(body)
        if found == self.whole.body:
            return self.whole
        return replace(self.whole, body=found, buffers=used((*self.whole.prologue, *found)))

    def _loop(self, loop: Loop) -> Loop:
        skew = _skew_of(loop)
        if skew is None:
            return loop
        own = {
            assign.store.buffer
            for nest in loop.simple()
            if _is_of_numbers(nest, loop)
            for assign in nest.body
            if assign.store is not None and self._is_plain(assign.store, skew)
        }
        for name in sorted(own):
            buffer = self.buffers[name]
            if not buffer.around or name in self.filled:
                twin = self._named(f"{name}@diagonals")
                self.buffers[twin] = replace(buffer, name=twin, role="scratch", skew=skew[1])
                self.twins[name, skew] = twin
        body: list[Simple | Shifted | Loop] = []
        for part in loop.body:
            if isinstance(part, Shifted):
                body.append(replace(part, body=tuple(self._statements(part.body, loop, skew))))
        plain = [part for part in loop.body if not isinstance(part, Shifted | Loop)]
        body += self._statements(plain, loop, skew)
        return replace(loop, body=tuple(body))

    def _named(self, name: str) -> str:
        while name in self.buffers:
            name += "'"
        return name

    def _is_plain(self, ref: Ref, skew: Skew) -> bool:
        """Whether a reference is to numbers at the cells of a diagonal, almost a row apart."""
        buffer = self.buffers[ref.buffer]
        plain = buffer.kind == "float" and not (buffer.shape or buffer.skew)
        return plain and buffer.axes == skew[0] and ref.row == "step"

    def _statements(self, body: Iterable[Simple], loop: Loop, skew: Skew) -> Iterator[Simple]:
        """The statements of a diagonal, with the copies before and after each nest of numbers."""
        copies: dict[Ref, Ref] = {}
        for statement in body:
            if not _is_of_numbers(statement, loop):
                yield statement
                continue
            for ref in dict.fromkeys(reads(statement)):
                twin = (ref.buffer, skew) in self.twins
                if self._is_plain(ref, skew) and not twin and ref not in copies:
                    copies[ref] = copy = self._copy(ref, loop.across)
                    yield self._moved(ref, copy, loop.across)
            nest = replace(
                statement,
                body=tuple(self._assign(assign, copies, skew) for assign in statement.body),
            )
            yield nest
            for old, new in zip(statement.body, nest.body, strict=True):
                if old.store is not None and old.store != new.store:
                    assert new.store is not None
                    yield self._moved(new.store, old.store, loop.across)

    def _copy(self, ref: Ref, across: str) -> Ref:
        """A buffer for the values of a reference on one diagonal."""
        source = self.buffers[ref.buffer]
        name = self._named(f"{ref.buffer}@diagonal")
        self.buffers[name] = Buffer(
            name, "scratch", source.kind, (), axes=(across,), batch=source.batch
        )
        return Ref(name)

    def _moved(self, source: Ref, target: Ref, across: str) -> Nest:
        over = (across, *((BATCH,) if self.buffers[source.buffer].batch else ()))
        return Nest(over, (), (Assign(target.buffer, "identity", (source,), store=target),))

    def _assign(self, assign: Assign, copies: dict[Ref, Ref], skew: Skew) -> Assign:
        operands: list[Operand] = []
        for operand in assign.operands:
            if isinstance(operand, Ref):
                operand = copies.get(operand) or self._twin(operand, skew)
            operands.append(operand)
        store = None if assign.store is None else self._twin(assign.store, skew)
        return replace(assign, operands=tuple(operands), store=store)

    def _twin(self, ref: Ref, skew: Skew) -> Ref:
        """The reference to the buffer that lies by these diagonals: others have twins of theirs."""
        return replace(ref, buffer=self.twins.get((ref.buffer, skew), ref.buffer))


def _is_of_numbers(statement: Simple, loop: Loop) -> TypeGuard[Nest]:
    return isinstance(statement, Nest) and not statement.shape and loop.across in statement.over
