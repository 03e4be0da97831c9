"""Code generation of routines: a call of a library routine for each step and sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from rollc.backends.numba.codegen.history import write_tail, write_tail_start
from rollc.backends.numba.codegen.printer import Writer, folded, start
from rollc.backends.numba.codegen.spellings import CALLS
from rollc.ir.graph import Shape
from rollc.ir.operations import OPERATIONS
from rollc.ir.operations.operation import whole_option
from rollc.kernel.program import Operand, Ref, Routine, repeated


def write_routine(write: Writer, routine: Routine) -> None:
    """Write the loops of a routine and its calls."""
    write.comment([routine.name], [routine.line])
    if routine.accumulate and not routine.cleared:
        buffer = write.buffers[routine.out.buffer]
        opened = write.open(routine.kept, 1, routine.span)
        write.clear(routine.out, buffer.shape)
        write.depth -= opened
    before = repeated(routine)
    if routine.operation == "dot" and _vecdot(write, routine, before):
        return
    if routine.operation == "outer" and not before and _sum_of_each(write, routine):
        return
    opened = write.open(routine.over, 1, routine.span)
    if before:
        write.say(f"for j in range({prod(before)}):")
        write.depth += 1
        opened += 1
        routine, write.parts = _of_one(routine, before)
    _WRITERS.get(routine.operation, _template)(write, routine)
    write.parts = frozenset()
    write.depth -= opened


def _of_one(routine: Routine, before: Shape) -> tuple[Routine, frozenset[Ref]]:
    """The call for one element of the dimensions before those that a routine works on.

    Also the references to the part of a value that belongs to the element.
    """
    parts: set[Ref] = set()

    def part(ref: Operand) -> Operand:
        if not isinstance(ref, Ref) or ref.shape[: len(before)] != before:
            return ref
        own = replace(ref, shape=ref.shape[len(before) :])
        parts.add(own)
        return own

    out = part(routine.out)
    assert isinstance(out, Ref)
    operands = tuple(part(operand) for operand in routine.operands)
    shape = routine.shape[len(before) :]
    return replace(routine, out=out, operands=operands, shape=shape), frozenset(parts)


def _vecdot(write: Writer, routine: Routine, before: Shape) -> bool:
    """Write the dot products of all rows along two axes as one call, where they are that.

    Those ``before`` are several of a row, which are one call where there are two axes.
    """
    a, b = routine.operands
    out, span = routine.out, routine.span
    if (
        not routine.over
        or bool(write.buffers[out.buffer].shape) != bool(before)
        or not (isinstance(a, Ref) and isinstance(b, Ref) and a.shape and b.shape)
        or (before and (len(routine.over) < 2 or a.shape != b.shape))
    ):
        return False
    inner = routine.over[-2:]
    opened = write.open(routine.over[:-2], 1, span)

    def strides(ref: Ref) -> str:
        """The strides of the rows along both axes."""
        outer = write.stride(ref, inner[:1]) if len(inner) > 1 else "0"
        return f"({outer}, {write.stride(ref, inner[-1:])})"

    places = start("out", write.first_row(out, inner, span), out.offset)
    write.call(
        "vecdot_of_each" if before else "vecdot",
        write.array(a),
        write.array(b),
        out=write.array(out),
        size=prod(a.shape) // prod(before),
        count=prod(before) if before else None,
        shape=f"({write.count(inner[:-1], span)}, {write.count(inner[-1:], span)})",
        a_strides=strides(a),
        b_strides=strides(b),
        out_strides=strides(out),
        **start("a", write.first_row(a, inner, span), a.offset),
        **start("b", write.first_row(b, inner, span), b.offset),
        **(places if before else start("out", 0, write.first_row(out, inner, span))),
    )
    write.depth -= opened
    return True


def _sum_of_each(write: Writer, routine: Routine) -> bool:
    """Write a sum of outer products over the steps, for each sequence, as a call for each."""
    a, b = routine.operands
    out, span = routine.out, routine.span
    over = [axis for axis in routine.over if axis not in routine.kept]
    if not (routine.accumulate and routine.kept and over):
        return False
    if not (isinstance(a, Ref) and isinstance(b, Ref) and a.shape and b.shape):
        return False
    terms = over[-1:]
    opened = write.open([axis for axis in routine.over if axis not in terms], 1, span)
    write.call(
        "sum_outer_products_strided",
        write.array(a),
        write.array(b),
        out=write.array(out),
        terms=write.count(terms, span),
        a_size=prod(a.shape),
        b_size=prod(b.shape),
        a_stride=write.stride(a, terms),
        b_stride=write.stride(b, terms),
        **start("a", write.first_row(a, terms, span), a.offset),
        **start("b", write.first_row(b, terms, span), b.offset),
        **write.start("out", out),
    )
    write.depth -= opened
    return True


def _shapes(routine: Routine) -> list[Shape]:
    return [operand.shape if isinstance(operand, Ref) else () for operand in routine.operands]


def _template(write: Writer, routine: Routine) -> None:
    """Write the call of :data:`CALLS` for an operation, with its placeholders replaced."""
    entry = OPERATIONS[routine.operation]
    options = {**dict(entry.defaults), **dict(routine.options)}
    axis = whole_option(options, "axis", 0)
    refs: dict[str, Ref] = {"out": routine.out}
    words: dict[str, object] = {
        "accumulate": routine.accumulate or None,
        **{name: repr(value) for name, value in options.items()},
        **_sizes("", routine.shape),
    }
    for position, (operand, shape) in enumerate(
        zip(routine.operands, _shapes(routine), strict=True)
    ):
        if isinstance(operand, Ref) and operand.shape:
            refs[str(position)] = operand
            words[f"folded{position}"] = folded(shape, axis)
        else:
            words[str(position)] = write.operand(operand)
        words |= _sizes(str(position), shape)
    name, _, parameters = CALLS[routine.operation].removesuffix(")").partition("(")
    arrays: list[str] = []
    named: dict[str, object] = {}
    starts: dict[str, object] = {}
    for parameter, _, word in (text.partition("=") for text in parameters.split(", ")):
        key = word.strip("{}")
        if key in refs:
            if parameter == "out":
                named[parameter] = write.array(refs[key])
            else:
                arrays.append(write.array(refs[key]))
            starts |= write.start(parameter, refs[key])
        else:
            named[parameter] = words[key] if key != word else word
    into = "" if "out" in named else f"{write.element(routine.out)} = "
    write.call(name, *arrays, into=into, **named, **starts)


def _sizes(position: str, shape: Shape) -> dict[str, object]:
    """The placeholders for the sizes of an operand, or of the result."""
    sizes: dict[str, object] = {f"size{position}": prod(shape)}
    if len(shape) == 2:
        sizes |= {f"rows{position}": shape[0], f"columns{position}": shape[1]}
    return sizes


def _small_matmul(write: Writer, routine: Routine) -> None:
    """Write a product of two matrices at each step and sequence."""
    options = dict(routine.options)
    transpose_a, transpose_b = (bool(options.get(f"transpose_{side}")) for side in "ab")
    a, b = routine.operands
    assert isinstance(a, Ref) and isinstance(b, Ref)
    rows, inner = reversed(a.shape) if transpose_a else a.shape
    write.call(
        "small_matmul",
        write.array(a),
        write.array(b),
        out=write.array(routine.out),
        rows=rows,
        inner=inner,
        columns=routine.shape[1] if len(routine.shape) == 2 else 1,
        transpose_a=transpose_a or None,
        transpose_b=transpose_b or None,
        **write.start("a", a),
        **write.start("b", b),
        **write.start("out", routine.out),
    )


def _blocks(write: Writer, routine: Routine) -> None:
    """Write an operation that moves elements: a block of the result for each operand."""
    options = dict(routine.options)
    axis = whole_option(options, "axis", 0)
    out_shape = folded(routine.shape, axis)
    space = out_shape[1]
    x_start = whole_option(options, "start", 0)
    out_start = 0
    if routine.operation == "pad":
        write.clear(routine.out, routine.shape)
        out_start, x_start = x_start, 0
    operands = list(zip(routine.operands, _shapes(routine), strict=True))
    for operand, shape in operands:
        if routine.operation == "stack":
            length = count = 1
        else:
            length = shape[axis]
            count = space if routine.operation == "slice" else length
        if not isinstance(operand, Ref) or not shape:
            element = replace(routine.out, shape=(), offset=routine.out.offset + out_start)
            write.say(f"{write.element(element)} = {write.operand(operand)}")
        else:
            write.call(
                "copy_block",
                write.array(operand),
                out=write.array(routine.out),
                count=count,
                x_shape=(out_shape[0], length, out_shape[2]),
                out_shape=out_shape,
                x_start=x_start or None,
                out_start=out_start or None,
                **write.start("x", operand),
                **write.start("out", routine.out),
            )
        out_start += count


def _permute(write: Writer, routine: Routine) -> None:
    """Write a change of the order of dimensions."""
    order = dict(routine.options)["order"]
    (x,) = routine.operands
    assert isinstance(order, tuple) and isinstance(x, Ref)
    strides = [prod(x.shape[int(place) + 1 :]) for place in order]
    more = 4 - len(strides)
    write.call(
        "permute",
        write.array(x),
        out=write.array(routine.out),
        shape=(*(1,) * more, *routine.shape),
        strides=(*(0,) * more, *strides),
        **write.start("x", x),
        **write.start("out", routine.out),
    )


# Operations that are not the call of one routine.
_WRITERS: Mapping[str, Callable[[Writer, Routine], None]] = {
    "matmul": _small_matmul,
    "permute": _permute,
    "tail": write_tail,
    "tail_start": write_tail_start,
    **dict.fromkeys(("slice", "pad", "concat", "stack"), _blocks),
}
