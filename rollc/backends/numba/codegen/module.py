"""Code generation of a program: readable Python for Numba, with its nodes and spec lines.

Every name in the source is made from letters, digits and underscores, and every other text
is a number or a word of the tables here: no text of a spec can become code.  The
functions allocate nothing and take their arrays as arguments, in the order of the
program's buffers; the docstring of a source explains the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from rollc.backends.numba.codegen.calls import write_routine
from rollc.backends.numba.codegen.diagonals import write_diagonals, write_product
from rollc.backends.numba.codegen.elementwise import Elements
from rollc.backends.numba.codegen.printer import WIDTH, Writer, number, shifted, start, wrapped
from rollc.backends.numba.codegen.reductions import write_reduction
from rollc.backends.numba.codegen.scalar_recurrence import batched, write_single
from rollc.backends.numba.codegen.step_ranges import inside, ranges
from rollc.backends.numba.codegen.symbols import Names, plain, shown
from rollc.backends.numba.entry_points import Part, parts
from rollc.ir.graph import BATCH
from rollc.kernel.program import (
    Carry,
    Clear,
    Fill,
    Lap,
    Loop,
    MatMul,
    Nest,
    Number,
    Optional,
    OuterProduct,
    Pack,
    Program,
    Reduce,
    Ref,
    Routine,
    Shifted,
    Simple,
    Span,
)
from rollc.support.target import GENERIC, Target

_HEADER = '''\
"""rollc kernel of the network {name}, {dtype}.

The arguments of its functions:
    T         the number of steps; of two time axes T_0 and T_1
    B, N      the number of sequences here, and in the whole batch
    K         the number of steps in a block: statements outside the recurrence are computed for
              all steps of a block together
    team      the control block of a team of worker threads for large products, or 0
    progress  the control block of threads that pack panels together, or 0
    inputs    whether the gradients of inputs are computed
    h_        the array of a node h; d_h_ is that of its cotangent ~h

An array has a row for each step and each sequence: h at step t, of sequence n, is
h_[t * B + n, :].  If it is the caller's, it may be h_[t * N + n, :]; if it is that of a block,
h_[(t - begin) * B + n, :].  An array that is read with a delay has rows of initial values too, so
that h_[(t + 1) * B + n, :] may be h at step t.  Scalars are in one row, such as
loss_[0, t * B + n], and a matrix is one row in row-major order.  W_panel_ and W_rows_ hold a
matrix W packed for lib.matmul, transposed and not.  One element of h is v_h, and one of the step
before v_h_past1.

A comment names the nodes that the lines below compute; i'2 is a part of the expression of i.  A
call of lib has arrays first, as in NumPy, then sizes and offsets by name: the value begins at
a_row and a_column of the array a, which are 0 where they are left out.  simd_range is a range of
independent iterations, and uint(i) is i as an unsigned integer.
"""
'''

_IMPORTS = {
    "jit.clock": ("nanoseconds",),
    "jit.parallel_loops": ("simd_range",),
    "jit.routine": ("kernel", "uint"),
    "library": ("routines as lib",),
    "library.vector_math.functions": (
        *("exp", "expm1", "log", "log1p", "logistic_loss", "sigmoid", "softplus", "tanh"),
    ),
    "library.vector_math.distribution": (
        "erf",
        "erf_slope",
        "erfc",
        "log_normal_cdf",
        "normal_cdf",
        "normal_density",
        "normal_ratio",
    ),
    "library.vector_math.elementary": (
        *("acos", "asin", "atan", "atan2", "cbrt", "cosh", "mod", "sinh"),
    ),
    "library.vector_math.gamma": ("digamma", "lgamma", "polygamma"),
    "library.vector_math.special": ("cos", "power", "sin"),
}


def emit(program: Program, dtype: str, target: Target = GENERIC) -> str:
    """The source of a program's functions, in float32 or float64."""
    if dtype not in ("float32", "float64"):
        raise ValueError(f"expected float32 or float64, found {dtype}")
    names = Names()
    functions = [
        _Emitter(program, names, target).function(part)
        for function in program.functions
        for part in parts(program, function)
    ]
    header = _HEADER.format(name=plain(program.name), dtype=dtype)
    imports = "\n".join([header, "import numpy as np", "", *_imports(functions)])
    return "\n\n\n".join([f"{imports}\n\nF = np.{dtype}", *functions]) + "\n"


