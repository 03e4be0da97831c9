"""A program to Numba source: readable Python, with the nodes and spec lines it came from.

Every name in the source is made from letters, digits and underscores, and every other text
is a number or a word of the tables here: nothing that a spec says can become code.  The
functions allocate nothing and take their arrays as arguments, in the order of the
program's buffers; ``T`` is the number of steps and ``B`` the number of sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from rollc.backends.numba.codegen.calls import write_routine
from rollc.backends.numba.codegen.elementwise import Elements
from rollc.backends.numba.codegen.printer import Writer, number, shifted, wrapped
from rollc.backends.numba.codegen.reductions import write_reduction
from rollc.backends.numba.codegen.scalar_recurrence import batched, write_single
from rollc.backends.numba.codegen.step_ranges import inside, ranges
from rollc.backends.numba.codegen.symbols import Names, plain, shown
from rollc.ir.graph import BATCH
from rollc.kernel.program import (
    Carry,
    Clear,
    Fill,
    Function,
    Loop,
    Nest,
    Number,
    Only,
    Pack,
    Product,
    Program,
    Reduce,
    Ref,
    Routine,
    Shifted,
    Simple,
    Span,
    Times,
)
from rollc.support.target import GENERIC, Target

_HEADER = '''\
"""rollc kernel of the network {name}, {dtype}.

T: steps; B: sequences, of N that there are in all; K: steps of a block; t, n, k: one step,
one sequence, one element.  With two time axes there are T_0, T_1 and t_0, t_1.  A buffer has
a row for each step and sequence (that of numbers has one row with all of them; the caller's
may have those of all N); one that is read with a delay can have rows before and after the
sequence too, so that h_[(t + 1) * B + n, k] may be h at step t.  v_h is one element of h, and
d_h_ and v_d_h are those of its cotangent.  team: threads that help with products of all steps,
or 0; words: how far threads are that pack the same panels, or 0.  each is range, of turns in any
order.
"""

import numpy as np

from rollc.backends.numba.jit.parallel_loops import each
from rollc.backends.numba.jit.routine import at, kernel
from rollc.backends.numba.library import routines as lib
from rollc.backends.numba.library.vector_math import (
    exp, log, logistic_loss, sigmoid, softplus, tanh,
)
from rollc.backends.numba.library.vector_math_distribution import (
    log_normal_cdf, normal_cdf, normal_density, normal_ratio,
)
from rollc.backends.numba.library.vector_math_special import cos, power, sin

F = np.{dtype}
'''


def emit(program: Program, dtype: str, target: Target = GENERIC) -> str:
    """The source of a program's functions, in float32 or float64."""
    if dtype not in ("float32", "float64"):
        raise ValueError(f"expected float32 or float64, found {dtype}")
    names = Names()
    functions = [
        "\n".join(_Emitter(program, names, target).function(function))
        for function in program.functions
    ]
    header = _HEADER.format(name=plain(program.name), dtype=dtype)
    return "\n\n".join([header, *functions]) + "\n"


