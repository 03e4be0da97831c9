"""A program to Numba source: readable Python, with the nodes and spec lines it came from.

Every name in the source is made from letters, digits and underscores, and every other text
is a number or a word of the tables here: nothing that a spec says can become code.  The
functions allocate nothing and take their arrays as arguments, in the order of the
program's buffers; ``T`` is the number of steps and ``B`` the number of sequences.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Sequence
from math import prod

from rollc.graph.graph import Shape
from rollc.graph.operations import OPERATIONS
from rollc.kernel.program import (
    Assign,
    Fill,
    Function,
    Local,
    Loop,
    Nest,
    Number,
    Operand,
    Pack,
    Product,
    Program,
    Reduce,
    Ref,
    Routine,
    Simple,
    Span,
    Times,
)

_RESERVED = frozenset(
    [*keyword.kwlist, "T", "B", "F", "t", "n", "k", "r", "math", "np", "njit", "lib", "kernel"]
    + ["range", "abs", "min", "max", "sum", "print", "primal", "adjoint", "inputs"]
)
_HEADER = '''\
"""rollc kernel of the network {name}, {dtype}.

T: steps; B: sequences; t, n, k: one step, one sequence, one element.  A buffer that is
read with a delay has rows before and after the sequence, so that h[t + 1] may be h at
step t.  d_h is the cotangent of h.
"""

import math

import numpy as np
from numba import njit

from rollc.kernel import library as lib

F = np.{dtype}
kernel = njit(nogil=True, cache=True, error_model="numpy", fastmath={{"contract"}})
'''


def emit(program: Program, dtype: str) -> str:
    """The source of a program's functions, in float32 or float64."""
    if dtype not in ("float32", "float64"):
        raise ValueError(f"expected float32 or float64, found {dtype}")
    names = Names(program)
    parts = [_HEADER.format(name=names.word(program.name), dtype=dtype)]
    for function in program.functions:
        parts.append("\n".join(_Writer(program, names).function(function)))
    return "\n\n".join(parts) + "\n"


class Names:
    """A Python name for every node and buffer: unique, and never a word of the language."""

    def __init__(self, program: Program) -> None:
        self._known: dict[str, str] = {}
        self._taken: set[str] = set(_RESERVED)
        for buffer in program.buffers:
            self[buffer.name]

    @staticmethod
    def word(text: str) -> str:
        cleaned = re.sub(r"[^A-Za-z0-9]+", "_", text.replace("~", "d_")).strip("_")
        return cleaned if cleaned[:1].isalpha() else f"v_{cleaned}"

    def __getitem__(self, name: str) -> str:
        if name not in self._known:
            word = self.word(name)
            while word in self._taken:
                word += "_"
            self._taken.add(word)
            self._known[name] = word
        return self._known[name]

    def local(self, name: str) -> str:
        """The name of one element of a node."""
        return self["v_" + name]


