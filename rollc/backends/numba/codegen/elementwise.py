"""Code generation of nests: loops over steps, sequences and elements, an operation a line.

Numbers that are contiguous over all steps and sequences have one flat loop (loop collapsing).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod

from rollc.backends.numba.codegen.history import row_of_step
from rollc.backends.numba.codegen.printer import Writer, shifted
from rollc.backends.numba.codegen.spellings import EXPRESSIONS
from rollc.ir.graph import BATCH, Attribute
from rollc.ir.operations import OPERATIONS
from rollc.ir.operations.operation import whole_option
from rollc.kernel.program import Assign, Nest, Number, Operand, Ref


class Elements:
    """Writes nests, and the operations in them."""

    def __init__(self, write: Writer) -> None:
        self.write = write

    def nest(self, nest: Nest) -> None:
        """Write a nest."""
        write = self.write
        write.comment([a.name for a in nest.body], [a.line for a in nest.body])
        if self._is_flat(nest):
            write.say(f"for n in simd_range({write.count(nest.over, nest.span)}):")
            write.depth += 1
            write.flat = (nest.over, nest.span)
            for assign in nest.body:
                self.assign(assign, {})
            write.flat = None
            write.depth -= 1
            return
        across = "" if write.diagonal is None else write.diagonal.across
        if nest.over != (across, BATCH) or prod(nest.shape) > 1:
            self._loops(nest, nest.over)
            return
        write.say("if B == 1:  # the cells of a diagonal are contiguous, where they are skewed")
        write.depth += 1
        write.single = True
        self._loops(nest, (across,))
        write.single = False
        write.depth -= 1
        write.say("else:")
        write.depth += 1
        self._loops(nest, nest.over)
        write.depth -= 1

    def _loops(self, nest: Nest, over: Sequence[str]) -> None:
        """Write a nest as loops over axes, in this order, and over elements."""
        write, size = self.write, prod(nest.shape)
        opened = write.open(over, 1, nest.span, size == 1)
        # Reads that are invariant in the loop over elements are hoisted.
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
                    name = write.names.local(operand.buffer, len(shared))
                    write.say(f"{name} = {write.element(operand)}")
                    shared[operand] = name
        if any(map(_is_expanded, nest.body)):
            # A loop over rows and one over their elements: no element needs a division.
            rows, columns = prod(nest.shape[:-1]), nest.shape[-1]
            write.say(f"for j in range({rows}):")
            write.say(f"    for i in simd_range({columns}):")
            write.depth += 2
            write.say(f"k = j * {columns} + i")
            opened += 2
        else:
            opened += write.open((), size, nest.span, True)
        for assign in nest.body:
            self.assign(assign, shared)
        write.depth -= opened

    def _is_flat(self, nest: Nest) -> bool:
        """Whether the elements of a nest of numbers are contiguous."""
        if nest.shape or len(nest.over) < 2:
            return False
        known = [OPERATIONS[each.operation] for each in nest.body if each.operation in OPERATIONS]
        if any(entry.counts or entry.sees_end for entry in known):  # they need the step's number
            return False
        refs = [ref for assign in nest.body for ref in _refs(assign)]
        running = [ref for ref in refs if self._runs(ref)]
        return (
            all(ref.row == "step" and not self.write.buffers[ref.buffer].shape for ref in running)
            and self.write.contiguous(running, nest.over) == nest.over
        )

    def _runs(self, ref: Ref) -> bool:
        """Whether a buffer has a row for each step or sequence."""
        buffer = self.write.buffers[ref.buffer]
        return bool(buffer.axes) or buffer.batch

    def operand(self, operand: Operand, known: Mapping[Ref, str]) -> str:
        """The expression of an operand: a variable where it has been read or computed before."""
        name = known.get(operand) if isinstance(operand, Ref) else None
        return name or self.write.operand(operand)

    def assign(self, assign: Assign, known: Mapping[Ref, str]) -> None:
        """Write one operation; ``known`` are the variables of values that are read already."""
        write = self.write
        if _is_expanded(assign):
            (ref,) = assign.operands
            assert isinstance(ref, Ref)
            operands = [write.element(ref, _index_of_row(ref.shape, dict(assign.options)))]
        else:
            operands = [self.operand(operand, known) for operand in assign.operands]
        name = write.names.local(assign.name)
        entry = OPERATIONS.get(assign.operation)
        if entry is not None and entry.variadic:
            value, *rest = operands
            for operand in rest:  # a line for each, since one expression could be too deep
                write.assign(name, value)
                value = _expression(assign.operation, [name, operand])
        else:
            value = self._value(assign, operands)
        write.assign(name, value)
        if assign.store is not None:
            write.assign(write.element(assign.store), name)

    def _value(self, assign: Assign, operands: Sequence[str]) -> str:
        write = self.write
        options = dict(assign.options)
        match assign.operation:
            case "spread" | "last" | "first" | "expand":
                return operands[0]
            case "impulse":
                axis = str(options["axis"])
                at = "0" if options["at"] == "first" else f"{write.steps(axis)} - 1"
                return f"{operands[0]} if {write.step(axis)} == {at} else F(0)"
            case "tail_steps":
                rows, *length = assign.operands
                whole = [write.whole(end) for end in length if isinstance(end, Number)]
                axis = str(options["axis"])
                return row_of_step(write, rows, axis, *(whole or operands[1:]))
            case "step":
                period = options.get("period")
                value = shifted(write.step(str(options["axis"])), whole_option(options, "shift", 0))
                return value if period is None else f"({value}) % {period}"
            case "position":
                return _window_index(write.step(str(options["axis"])), options)
            case "at":
                shape = options["shape"]
                assert isinstance(shape, tuple)
                index = "k" if prod(map(int, shape)) > 1 else "0"
                return f"({operands[0]} if {operands[1]} == {index} else F(0))"
            case "range":
                return "F(k)" if whole_option(options, "size", 1) > 1 else "F(0)"
            case "eye":
                size = whole_option(options, "size", 1)
                return f"(F(1) if k % {size + 1} == 0 else F(0))" if size > 1 else "F(1)"
            case "extent":
                axis = str(options["axis"])
                return "F(N)" if axis == BATCH else f"F({write.steps(axis)})"
        return _expression(assign.operation, operands, options)


def _is_expanded(assign: Assign) -> bool:
    """Whether an operation reads another element than the one that it gives."""
    (first, *_) = assign.operands or (None,)
    return assign.operation == "expand" and isinstance(first, Ref) and prod(first.shape) > 1


def _index_of_row(shape: Sequence[int], options: Mapping[str, Attribute]) -> str:
    """The element that is read of a shape which gets one more dimension, by row j and column i."""
    axis, size = whole_option(options, "axis", 0), whole_option(options, "size", 1)
    if axis == len(shape):
        return "j"
    columns, inner, outer = shape[-1], prod(shape[axis:-1]), prod(shape[:axis])
    before = f"j // {size * inner}" if outer > 1 else ""
    within = f"j % {inner}" if inner > 1 else ""
    if not before:
        row = within and f"({within})"
    elif within:
        row = f"({before} * {inner} + {within})"
    else:
        row = f"({before})"
    return f"{row} * {columns} + i" if row else "i"


def _refs(assign: Assign) -> list[Ref]:
    return [ref for ref in (*assign.operands, assign.store) if isinstance(ref, Ref)]


def _expression(
    operation: str, operands: Sequence[str], options: Mapping[str, Attribute] | None = None
) -> str:
    """The expression of an operation, with its operands and options."""

    def given(found: re.Match[str]) -> str:
        return operands[int(found[1])] if found[1].isdigit() else str((options or {})[found[1]])

    return re.sub(r"\{(\w+)\}", given, EXPRESSIONS[operation])


def _window_index(at: str, options: Mapping[str, Attribute]) -> str:
    """The expression of the operation ``position`` at a step."""
    start, size, divide, modulo = (
        whole_option(options, name, 0) for name in ("start", "size", "divide", "modulo")
    )
    counted = shifted(at, -start)
    inside = f"{start} <= {at} < {start + size}"
    return f"(({counted}) // {divide} % {modulo} if {inside} else {modulo})"
