"""A program to Numba source: readable Python, with the nodes and spec lines it came from.

Every name in the source is made from letters, digits and underscores, and every other text
is a number or a word of the tables here: nothing that a spec says can become code.  The
functions allocate nothing and take their arrays as arguments, in the order of the
program's buffers; ``T`` is the number of steps and ``B`` the number of sequences.
"""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from rollc.graph.graph import Attribute, Shape
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
    {
        *keyword.kwlist,
        *("T", "B", "F", "t", "n", "k", "r", "math", "np", "njit", "lib", "kernel"),
        *("range", "abs", "primal", "adjoint", "inputs", "exp", "sigmoid", "tanh"),
    }
)
_HEADER = '''\
"""rollc kernel of the network {name}, {dtype}.

T: steps; B: sequences; t, n, k: one step, one sequence, one element.  A buffer has a row
for each step and sequence; one that is read with a delay has rows before and after the
sequence too, so that h[(t + 1) * B + n, k] may be h at step t.  v_h is one element of h,
d_h is the cotangent of h.
"""

import math

import numpy as np
from numba import njit

from rollc.kernel import library as lib
from rollc.kernel.elementary import exp, sigmoid, tanh

F = np.{dtype}
lib.link(F{routines})
kernel = njit(
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath={{"contract"}},
    no_cfunc_wrapper=True,
)
'''


