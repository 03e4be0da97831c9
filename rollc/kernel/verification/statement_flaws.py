"""The verifier of statements: references, axes, steps, types, and where each may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from rollc.ir.graph import BATCH, Type, ordered_axes
from rollc.ir.operations import OPERATIONS, TypeMismatch
from rollc.ir.time.wavefront import are_weights
from rollc.ir.verifier import Flaw
from rollc.kernel.interpretation.operand_types import typed, value_type
from rollc.kernel.program import (
    Assign,
    Buffer,
    Carry,
    Clear,
    Fill,
    Function,
    Lap,
    Local,
    Loop,
    MatMul,
    Nest,
    Number,
    Operand,
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
    reads,
    simple_statements,
    writes,
)
from rollc.kernel.refine.prologue import reads_sizes
from rollc.kernel.verification.account import name_of


def ref_flaws(ref: Ref, buffer: Buffer) -> Iterator[str]:
    """References to elements or rows that a buffer does not have."""
    stop = ref.offset + prod(ref.shape)
    if ref.offset < 0 or stop > prod(buffer.shape):
        yield (
            f"takes the elements {ref.offset} to {stop} of `{ref.buffer}`, which has"
            f" {prod(buffer.shape)}"
        )
    if not 0 <= ref.shift <= buffer.before + buffer.after:
        yield f"takes a row of `{ref.buffer}` that is not there: shift {ref.shift}"
    known = ref.row in ("step", "first", "last", "along")
    named = (ref.row == "step") == (ref.end == "") and (ref.row != "along") == (ref.by == "")
    if not (known and named) or ref.by in buffer.axes:
        yield f"takes the row `{ref.row}` of `{ref.buffer}` along `{ref.end}`"
    elif ref.end and ref.end not in buffer.axes:
        yield f"takes the {ref.row} row of `{ref.buffer}`, which has none along `{ref.end}`"


@dataclass(frozen=True, slots=True)
class _Context:
    """What encloses a statement: loops over ``axes``, a ``block`` of one, an optional phase.

    In a loop over diagonals with ``weights`` it iterates over the axis ``across``.
    """

    axes: tuple[str, ...] = ()
    block: bool = False
    phase: str = ""
    across: str = ""
    weights: tuple[int, int] = (0, 1)


class Statements:
    """The statements of a function whose buffers are all declared."""

    def __init__(self, program: Program, function: Function) -> None:
        self.program = program
        self.function = function
        self.buffers = {buffer.name: buffer for buffer in program.buffers}

    def flaws(self) -> Iterator[Flaw]:
        """Everything that is wrong with the statements of the function."""
        yield from self._prologue()
        for statement in self.function.body:
            if isinstance(statement, Loop):
                yield from self._loop(statement, _Context())
            else:
                yield from self._simple(statement, _Context())
        yield from self._blocks()

    def _prologue(self) -> Iterator[Flaw]:
        """The prologue reads parameters alone, and only it writes its buffers."""
        known = {name for name, operation in self.program.leaves if operation == "param"}
        for statement in self.function.prologue:
            yield from self._simple(statement, _Context())
            if reads_sizes(statement):
                yield Flaw(name_of(statement), "depends on sizes, which may change")
            for ref in reads(statement):
                if ref.buffer not in known:
                    yield Flaw(name_of(statement), f"reads `{ref.buffer}`, which may change")
            for ref in writes(statement):
                known.add(ref.buffer)
                if self.buffers[ref.buffer].axes or self.buffers[ref.buffer].batch:
                    yield Flaw(name_of(statement), f"writes `{ref.buffer}`, whose size may change")
        for other in self.program.functions:
            for statement in simple_statements(other.body):
                for ref in writes(statement):
                    if ref.buffer in known:
                        yield Flaw(name_of(statement), f"writes `{ref.buffer}`, which is to stay")

    def _loop(self, loop: Loop, around: _Context) -> Iterator[Flaw]:
        where = f"a loop over `{loop.axis}`"
        if loop.axis in around.axes:
            yield Flaw(None, f"{where} inside of one")
        if (loop.nested or around.axes) and (loop.blocks or loop.span != Span()):
            yield Flaw(None, f"{where} that is nested runs for all steps, and in no blocks")
        if loop.axis not in self.program.axes or loop.direction not in ("forward", "backward"):
            yield Flaw(None, f"{where} {loop.direction}: no such axis, or no such direction")
            return
        yield from (Flaw(None, f"{where} {text}") for text in self._span(loop.span))
        shifts = [part for part in loop.body if isinstance(part, Shifted)]
        if shifts and len(shifts) < len(loop.body):
            yield Flaw(None, f"{where} has parts with a shift, and others")
        if loop.blocks and (shifts or loop.span != Span() or self.program.block < 1):
            yield Flaw(None, f"{where} cannot run in blocks of steps")
        if loop.across:
            yield from (Flaw(None, f"{where} {text}") for text in self._diagonals(loop, around))
        inside = _Context((*around.axes, loop.axis), across=loop.across, weights=loop.weights)
        for part in loop.body:
            if isinstance(part, Loop):
                yield from self._loop(part, inside)
                continue
            for statement in part.body if isinstance(part, Shifted) else (part,):
                yield from self._simple(statement, inside)
        for statement in (*loop.before, *loop.after):
            if isinstance(statement, Carry) and statement in loop.before:
                buffer = self.buffers[statement.buffer]
                if buffer.role != "block" or not buffer.around:
                    yield Flaw(buffer.name, "has no rows to be carried from block to block")
            else:
                yield from self._simple(statement, replace(inside, block=True))

    def _diagonals(self, loop: Loop, around: _Context) -> Iterator[str]:
        known = {*self.program.axes} - {*around.axes, loop.axis}
        if loop.across not in known or not are_weights(loop.weights):
            yield f"has no diagonals of `{loop.across}` with the weights {loop.weights}"
        if loop.blocks or loop.nested or loop.span != Span():
            yield "that has diagonals runs for all steps, in no blocks, and around no other loop"

    def _blocks(self) -> Iterator[Flaw]:
        """Buffers of a block of steps are used in one loop, and filled before it."""
        loops: dict[str, int] = {}
        for number, statement in enumerate(self.function.body):
            for inner in simple_statements([statement]):
                names = {ref.buffer for ref in (*reads(inner), *writes(inner))}
                for name in sorted(names):
                    if self.buffers[name].role != "block" or isinstance(inner, Fill):
                        continue
                    buffer = self.buffers[name]
                    own = isinstance(statement, Loop) and buffer.axes == (statement.axis,)
                    if loops.setdefault(name, number) != number or not own:
                        yield Flaw(name_of(inner), f"uses `{name}` outside the loop of its blocks")

    def _span(self, span: Span) -> Iterator[str]:
        last = self.program.steps
        stop = last if span.stop is None else span.stop
        if span.start < 0 or (stop is not None and not span.start < stop <= (last or stop)):
            yield f"runs for steps that do not exist: {span.start} to {stop}"
        elif (span.start, span.stop) != (0, None) and last is None:
            yield "runs for some steps, of a number that is not known"

    def _simple(self, statement: Simple, context: _Context) -> Iterator[Flaw]:
        if isinstance(statement, Optional):
            if context.phase or statement.phase != self.function.optional:
                yield Flaw(None, f"`{statement.phase}` is no optional part of the function")
            for inner in statement.body:
                yield from self._simple(inner, replace(context, phase=statement.phase))
            return
        name = name_of(statement)
        refs = [*reads(statement), *writes(statement)]
        if not isinstance(statement, Fill | Clear | Pack | Carry | Lap):
            found = [text for ref in refs for text in ref_flaws(ref, self.buffers[ref.buffer])]
            yield from (Flaw(name, text) for text in dict.fromkeys(found))
            if found:
                return
        for text in (*self._roles(statement), *self._domain(statement, context)):
            yield Flaw(name, text)
        match statement:
            case Nest():
                yield from self._nest(statement, context)
            case Fill():
                texts = self._fill(statement)
            case Pack():
                texts = self._pack(statement)
            case MatMul():
                texts = self._times(statement, context)
            case OuterProduct():
                texts = self._product(statement, context)
            case Routine():
                texts = self._routine(statement, context)
            case Reduce():
                texts = self._reduce(statement, context)
            case Clear():
                texts = iter(())
            case _:
                texts = iter(["may not be here"])
        if not isinstance(statement, Nest):
            yield from (Flaw(name, text) for text in texts)

    def _roles(self, statement: Simple) -> Iterator[str]:
        """Leaves are not written, and only packs write and products read panels."""
        for ref in writes(statement):
            role, kind = self.buffers[ref.buffer].role, self.buffers[ref.buffer].kind
            if isinstance(statement, MatMul | OuterProduct | Reduce) and kind != "float":
                yield f"writes numbers to `{ref.buffer}`, which holds {kind}"
            if role == "leaf" and not isinstance(statement, Fill):
                yield f"writes to `{ref.buffer}`, a leaf"
            if (role == "panel") != isinstance(statement, Pack):
                yield f"writes to `{ref.buffer}`, which is {'a' if role == 'panel' else 'no'} panel"
        if any(isinstance(one, Local) for one in _operands(statement)):
            yield "reads a local outside its nest"
        for ref in reads(statement):
            panel = isinstance(statement, MatMul) and ref == Ref(statement.panel)
            if (self.buffers[ref.buffer].role == "panel") != panel:
                yield f"reads `{ref.buffer}`, which is {'no' if panel else 'a'} panel"

    # Steps and axes --------------------------------------------------------------------

    def _over(self, statement: Simple) -> tuple[str, ...]:
        """The axes that a statement iterates over."""
        match statement:
            case Nest() | MatMul() | OuterProduct() | Routine():
                return statement.over
            case Reduce():
                return ordered_axes((*statement.over, *statement.kept))
        return ()

    def _domain(self, statement: Simple, context: _Context) -> Iterator[str]:
        """Iterations over axes or steps that do not exist, and accesses that do not match them."""
        if isinstance(statement, Fill | Pack | Clear | Carry | Lap | Optional):
            if context.axes:
                yield "has to be before the loop"
            return
        over, span = self._over(statement), statement.span
        if not set(over) <= {*self.program.axes, BATCH} or over != ordered_axes(over):
            yield "iterates over axes that are not those of the program, once and in their order"
        if span.block != context.block:
            yield "runs for a block of steps outside of one, or for all steps inside of one"
        for axis in context.axes:
            if (axis in over) != context.block:
                yield f"iterates over `{axis}` inside an iteration, or not inside a block"
        if context.across and (context.across not in over or span != Span()):
            yield f"iterates over no steps along `{context.across}`, or only some, of a diagonal"
        if not span.block:
            yield from self._span(span)
        for ref in reads(statement):
            buffer = self.buffers[ref.buffer]
            if buffer.unpadded and (ref.shift, ref.row) != (buffer.before, "step"):
                # Without a halo, each read of a row is tested.
                one = isinstance(statement, Nest) and context == _Context((buffer.axis,))
                if not one and not (isinstance(statement, OuterProduct) and not ref.shape):
                    yield f"reads many rows of `{ref.buffer}` at once, which has no halo"
        diagonals = (context.across, *context.axes[-1:]), context.weights
        for ref in dict.fromkeys((*reads(statement), *writes(statement))):
            buffer = self.buffers[ref.buffer]
            if buffer.skew and (buffer.axes, (buffer.skew, 1)) != diagonals:
                yield f"uses `{ref.buffer}`, which is in the order of other diagonals"
        whole = self._whole(statement)
        for ref in (*reads(statement), *writes(statement)):
            buffer = self.buffers[ref.buffer]
            own = {*over, *context.axes, ref.end}
            own |= {whole} if ref in {*reads(statement)} else set()
            if ref.by and ref.by not in {*over, *context.axes}:
                yield f"reads `{ref.buffer}` by the steps along `{ref.by}`, not iterating over it"
            for axis in (*buffer.axes, *((BATCH,) if buffer.batch else ())):
                if axis not in own:
                    yield f"accesses steps of `{ref.buffer}` along `{axis}`, not iterating over it"

    def _whole(self, statement: Simple) -> str:
        """The axis all of whose steps a routine reads at once; "" for none."""
        if isinstance(statement, Routine) and statement.operation in OPERATIONS:
            axis = dict(statement.options).get("axis")
            if OPERATIONS[statement.operation].whole and isinstance(axis, str):
                return axis
        return ""

    def _axes(self, ref: Ref, statement: Simple, context: _Context) -> tuple[str, ...]:
        """The axes along which a read varies."""
        buffer = self.buffers[ref.buffer]
        loops = () if context.block else context.axes
        steps = [axis for axis in buffer.axes if axis not in loops or axis == ref.end]
        if ref.by:  # what is along one axis is read along the other
            steps = [axis for axis in steps if axis != ref.end]
            steps += [ref.by] if ref.by not in loops else []
        return ordered_axes((*steps, *((BATCH,) if buffer.batch else ())))

    def _kept(self, out: Ref, axes: Sequence[str], context: _Context) -> Iterator[str]:
        """A buffer that is written by iterations over some axes has these axes."""
        buffer = self.buffers[out.buffer]
        own = {*buffer.axes, *((BATCH,) if buffer.batch else ())}
        for axis in axes:
            if axis not in own:
                yield f"has values along `{axis}`, and `{out.buffer}` one"
        loops = () if context.block else context.axes
        for axis in buffer.axes:
            if axis not in loops and axis not in axes:
                yield f"has one value along `{axis}`, and `{out.buffer}` many"

    # Statements ------------------------------------------------------------------------

    def _type(self, operand: Operand, statement: Simple, context: _Context) -> Type | None:
        """The type of an operand; None of a literal number."""
        if not isinstance(operand, Ref):
            return None
        kind = self.buffers[operand.buffer].kind
        return value_type(kind, operand.shape, self._axes(operand, statement, context))

    def _nest(self, nest: Nest, context: _Context) -> Iterator[Flaw]:
        known: dict[str, Type] = {}
        for assign in nest.body:
            if assign.name in known:
                yield Flaw(assign.name, "is computed twice in a nest")
                return
            locals_ = [one.name for one in assign.operands if isinstance(one, Local)]
            if unknown := [name for name in locals_ if name not in known]:
                yield Flaw(assign.name, f"reads `{unknown[0]}`, which no line before it computes")
                return
            types = [
                known[one.name] if isinstance(one, Local) else self._type(one, nest, context)
                for one in assign.operands
            ]
            found, problem = _result(assign.operation, dict(assign.options), types)
            if found is None:
                yield Flaw(assign.name, problem)
                return
            # An operation that gives a value for each step gives that of the iteration.
            loops = () if context.block else context.axes
            axes = tuple(axis for axis in found.axes if axis not in loops)
            known[assign.name] = value_type(found.kind, nest.shape, axes)
            yield from (Flaw(assign.name, text) for text in self._assign(assign, nest, found.kind))
            if not set(axes) <= set(nest.over):
                text = f"varies along {', '.join(axes)}, which the nest does not iterate over"
                yield Flaw(assign.name, text)
            if assign.store is not None:
                texts = self._kept(assign.store, nest.over, context)
                yield from (Flaw(assign.name, text) for text in texts)

    def _assign(self, assign: Assign, nest: Nest, kind: str) -> Iterator[str]:
        if not OPERATIONS[assign.operation].fusable:
            yield f"`{assign.operation}` cannot be in a nest"
        if (store := assign.store) is None:
            return
        if prod(store.shape) != prod(nest.shape):
            yield f"has the shape {nest.shape}, and is stored as {store.shape}"
        if self.buffers[store.buffer].kind != kind and not any(
            isinstance(one, Number)
            for one in assign.operands  # a literal is of either kind
        ):
            yield f"is {kind}, and `{store.buffer}` holds {self.buffers[store.buffer].kind}"

    def _fill(self, fill: Fill) -> Iterator[str]:
        buffer, initial = self.buffers[fill.buffer], fill.initial
        if not buffer.around:
            yield "has no rows around the sequence"
        if not isinstance(initial, Ref):
            return
        source = self.buffers[initial.buffer]
        yield from ref_flaws(initial, source)
        expected = initial.shape[1:] if fill.depth else initial.shape
        if prod(expected) not in (1, prod(buffer.shape)) or source.kind != buffer.kind:
            yield f"has another type than its initial value, `{initial.buffer}`"
        own = {*buffer.axes, *((BATCH,) if buffer.batch else ())} - {buffer.axis}
        if not {*source.axes, *((BATCH,) if source.batch else ())} <= own:
            yield f"its initial value `{initial.buffer}` runs over an axis of its own"

    def _pack(self, pack: Pack) -> Iterator[str]:
        panel, columns = self.buffers[pack.panel], 0
        if panel.role != "panel":
            return
        for part in pack.parts:
            weight = self.buffers[part.weight]
            if len(weight.shape) != 2 or weight.axes or weight.batch or weight.kind != "float":
                yield f"`{part.weight}` is not one matrix"
                return
            height, width = weight.shape if part.transposed else weight.shape[::-1]
            columns += height
            if width != panel.shape[0]:
                yield f"`{part.weight}` has {width} inputs, and the panel {panel.shape[0]}"
        if columns != panel.shape[1]:
            yield f"its matrices have {columns} columns, and the panel {panel.shape[1]}"

    def _times(self, times: MatMul, context: _Context) -> Iterator[str]:
        panel = self.buffers[times.panel]
        if panel.role == "panel" and (times.operand.shape, times.out.shape) != (
            panel.shape[:1],
            panel.shape[1:],
        ):
            shapes = f"{times.operand.shape} to {times.out.shape}"
            yield f"takes {shapes} by a panel of {panel.shape}"
        yield from self._when(times.when)
        yield from self._kept(times.out, times.over, context)

    def _when(self, when: Ref | None) -> Iterator[str]:
        """A condition of a product has one value a step, for all sequences."""
        if when is not None:
            buffer = self.buffers[when.buffer]
            if buffer.kind != "bool" or when.shape or buffer.batch:
                yield f"is predicated by `{when.buffer}`, which is no condition at each step"

    def _product(self, product: OuterProduct, context: _Context) -> Iterator[str]:
        a, b, out = product.a.shape, product.b.shape, product.out.shape
        if len(a) != len(b) or len(a) > 1 or out != (*a, *b):
            yield f"makes {out} of {a} and {b}"
        yield from self._when(product.when)
        yield from self._kept(product.out, (), context)

    def _routine(self, routine: Routine, context: _Context) -> Iterator[str]:
        types = [self._type(one, routine, context) for one in routine.operands]
        found, problem = _result(routine.operation, dict(routine.options), types)
        if found is None:
            yield problem
            return
        if OPERATIONS[routine.operation].fusable:
            yield f"`{routine.operation}` has to be in a nest"
        if prod(routine.out.shape) != prod(routine.shape):
            yield f"has the shape {routine.shape}, and is stored as {routine.out.shape}"
        if self.buffers[routine.out.buffer].kind != found.kind:
            yield f"is {found.kind}, and `{routine.out.buffer}` is not"
        if not set(routine.kept) <= set(routine.over) or routine.cleared > routine.accumulate:
            yield "accumulates along axes that it does not iterate over"
        own = routine.kept if routine.accumulate else routine.over
        if not set(found.axes) <= set(own):
            yield f"varies along {', '.join(found.axes)}, and is stored along {', '.join(own)}"
        yield from self._kept(routine.out, own, context)

    def _reduce(self, reduce: Reduce, context: _Context) -> Iterator[str]:
        operation = OPERATIONS.get(reduce.operation)
        if operation is None or operation.reduces is None or not operation.whole:
            yield f"`{reduce.operation}` is no reduction over axes"
            return
        if (reduce.accumulate or reduce.factor is not None) and operation.reduces != "sum":
            yield f"`{reduce.operation}` does not accumulate"
        if not reduce.over or set(reduce.over) & set(reduce.kept):
            yield "reduces no axis, or one that it keeps"
        types = [
            self._type(one, reduce, context)
            for one in (reduce.operand, reduce.factor)
            if one is not None
        ]
        if reduce.when is not None:
            when = self._type(reduce.when, reduce, context)
            plain = when is not None and when.kind == "bool" and not when.shape
            if reduce.factor is None or not plain:
                yield f"is a sum of products where `{reduce.when.buffer}` holds, or else a sum"
            types.append(when)
        axes = {axis for type_ in types if type_ is not None for axis in type_.axes}
        if axes != {*reduce.over, *reduce.kept}:
            yield f"iterates over {self._over(reduce)}, and reads along {ordered_axes(axes)}"
        shapes = [type_.shape for type_ in types if type_ is not None and type_.size > 1]
        if isinstance(reduce.factor, Ref) and reduce.factor.shape == reduce.shape[:-1]:
            shapes = [shape for shape in shapes if shape != reduce.factor.shape]
        if any(shape != reduce.shape for shape in shapes) or reduce.out.shape != reduce.shape:
            yield f"has the shape {reduce.shape}, and reads or writes another"
        yield from self._kept(reduce.out, reduce.kept, context)


def _operands(statement: Simple) -> tuple[Operand | None, ...]:
    """The operands of a statement other than a nest that can be locals or literals."""
    match statement:
        case Fill():
            return (statement.initial,)
        case Routine():
            return statement.operands
        case Reduce():
            return (statement.operand, statement.factor)
    return ()


def _result(
    operation: str, options: dict[str, object], types: Sequence[Type | None]
) -> tuple[Type | None, str]:
    """The type that an operation gives, or why it gives none."""
    entry = OPERATIONS.get(operation)
    if entry is None:
        return None, f"there is no operation `{operation}`"
    if not entry.takes(len(types)):
        return None, f"`{operation}` does not take {len(types)} operands"
    if missing := [name for name in entry.required if name not in options]:
        return None, f"`{operation}` has no `{missing[0]}`"
    try:
        return typed(operation, options, types)[0], ""  # type: ignore[arg-type]
    except TypeMismatch as mismatch:
        return None, f"`{operation}` takes {mismatch.expected}"
