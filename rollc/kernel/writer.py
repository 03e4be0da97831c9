"""Lines of generated source, and how a value of a program is spelled in them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from math import prod

from rollc.kernel.names import Names, shown
from rollc.kernel.program import Buffer, Local, Number, Operand, Ref, Span


class Writer:
    """Collects lines at the depth of the loops that are open.

    The spellings are those inside the loops of a statement: ``T`` and ``B`` are the numbers
    of steps and sequences, ``t``, ``n`` and ``k`` the step, the sequence and the element.
    """

    def __init__(self, buffers: dict[str, Buffer], names: Names) -> None:
        self.buffers = buffers
        self.names = names
        self.lines: list[str] = []
        self.depth = 0

    def say(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def comment(self, names: Sequence[str], lines: Iterable[int] = ()) -> None:
        """What follows computes these nodes, of these lines of the spec."""
        self.remark(", ".join(dict.fromkeys(map(shown, names))), lines)

    def remark(self, text: str, lines: Iterable[int] = ()) -> None:
        where = sorted({line for line in lines if line})
        if where:
            span = str(where[0]) if len(where) == 1 else f"{where[0]}-{where[-1]}"
            text += f"  (line {span})"
        width = 96 - 4 * self.depth
        for row in textwrap.wrap(text, width, break_on_hyphens=False) or [text]:
            self.say(f"# {row}")

    def open(self, over: Iterable[str], size: int, span: Span) -> int:
        """Open the loops of a statement, over axes and then elements; the number of them."""
        opened = 0
        for axis in over:
            if axis == "batch":
                self.say("for n in range(B):")
            else:
                self.say(f"for t in range({step_range(span)}):")
            self.depth += 1
            opened += 1
        if size > 1:
            self.say(f"for k in range({size}):")
            self.depth += 1
            opened += 1
        return opened

    def row(self, ref: Ref) -> str:
        """The row of a value, at the step and the sequence of the loops around."""
        buffer = self.buffers[ref.buffer]
        if not buffer.time:
            return "n" if buffer.batch else "0"
        if ref.row == "step":
            step = shifted("t", ref.shift)
        elif ref.row == "first":
            step = str(ref.shift)
        else:
            step = shifted("T", ref.shift - 1)
        if not buffer.batch:
            return step
        return f"{step} * B + n" if " " not in step else f"({step}) * B + n"

    def element(self, ref: Ref) -> str:
        """One element, at the indices of the loops around."""
        column = shifted("k", ref.offset) if prod(ref.shape) > 1 else str(ref.offset)
        return f"{self.names[ref.buffer]}[{self.row(ref)}, {column}]"

    def value(self, ref: Ref) -> str:
        """A value as the library takes it: array, row, first column."""
        return f"{self.names[ref.buffer]}, {self.row(ref)}, {ref.offset}"

    def first_row(self, ref: Ref, over: Sequence[str], span: Span) -> str:
        """The first of the rows over which a statement runs."""
        buffer = self.buffers[ref.buffer]
        if not buffer.time:
            return "0"
        step = str(span.start + ref.shift) if "t" in over else shifted("t", ref.shift)
        if not buffer.batch or step == "0":
            return step
        return f"{step} * B" if " " not in step else f"({step}) * B"

    def count(self, ref: Ref, over: Sequence[str], span: Span) -> str:
        """The number of those rows."""
        buffer = self.buffers[ref.buffer]
        counts = ["B"] if buffer.batch else []
        if buffer.time and "t" in over:
            counts.insert(0, step_count(span))
        return " * ".join(counts) or "1"

    def operand(self, operand: Operand) -> str:
        match operand:
            case Local():
                return self.names.local(operand.name)
            case Number():
                return number(operand.value)
            case Ref():
                return self.element(operand)

    def call(self, name: str, *arguments: object) -> None:
        """A call of a library routine, over several lines if it is long."""
        words = list(map(str, arguments))
        if sum(len(word) + 2 for word in words) + 4 * self.depth < 80:
            self.say(f"lib.{name}({', '.join(words)})")
            return
        self.say(f"lib.{name}(")
        row = "   "
        for word in words:
            if len(row) + len(word) + 4 * self.depth > 92:
                self.say(row)
                row = "   "
            row += f" {word},"
        self.say(row)
        self.say(")")


def number(value: float) -> str:
    if value != value:
        return "F(np.nan)"
    if value in (float("inf"), float("-inf")):
        return "F(np.inf)" if value > 0 else "F(-np.inf)"
    return f"F({int(value)})" if value == int(value) and abs(value) < 1e6 else f"F({value!r})"


def shifted(name: str, shift: int) -> str:
    if shift == 0:
        return name
    return f"{name} + {shift}" if shift > 0 else f"{name} - {-shift}"


def step_count(span: Span) -> str:
    """The number of steps of a span."""
    if span.stop is not None:
        return str(span.stop - span.start)
    return "T" if span.start == 0 else f"(T - {span.start})"


def step_range(span: Span) -> str:
    stop = "T" if span.stop is None else str(span.stop)
    return stop if span.start == 0 else f"{span.start}, {stop}"


def folded(shape: Sequence[int], axis: int) -> tuple[int, int, int]:
    """The sizes before, along and after a dimension; -1 is all dimensions as one."""
    if axis < 0:
        return 1, prod(shape), 1
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def wrapped(arguments: Sequence[str]) -> str:
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