def emit(program: Program, dtype: str) -> str:
    """The source of a program's functions, in float32 or float64."""
    if dtype not in ("float32", "float64"):
        raise ValueError(f"expected float32 or float64, found {dtype}")
    names = Names(program)
    functions = [
        "\n".join(_Writer(program, names).function(function)) for function in program.functions
    ]
    used = sorted(set(re.findall(r"\blib\.(\w+)\(", "\n".join(functions))))
    header = _HEADER.format(
        name=names.word(program.name),
        dtype=dtype,
        routines="".join(f', "{name}"' for name in used),
    )
    return "\n\n".join([header, *functions]) + "\n"


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
        """What follows computes these nodes, of these lines of the spec."""
        shown = ", ".join(dict.fromkeys(re.sub(r"[^\x21-\x7e]", "?", name) for name in names))
        self._remark(shown, lines)

    def _remark(self, text: str, lines: Iterable[int] = ()) -> None:
        where = sorted({line for line in lines if line})
        if where:
            span = str(where[0]) if len(where) == 1 else f"{where[0]}-{where[-1]}"
            text += f"  (line {span})"
        width = 96 - 4 * self.depth
        for row in textwrap.wrap(text, width, break_on_hyphens=False) or [text]:
            self._say(f"# {row}")

    def _loop(self, loop: Loop) -> None:
        span = loop.span
        if loop.direction == "forward":
            self._say(f"for t in range({_range(span)}):")
        else:
            last = "T - 1" if span.stop is None else str(span.stop - 1)
            self._say(f"for t in range({last}, {span.start - 1}, -1):")
        self.depth += 1
        for statement in loop.body:
            self._simple(statement)
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
                self._times(statement)
            case Product():
                self._product(statement)
            case Routine():
                self._routine(statement)
            case Reduce():
                self._reduction(statement)

    # Loops and places ------------------------------------------------------------------

    def _open(self, over: Iterable[str], size: int, span: Span) -> int:
        """Open the loops of a statement, over axes and then elements; the number of them."""
        opened = 0
        for axis in over:
            if axis == "batch":
                self._say("for n in range(B):")
            else:
                self._say(f"for t in range({_range(span)}):")
            self.depth += 1
            opened += 1
        if size > 1:
            self._say(f"for k in range({size}):")
            self.depth += 1
            opened += 1
        return opened

    def _row(self, ref: Ref) -> str:
        """The row of a value, at the step and the sequence of the loops around."""
        buffer = self.buffers[ref.buffer]
        if not buffer.time:
            return "n" if buffer.batch else "0"
        if ref.row == "step":
            step = _shifted("t", ref.shift)
        elif ref.row == "first":
            step = str(ref.shift)
        else:
            step = _shifted("T", ref.shift - 1)
        if not buffer.batch:
            return step
        return f"{step} * B + n" if " " not in step else f"({step}) * B + n"

    def _element(self, ref: Ref) -> str:
        """One element, at the indices of the loops around."""
        column = _shifted("k", ref.offset) if prod(ref.shape) > 1 else str(ref.offset)
        return f"{self.names[ref.buffer]}[{self._row(ref)}, {column}]"

    def _value(self, ref: Ref) -> str:
        """A value as the library takes it: array, row, first column."""
        return f"{self.names[ref.buffer]}, {self._row(ref)}, {ref.offset}"

    def _first_row(self, ref: Ref, over: Sequence[str], span: Span) -> str:
        """The first of the rows over which a statement runs."""
        buffer = self.buffers[ref.buffer]
        if not buffer.time:
            return "0"
        step = str(span.start + ref.shift) if "t" in over else _shifted("t", ref.shift)
        if not buffer.batch or step == "0":
            return step
        return f"{step} * B" if " " not in step else f"({step}) * B"

    def _count(self, ref: Ref, over: Sequence[str], span: Span) -> str:
        """The number of those rows."""
        buffer = self.buffers[ref.buffer]
        counts = ["B"] if buffer.batch else []
        if buffer.time and "t" in over:
            counts.insert(0, _length(span))
        return " * ".join(counts) or "1"

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
        size = prod(nest.shape)
        opened = self._open(nest.over, 1, nest.span)
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
                    name = self.names[f"v_{operand.buffer}@{len(shared)}"]
                    self._say(f"{name} = {self._element(operand)}")
                    shared[operand] = name
        opened += self._open((), size, nest.span)
        for assign in nest.body:
            self._assign(assign, shared)
        self.depth -= opened

    def _assign(self, assign: Assign, shared: dict[Ref, str]) -> None:
        operands = []
        for operand in assign.operands:
            known = shared.get(operand) if isinstance(operand, Ref) else None
            operands.append(known or self._operand(operand))
        options = dict(assign.options)
        name = self.names.local(assign.name)
        match assign.operation:
            case "spread" | "last" | "first":
                value = operands[0]
            case "impulse":
                at = "0" if options["at"] == "first" else "T - 1"
                value = f"{operands[0]} if t == {at} else F(0)"
            case "extent":
                value = "F(B)" if options["axis"] == "batch" else "F(T)"
            case operation:
                entry = OPERATIONS[operation]
                if entry.variadic:  # two at a time, a line each: one expression could be too deep
                    value, *rest = operands
                    for operand in rest:
                        self._say(f"{name} = {value}")
                        value = _expression(entry.code, [name, operand])
                else:
                    value = _expression(entry.code, operands)
        self._say(f"{name} = {value}")
        if assign.store is not None:
            self._say(f"{self._element(assign.store)} = {name}")

    def _fill(self, fill: Fill) -> None:
        buffer = self.buffers[fill.buffer]
        name = re.sub(r"[^\x21-\x7e]", "?", fill.buffer)
        self._remark(f"{name} outside the sequence")
        size = prod(buffer.shape)
        sides = [("0", str(buffer.before), "r")] if buffer.before else []
        if buffer.after:
            low = _shifted("T", buffer.before)
            sides.append((low, _shifted("T", buffer.before + buffer.after), f"(r - {low})"))
        for low, high, depth in sides:
            self._say(f"for r in range({high if low == '0' else f'{low}, {high}'}):")
            self.depth += 1
            opened = 1 + self._open(("batch",) if buffer.batch else (), size, Span())
            value = "F(0)"
            if isinstance(fill.initial, Number):
                value = _number(fill.initial.value)
            elif isinstance(fill.initial, Ref) and fill.depth:
                element = "k" if size > 1 else "0"
                initial = fill.initial
                value = (
                    f"{self.names[initial.buffer]}[{self._row(initial)},"
                    f" {initial.offset} + {depth} * {size} + {element}]"
                )
            elif isinstance(fill.initial, Ref):
                value = self._element(fill.initial)
            row = "r * B + n" if buffer.batch else "r"
            column = "k" if size > 1 else "0"
            self._say(f"{self.names[fill.buffer]}[{row}, {column}] = {value}")
            self.depth -= opened

    def _pack(self, pack: Pack) -> None:
        self._comment([pack.panel])
        inner, columns = self.buffers[pack.panel].shape
        place = 0
        for part in pack.parts:
            height, width = self.buffers[part.weight].shape
            self._say(
                f"lib.pack({self.names[part.weight]}, {height}, {width}, {part.transposed},"
                f" {self.names[pack.panel]}, {place}, {inner}, {columns})"
            )
            place += height if part.transposed else width

    def _times(self, times: Times) -> None:
        self._comment(times.names, [times.line])
        inner, width = self.buffers[times.panel].shape
        a, out = times.operand, times.out
        self._call(
            "times",
            self.names[a.buffer],
            self._first_row(a, times.over, times.span),
            a.offset,
            self.names[times.panel],
            inner,
            width,
            self.names[out.buffer],
            self._first_row(out, times.over, times.span),
            out.offset,
            self._count(out, times.over, times.span),
        )

    def _product(self, product: Product) -> None:
        self._comment([product.name], [product.line])
        a, b = product.a, product.b
        self._call(
            "product",
            self.names[a.buffer],
            self._first_row(a, product.over, product.span),
            a.offset,
            a.shape[0],
            self.names[b.buffer],
            self._first_row(b, product.over, product.span),
            b.offset,
            b.shape[0],
            self.names[product.out.buffer],
            self._count(a, product.over, product.span),
            product.accumulate,
        )

    def _reduction(self, reduction: Reduce) -> None:
        self._comment([reduction.name], [reduction.line])
        out = self._element(reduction.out)
        value = self._operand(reduction.operand)
        size = prod(reduction.shape)
        extreme = reduction.operation in ("max_over", "min_over")
        start = {"max_over": "F(-np.inf)", "min_over": "F(np.inf)"}.get(reduction.operation, "F(0)")
        opened = self._open(reduction.kept, size, reduction.span)
        self._say(f"{out} = {start}")
        self.depth -= opened
        axes = [axis for axis in ("t", "batch") if axis in (*reduction.over, *reduction.kept)]
        opened = self._open(axes, size, reduction.span)
        if extreme:
            sign = ">" if reduction.operation == "max_over" else "<"
            # A NaN is taken, and then stays: no comparison with it holds.
            self._say(f"if {value} {sign} {out} or {value} != {value}:")
            self._say(f"    {out} = {value}")
        else:
            self._say(f"{out} += {value}")
        self.depth -= opened
        if reduction.operation == "mean_over":
            steps = _length(reduction.span)
            counts = ["B" if axis == "batch" else steps for axis in reduction.over]
            opened = self._open(reduction.kept, size, reduction.span)
            self._say(f"{out} /= F({' * '.join(counts)})")
            self.depth -= opened

    def _call(self, name: str, *arguments: object) -> None:
        """A call of a library routine, over several lines if it is long."""
        words = list(map(str, arguments))
        if sum(len(word) + 2 for word in words) + 4 * self.depth < 80:
            self._say(f"lib.{name}({', '.join(words)})")
            return
        self._say(f"lib.{name}(")
        row = "   "
        for word in words:
            if len(row) + len(word) + 4 * self.depth > 92:
                self._say(row)
                row = "   "
            row += f" {word},"
        self._say(row)
        self._say(")")

    def _routine(self, routine: Routine) -> None:
        self._comment([routine.name], [routine.line])
        if routine.accumulate:
            buffer = self.buffers[routine.out.buffer]
            opened = self._open(("batch",) if buffer.batch else (), 1, routine.span)
            self._call("clear", self._value(routine.out), prod(buffer.shape))
            self.depth -= opened
        opened = self._open(routine.over, 1, routine.span)
        self._body(routine)
        self.depth -= opened

    def _body(self, routine: Routine) -> None:
        """The calls for one place."""
        options = {**dict(OPERATIONS[routine.operation].defaults), **dict(routine.options)}
        shapes = [operand.shape if isinstance(operand, Ref) else () for operand in routine.operands]
        out = self._value(routine.out)
        # A shaped operand is a value of the library, a number is a number.
        operands = [
            self._value(operand)
            if isinstance(operand, Ref) and operand.shape
            else self._operand(operand)
            for operand in routine.operands
        ]
        axis = _integer(options, "axis", 0)
        match routine.operation:
            case "matmul":
                transpose_a = bool(options.get("transpose_a"))
                transpose_b = bool(options.get("transpose_b"))
                height, inner = reversed(shapes[0]) if transpose_a else shapes[0]
                width = routine.shape[1] if len(routine.shape) == 2 else 1
                self._call(
                    "matrix_product",
                    operands[0],
                    transpose_a,
                    operands[1],
                    transpose_b,
                    out,
                    height,
                    inner,
                    width,
                )
            case "outer":
                (height,), (width,) = shapes
                self._call(
                    "outer", operands[0], height, operands[1], width, out, routine.accumulate
                )
            case "dot":
                self._result(routine, "dot", *operands, shapes[0][0])
            case "transpose":
                self._call("transpose", operands[0], *shapes[0], out)
            case "embed":
                table = operands[0].rpartition(", ")[0]
                self._call("embed", table, operands[1], out, routine.shape[0])
            case "embed_adjoint":
                target = out.rpartition(", ")[0]
                self._call("embed_adjoint", *operands, target, *routine.shape, routine.accumulate)
            case "sum" | "mean" | "max" | "min":
                kind = "sum_along" if routine.operation in ("sum", "mean") else "extreme_along"
                outside, length, inside = _folded(shapes[0], axis)
                flag = routine.operation in ("mean", "max")
                self._call(kind, operands[0], out, outside, length, inside, flag)
            case "slice" | "pad" | "concat" | "stack" | "repeat":
                self._blocks(routine, shapes, axis)
            case "normalise":
                epsilon = options["epsilon"]
                assert isinstance(epsilon, float)
                self._call("normalise", operands[0], repr(epsilon), out, *routine.shape)
            case "one_hot":
                self._call("one_hot", operands[0], out, *routine.shape)
            case "softmax" | "log_softmax":
                self._call(routine.operation, operands[0], out, *routine.shape)
            case "logsumexp" | "argmax" | "cross_entropy":
                self._result(routine, routine.operation, *operands, shapes[0][0])
            case operation:
                raise AssertionError(f"no code for `{operation}`")

    def _result(self, routine: Routine, name: str, *arguments: object) -> None:
        """A routine that returns a number."""
        call = f"lib.{name}({', '.join(map(str, arguments))})"
        self._say(f"{self._element(routine.out)} = {call}")

    def _blocks(self, routine: Routine, shapes: Sequence[Shape], axis: int) -> None:
        """What only moves elements: one block for each operand, side by side."""
        options = dict(routine.options)
        outside, space, inside = _folded(routine.shape, axis)
        start = _integer(options, "start", 0)
        at = 0
        if routine.operation == "pad":
            self._call("clear", self._value(routine.out), prod(routine.shape))
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
            if not isinstance(operand, Ref):
                place = routine.out.offset + at
                out = f"{self.names[routine.out.buffer]}[{self._row(routine.out)}, {place}]"
                self._say(f"{out} = {self._operand(operand)}")
            else:
                self._call(
                    "copy_block",
                    self._value(operand),
                    length,
                    start,
                    self._value(routine.out),
                    space,
                    at,
                    outside,
                    count,
                    inside,
                )
            at += count