def _imports(functions: Sequence[str]) -> list[str]:
    """The imports of what the functions use."""
    code = re.sub(r"#.*", "", "\n".join(functions))  # nodes in comments have any names
    words = set(re.findall(r"\w+", code))
    found = []
    for module, names in _IMPORTS.items():
        used = [name for name in names if name.split()[-1] in words]
        if used:
            line = f"from rollc.backends.numba.{module} import {', '.join(used)}"
            if len(line) > WIDTH:
                line = f"from rollc.backends.numba.{module} import (\n    {', '.join(used)},\n)"
            found.append(line)
    return found


class _Emitter:
    """Writes the statements of one function."""

    def __init__(self, program: Program, names: Names, target: Target) -> None:
        buffers = {buffer.name: buffer for buffer in program.buffers}
        self.write = Writer(buffers, names, program.axes, target)
        self.elements = Elements(self.write)
        self.around = 0  # loops around the one that is written

    def function(self, part: Part) -> str:
        """The source of a function."""
        arrays = (self.write.names.array(buffer) for buffer in part.buffers)
        self.write.say("@kernel")
        self.write.say(f"def {part.name}({wrapped([*part.numbers, *arrays])}):")
        self.write.depth += 1
        if not part.body:  # what it gives is given to it
            self.write.say("pass")
        for statement in part.body:
            if isinstance(statement, Loop):
                self._loop(statement)
            else:
                self._simple(statement)
        self.write.depth -= 1
        return "\n".join(self.write.lines)

    def _loop(self, loop: Loop) -> None:
        if loop.across:
            write_diagonals(self.write, loop, self._simple)
            return
        span = loop.span
        shifts = [abs(part.shift) for part in loop.body if isinstance(part, Shifted)]
        longer = max(shifts, default=0)
        step, steps = self.write.step(loop.axis), self.write.steps(loop.axis)
        now = "now" if shifts else step
        if shifts:
            self.write.remark(
                "retimed: each part runs at its own step, where that is inside the sequence"
            )
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
        """Write a loop over blocks of steps, around the loop over the steps of a block."""
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
        """Write the loops over steps, and the statements after them in each block."""
        write = self.write
        plain = not (loop.nested or self.around)
        fused = write_single(self.elements, loop, step, low, high, first) if plain else None
        if fused is None or batched(loop):
            if fused is not None:
                write.say("else:")
                write.depth += 1
            for steps in ranges(write, loop, step, low, high):
                with write.steps_of(steps):
                    for statement in loop.body:
                        if isinstance(statement, Shifted):
                            self._shifted(statement, loop.axis)
                        elif isinstance(statement, Loop):
                            self.around += 1
                            self._loop(statement)
                            self.around -= 1
                        else:
                            self._simple(statement)
            for part in fused or ():
                self._simple(part)
            write.depth -= fused is not None
        for after in loop.after:
            if after not in (fused or ()):
                self._simple(after)

    def _shifted(self, part: Shifted, axis: str) -> None:
        """Write a part of a loop, under the condition that its step is inside the sequence."""
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
            case MatMul():
                self._times(statement)
            case OuterProduct():
                self._product(statement)
            case Routine():
                write_routine(self.write, statement)
            case Reduce():
                write_reduction(self.write, statement)
            case Clear():
                self._clear(statement)
            case Lap():
                self._lap(statement)
            case Optional():
                self.write.say(f"if {statement.phase}:")
                self.write.depth += 1
                for inner in statement.body:
                    self._simple(inner)
                self.write.depth -= 1

    def _fill(self, fill: Fill) -> None:
        write = self.write
        buffer = write.buffers[fill.buffer]
        write.remark(f"initial values of {shown(fill.buffer)}")
        size = prod(buffer.shape)
        sides = [("0", str(buffer.before), "r")] if buffer.before else []
        if buffer.after:
            steps = write.steps(buffer.axis)
            if buffer.role == "block":  # the first block of a backward loop
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
                # The initial value can have more rows than the halo, the oldest first.
                unread = initial.shape[0] - buffer.before if low == "0" else 0
                value = (
                    f"{write.names.array(initial.buffer)}[{write.row(initial)},"
                    f" {initial.offset + unread * size} + {depth} * {size} + {element}]"
                )
            elif isinstance(fill.initial, Ref):
                value = write.element(fill.initial)
            row = write.row(Ref(fill.buffer), {buffer.axis: "r"})
            write.say(f"{write.at(fill.buffer, row, element)} = {value}")
            write.depth -= opened

    def _carry(self, carry: Carry, loop: Loop) -> None:
        """Write the copy of the last rows of the previous block, which has K steps."""
        write = self.write
        buffer = write.buffers[carry.buffer]
        write.remark(f"the last rows of {shown(carry.buffer)} in the previous block")
        forward = loop.direction == "forward"
        source, target = ("K", "0") if forward else ("0", "end - begin")
        count = str(buffer.before + buffer.after)
        if buffer.batch:
            count = "B" if count == "1" else f"{count} * B"
            target = f"({target})" if " " in target else target
            source, target = ("0" if step == "0" else f"{step} * B" for step in (source, target))
        name, size = write.names.array(buffer.name), prod(buffer.shape)
        if buffer.shape:
            rows = start("from", source, 0) | start("to", target, 0)
            write.call("move_rows", name, rows=count, size=size, **rows)
        else:
            columns = start("from", 0, source) | start("to", 0, target)
            write.call("move_rows", name, rows=1, size=count, **columns)

    def _clear(self, clear: Clear) -> None:
        buffer = self.write.buffers[clear.buffer]
        over = (*buffer.axes, *((BATCH,) if buffer.batch else ()))
        opened = self.write.open(over, 1, Span())
        self.write.clear(Ref(clear.buffer), buffer.shape)
        self.write.depth -= opened

    def _lap(self, lap: Lap) -> None:
        laps = self.write.names.array(lap.buffer)
        self.write.say("lap = nanoseconds()")
        if lap.place:
            self.write.say(f"{laps}[0, {lap.place}] += lap - {laps}[0, 0]")
        self.write.say(f"{laps}[0, 0] = lap")

    def _pack(self, pack: Pack) -> None:
        self.write.comment([pack.panel])
        column = 0
        for job, part in enumerate(pack.parts, pack.job or 0):
            height, width = shape = self.write.buffers[part.weight].shape
            weight, panel = map(self.write.names.array, (part.weight, pack.panel))
            shared = {"progress": "progress", "number": job} if pack.job is not None else {}
            self.write.call(
                "pack",
                weight,
                out=panel,
                shape=shape,
                transposed=part.transposed,
                panel_shape=self.write.buffers[pack.panel].shape,
                panel_column=column or None,
                **shared,
            )
            column += height if part.transposed else width

    def _times(self, times: MatMul) -> None:
        write = self.write
        write.comment(times.names, [times.line])
        if times.when is not None:
            self._predicated(times.when, times, lambda: self._all_times(times))
            return
        self._all_times(times)

    def _predicated(
        self, when: Ref, part: MatMul | OuterProduct, whole: Callable[[], None]
    ) -> None:
        """Write a predicated product: step by step, where the condition holds.

        For few sequences the product over all steps is faster, since it fills register tiles.
        """
        write = self.write
        steps = tuple(axis for axis in part.over if axis != BATCH)
        if steps:
            write.say(f"if B < {write.target.product_rows}:  # all steps at once are faster")
            write.depth += 1
            whole()
            write.depth -= 1
            write.say("else:")
            write.depth += 1
        opened = write.open(steps, 1, part.span)
        write.say(f"if {write.element(when)}:")
        write.depth += 1
        if isinstance(part, MatMul):
            self._rows_times(part, (BATCH,), ())
        else:
            self._rows_product(part, (BATCH,))
        write.depth -= 1 + opened + bool(steps)

    def _all_times(self, times: MatMul) -> None:
        write = self.write
        refs = (times.operand, times.out)
        inner = write.contiguous(refs, times.over)
        if not write_product(write, times, inner):
            self._rows_times(times, inner, times.over[: len(times.over) - len(inner)])

    def _rows_times(self, times: MatMul, inner: tuple[str, ...], outer: tuple[str, ...]) -> None:
        """Write a product of the rows along some axes, in loops over the others."""
        write, a, out = self.write, times.operand, times.out
        opened = write.open(outer, 1, times.span)
        inputs, outputs = write.buffers[times.panel].shape
        first = start("a", write.first_row(a, inner, times.span), a.offset)
        first |= start("out", write.first_row(out, inner, times.span), out.offset)
        arrays = (write.array(a), write.names.array(times.panel))
        steps = tuple(axis for axis in inner if axis != BATCH)
        if steps:
            batch = BATCH in inner
            write.call(
                "matmul_steps",
                *arrays,
                out=write.array(out),
                steps=write.count(steps, times.span),
                rows="B" if batch else 1,
                inner=inputs,
                columns=outputs,
                # The rows of a shard are not contiguous.
                a_stride=write.sequences(a) if batch else 1,
                out_stride=write.sequences(out) if batch else 1,
                **first,
                team="team",
            )
        else:
            write.call(
                "matmul",
                *arrays,
                out=write.array(out),
                rows=write.count(inner, times.span),
                inner=inputs,
                columns=outputs,
                **first,
                team="team",
            )
        write.depth -= opened

    def _product(self, product: OuterProduct) -> None:
        write = self.write
        write.comment([product.name], [product.line])
        a, b = product.a, product.b
        if not a.shape:
            self._dot(product)
            return
        inner = write.contiguous([a, b], product.over)
        outer = product.over[: len(product.over) - len(inner)]
        if (outer or product.when is not None) and not product.accumulate:
            write.clear(product.out, product.out.shape)
            product = replace(product, accumulate=True)

        def whole() -> None:
            opened = write.open(outer, 1, product.span)
            self._rows_product(product, inner)
            write.depth -= opened

        if product.when is None:
            whole()
        else:
            self._predicated(product.when, product, whole)

    def _rows_product(self, product: OuterProduct, inner: tuple[str, ...]) -> None:
        """Write the sum of outer products of the rows along some axes."""
        write, a, b = self.write, product.a, product.b
        write.call(
            "sum_outer_products",
            write.array(a),
            write.array(b),
            out=write.array(product.out),
            rows=write.count(inner, product.span),
            a_size=a.shape[0],
            b_size=b.shape[0],
            **start("a", write.first_row(a, inner, product.span), a.offset),
            **start("b", write.first_row(b, inner, product.span), b.offset),
            **start("out", 0, product.out.offset),
            accumulate=product.accumulate or None,
            team="team" if set(inner) - {BATCH} else None,
        )

    def _dot(self, product: OuterProduct) -> None:
        """Write a sum of products of numbers."""
        write = self.write
        inner = write.contiguous([product.a, product.b], product.over)
        out = write.element(product.out)
        if not product.accumulate:
            write.say(f"{out} = F(0)")
        opened = write.open(product.over[: len(product.over) - len(inner)], 1, product.span)
        refs = (product.a, product.b)
        first, steps = inside(write, refs, product.span)
        a_first, b_first = (write.first_row(ref, inner, product.span, first) for ref in refs)
        write.call(
            "dot",
            *map(write.array, refs),
            into=f"{out} += ",
            size=write.count(inner, product.span, steps=steps),
            **start("a", 0, a_first),
            **start("b", 0, b_first),
        )
        write.depth -= opened
