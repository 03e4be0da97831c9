"""The writer of generated source: lines, indices, and calls of the library."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

from rollc.backends.numba.codegen.symbols import Names, shown
from rollc.ir.graph import BATCH, Shape
from rollc.kernel.program import Buffer, Local, Number, Operand, Ref, Span
from rollc.support.target import Target

WIDTH = 100  # columns of the source


@dataclass(frozen=True, slots=True)
class Range:
    """The header of a loop over steps, and whether it is at a boundary of the sequence."""

    header: str
    boundary: bool = False


@dataclass(frozen=True, slots=True)
class Diagonal:
    """The weights ``a`` and ``b`` of two axes, the second one positive: ``a * across + b * axis``.

    Its number is in the variable ``diagonal``, and it runs from the step ``low`` to before ``high``
    across.
    """

    across: str
    axis: str
    a: int
    b: int

    def step_at(self, across: str) -> str:
        """The expression of the step along the axis, at a step across."""
        if self.a > 0:
            difference = f"diagonal - {scaled(self.a, across)}"
        else:
            difference = f"diagonal + {scaled(-self.a, across)}"
        return difference if self.b == 1 else f"({difference}) // {self.b}"

    @property
    def range(self) -> str:
        """The arguments of ``range`` for the steps across."""
        return "low, high" if self.b == 1 else f"low, high, {self.b}"

    @property
    def count(self) -> str:
        """The number of steps across."""
        return "(high - low)" if self.b == 1 else f"(-((low - high) // {self.b}))"


class Writer:
    """Collects lines at the depth of the open loops.

    Expressions are those inside the loops of a statement: ``T`` and ``B`` are the numbers
    of steps and sequences, ``t``, ``n`` and ``k`` the step, the sequence and the element.
    """

    def __init__(
        self, buffers: dict[str, Buffer], names: Names, axes: tuple[str, ...], target: Target
    ) -> None:
        self.target = target
        self.axes = axes
        self.buffers = buffers
        self.names = names
        self.lines: list[str] = []
        self.depth = 0
        self.single = False  # whether this is the code for a batch of one sequence
        self.guarded = False  # whether reads are tested to be inside the sequence
        self.diagonal: Diagonal | None = None  # of the loop whose body is written
        self.firsts: dict[str, str] = {}  # the variables of the first rows of skewed diagonals
        self.flat: tuple[tuple[str, ...], Span] | None = None  # the axes of a collapsed loop
        self.parts: frozenset[Ref] = frozenset()  # of values that a loop over j takes apart

    def say(self, text: str) -> None:
        """Write a line."""
        self.lines.append("    " * self.depth + text)

    def assign(self, target: str, value: str, operator: str = "=") -> None:
        """Write an assignment, over several lines if it is long."""
        line = f"{target} {operator} {value}"
        if len(line) + 4 * self.depth <= WIDTH:
            self.say(line)
            return
        self.say(f"{target} {operator} (")
        self.say(f"    {value}")
        self.say(")")

    def comment(self, names: Sequence[str], lines: Iterable[int] = ()) -> None:
        """Write a comment that names the nodes computed below, and their lines of the spec."""
        self.remark(", ".join(dict.fromkeys(map(shown, names))), lines)

    def remark(self, text: str, lines: Iterable[int] = ()) -> None:
        """Write a comment."""
        where = sorted({line for line in lines if line})
        if where:
            span = f"line\xa0{where[0]}" if len(where) == 1 else f"lines\xa0{where[0]}-{where[-1]}"
            text += f"  ({span})"
        width = WIDTH - 2 - 4 * self.depth
        for row in textwrap.wrap(text, width, break_on_hyphens=False) or [text]:
            self.say("# " + row.replace("\xa0", " "))

    def step(self, axis: str) -> str:
        """The variable of the step along a time axis."""
        return "t" if len(self.axes) < 2 else f"t_{self.axes.index(axis)}"

    def steps(self, axis: str) -> str:
        """The variable of the number of steps along a time axis."""
        return "T" if len(self.axes) < 2 else f"T_{self.axes.index(axis)}"

    @contextmanager
    def steps_of(self, steps: Range) -> Iterator[None]:
        """Open a loop over steps for a body."""
        self.say(steps.header)
        self.depth += 1
        around, self.guarded = self.guarded, steps.boundary
        yield
        self.guarded = around
        self.depth -= 1

    def open(self, over: Iterable[str], size: int, span: Span, independent: bool = False) -> int:
        """Open the loops of a statement, over axes and then elements; returns their number.

        If the iterations of the innermost loop are ``independent``, it is marked so.
        """
        loops = [
            ("n", "B") if axis == BATCH else (self.step(axis), self._bounds(axis, span))
            for axis in over
        ]
        if size > 1:
            loops.append(("k", str(size)))
        for number, (index, bounds) in enumerate(loops, 1):
            word = "simd_range" if independent and number == len(loops) else "range"
            self.say(f"for {index} in {word}({bounds}):")
            self.depth += 1
            if self.diagonal is not None and index == self.step(self.diagonal.across):
                self.say(f"{self.step(self.diagonal.axis)} = {self.diagonal.step_at(index)}")
        return len(loops)

    def _bounds(self, axis: str, span: Span) -> str:
        """The arguments of ``range`` for the steps along an axis."""
        if self.diagonal is not None and axis == self.diagonal.across:
            return self.diagonal.range
        return step_range(span, self.steps(axis))

    def row(self, ref: Ref, steps: Mapping[str, str] | None = None) -> str:
        """The row of a value, at the steps and the sequence of the open loops.

        ``steps`` replaces the step along an axis, or the sequence.
        """
        buffer = self.buffers[ref.buffer]
        row = ""
        if self.flat is not None and steps is None and (buffer.axes or buffer.batch):
            first = self.first_row(ref, *self.flat)
            return "n" if first == "0" else f"{first} + n"
        if buffer.skew:
            row = self._skewed(ref, steps or {})
        for axis in () if buffer.skew else buffer.axes:
            at = self.step(axis) if steps is None else steps.get(axis, self.step(axis))
            if axis == ref.end:
                ends = {"first": "0", "last": f"{self.steps(axis)} - 1"}
                at = ends.get(ref.row) or (steps or {}).get(ref.by, self.step(ref.by))
            extent = self.steps(axis)
            if buffer.role == "block" and at != "r":  # r counts the rows of the buffer
                at = "0" if at == "begin" else f"{at} - begin"
            if axis == buffer.axis:
                at = shifted(at, ref.shift - (buffer.before if buffer.unpadded else 0))
                extent = shifted(extent, buffer.around)
            row = _joined(row, extent, at)
        if buffer.strided:
            sequence = "n" if steps is None else steps.get(BATCH, "n")
            row = _joined(row, "N", "0" if self.single else sequence)
        elif buffer.batch and not self.single:
            row = _joined(row, "B", "n" if steps is None else steps.get(BATCH, "n"))
        return row or "0"

    def _skewed(self, ref: Ref, steps: Mapping[str, str]) -> str:
        """The row of a cell in a buffer that has them in the order of diagonals."""
        buffer = self.buffers[ref.buffer]
        across, axis = buffer.axes
        shift = {buffer.axis: ref.shift}
        at = {each: steps.get(each, self.step(each)) for each in buffer.axes}
        at |= {each: shifted(at[each], shift.get(each, 0)) for each in at if at[each] != "r"}
        extent = {
            each: shifted(self.steps(each), buffer.around if each == buffer.axis else 0)
            for each in at
        }
        if self.diagonal is None:
            sign = "+" if buffer.skew > 0 else "-"
            number = f"{at[axis]} {sign} {scaled(abs(buffer.skew), _grouped(at[across]))}"
        else:
            moved = buffer.skew * shift.get(across, 0) + shift.get(axis, 0)
            number = shifted("diagonal", moved)
        rows = f"max({extent[axis]}, 1)" if extent[axis] == self.steps(axis) else extent[axis]
        first = f"{_grouped(number)} % {_grouped(rows)} * {_grouped(extent[across])}"
        if self.diagonal is not None:  # one for all cells
            first = self.firsts.setdefault(first, f"row_{len(self.firsts)}")
        return f"{first} + {at[across]}"

    def element(self, ref: Ref, index: str = "k") -> str:
        """One element of a value, at the indices of the open loops or at another ``index``."""
        column = shifted(index, ref.offset) if prod(ref.shape) > 1 else self.column(ref)
        element = self.at(ref.buffer, self.row(ref), column)
        shift = self.beyond(ref)
        if not (self.guarded and shift):
            return element
        axis = self.buffers[ref.buffer].axis
        step, steps = self.step(axis), self.steps(axis)
        inside = f"{step} >= {-shift}" if shift < 0 else f"{step} < {steps} - {shift}"
        return f"({element} if {inside} else {self.zero(ref)})"

    def beyond(self, ref: Ref) -> int:
        """The delay of a read of an unpadded array, as an offset from the current step."""
        buffer = self.buffers[ref.buffer]
        return ref.shift - buffer.before if buffer.unpadded else 0

    def at_step(self, ref: Ref, steps: Mapping[str, str]) -> str:
        """A value that is a number, at given steps."""
        return self.at(ref.buffer, self.row(ref, steps), "0")

    def at(self, buffer: str, row: str, column: str) -> str:
        """One element of a buffer; numbers are contiguous."""
        if not self.buffers[buffer].shape:
            row, column = "0", row if row.isdigit() else f"uint({row})"
        return f"{self.names.array(buffer)}[{row}, {column}]"

    def array(self, ref: Ref) -> str:
        """The array of a value."""
        return self.names.array(ref.buffer)

    def start(self, parameter: str, ref: Ref) -> dict[str, object]:
        """The arguments of a call for where a value begins in its array (:func:`start`)."""
        if not self.buffers[ref.buffer].shape:
            return start(parameter, "0", self.row(ref))
        return start(parameter, self.row(ref), self.column(ref))

    def column(self, ref: Ref) -> str:
        """The first element of a value in its row."""
        if ref not in self.parts:
            return str(ref.offset)
        size = prod(ref.shape)
        return shifted("j" if size == 1 else f"j * {size}", ref.offset)

    def has(self, ref: Ref, axis: str) -> bool:
        """Whether a value has a row for each index along an axis."""
        buffer = self.buffers[ref.buffer]
        return buffer.batch if axis == BATCH else axis in buffer.axes

    def stride(self, ref: Ref, along: Sequence[str]) -> str:
        """The stride, in rows, along the last of some axes; 0 for no axis, or to broadcast."""
        if self.diagonal is not None and along and along[-1] == self.diagonal.across:
            return self._stride_across(ref, self.diagonal)
        return self._stride(ref, along)

    def _stride_across(self, ref: Ref, diagonal: Diagonal) -> str:
        """The stride from one step across of a diagonal to the next."""
        if self.buffers[ref.buffer].skew:
            return self.sequences(ref) if self.has(ref, BATCH) else "1"
        across = self._stride(ref, (diagonal.across,))
        along = self._stride(ref, (diagonal.axis,))
        ahead = "0" if across == "0" else scaled(diagonal.b, across)
        if along == "0":
            return ahead
        back = scaled(abs(diagonal.a), along)
        return f"{ahead} {'-' if diagonal.a > 0 else '+'} {back}"

    def _stride(self, ref: Ref, along: Sequence[str]) -> str:
        if not along or not self.has(ref, along[-1]):
            return "0"
        buffer = self.buffers[ref.buffer]
        lengths = {
            axis: shifted(self.steps(axis), buffer.around if axis == buffer.axis else 0)
            for axis in buffer.axes
        }
        axes = (*buffer.axes, *((BATCH,) if buffer.batch else ()))
        behind = axes[axes.index(along[-1]) + 1 :]
        counts = [self.sequences(ref) if axis == BATCH else lengths[axis] for axis in behind]
        return " * ".join(f"({count})" if " " in count else count for count in counts) or "1"

    def sequences(self, ref: Ref) -> str:
        """The stride, in rows, from one step to the next."""
        return "N" if self.buffers[ref.buffer].strided else "B"

    def contiguous(self, refs: Sequence[Ref], over: Sequence[str]) -> tuple[str, ...]:
        """The last of ``over`` along which the rows of all references are contiguous.

        A strided buffer counts as one whose thread has the whole batch.
        """
        inner: tuple[str, ...] = ()
        for axis in reversed(over):
            wider = (axis, *inner)
            apart = self.diagonal is not None and self.diagonal.b > 1
            if self.diagonal is not None and axis == self.diagonal.across and apart:
                return inner
            for ref in refs:
                buffer = self.buffers[ref.buffer]
                axes = buffer.axes[:1] if buffer.skew else buffer.axes
                rows = (*axes, *((BATCH,) if buffer.batch else ()))
                if rows[-len(wider) :] != wider or buffer.axis in inner:
                    return inner
            inner = wider
        return inner

    def first_row(
        self, ref: Ref, inner: Sequence[str], span: Span, first: str | None = None
    ) -> str:
        """The first row of those along some axes, from the step ``first`` of the span on."""
        first = first or ("begin" if span.block else str(span.start))
        start = {axis: "0" if axis == BATCH else first for axis in inner}
        if self.buffers[ref.buffer].batch and BATCH not in inner:
            start[BATCH] = "n"
        if self.diagonal is not None and self.diagonal.across in inner:
            start |= {self.diagonal.across: "low", self.diagonal.axis: self.diagonal.step_at("low")}
        return self.row(ref, {BATCH: "n", **start})

    def count(self, inner: Sequence[str], span: Span, steps: str | None = None) -> str:
        """The number of rows along some axes, for all steps of the span or fewer ``steps``."""
        counts = ["B" if axis == BATCH else steps or self._count(axis, span) for axis in inner]
        if len(counts) == 1:
            return counts[0][1:-1] if counts[0].startswith("(") else counts[0]
        return " * ".join(counts) or "1"

    def _count(self, axis: str, span: Span) -> str:
        if self.diagonal is not None and axis == self.diagonal.across:
            return self.diagonal.count
        return step_count(span, self.steps(axis))

    def operand(self, operand: Operand) -> str:
        """The expression of an operand, at the indices of the open loops."""
        match operand:
            case Local():
                return self.names.local(operand.name)
            case Number():
                return number(operand.value)
            case Ref():
                return self.element(operand)

    def whole(self, operand: Operand) -> str:
        """The expression of an operand that is a whole number."""
        return str(int(operand.value)) if isinstance(operand, Number) else self.operand(operand)

    def element_of_row(self, ref: Ref, row: str) -> str:
        """One element of a row of a value with rows, at the indices of the open loops."""
        size = prod(ref.shape[1:])
        column = row if size == 1 else f"{row} * {size} + k"
        return self.at(ref.buffer, self.row(ref), shifted(column, ref.offset))

    def zero(self, ref: Ref) -> str:
        """The zero of a buffer's kind."""
        return {"float": "F(0)", "index": "0", "bool": "False"}[self.buffers[ref.buffer].kind]

    def clear(self, ref: Ref, shape: Shape) -> None:
        """Write a call that writes zeros to a value of a shape."""
        self.call("clear", self.array(ref), size=prod(shape), **self.start("out", ref))

    def call(self, routine: str, *arrays: str, into: object = "", **named: object) -> None:
        """Write a call of a library routine, over several lines if it is long.

        ``into`` is the text before it, such as ``x = ``; ``named`` arguments that are None are
        left out.
        """
        words = [*arrays]
        words += [f"{name}={value}" for name, value in named.items() if value is not None]
        line = f"{into}lib.{routine}({', '.join(words)})"
        if len(line) + 4 * self.depth <= WIDTH:
            self.say(line)
            return
        self.say(f"{into}lib.{routine}(")
        self.depth += 1
        row = ""
        for word in words:
            if len(row) + len(word) + 2 + 4 * self.depth > WIDTH:
                self.say(row.rstrip())
                row = ""
            row += f"{word}, "
        self.say(row.rstrip())
        self.depth -= 1
        self.say(")")