class _Emitter:
    """Writes the statements of one function."""

    def __init__(self, program: Program, names: Names, target: Target) -> None:
        buffers = {buffer.name: buffer for buffer in program.buffers}
        self.write = Writer(buffers, names, program.axes, target)
        self.elements = Elements(self.write)

    def function(self, function: Function) -> list[str]:
        steps = [self.write.steps(axis) for axis in self.write.axes or ("t",)]
        optional = [function.optional] if function.optional else []
        buffers = (self.write.names.array(name) for name in function.buffers)
        arguments = [*steps, "B", "N", "K", "team", "words", *optional, *buffers]
        self.write.say("@kernel")
        self.write.say(f"def {function.phase}({wrapped(arguments)}):")
        self.write.depth += 1
        for statement in function.body:
            if isinstance(statement, Loop):
                self._loop(statement)
            else:
                self._simple(statement)
        self.write.depth -= 1
        return self.write.lines

    def _loop(self, loop: Loop) -> None:
        span = loop.span
        shifts = [abs(part.shift) for part in loop.body if isinstance(part, Shifted)]
        longer = max(shifts, default=0)
        step, steps = self.write.step(loop.axis), self.write.steps(loop.axis)
        now = "now" if shifts else step
        if shifts:
            self.write.remark("each part at a step of its own, while that is in the sequence")
        if loop.blocks:
            self._blocks_of_steps(loop, step, steps)
            return
        if loop.direction == "forward":
            steps = shifted(steps, longer) if longer else steps
            low, high = str(span.start), steps if span.stop is None else str(span.stop)
            first = low
        else:
            low, high = str(span.start - longer), steps if span.stop is None else str(span.stop)
            first = shifted(high, -1)
        self._body(loop, now, low, high, first)

    def _blocks_of_steps(self, loop: Loop, step: str, steps: str) -> None:
        """A loop over blocks of steps, around the loop over the steps of a block."""
        write = self.write
        if loop.direction == "forward":
            write.say(f"for begin in range(0, {steps}, K):")
            write.say(f"    end = min(begin + K, {steps})")
            first = "begin"
        else:
            write.say(f"for end in range({steps}, 0, -K):")
            write.say("    begin = max(end - K, 0)")
            first = "end - 1"
        write.depth += 1
        carried = [part for part in loop.before if isinstance(part, Carry)]
        if carried:
            write.say("if begin > 0:" if loop.direction == "forward" else f"if end < {steps}:")
            write.depth += 1
            for carry in carried:
                self._carry(carry, loop)
            write.depth -= 1
        for statement in loop.before:
            if not isinstance(statement, Carry):
                self._simple(statement)
        self._body(loop, step, "begin", "end", first)
        write.depth -= 1

    def _body(self, loop: Loop, step: str, low: str, high: str, first: str) -> None:
        """The loops over steps themselves, and what follows them in each block."""
        write = self.write
        along = write_single(self.elements, loop, step, low, high, first)
        if along is None or batched(loop):
            if along is not None:
                write.say("else:")
                write.depth += 1
            for each in ranges(write, loop, step, low, high):
                with write.steps_of(each):
                    for statement in loop.body:
                        if isinstance(statement, Shifted):
                            self._shifted(statement, loop.axis)
                        else:
                            self._simple(statement)
            for part in along or ():
                self._simple(part)
            write.depth -= along is not None
        for after in loop.after:
            if after not in (along or ()):
                self._simple(after)

    def _shifted(self, part: Shifted, axis: str) -> None:
        """A part of a loop, for those of its steps that are inside the sequence."""
        step = self.write.step(axis)
        self.write.say(f"{step} = {shifted('now', -part.shift)}")
        self.write.say(f"if 0 <= {step} < {self.write.steps(axis)}:")
        self.write.depth += 1
        for statement in part.body:
            self._simple(statement)
        self.write.depth -= 1

    def _simple(self, statement: Simple) -> None:
        match statement:
            case Nest():
                self.elements.nest(statement)
            case Fill():
                self._fill(statement)
            case Pack():
                self._pack(statement)
            case Times():
                self._times(statement)
            case Product():
                self._product(statement)
            case Routine():
                write_routine(self.write, statement)
            case Reduce():
                write_reduction(self.write, statement)
            case Clear():
                self._clear(statement)
            case Only():
                self.write.say(f"if {statement.phase}:")
                self.write.depth += 1
                for inner in statement.body:
                    self._simple(inner)
                self.write.depth -= 1

    def _fill(self, fill: Fill) -> None:
        write = self.write
        buffer = write.buffers[fill.buffer]
        write.remark(f"{shown(fill.buffer)} outside the sequence")
        size = prod(buffer.shape)
        sides = [("0", str(buffer.before), "r")] if buffer.before else []
        if buffer.after:
            steps = write.steps(buffer.axis)
            if buffer.role == "block":  # the first block of a loop that runs back
                steps = f"min(K, {steps})"
            low = shifted(steps, buffer.before)
            high = shifted(steps, buffer.before + buffer.after)
            sides.append((low, high, f"(r - {low})"))
        others = [axis for axis in buffer.axes if axis != buffer.axis]
        over = (*others, *((BATCH,) if buffer.batch else ()))
        element = "k" if size > 1 else "0"
        for low, high, depth in sides:
            write.say(f"for r in range({high if low == '0' else f'{low}, {high}'}):")
            write.depth += 1
            opened = 1 + write.open(over, size, Span())
            value = "F(0)"
            if isinstance(fill.initial, Number):
                value = number(fill.initial.value)
            elif isinstance(fill.initial, Ref) and fill.depth:
                initial = fill.initial
                # There may be rows for depths that nothing reads any more, the oldest first.
                unread = initial.shape[0] - buffer.before if low == "0" else 0
                value = (
                    f"{write.names.array(initial.buffer)}[{write.row(initial)},"
                    f" {initial.offset + unread * size} + {depth} * {size} + {element}]"
                )
            elif isinstance(fill.initial, Ref):
                value = write.element(fill.initial)
            row = write.row(Ref(fill.buffer), {buffer.axis: "r"})
            write.say(f"{write.place(fill.buffer, row, element)} = {value}")
            write.depth -= opened

    def _carry(self, carry: Carry, loop: Loop) -> None:
        """The last rows of the block before, which has K steps if it is not the last."""
        write = self.write
        buffer = write.buffers[carry.buffer]
        write.remark(f"{shown(carry.buffer)} of the block before")
        forward = loop.direction == "forward"
        source, target = ("K", "0") if forward else ("0", "(end - begin)")
        count = str(buffer.before + buffer.after)
        if buffer.batch:
            count = f"{count} * B"
            source, target = ("0" if place == "0" else f"{place} * B" for place in (source, target))
        name, size = write.names.array(buffer.name), prod(buffer.shape)
        if buffer.shape:
            write.call("carry", name, source, 0, target, 0, count, size)
        else:
            write.call("carry", name, 0, source, 0, target, 1, count)

    def _clear(self, clear: Clear) -> None:
        buffer = self.write.buffers[clear.buffer]
        over = (*buffer.axes, *((BATCH,) if buffer.batch else ()))
        opened = self.write.open(over, 1, Span())
        self.write.call("clear", self.write.value(Ref(clear.buffer)), prod(buffer.shape))
        self.write.depth -= opened

    def _pack(self, pack: Pack) -> None:
        self.write.comment([pack.panel])
        inner, columns = self.write.buffers[pack.panel].shape
        place = 0
        words = "words" if pack.job is not None else 0
        for job, part in enumerate(pack.parts, pack.job or 0):
            height, width = self.write.buffers[part.weight].shape
            weight, panel = map(self.write.names.array, (part.weight, pack.panel))
            self.write.say(
                f"lib.pack({weight}, {height}, {width}, {part.transposed},"
                f" {panel}, {place}, {inner}, {columns}, {words}, {job})"
            )
            place += height if part.transposed else width

    def _times(self, times: Times) -> None:
        write = self.write
        write.comment(times.names, [times.line])
        if times.when is not None:
            self._under(times.when, times, lambda: self._all_times(times))
            return
        self._all_times(times)

    def _under(self, when: Ref, part: Times | Product, whole: Callable[[], None]) -> None:
        """A product of the steps where a condition holds.

        Of few sequences, those of all steps together take less time: they fill the rows of tiles.
        """
        write = self.write
        steps = tuple(axis for axis in part.over if axis != BATCH)
        if steps:
            write.say(f"if B < {write.target.product_rows}:")
            write.depth += 1
            whole()
            write.depth -= 1
            write.say("else:")
            write.depth += 1
        opened = write.open(steps, 1, part.span)
        write.say(f"if {write.element(when)}:")
        write.depth += 1
        if isinstance(part, Times):
            self._rows_times(part, (BATCH,), ())
        else:
            self._rows_product(part, (BATCH,))
        write.depth -= 1 + opened + bool(steps)

    def _all_times(self, times: Times) -> None:
        write = self.write
        refs = (times.operand, times.out)
        inner = write.together(refs, times.over)
        self._rows_times(times, inner, times.over[: len(times.over) - len(inner)])

    def _rows_times(self, times: Times, inner: tuple[str, ...], outer: tuple[str, ...]) -> None:
        """A product of the rows along some axes, at all places of others."""
        write, a, out = self.write, times.operand, times.out
        opened = write.open(outer, 1, times.span)
        source = [write.names.array(a.buffer), write.first_row(a, inner, times.span)]
        target = [write.names.array(out.buffer), write.first_row(out, inner, times.span)]
        panel = (write.names.array(times.panel), *write.buffers[times.panel].shape)
        steps = tuple(axis for axis in inner if axis != BATCH)
        if steps:
            # Rows of one step may lie apart from those of another, where they are a thread's part.
            count, apart, aside = ("B", write.sequences(a), write.sequences(out))
            if BATCH not in inner:
                count = apart = aside = "1"
            counts = [count, write.count(steps, times.span), "team"]
            write.call(
                "steps_times", *source, apart, a.offset, *panel, *target, aside, out.offset, *counts
            )
        else:
            count = write.count(inner, times.span)
            write.call("times", *source, a.offset, *panel, *target, out.offset, count)
        write.depth -= opened

    def _product(self, product: Product) -> None:
        write = self.write
        write.comment([product.name], [product.line])
        a, b = product.a, product.b
        if not a.shape:
            self._dot(product)
            return
        inner = write.together([a, b], product.over)
        outer = product.over[: len(product.over) - len(inner)]
        if (outer or product.when is not None) and not product.accumulate:
            out = write.names.array(product.out.buffer)
            write.call("clear", out, 0, 0, a.shape[0] * b.shape[0])
            product = replace(product, accumulate=True)

        def whole() -> None:
            opened = write.open(outer, 1, product.span)
            self._rows_product(product, inner)
            write.depth -= opened

        if product.when is None:
            whole()
        else:
            self._under(product.when, product, whole)

    def _rows_product(self, product: Product, inner: tuple[str, ...]) -> None:
        """The sum of products of the rows along some axes, at one place of the others."""
        write, a, b = self.write, product.a, product.b
        write.call(
            "product",
            write.names.array(a.buffer),
            write.first_row(a, inner, product.span),
            a.offset,
            a.shape[0],
            write.names.array(b.buffer),
            write.first_row(b, inner, product.span),
            b.offset,
            b.shape[0],
            write.names.array(product.out.buffer),
            write.count(inner, product.span),
            product.accumulate,
            "team" if set(inner) - {BATCH} else 0,
        )

    def _dot(self, product: Product) -> None:
        """The sum of products of numbers."""
        write = self.write
        inner = write.together([product.a, product.b], product.over)
        out = write.element(product.out)
        if not product.accumulate:
            write.say(f"{out} = F(0)")
        opened = write.open(product.over[: len(product.over) - len(inner)], 1, product.span)
        refs = (product.a, product.b)
        first, steps = inside(write, refs, product.span)
        numbers = [
            f"{write.names.array(ref.buffer)}, 0,"
            f" {write.first_row(ref, inner, product.span, first)}"
            for ref in refs
        ]
        count = write.count(inner, product.span, steps=steps)
        write.say(f"{out} += lib.dot({', '.join(numbers)}, {count})")
        write.depth -= opened