def _expression(code: str, operands: Sequence[str]) -> str:
    """A table's expression, with the operands in their places."""
    return re.sub(r"\{(\d)\}", lambda found: operands[int(found[1])], code)


def _number(value: float) -> str:
    if value != value:
        return "F(np.nan)"
    if value in (float("inf"), float("-inf")):
        return "F(np.inf)" if value > 0 else "F(-np.inf)"
    return f"F({int(value)})" if value == int(value) and abs(value) < 1e6 else f"F({value!r})"


def _shifted(name: str, shift: int) -> str:
    if shift == 0:
        return name
    return f"{name} + {shift}" if shift > 0 else f"{name} - {-shift}"


def _length(span: Span) -> str:
    """The number of steps of a span."""
    if span.stop is not None:
        return str(span.stop - span.start)
    return "T" if span.start == 0 else f"(T - {span.start})"


def _range(span: Span) -> str:
    stop = "T" if span.stop is None else str(span.stop)
    return stop if span.start == 0 else f"{span.start}, {stop}"


def _integer(options: Mapping[str, Attribute], name: str, default: int) -> int:
    value = options.get(name, default)
    assert isinstance(value, int)
    return value


def _folded(shape: Shape, axis: int) -> tuple[int, int, int]:
    """The sizes before, along and after a dimension; -1 is all dimensions as one."""
    if axis < 0:
        return 1, prod(shape), 1
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


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
