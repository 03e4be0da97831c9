"""The code of routines: a call of a library routine for each place that they run at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from math import prod

from rollc.backends.numba.codegen.elementwise import integer
from rollc.backends.numba.codegen.history import write_tail, write_tail_start
from rollc.backends.numba.codegen.printer import Writer, folded
from rollc.backends.numba.codegen.spellings import CALLS
from rollc.ir.graph import Shape
from rollc.ir.operations import OPERATIONS
from rollc.kernel.program import Ref, Routine

# Operations that only move elements.
_MOVES = frozenset({"slice", "pad", "concat", "stack", "repeat"})


def write_routine(write: Writer, routine: Routine) -> None:
    """A call of a routine for each place."""
    write.comment([routine.name], [routine.line])
    if routine.accumulate and not routine.cleared:
        buffer = write.buffers[routine.out.buffer]
        opened = write.open(routine.kept, 1, routine.span)
        write.call("clear", write.value(routine.out), prod(buffer.shape))
        write.depth -= opened
    if routine.operation == "dot" and _dots(write, routine):
        return
    opened = write.open(routine.over, 1, routine.span)
    shapes = [operand.shape if isinstance(operand, Ref) else () for operand in routine.operands]
    if routine.operation == "matmul":
        _matrices(write, routine, shapes)
    elif routine.operation == "tail":
        write_tail(write, routine)
    elif routine.operation == "tail_start":
        write_tail_start(write, routine)
    elif routine.operation in _MOVES:
        _blocks(write, routine, shapes)
    else:
        _template(write, routine, shapes)
    write.depth -= opened


def _dots(write: Writer, routine: Routine) -> bool:
    """Write the sums of products of all rows along two axes as one call, if that can be."""
    a, b = routine.operands
    out, span = routine.out, routine.span
    if (
        not routine.over
        or write.buffers[out.buffer].shape
        or not (isinstance(a, Ref) and isinstance(b, Ref) and a.shape and b.shape)
    ):
        return False
    inner = routine.over[-2:]
    opened = write.open(routine.over[:-2], 1, span)

    def rows(ref: Ref) -> list[str]:
        """The first of the rows, and how far it is from one to the next along both axes."""
        apart = write.stride(ref, inner[:1]) if len(inner) > 1 else "0"
        return [write.first_row(ref, inner, span), apart, write.stride(ref, inner[-1:])]

    write.call(
        "dots",
        *(write.names.array(a.buffer), *rows(a), a.offset),
        *(write.names.array(b.buffer), *rows(b), b.offset, prod(a.shape)),
        *(write.names.array(out.buffer), *rows(out)),
        write.count(inner[:-1], span),
        write.count(inner[-1:], span),
    )
    write.depth -= opened
    return True


def _template(write: Writer, routine: Routine, shapes: Sequence[Shape]) -> None:
    """The table's call of a library routine, with its words replaced."""
    entry = OPERATIONS[routine.operation]
    options = {**dict(entry.defaults), **dict(routine.options)}
    axis = integer(options, "axis", 0)
    words: dict[str, object] = {
        "out": write.value(routine.out),
        "shape": _listed(routine.shape),
        "accumulate": routine.accumulate,
        "epsilon": repr(options.get("epsilon")),
    }
    for position, (operand, shape) in enumerate(zip(routine.operands, shapes, strict=True)):
        shaped = isinstance(operand, Ref) and operand.shape
        words[str(position)] = (
            write.value(operand) if isinstance(operand, Ref) and shaped else write.operand(operand)
        )
        words[f"shape{position}"] = _listed(shape)
        words[f"folded{position}"] = _listed(folded(shape, axis)) if shaped else ""
    code = CALLS[routine.operation]
    name, _, arguments = code.partition("(")
    filled = re.sub(r"\{(\w+)\}", lambda word: str(words[word[1]]), arguments[:-1])
    if "{out}" in code:
        write.call(name, *filled.split(", "))
    else:
        write.say(f"{write.element(routine.out)} = lib.{name}({filled})")


def _matrices(write: Writer, routine: Routine, shapes: Sequence[Shape]) -> None:
    """A product of matrices that may differ from place to place."""
    options = dict(routine.options)
    transpose_a, transpose_b = (bool(options.get(f"transpose_{side}")) for side in "ab")
    height, inner = reversed(shapes[0]) if transpose_a else shapes[0]
    width = routine.shape[1] if len(routine.shape) == 2 else 1
    a, b = (write.value(operand) for operand in routine.operands if isinstance(operand, Ref))
    out = write.value(routine.out)
    write.call("matrix_product", a, transpose_a, b, transpose_b, out, height, inner, width)


def _blocks(write: Writer, routine: Routine, shapes: Sequence[Shape]) -> None:
    """What only moves elements: one block for each operand, side by side."""
    options = dict(routine.options)
    axis = integer(options, "axis", 0)
    outside, space, inside = folded(routine.shape, axis)
    start = integer(options, "start", 0)
    at = 0
    if routine.operation == "pad":
        write.call("clear", write.value(routine.out), prod(routine.shape))
        at, start = start, 0
    operands = list(zip(routine.operands, shapes, strict=True))
    if routine.operation == "repeat":
        operands *= space
    for operand, shape in operands:
        if routine.operation in ("stack", "repeat"):
            length = count = 1
        else:
            length = shape[axis]
            count = space if routine.operation == "slice" else length
        if not isinstance(operand, Ref) or not shape:
            place = routine.out.offset + at
            out = write.element(replace(routine.out, shape=(), offset=place))
            write.say(f"{out} = {write.operand(operand)}")
        else:
            write.call(
                "copy_block",
                write.value(operand),
                length,
                start,
                write.value(routine.out),
                space,
                at,
                outside,
                count,
                inside,
            )
        at += count


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
