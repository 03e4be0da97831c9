"""Reads of uninitialized elements and double writes, found with shadow memory.

A program is run on arrays of flags, written or not, for a few steps of one sequence in short
blocks.  An element that is read has to be written before, in the same phase or, on the tape, in
an earlier one.  The cells of a diagonal are visited in both orders, since each has to be computed
without another one.

Nethercote and Seward, How to shadow every byte of memory used by a program (2007), VEE.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from rollc.ir.graph import BATCH
from rollc.ir.verifier import Flaw
from rollc.kernel.interpretation.storage import Domain, ProgramFault, Storage, along
from rollc.kernel.interpretation.walk import Walk
from rollc.kernel.program import (
    Clear,
    Fill,
    Loop,
    MatMul,
    Nest,
    OuterProduct,
    Pack,
    Program,
    Reduce,
    Ref,
    Routine,
    Simple,
    reads,
    writes,
)

FAR = 8  # sequences are longer than delays up to this; of longer ones only initial values are read
BLOCK = 2  # steps


def account_flaws(program: Program) -> Iterator[Flaw]:
    """Elements that a program reads before it writes them, writes twice, or never writes."""
    reach = max((max(b.before, b.after) for b in program.buffers), default=0)
    counts = [1, 2 * BLOCK + 1 + min(reach, FAR)] if program.steps is None else [program.steps]
    short = replace(program, block=min(program.block, BLOCK))
    phases = [function.phase for function in program.functions]
    optional = [function.optional for function in program.functions if function.optional]
    found: dict[tuple[str | None, str], Flaw] = {}
    orders = [False, True] if any(_has_diagonals(f.body) for f in program.functions) else [False]
    wanted = [phases, [*phases, *optional]] if optional else [phases]
    for steps, asked, upwards in product(counts, wanted, orders):
        for flaw in _run(short, steps, asked, upwards):
            found.setdefault((flaw.node, flaw.problem), flaw)
    yield from found.values()


def _has_diagonals(body: Iterable[object]) -> bool:
    loops = [part for part in body if isinstance(part, Loop)]
    return any(loop.across or _has_diagonals(loop.body) for loop in loops)


def _run(program: Program, steps: int, phases: Collection[str], upwards: bool) -> list[Flaw]:
    sizes = {**dict.fromkeys(program.axes or ("t",), steps), BATCH: 1}
    storage = Storage(program, sizes, lambda buffer, shape: np.zeros(shape, np.bool_), True)
    account = _Account(storage)
    account.upwards = upwards
    for name, _ in program.leaves:
        buffer = storage.buffers[name]
        array = storage.arrays[name] = storage.new(name)
        storage.inside(buffer, array, buffer.before)[...] = True
    try:
        account.run(phases)
    except ProgramFault as fault:
        return [*account.flaws, Flaw(account.at, str(fault))]
    for result in program.results:
        if result.phase in phases:
            ref = result.ref
            if ref.buffer not in storage.arrays:
                account.flaws.append(Flaw(result.label, "is a result that no function writes"))
                continue
            array = storage.arrays[ref.buffer]
            inside = storage.inside(storage.buffers[ref.buffer], array, ref.shift)
            size = int(np.prod(ref.shape, dtype=int))
            if not inside[..., ref.offset : ref.offset + size].all():
                account.flaws.append(Flaw(result.label, "is a result that is not written whole"))
    return account.flaws


class _Account(Walk):
    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.flaws: list[Flaw] = []
        self.at: str | None = None
        self.cleared: set[str] = set()  # zeros that may be accumulated into, or written

    def statement(self, statement: Simple, domain: Domain) -> None:
        self.at = name_of(statement)
        match statement:
            case Nest():
                for assign in statement.body:
                    self.at = assign.name
                    for operand in assign.operands:
                        if isinstance(operand, Ref):
                            self._read(operand, domain)
                    if assign.store is not None:
                        self._write(assign.store, domain)
            case Fill():
                self._fill(statement)
            case Clear():
                self._write(self._whole(statement.buffer), self._rows(statement.buffer))
                self.cleared.add(statement.buffer)
            case Pack():
                for part in statement.parts:
                    self._read(self._whole(part.weight), domain)
                self._write(self._whole(statement.panel), domain)
            case _:
                for ref in reads(statement):
                    whole = isinstance(statement, MatMul) and ref.buffer == statement.panel
                    self._read(self._whole(ref.buffer) if whole else ref, domain)
                adds = isinstance(statement, OuterProduct | Reduce) and statement.accumulate
                if adds or (isinstance(statement, Routine) and statement.cleared):
                    (out,) = writes(statement)
                    self._read(out, domain)
                else:
                    for ref in writes(statement):
                        self._write(ref, domain)

    def _whole(self, name: str) -> Ref:
        return Ref(name, self.storage.buffers[name].shape)

    def _rows(self, name: str) -> Domain:
        """The domain of all rows of a buffer."""
        buffer = self.storage.buffers[name]
        return Domain((*buffer.axes, *((BATCH,) if buffer.batch else ())))

    def _read(self, ref: Ref, domain: Domain) -> None:
        view, _ = self.storage.view(ref, domain)
        if not view.all():
            self.flaws.append(Flaw(self.at, f"reads elements of `{ref.buffer}` not yet written"))

    def _write(self, ref: Ref, domain: Domain) -> None:
        view, _ = self.storage.view(ref, domain)
        # A buffer without a dimension for the loop is overwritten by every iteration.
        once = set(domain.steps) <= set(self.storage.buffers[ref.buffer].axes)
        if view.any() and once and (ref.buffer not in self.cleared):
            self.flaws.append(Flaw(self.at, f"writes elements of `{ref.buffer}` twice"))
        view[...] = True

    def _fill(self, fill: Fill) -> None:
        storage = self.storage
        buffer, array = storage.buffers[fill.buffer], storage.arrays[fill.buffer]
        others = self._rows(fill.buffer)
        others = replace(others, over=tuple(a for a in others.over if a != buffer.axis))
        if isinstance(fill.initial, Ref):
            self._read(fill.initial, others)
        steps = storage.steps(buffer, buffer.axis)
        position = buffer.axes.index(buffer.axis)
        last = array.shape[position]
        for rows in (slice(0, buffer.before), slice(buffer.before + steps, last)):
            array[along(position, rows)] = True


def name_of(statement: Simple) -> str:
    """The name of a statement in messages: the value that it computes, or its buffer."""
    match statement:
        case Nest():
            return statement.body[-1].name
        case Pack():
            return statement.panel
        case OuterProduct() | Routine() | Reduce():
            return statement.name
        case MatMul():
            return statement.names[0]
    names = [ref.buffer for ref in writes(statement)]
    return names[0] if names else type(statement).__name__.lower()