def start(parameter: str, row: object, column: object) -> dict[str, object]:
    """The arguments for where a value begins in the array of a parameter; 0 is left out."""
    named = {f"{parameter}_row": row, f"{parameter}_column": column}
    return {name: index for name, index in named.items() if str(index) != "0"}


def number(value: float) -> str:
    """A literal in the kernel's precision."""
    if value != value:
        return "F(np.nan)"
    if value in (float("inf"), float("-inf")):
        return "F(np.inf)" if value > 0 else "F(-np.inf)"
    return f"F({int(value)})" if value == int(value) and abs(value) < 1e6 else f"F({value!r})"


def shifted(name: str, shift: int) -> str:
    """The expression of an index plus a number."""
    if name.isdigit():
        return str(int(name) + shift)
    if name.endswith(" - 1") and shift > 0:
        return shifted(name.removesuffix(" - 1"), shift - 1)
    if shift == 0:
        return name
    return f"{name} + {shift}" if shift > 0 else f"{name} - {-shift}"


def _grouped(name: str) -> str:
    """An expression that can be an operand."""
    return f"({name})" if " " in name and not name.endswith(", 1)") else name


def scaled(factor: int, name: str) -> str:
    """The expression of a name, or of a product, times a number."""
    return name if factor == 1 else f"{factor} * {name}"


def _joined(row: str, extent: str, at: str) -> str:
    """The row of an index in row-major order, with one more dimension."""
    if row in ("", "0"):
        return at
    row = f"({row})" if " " in row else row
    extent = f"({extent})" if " " in extent else extent
    rows = extent if row == "1" else f"{row} * {extent}"
    return rows if at == "0" else f"{rows} + {at}"


def step_count(span: Span, steps: str) -> str:
    """The number of steps of a span, of ``steps`` steps."""
    if span.block:
        return "(end - begin)"
    if span.stop is not None:
        return str(span.stop - span.start)
    return steps if span.start == 0 else f"({steps} - {span.start})"


def step_range(span: Span, steps: str) -> str:
    """The arguments of ``range`` for a span, of ``steps`` steps."""
    if span.block:
        return "begin, end"
    stop = steps if span.stop is None else str(span.stop)
    return stop if span.start == 0 else f"{span.start}, {stop}"


def folded(shape: Sequence[int], axis: int) -> tuple[int, int, int]:
    """The sizes before, along and after a dimension; -1 is all dimensions as one."""
    if axis < 0:
        return 1, prod(shape), 1
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def wrapped(arguments: Sequence[str]) -> str:
    """The parameters of a function, over several lines if they are many."""
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