class _Writer:
    def __init__(self, program: Program, names: Names) -> None:
        self.program = program
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        self.names = names
        self.lines: list[str] = []
        self.depth = 0
        self.bound = False  # whether a loop over time is around

    def function(self, function: Function) -> list[str]:
        arguments = ["T", "B", *(self.names[name] for name in function.buffers)]
        self._say("@kernel")
        self._say(f"def {function.phase}({_wrapped(arguments)}):")
        self.depth += 1
        for statement in function.body:
            if isinstance(statement, Loop):
                self._loop(statement)
            else:
                self._simple(statement)
        self.depth -= 1
        return self.lines

    def _say(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def _comment(self, names: Sequence[str], lines: Iterable[int] = ()) -> None:
        shown = ", ".join(dict.fromkeys(re.sub(r"[^\x20-\x7e]", "?", name) for name in names))
        where = sorted({line for line in lines if line})
        if where:
            span = str(where[0]) if len(where) == 1 else f"{where[0]}-{where[-1]}"
            shown += f"  (line {span})"
        for start in range(0, len(shown), 88):
            self._say(f"# {shown[start : start + 88]}")

    def _loop(self, loop: Loop) -> None:
        start, stop = _bounds(loop.span)
        steps = f"{start}, {stop}" if start != "0" else stop
        if loop.direction == "forward":
            self._say(f"for t in range({steps}):")
        else:
            self._say(f"for t in range({stop} - 1, {int(start) - 1}, -1):")
        self.depth += 1
        self.bound = True
        for statement in loop.body:
            self._simple(statement)
        self.bound = False
        self.depth -= 1

    def _simple(self, statement: Simple) -> None:
        match statement:
            case Nest():
                self._nest(statement)
            case Fill():
                self._fill(statement)
            case Pack():
                self._pack(statement)
            case Times():
                self._comment(statement.names, [statement.line])
                a, first = self._rows(statement.operand, statement.over, statement.span)
                out, place = self._rows(statement.out, statement.over, statement.span)
                panel = self.names[statement.panel]
                self._say(f"lib.times({a}, {first}, {panel}, {out}, {place})")
            case Product():
                self._comment([statement.name], [statement.line])
                a, first = self._rows(statement.a, statement.over, statement.span)
                b, second = self._rows(statement.b, statement.over, statement.span)
                out = self.names[statement.out.buffer]
                self._say(
                    f"lib.product({a}, {first}, {b}, {second}, {out}, {statement.accumulate})"
                )
            case Routine():
                self._routine(statement)
            case Reduce():
                self._reduce(statement)

    # Loops and places ------------------------------------------------------------------

    def _open(self, over: Iterable[str], shape: Shape, span: Span) -> int:
        """Open the loops of a statement; the number of them."""
        opened = 0
        for axis in over:
            if axis == "batch":
                self._say("for n in range(B):")
            else:
                start, stop = _bounds(span)
                steps = f"{start}, {stop}" if start != "0" else stop
                self._say(f"for t in range({steps}):")
            self.depth += 1
            opened += 1
        return opened + self._open_shape(shape)

    def _open_shape(self, shape: Shape) -> int:
        for position, size in enumerate(shape):
            self._say(f"for {_index(position)} in range({size}):")
            self.depth += 1
        return len(shape)

    def _lead(self, ref: Ref) -> list[str]:
        """The indices of a reference before its own: step and sequence."""
        buffer = self.buffers[ref.buffer]
        lead = []
        if buffer.time:
            if ref.row == "step":
                lead.append(_shifted("t", ref.shift))
            elif ref.row == "first":
                lead.append(str(ref.shift))
            else:
                lead.append(_shifted("T", ref.shift - 1))
        if buffer.batch:
            lead.append("n")
        elif buffer.time:
            lead.append("0")
        return lead

    def _element(self, ref: Ref) -> str:
        """One element, at the indices of the loops around."""
        buffer = self.buffers[ref.buffer]
        own = [_index(position) for position in range(len(ref.shape))]
        if len(buffer.shape) == 1:
            own = [_shifted(own[0], ref.offset) if own else str(ref.offset)]
        indices = [*self._lead(ref), *own] or ["0"]
        return f"{self.names[ref.buffer]}[{', '.join(indices)}]"

    def _view(self, ref: Ref) -> str:
        """A value as an array, or as a number if that is what it is."""
        if not ref.shape:
            return self._element(ref)
        buffer = self.buffers[ref.buffer]
        indices = self._lead(ref)
        if len(buffer.shape) == 1 and ref.shape != buffer.shape:
            indices.append(f"{ref.offset}:{ref.offset + ref.shape[0]}")
        name = self.names[ref.buffer]
        return f"{name}[{', '.join(indices)}]" if indices else name

    def _rows(self, ref: Ref, over: Sequence[str], span: Span) -> tuple[str, int]:
        """A vector of every row as a matrix, and the column at which it starts."""
        buffer = self.buffers[ref.buffer]
        name = self.names[ref.buffer]
        width = buffer.shape[0]
        rows = "B" if buffer.batch else "1"
        if buffer.time and "t" in over:
            start, stop = _bounds(span)
            low, high = _moved(start, ref.shift), _moved(stop, ref.shift)
            count = stop if start == "0" else f"({stop} - {start})"
            return f"{name}[{low}:{high}].reshape({count} * {rows}, {width})", ref.offset
        if buffer.time:
            (lead,) = self._lead(ref)[:1]
            return f"{name}[{lead}]", ref.offset
        if buffer.batch:
            return name, ref.offset
        return f"{name}.reshape(1, {width})", ref.offset

    def _operand(self, operand: Operand) -> str:
        match operand:
            case Local():
                return self.names.local(operand.name)
            case Number():
                return _number(operand.value)
            case Ref():
                return self._element(operand)

    # Statements ------------------------------------------------------------------------

    def _nest(self, nest: Nest) -> None:
        self._comment([a.name for a in nest.body], [a.line for a in nest.body])
        opened = self._open(nest.over, (), nest.span)
        # What does not change along the elements is read once.
        shared: dict[Ref, str] = {}
        if nest.shape:
            stored = {assign.store.buffer for assign in nest.body if assign.store is not None}
            for assign in nest.body:
                for operand in assign.operands:
                    if (
                        isinstance(operand, Ref)
                        and not operand.shape
                        and operand.buffer not in stored
                        and operand not in shared
                    ):
                        name = self.names[f"v_{operand.buffer}@{len(shared)}"]
                        self._say(f"{name} = {self._element(operand)}")
                        shared[operand] = name
        opened += self._open_shape(nest.shape)
        for assign in nest.body:
            self._assign(assign, shared)
        self.depth -= opened

    def _assign(self, assign: Assign, shared: dict[Ref, str]) -> None:
        operands = []
        for operand in assign.operands:
            known = shared.get(operand) if isinstance(operand, Ref) else None
            operands.append(known or self._operand(operand))
        options = dict(assign.options)
        match assign.operation:
            case "spread" | "last" | "first":
                value = operands[0]
            case "impulse":
                at = "0" if options["at"] == "first" else "T - 1"
                value = f"{operands[0]} if t == {at} else F(0)"
            case "extent":
                value = "F(B)" if options["axis"] == "batch" else "F(T)"
            case operation:
                value = _expression(OPERATIONS[operation].code, operands)
        name = self.names.local(assign.name)
        self._say(f"{name} = {value}")
        if assign.store is not None:
            self._say(f"{self._element(assign.store)} = {name}")

    def _fill(self, fill: Fill) -> None:
        buffer = self.buffers[fill.buffer]
        self._comment([f"{fill.buffer} outside the sequence"])
        sides = [("0", str(buffer.before), "r")] if buffer.before else []
        if buffer.after:
            low = _shifted("T", buffer.before)
            sides.append((low, _shifted("T", buffer.before + buffer.after), f"r - {low}"))
        for low, high, row in sides:
            self._say(
                f"for r in range({low}, {high}):" if low != "0" else f"for r in range({high}):"
            )
            self.depth += 1
            opened = 1
            if buffer.batch:
                opened += self._open(("batch",), (), Span())
            opened += self._open_shape(buffer.shape)
            own = [_index(position) for position in range(len(buffer.shape))]
            place = ", ".join(["r", "n" if buffer.batch else "0", *own])
            value = "F(0)"
            if isinstance(fill.initial, Number):
                value = _number(fill.initial.value)
            elif isinstance(fill.initial, Ref) and fill.depth:
                initial = self.buffers[fill.initial.buffer]
                indices = [*(["n"] if initial.batch else []), row, *own]
                value = f"{self.names[fill.initial.buffer]}[{', '.join(indices)}]"
            elif isinstance(fill.initial, Ref):
                value = self._element(fill.initial)
            self._say(f"{self.names[fill.buffer]}[{place}] = {value}")
            self.depth -= opened

    def _pack(self, pack: Pack) -> None:
        self._comment([pack.panel])
        offset = 0
        for part in pack.parts:
            shape = self.buffers[part.weight].shape
            self._say(
                f"lib.pack({self.names[part.weight]}, {part.transposed}, "
                f"{self.names[pack.panel]}, {offset})"
            )
            offset += shape[0] if part.transposed else shape[1]

    def _reduce(self, reduce: Reduce) -> None:
        self._comment([reduce.name], [reduce.line])
        out = self._element(reduce.out)
        value = self._operand(reduce.operand)
        extreme = reduce.operation in ("max_over", "min_over")
        start = {"max_over": "F(-np.inf)", "min_over": "F(np.inf)"}.get(reduce.operation, "F(0)")
        opened = self._open(reduce.kept, reduce.shape, reduce.span)
        self._say(f"{out} = {start}")
        self.depth -= opened
        axes = [axis for axis in ("t", "batch") if axis in (*reduce.over, *reduce.kept)]
        opened = self._open(axes, reduce.shape, reduce.span)
        if extreme:
            sign = ">" if reduce.operation == "max_over" else "<"
            # A NaN is taken, and then stays: no comparison with it holds.
            self._say(f"if {value} {sign} {out} or {value} != {value}:")
            self._say(f"    {out} = {value}")
        else:
            self._say(f"{out} += {value}")
        self.depth -= opened
        if reduce.operation == "mean_over":
            start_, stop = _bounds(reduce.span)
            steps = stop if start_ == "0" else f"({stop} - {start_})"
            counts = ["B" if axis == "batch" else steps for axis in reduce.over]
            opened = self._open(reduce.kept, reduce.shape, reduce.span)
            self._say(f"{out} /= F({' * '.join(counts)})")
            self.depth -= opened

    def _routine(self, routine: Routine) -> None:
        self._comment([routine.name], [routine.line])
        if routine.accumulate:
            self._say(f"{self.names[routine.out.buffer]}[:] = F(0)")
        opened = self._open(routine.over, (), routine.span)
        for line in self._calls(routine):
            self._say(line)
        self.depth -= opened

    def _calls(self, routine: Routine) -> Iterator[str]:
        options = dict(routine.options)
        out = self._view(routine.out)
        operands = [
            self._view(operand) if isinstance(operand, Ref) else self._operand(operand)
            for operand in routine.operands
        ]
        shapes = [operand.shape if isinstance(operand, Ref) else () for operand in routine.operands]
        axis = options.get("axis", 0)
        assert isinstance(axis, int)
        match routine.operation:
            case "matmul":
                kind = "matrix_vector" if len(shapes[1]) == 1 else "matrix_matrix"
                flags = [bool(options.get("transpose_a"))]
                if kind == "matrix_matrix":
                    flags.append(bool(options.get("transpose_b")))
                yield _call(kind, *operands, out, *flags)
            case "outer" | "embed_adjoint":
                yield _call(routine.operation, *operands, out, routine.accumulate)
            case "sum" | "mean" | "max" | "min":
                yield from self._reduction(routine, axis, shapes[0], operands[0], out)
            case "slice":
                start, stop = options["start"], options["stop"]
                assert isinstance(start, int) and isinstance(stop, int)
                source, target = _folded(shapes[0], axis), _folded(routine.shape, axis)
                yield _call(
                    "copy_block",
                    f"{operands[0]}.reshape({source})",
                    start,
                    f"{out}.reshape({target})",
                    0,
                    stop - start,
                )
            case "pad":
                start = options["start"]
                assert isinstance(start, int)
                source, target = _folded(shapes[0], axis), _folded(routine.shape, axis)
                yield f"{out}[:] = F(0)"
                yield _call(
                    "copy_block",
                    f"{operands[0]}.reshape({source})",
                    0,
                    f"{out}.reshape({target})",
                    start,
                    shapes[0][axis],
                )
            case "concat":
                target = _folded(routine.shape, axis)
                place = 0
                for operand, shape in zip(operands, shapes, strict=True):
                    yield _call(
                        "copy_block",
                        f"{operand}.reshape({_folded(shape, axis)})",
                        0,
                        f"{out}.reshape({target})",
                        place,
                        shape[axis],
                    )
                    place += shape[axis]
            case "stack":
                size = prod(routine.shape[1:])
                for row, (operand, shape) in enumerate(zip(operands, shapes, strict=True)):
                    if shape:
                        yield _call(
                            "copy_block",
                            f"{operand}.reshape(1, 1, {size})",
                            0,
                            f"{out}.reshape(1, {routine.shape[0]}, {size})",
                            row,
                            1,
                        )
                    else:
                        yield f"{out}[{row}] = {operand}"
            case "repeat":
                before = prod(routine.shape[:axis])
                after = prod(routine.shape[axis + 1 :])
                target = _folded(routine.shape, axis)
                if shapes[0]:
                    yield _call(
                        "repeat",
                        f"{operands[0]}.reshape({before}, 1, {after})",
                        f"{out}.reshape({target})",
                    )
                else:
                    yield f"{out}[:] = {operands[0]}"
            case "normalise":
                epsilon = options["epsilon"]
                assert isinstance(epsilon, float)
                yield _call("normalise", *operands, repr(epsilon), out)
            case operation:
                code = OPERATIONS[operation].code
                if routine.shape:
                    yield _call(code, *operands, out)
                else:
                    yield f"{out} = {_call(code, *operands)}"

    @staticmethod
    def _reduction(
        routine: Routine, axis: int, shape: Shape, operand: str, out: str
    ) -> Iterator[str]:
        """A reduction within a value, along one dimension or along all."""
        if axis < 0:
            source, target = f"1, {prod(shape)}, 1", "1, 1, 1"
        else:
            source = _folded(shape, axis)
            target = f"{prod(shape[:axis])}, 1, {prod(shape[axis + 1 :])}"
        if routine.shape:
            result = f"{out}.reshape({target})"
        else:
            # One element: the slice of the array that holds it.
            head, _, last = out[:-1].rpartition("[")[2].rpartition(", ")
            name = out[: out.index("[")]
            lead = f"{head}, " if head else ""
            result = f"{name}[{lead}{last}:{last} + 1].reshape(1, 1, 1)"
        kind = "sum_along" if routine.operation in ("sum", "mean") else "extreme_along"
        flag = routine.operation in ("mean", "max")
        yield _call(kind, f"{operand}.reshape({source})", result, flag)


def _call(name: str, *arguments: object) -> str:
    return f"lib.{name}({', '.join(map(str, arguments))})"


def _expression(code: str, operands: Sequence[str]) -> str:
    """A table's expression, with the operands in their places."""
    return re.sub(r"\{(\d)\}", lambda found: operands[int(found[1])], code)


def _number(value: float) -> str:
    if value != value:
        return "F(np.nan)"
    if value in (float("inf"), float("-inf")):
        return "F(np.inf)" if value > 0 else "F(-np.inf)"
    return f"F({int(value)})" if value == int(value) and abs(value) < 1e6 else f"F({value!r})"


def _index(position: int) -> str:
    return "k" if position == 0 else f"k{position}"


def _shifted(name: str, shift: int) -> str:
    if shift == 0:
        return name
    return f"{name} + {shift}" if shift > 0 else f"{name} - {-shift}"


def _bounds(span: Span) -> tuple[str, str]:
    return str(span.start), "T" if span.stop is None else str(span.stop)


def _moved(bound: str, shift: int) -> str:
    return str(int(bound) + shift) if bound.isdigit() else _shifted(bound, shift)


def _folded(shape: Shape, axis: int) -> str:
    """A shape as three dimensions, the middle one being ``axis``."""
    return f"{prod(shape[:axis])}, {shape[axis]}, {prod(shape[axis + 1 :])}"


def _wrapped(arguments: Sequence[str]) -> str:
    line = ", ".join(arguments)
    if len(line) < 80:
        return line
    rows: list[str] = []
    row = "   "
    for argument in arguments:
        if len(row) + len(argument) > 92:
            rows.append(row)
            row = "   "
        row += f" {argument},"
    return "\n" + "\n".join([*rows, row]) + "\n"
