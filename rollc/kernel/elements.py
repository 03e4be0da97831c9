"""The code of elementwise work: loops over places, and in them an operation a line.

Two things make numbers fast, whose loops have no elements inside.  Where the rows of all
steps and sequences follow each other, one loop goes over them.  And for one sequence, what
a recurrence of numbers reads of its own past is carried from step to step in variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod

from rollc.graph.graph import BATCH, Attribute
from rollc.graph.operations import OPERATIONS
from rollc.kernel.program import Assign, Loop, Nest, Number, Ref
from rollc.kernel.tails import row_of_step
from rollc.kernel.writer import Range, Writer, shifted

MOST_CARRIED = 8  # steps back; what is further is read from memory
_BY_STEP = frozenset({"impulse", "tail_steps", "step", "place"})


class Elements:
    """Writes nests, and recurrences that are nests of numbers alone."""

    def __init__(self, write: Writer) -> None:
        self.write = write
        self.carried: Mapping[Ref, str] = {}

    def nest(self, nest: Nest) -> None:
        write = self.write
        write.comment([a.name for a in nest.body], [a.line for a in nest.body])
        if self._is_row(nest):
            write.say(f"for n in range({write.count(nest.over, nest.span)}):")
            write.depth += 1
            write.along = (nest.over, nest.span)
            for assign in nest.body:
                self._assign(assign, {})
            write.along = None
            write.depth -= 1
            return
        size = prod(nest.shape)
        opened = write.open(nest.over, 1, nest.span)
        # What does not change along the elements is read once.
        shared: dict[Ref, str] = {}
        stored = {assign.store.buffer for assign in nest.body if assign.store is not None}
        for assign in nest.body if size > 1 else ():
            for operand in assign.operands:
                if (
                    isinstance(operand, Ref)
                    and prod(operand.shape) == 1
                    and operand.buffer not in stored
                    and operand not in shared
                ):
                    name = write.names[f"v_{operand.buffer}@{len(shared)}"]
                    write.say(f"{name} = {write.element(operand)}")
                    shared[operand] = name
        opened += write.open((), size, nest.span)
        for assign in nest.body:
            self._assign(assign, shared)
        write.depth -= opened

    def _is_row(self, nest: Nest) -> bool:
        """Whether the places of a nest of numbers follow each other in memory."""
        if nest.shape or len(nest.over) < 2:
            return False
        if any(assign.operation in _BY_STEP for assign in nest.body):
            return False
        refs = [ref for assign in nest.body for ref in _refs(assign)]
        running = [ref for ref in refs if self._runs(ref)]
        return (
            all(ref.row == "step" and not self.write.buffers[ref.buffer].shape for ref in running)
            and self.write.together(running, nest.over) == nest.over
        )

    def _runs(self, ref: Ref) -> bool:
        """Whether a buffer has a row for each step or sequence."""
        buffer = self.write.buffers[ref.buffer]
        return bool(buffer.axes) or buffer.batch

    def recurrence(self, loop: Loop, ranges: Sequence[Range], first: str) -> bool:
        """Write a recurrence of numbers for one sequence; False if it is none.

        Its loop goes over ``ranges``, which begin at the step ``first``.  Where there may be
        more sequences (:func:`batched`), the branch for those has to follow.
        """
        depths = self._depths(loop)
        if not depths:
            return False
        write = self.write
        branch = batched(loop)
        if branch:
            write.say("if B == 1:")
            write.depth += 1
            write.single = True
        sign = -1 if loop.direction == "forward" else 1
        names: dict[Ref, str] = {}
        for name, depth in depths.items():
            for back in range(1, depth + 1):
                ref = Ref(name, shift=write.buffers[name].before + sign * back)
                names[ref] = write.names[f"v_{name}@past{back}"]
                write.say(f"{names[ref]} = {write.at_step(ref, {loop.axis: first})}")
        self.carried = names
        for each in ranges:
            with write.steps_of(each):
                stored: dict[str, Assign] = {}
                for nest in loop.body:
                    assert isinstance(nest, Nest)
                    write.comment([a.name for a in nest.body], [a.line for a in nest.body])
                    for assign in nest.body:
                        self._assign(assign, {})
                        if assign.store is not None:
                            stored[assign.store.buffer] = assign
                for name, depth in depths.items():
                    mine = [
                        names[Ref(name, shift=write.buffers[name].before + sign * back)]
                        for back in range(1, depth + 1)
                    ]
                    for later, earlier in zip(mine[:0:-1], mine[-2::-1], strict=True):
                        write.say(f"{later} = {earlier}")
                    value = write.names.local(stored[name].name)
                    kind = write.buffers[name].kind
                    write.say(f"{mine[0]} = {f'F({value})' if kind == 'float' else value}")
        self.carried = {}
        if branch:
            write.single = False
            write.depth -= 1
            write.say("else:")
        return True

    def _depths(self, loop: Loop) -> dict[str, int]:
        """How far a loop reads back each of the numbers that it computes."""
        for nest in loop.body:
            if not isinstance(nest, Nest) or nest.shape or set(nest.over) - {BATCH}:
                return {}
        assigns = [assign for nest in loop.body if isinstance(nest, Nest) for assign in nest.body]
        made = {assign.store.buffer for assign in assigns if assign.store is not None}
        sign = 1 if loop.direction == "forward" else -1
        found: dict[str, int] = {}
        for ref in (ref for assign in assigns for ref in _refs(assign)):
            buffer = self.write.buffers[ref.buffer]
            back = sign * (buffer.before - ref.shift)
            plain = not buffer.shape and buffer.axes == (loop.axis,) and ref.row == "step"
            if ref.buffer in made and plain and 1 <= back <= MOST_CARRIED:
                found[ref.buffer] = max(found.get(ref.buffer, 0), back)
        return found

    def _assign(self, assign: Assign, shared: Mapping[Ref, str]) -> None:
        write = self.write
        operands = []
        for operand in assign.operands:
            known = None
            if isinstance(operand, Ref):
                known = shared.get(operand) or self.carried.get(operand)
            operands.append(known or write.operand(operand))
        name = write.names.local(assign.name)
        entry = OPERATIONS.get(assign.operation)
        if entry is not None and entry.variadic:
            value, *rest = operands
            for word in rest:  # two at a time, a line each: one expression could be too deep
                write.say(f"{name} = {value}")
                value = _expression(entry.code, [name, word])
        else:
            value = self._value(assign, operands)
        write.say(f"{name} = {value}")
        if assign.store is not None:
            write.say(f"{write.element(assign.store)} = {name}")

    def _value(self, assign: Assign, operands: Sequence[str]) -> str:
        write = self.write
        options = dict(assign.options)
        match assign.operation:
            case "spread" | "last" | "first":
                return operands[0]
            case "impulse":
                axis = str(options["axis"])
                at = "0" if options["at"] == "first" else f"{write.steps(axis)} - 1"
                return f"{operands[0]} if {write.step(axis)} == {at} else F(0)"
            case "tail_steps":
                rows, *length = assign.operands
                whole = [write.whole(each) for each in length if isinstance(each, Number)]
                axis = str(options["axis"])
                return row_of_step(write, rows, axis, *(whole or operands[1:]))
            case "step":
                period = options.get("period")
                value = shifted(write.step(str(options["axis"])), integer(options, "shift", 0))
                return value if period is None else f"({value}) % {period}"
            case "place":
                return _place(write.step(str(options["axis"])), options)
            case "at":
                shape = options["shape"]
                assert isinstance(shape, tuple)
                place = "k" if prod(map(int, shape)) > 1 else "0"
                return f"({operands[0]} if {operands[1]} == {place} else F(0))"
            case "extent":
                axis = str(options["axis"])
                return "F(N)" if axis == BATCH else f"F({write.steps(axis)})"
        return _expression(OPERATIONS[assign.operation].code, operands)


def batched(loop: Loop) -> bool:
    """Whether a recurrence of numbers runs for each sequence."""
    return any(BATCH in nest.over for nest in loop.body if isinstance(nest, Nest))


def _refs(assign: Assign) -> list[Ref]:
    return [ref for ref in (*assign.operands, assign.store) if isinstance(ref, Ref)]


def _expression(code: str, operands: Sequence[str]) -> str:
    """A table's expression, with the operands in their places."""
    return re.sub(r"\{(\d)\}", lambda found: operands[int(found[1])], code)


def _place(at: str, options: Mapping[str, Attribute]) -> str:
    """What the operation ``place`` gives at a place."""
    start, size, divide, modulo = (
        integer(options, name, 0) for name in ("start", "size", "divide", "modulo")
    )
    counted = shifted(at, -start)
    inside = f"{start} <= {at} < {start + size}"
    return f"(({counted}) // {divide} % {modulo} if {inside} else {modulo})"


def integer(options: Mapping[str, Attribute], name: str, default: int) -> int:
    """An attribute that is a whole number."""
    value = options.get(name, default)
    assert isinstance(value, int)
    return value
