"""The meaning of a program, in NumPy: statement by statement, one step after the other.

Which rows and elements, in which order, is what the statements say; what an operation makes of
them is its own meaning in the table, as it is for graphs (:mod:`.interpreter`).  Nothing here knows
how code is made of a program, so that a fault of planning shows where the code does what it is
told.  What nobody has written is not a number here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rollc.ir.graph import BATCH, Attribute, Kind, Shape, Type, ordered_axes
from rollc.ir.interpreter import evaluated
from rollc.ir.operations import OPERATIONS, Frame, TypeMismatch
from rollc.kernel.interpretation.operand_types import typed, value_type
from rollc.kernel.interpretation.storage import Place, ProgramFault, Storage, along
from rollc.kernel.interpretation.walk import Walk
from rollc.kernel.program import (
    PHASES,
    Buffer,
    Clear,
    Fill,
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
"""Arrays by sort (output, loss, gradient) and label."""

_NONE: Mapping[str, Attribute] = {}
_NOTHING = {"float": np.nan, "index": np.iinfo(np.int64).min, "bool": False}


def interpret_program(
    program: Program,
    leaves: Arrays,
    sizes: Mapping[str, int],
    phases: Collection[str] = PHASES,
    dtype: DTypeLike = np.float64,
) -> Results:
    """The results of some phases: arrays by sort (output, loss, gradient) and label.

    ``sizes`` are the steps by axis, and the sequences.  Raises ``KeyError`` for a leaf that is
    missing, ``ValueError`` for one of a wrong shape, and :class:`ProgramFault` where the program
    cannot be run.
    """
    dtype = np.dtype(dtype)
    interpreter = Interpreter(Storage(program, sizes, partial(undefined, dtype)), dtype)
    interpreter.give(leaves)
    interpreter.run(phases)
    return interpreter.results(phases)


def undefined(dtype: np.dtype[Any], buffer: Buffer, shape: tuple[int, ...]) -> Array:
    """Memory that nothing has been written to; no index and no number is like it."""
    kinds: Mapping[Kind, np.dtype[Any]] = {
        "float": dtype,
        "index": np.dtype(np.int64),
        "bool": np.dtype(np.bool_),
    }
    return np.full(shape, _NOTHING[buffer.kind], kinds[buffer.kind])


@dataclass(frozen=True, slots=True)
class Value:
    """What a statement reads or makes: a dimension for each of some axes, then its own shape."""

    array: Array
    axes: tuple[str, ...]
    kind: Kind

    @property
    def shape(self) -> Shape:
        return self.array.shape[len(self.axes) :]

    def type(self) -> Type:
        return value_type(self.kind, self.shape, self.axes)


class Interpreter(Walk):
    """Runs the functions of a program on the arrays of a storage."""

    def __init__(self, storage: Storage, dtype: np.dtype[Any]) -> None:
        super().__init__(storage)
        self.dtype = dtype

    def give(self, leaves: Arrays) -> None:
        """Copy leaves to where statements read them."""
        for name, _ in self.program.leaves:
            if name in leaves:
                buffer = self.storage.buffers[name]
                array = self.storage.arrays[name] = self.storage.new(name)
                inside = self.storage.inside(buffer, array, buffer.before)
                inside[...] = np.asarray(leaves[name]).reshape(inside.shape)

    def results(self, phases: Collection[str]) -> Results:
        """The results of some phases; the arrays are nobody else's."""
        return {
            (result.sort, result.label): self._result(result)
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

    def read(self, ref: Ref, place: Place) -> Value:
        """What a reference means, at the place of a statement."""
        array, axes = self.storage.view(ref, place)
        shape = (*array.shape[:-1], *ref.shape)  # a copy: others may write there
        return Value(array.copy().reshape(shape), axes, self.storage.buffers[ref.buffer].kind)

    def write(self, ref: Ref, value: Value, place: Place) -> None:
        """Keep a value; it is the same along the axes that it does not have."""
        view, axes = self.storage.view(ref, place)
        if not set(value.axes) <= set(axes):
            (axis, *_) = set(value.axes) - set(axes)
            raise ProgramFault(f"`{ref.buffer}` has no place for each value along `{axis}`")
        dimensions = iter(value.array.shape)
        lead = [next(dimensions) if axis in value.axes else 1 for axis in axes]
        view[...] = value.array.reshape((*lead, prod(value.shape)))

    def compute(
        self,
        operation: str,
        options: Mapping[str, Attribute],
        operands: Sequence[Value | Number],
        shape: Shape,
        place: Place,
    ) -> Value:
        """What an operation makes of some values, at the place of a statement."""
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
            # The operation has made values for all steps: those at hand are taken.
            low, high = place.range(axis, self.sizes[axis])
            array = array[along(len(kept), slice(low, high))]
            if axis in place.over:
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
        """The type of a result, and its operands: a number is an index for whom takes one."""
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

    def statement(self, statement: Simple, place: Place) -> None:
        match statement:
            case Nest():
                self._nest(statement, place)
            case Fill():
                self._fill(statement)
            case Clear():
                self._clear(statement)
            case Pack():
                self._pack(statement, place)
            case MatMul():
                self._times(statement, place)
            case OuterProduct():
                self._product(statement, place)
            case Routine():
                self._routine(statement, place)
            case Reduce():
                self._reduce(statement, place)
            case _:
                raise ProgramFault(f"{type(statement).__name__} cannot be run here")

    def _operand(
        self, operand: Operand, place: Place, known: Mapping[str, Value]
    ) -> Value | Number:
        match operand:
            case Ref():
                return self.read(operand, place)
            case Local():
                if operand.name not in known:
                    raise ProgramFault(f"`{operand.name}` has not been computed in this nest")
                return known[operand.name]
        return operand

    def _nest(self, nest: Nest, place: Place) -> None:
        known: dict[str, Value] = {}
        for assign in nest.body:
            operands = [self._operand(operand, place, known) for operand in assign.operands]
            value = self.compute(
                assign.operation, dict(assign.options), operands, nest.shape, place
            )
            known[assign.name] = value
            if assign.store is not None:
                self.write(assign.store, value, place)

    def _fill(self, fill: Fill) -> None:
        """Rows before the first step and after the last one, by their depth."""
        buffer = self.storage.buffers[fill.buffer]
        array = self.storage.arrays[fill.buffer]
        steps = self.storage.steps(buffer, buffer.axis)
        position = buffer.axes.index(buffer.axis)
        others = tuple(axis for axis in buffer.axes if axis != buffer.axis)
        place = Place((*others, *((BATCH,) if buffer.batch else ())))
        for row in (*range(buffer.before), *range(steps + buffer.before, array.shape[position])):
            early = row < buffer.before
            value = self._initial(fill, buffer, row if early else row - steps, early, place)
            view = array[along(position, row)]
            dimensions = iter(value.array.shape)
            lead = [next(dimensions) if axis in value.axes else 1 for axis in place.over]
            view[...] = value.array.reshape((*lead, prod(value.shape)))

    def _initial(self, fill: Fill, buffer: Buffer, depth: int, early: bool, place: Place) -> Value:
        """What one of the rows around a sequence holds; ``early`` ones are those before it."""
        initial = fill.initial
        if isinstance(initial, Ref):
            if fill.depth:
                # There may be rows for depths that nothing reads any more, the oldest first.
                row = depth + initial.shape[0] - buffer.before if early else depth - buffer.before
                offset = initial.offset + row * prod(buffer.shape)
                initial = replace(initial, shape=buffer.shape, offset=offset)
            return self.read(initial, place)
        number = initial if isinstance(initial, Number) else Number(0.0)
        return self._literal(number, buffer.kind)

    def _clear(self, clear: Clear) -> None:
        buffer = self.storage.buffers[clear.buffer]
        place = Place((*buffer.axes, *((BATCH,) if buffer.batch else ())))
        self.write(Ref(clear.buffer, buffer.shape), self._literal(Number(0.0), "float"), place)

    def _pack(self, pack: Pack, place: Place) -> None:
        matrices = []
        for part in pack.parts:
            shape = self.storage.buffers[part.weight].shape
            weight = self.read(Ref(part.weight, shape), place).array
            matrices.append(weight.T if part.transposed else weight)
        whole = Value(np.concatenate(matrices, axis=1), (), "float")
        self.write(self._panel(pack.panel), whole, place)

    def _panel(self, name: str) -> Ref:
        return Ref(name, self.storage.buffers[name].shape)

    def _times(self, times: MatMul, place: Place) -> None:
        rows = self.read(times.operand, place)
        panel = self.read(self._panel(times.panel), place).array
        value = replace(rows, array=np.matmul(rows.array, panel))
        if times.when is not None:  # nobody needs it at other steps
            condition = self.read(times.when, place)
            operands = (condition, value, Number(np.nan))
            value = self.compute("where", _NONE, operands, value.shape, place)
        self.write(times.out, value, place)

    def _product(self, product: OuterProduct, place: Place) -> None:
        a, b = self.read(product.a, place), self.read(product.b, place)
        if product.when is not None:
            condition, zero = self.read(product.when, place), Number(0.0)
            a, b = (
                self.compute("where", _NONE, (condition, one, zero), one.shape, place)
                for one in (a, b)
            )
        over: Mapping[str, Attribute] = {"over": product.over}
        if a.shape:
            total = self.compute("outer", over, (a, b), (*a.shape, *b.shape), place)
        else:
            products = self.compute("multiply", _NONE, (a, b), (), place)
            total = self.compute("sum_over", over, (products,), (), place)
        self._keep(product.out, total, product.accumulate, place)

    def _routine(self, routine: Routine, place: Place) -> None:
        operands = [self._operand(operand, place, {}) for operand in routine.operands]
        options = dict(routine.options)
        value = self.compute(routine.operation, options, operands, routine.shape, place)
        kept = replace(place, over=routine.kept) if routine.accumulate else place
        self._keep(routine.out, value, routine.cleared, kept)

    def _reduce(self, reduce: Reduce, place: Place) -> None:
        operands = [self._operand(reduce.operand, place, {})]
        if reduce.factor is not None:
            operands.append(self._operand(reduce.factor, place, {}))
            operands = [self.compute("multiply", _NONE, operands, reduce.shape, place)]
        over: Mapping[str, Attribute] = {"over": reduce.over}
        value = self.compute(reduce.operation, over, operands, reduce.shape, place)
        self._keep(reduce.out, value, reduce.accumulate, place)

    def _keep(self, out: Ref, value: Value, accumulate: bool, place: Place) -> None:
        """Write a value, or add it to what is there."""
        if accumulate:
            value = self.compute("add", _NONE, (self.read(out, place), value), out.shape, place)
        self.write(out, value, place)
