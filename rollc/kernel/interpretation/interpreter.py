"""The reference semantics of a program, in NumPy: statement by statement, step by step.

Statements say which rows and elements are computed, and in which order; the meaning of an
operation is that of the table, as for graphs (:mod:`rollc.ir.interpreter`).  The interpreter shares
nothing with code generation, so that it tells an error in a program from one in its code.
Memory that has not been written holds NaN.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import BATCH, Attribute, Kind, Shape, Type, ordered_axes
from rollc.ir.interpreter import evaluated
from rollc.ir.operations import OPERATIONS, Frame, TypeMismatch
from rollc.kernel.interpretation.operand_types import typed, value_type
from rollc.kernel.interpretation.storage import Domain, ProgramFault, Storage, along
from rollc.kernel.interpretation.walk import Walk
from rollc.kernel.program import (
    PHASES,
    Buffer,
    Clear,
    Fill,
    Lap,
    Local,
    MatMul,
    Nest,
    Number,
    Operand,
    OuterProduct,
    Pack,
    Program,
    Reduce,
    Ref,
    Result,
    Routine,
    Simple,
)

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Results = dict[tuple[str, str], Array]
"""Arrays by kind (output, loss, gradient) and label."""

_NONE: Mapping[str, Attribute] = {}
_NOTHING = {"float": np.nan, "index": np.iinfo(np.int64).min, "bool": False}


def interpret_program(program: Program, leaves: Arrays, sizes: Mapping[str, int]) -> Results:
    """The results in float64: arrays by kind (output, loss, gradient) and label.

    ``sizes`` has the length of every axis, and the batch size.  Raises ``KeyError`` for a leaf
    that is missing, ``ValueError`` for one of a wrong shape, and :class:`ProgramFault` where the
    program cannot be run.
    """
    dtype = np.dtype(np.float64)
    interpreter = Interpreter(Storage(program, sizes, partial(undefined, dtype)), dtype)
    interpreter.give(leaves)
    interpreter.run(PHASES)
    return interpreter.results(PHASES)


def undefined(dtype: np.dtype[Any], buffer: Buffer, shape: tuple[int, ...]) -> Array:
    """Uninitialized memory, whose values no computation gives by chance."""
    kinds: Mapping[Kind, np.dtype[Any]] = {
        "float": dtype,
        "index": np.dtype(np.int64),
        "bool": np.dtype(np.bool_),
    }
    return np.full(shape, _NOTHING[buffer.kind], kinds[buffer.kind])


@dataclass(frozen=True, slots=True)
class Value:
    """An operand or a result: an array with a dimension for each axis, then its own shape."""

    array: Array
    axes: tuple[str, ...]
    kind: Kind

    @property
    def shape(self) -> Shape:
        """Its own shape, without the axes."""
        return self.array.shape[len(self.axes) :]

    def type(self) -> Type:
        """Its type, as :mod:`.operand_types` has them."""
        return value_type(self.kind, self.shape, self.axes)


class Interpreter(Walk):
    """Runs the functions of a program on the arrays of a storage."""

    def __init__(self, storage: Storage, dtype: np.dtype[Any]) -> None:
        super().__init__(storage)
        self.dtype = dtype

    def give(self, leaves: Arrays) -> None:
        """Copy leaves into their buffers."""
        for name, _ in self.program.leaves:
            if name in leaves:
                buffer = self.storage.buffers[name]
                array = self.storage.arrays[name] = self.storage.new(name)
                inside = self.storage.inside(buffer, array, buffer.before)
                inside[...] = np.asarray(leaves[name]).reshape(inside.shape)

    def results(self, phases: Collection[str]) -> Results:
        """The results of some phases, in new arrays."""
        return {
            (result.kind, result.label): self._result(result)
            for result in self.program.results
            if result.phase in phases
        }

    def _result(self, result: Result) -> Array:
        ref = result.ref
        array = self.storage.arrays[ref.buffer]
        steps = self.storage.inside(self.storage.buffers[ref.buffer], array, ref.shift)
        found = steps[..., ref.offset : ref.offset + prod(ref.shape)]
        return found.reshape((*found.shape[:-1], *ref.shape)).copy()

    def run(self, phases: Collection[str]) -> None:
        with np.errstate(all="ignore"):
            super().run(phases)

    # Reading, computing, writing -------------------------------------------------------

    def read(self, ref: Ref, domain: Domain) -> Value:
        """The value of a reference in the iteration domain of a statement."""
        array, axes = self.storage.view(ref, domain)
        shape = (*array.shape[:-1], *ref.shape)  # a copy, since the buffer may be written
        return Value(array.copy().reshape(shape), axes, self.storage.buffers[ref.buffer].kind)

    def write(self, ref: Ref, value: Value, domain: Domain) -> None:
        """Store a value, broadcast along the axes that it does not have."""
        view, axes = self.storage.view(ref, domain)
        if not set(value.axes) <= set(axes):
            (axis, *_) = set(value.axes) - set(axes)
            raise ProgramFault(f"`{ref.buffer}` has no dimension for values along `{axis}`")
        dimensions = iter(value.array.shape)
        lead = [next(dimensions) if axis in value.axes else 1 for axis in axes]
        view[...] = value.array.reshape((*lead, prod(value.shape)))

    def compute(
        self,
        operation: str,
        options: Mapping[str, Attribute],
        operands: Sequence[Value | Number],
        shape: Shape,
        domain: Domain,
    ) -> Value:
        """The result of an operation in the iteration domain of a statement."""
        found, values = self._typed(operation, options, operands)
        axes = ordered_axes(axis for value in values for axis in value.axes)
        extents = dict(self.sizes)
        for value in values:
            for axis, extent in zip(value.axes, value.array.shape, strict=False):
                extents[axis] = extent
        frame = Frame(axes, self.sizes, self.dtype, replace(found, shape=shape))
        given = [(value.array, value.axes) for value in values]
        array = evaluated(operation, options, frame, given)
        array = np.broadcast_to(array, (*(extents[axis] for axis in found.axes), *shape))
        kept: list[str] = []
        for axis in found.axes:
            if axis in axes or axis == BATCH:
                kept.append(axis)
                continue
            # The operation gives values for all steps: those of the domain are taken.
            low, high = domain.range(axis, self.sizes[axis])
            array = array[along(len(kept), slice(low, high))]
            if axis in domain.over:
                kept.append(axis)
            else:
                array = np.squeeze(array, axis=len(kept))
        return Value(array, tuple(kept), found.kind)

    def _typed(
        self,
        operation: str,
        options: Mapping[str, Attribute],
        operands: Sequence[Value | Number],
    ) -> tuple[Type, list[Value]]:
        """The type of a result, and the operands with literals of the kind that it takes."""
        if operation not in OPERATIONS:
            raise ProgramFault(f"there is no operation `{operation}`")
        types = [None if isinstance(one, Number) else one.type() for one in operands]
        try:
            found, kind = typed(operation, options, types)
        except TypeMismatch as mismatch:
            raise ProgramFault(f"`{operation}` takes {mismatch.expected}") from None
        literal = [self._literal(one, kind) if isinstance(one, Number) else one for one in operands]
        return found, literal

    def _literal(self, number: Number, kind: Kind) -> Value:
        return Value(
            np.asarray(number.value, self.dtype if kind == "float" else np.int64), (), kind
        )

    # Statements ------------------------------------------------------------------------

    def statement(self, statement: Simple, domain: Domain) -> None:
        match statement:
            case Nest():
                self._nest(statement, domain)
            case Fill():
                self._fill(statement)
            case Lap():
                now, laps = perf_counter_ns(), self.storage.arrays[statement.buffer].reshape(-1)
                laps[statement.place] += (now - laps[0]) * bool(statement.place)
                laps[0] = now
            case Clear():
                self._clear(statement)
            case Pack():
                self._pack(statement, domain)
            case MatMul():
                self._times(statement, domain)
            case OuterProduct():
                self._product(statement, domain)
            case Routine():
                self._routine(statement, domain)
            case Reduce():
                self._reduce(statement, domain)
            case _:
                raise ProgramFault(f"{type(statement).__name__} cannot be run here")

    def _operand(
        self, operand: Operand, domain: Domain, known: Mapping[str, Value]
    ) -> Value | Number:
        match operand:
            case Ref():
                return self.read(operand, domain)
            case Local():
                if operand.name not in known:
                    raise ProgramFault(f"`{operand.name}` has not been computed in this nest")
                return known[operand.name]
        return operand

    def _nest(self, nest: Nest, domain: Domain) -> None:
        known: dict[str, Value] = {}
        for assign in nest.body:
            operands = [self._operand(operand, domain, known) for operand in assign.operands]
            value = self.compute(
                assign.operation, dict(assign.options), operands, nest.shape, domain
            )
            known[assign.name] = value
            if assign.store is not None:
                self.write(assign.store, value, domain)

    def _fill(self, fill: Fill) -> None:
        """Write the rows before the first step and after the last one."""
        buffer = self.storage.buffers[fill.buffer]
        array = self.storage.arrays[fill.buffer]
        steps = self.storage.steps(buffer, buffer.axis)
        position = buffer.axes.index(buffer.axis)
        others = tuple(axis for axis in buffer.axes if axis != buffer.axis)
        domain = Domain((*others, *((BATCH,) if buffer.batch else ())))
        for row in (*range(buffer.before), *range(steps + buffer.before, array.shape[position])):
            before = row < buffer.before
            value = self._initial(fill, buffer, row if before else row - steps, before, domain)
            view = array[along(position, row)]
            dimensions = iter(value.array.shape)
            lead = [next(dimensions) if axis in value.axes else 1 for axis in domain.over]
            view[...] = value.array.reshape((*lead, prod(value.shape)))

    def _initial(
        self, fill: Fill, buffer: Buffer, depth: int, before: bool, domain: Domain
    ) -> Value:
        """The initial value of a row ``before`` the sequence, or else after it."""
        initial = fill.initial
        if isinstance(initial, Ref):
            if fill.depth:
                # The initial value can have more rows than the buffer, the oldest first.
                row = depth + initial.shape[0] - buffer.before if before else depth - buffer.before
                offset = initial.offset + row * prod(buffer.shape)
                initial = replace(initial, shape=buffer.shape, offset=offset)
            return self.read(initial, domain)
        number = initial if isinstance(initial, Number) else Number(0.0)
        return self._literal(number, buffer.kind)

    def _clear(self, clear: Clear) -> None:
        buffer = self.storage.buffers[clear.buffer]
        domain = Domain((*buffer.axes, *((BATCH,) if buffer.batch else ())))
        self.write(Ref(clear.buffer, buffer.shape), self._literal(Number(0.0), "float"), domain)

    def _pack(self, pack: Pack, domain: Domain) -> None:
        matrices = []
        for part in pack.parts:
            shape = self.storage.buffers[part.weight].shape
            weight = self.read(Ref(part.weight, shape), domain).array
            matrices.append(weight.T if part.transposed else weight)
        whole = Value(np.concatenate(matrices, axis=1), (), "float")
        self.write(self._panel(pack.panel), whole, domain)

    def _panel(self, name: str) -> Ref:
        return Ref(name, self.storage.buffers[name].shape)

    def _times(self, times: MatMul, domain: Domain) -> None:
        rows = self.read(times.operand, domain)
        panel = self.read(self._panel(times.panel), domain).array
        value = replace(rows, array=np.matmul(rows.array, panel))
        if times.when is not None:  # undefined where the condition is false
            condition = self.read(times.when, domain)
            operands = (condition, value, Number(np.nan))
            value = self.compute("where", _NONE, operands, value.shape, domain)
        self.write(times.out, value, domain)

    def _product(self, product: OuterProduct, domain: Domain) -> None:
        a, b = self.read(product.a, domain), self.read(product.b, domain)
        if product.when is not None:
            condition, zero = self.read(product.when, domain), Number(0.0)
            a, b = (
                self.compute("where", _NONE, (condition, one, zero), one.shape, domain)
                for one in (a, b)
            )
        over: Mapping[str, Attribute] = {"over": product.over}
        if a.shape:
            total = self.compute("outer", over, (a, b), (*a.shape, *b.shape), domain)
        else:
            products = self.compute("multiply", _NONE, (a, b), (), domain)
            total = self.compute("sum_over", over, (products,), (), domain)
        self._keep(product.out, total, product.accumulate, domain)

    def _routine(self, routine: Routine, domain: Domain) -> None:
        operands = [self._operand(operand, domain, {}) for operand in routine.operands]
        options = dict(routine.options)
        value = self.compute(routine.operation, options, operands, routine.shape, domain)
        own = tuple(axis for axis in routine.kept if axis != domain.across)
        kept = replace(domain, over=own) if routine.accumulate else domain
        self._keep(routine.out, value, routine.cleared, kept)

    def _reduce(self, reduce: Reduce, domain: Domain) -> None:
        operands = [self._operand(reduce.operand, domain, {})]
        if reduce.factor is not None:
            factor = self._operand(reduce.factor, domain, {})
            if isinstance(factor, Value) and factor.shape and factor.shape == reduce.shape[:-1]:
                size = reduce.shape[-1]  # of each vector
                factor = replace(factor, array=factor.array[..., None].repeat(size, axis=-1))
            operands = [self.compute("multiply", _NONE, [*operands, factor], reduce.shape, domain)]
        if reduce.when is not None:
            chosen = [self.read(reduce.when, domain), *operands, Number(0.0)]
            operands = [self.compute("where", _NONE, chosen, reduce.shape, domain)]
        over: Mapping[str, Attribute] = {"over": reduce.over}
        value = self.compute(reduce.operation, over, operands, reduce.shape, domain)
        self._keep(reduce.out, value, reduce.accumulate, domain)

    def _keep(self, out: Ref, value: Value, accumulate: bool, domain: Domain) -> None:
        """Store a value, or add it to the stored one."""
        if accumulate:
            value = self.compute("add", _NONE, (self.read(out, domain), value), out.shape, domain)
        self.write(out, value, domain)
