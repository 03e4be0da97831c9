"""The arrays of a program's buffers, and the views of them that references denote.

An array has a dimension for each time axis of its buffer, one for the batch if it has that, and
then one for the elements of a value.  The memory layout of kernels is decided by
:mod:`rollc.runtime.memory`; which rows and elements there are, by the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import BATCH
from rollc.kernel.program import Buffer, Program, Ref, Span

Array = NDArray[Any]


class ProgramFault(Exception):
    """A statement that cannot be run as it stands; the message says why."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The iteration domain of a statement.

    ``over`` are the axes that it iterates over itself, at the steps of ``span``; ``steps`` has
    the current step of each loop around it, and at a cell of a diagonal that along the axis
    ``across``.  ``block`` is the first step of the current block of such a loop, and the step
    behind its last one.
    """

    over: tuple[str, ...] = ()
    span: Span = field(default_factory=Span)
    steps: Mapping[str, int] = field(default_factory=dict)
    block: tuple[int, int] | None = None
    across: str = ""

    def range(self, axis: str, count: int) -> tuple[int, int]:
        """The first step along an axis of ``count`` steps, and the one behind the last."""
        if axis == BATCH:
            return 0, count
        if axis not in self.over and axis in self.steps:
            return self.steps[axis], self.steps[axis] + 1
        if axis in self.over and self.span.block:
            if self.block is None:
                raise ProgramFault("runs for the steps of a block, and is in no loop that has any")
            return self.block
        if axis in self.over:
            return self.span.start, count if self.span.stop is None else self.span.stop
        return 0, count


class Storage:
    """The arrays of a program, by the names of their buffers.

    ``make`` allocates uninitialized memory; ``outside`` is the value of rows outside an unpadded
    input.
    """

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        make: Callable[[Buffer, tuple[int, ...]], Array],
        outside: object = 0,
    ) -> None:
        self.program = program
        self.sizes = sizes
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        self.arrays: dict[str, Array] = {}
        self._make = make
        self._outside = outside

    def copy(self) -> Storage:
        """A storage of the same arrays, to which others can be added."""
        found = Storage(self.program, self.sizes, self._make, self._outside)
        found.arrays.update(self.arrays)
        return found

    def new(self, name: str) -> Array:
        """A new array for a buffer."""
        buffer = self.buffers[name]
        return self._make(buffer, (*self.lead(buffer), prod(buffer.shape)))

    def lead(self, buffer: Buffer) -> tuple[int, ...]:
        """The leading dimensions of a buffer's array: all but that of the elements."""
        steps = (
            self.steps(buffer, axis) + (buffer.around if axis == buffer.axis else 0)
            for axis in buffer.axes
        )
        return (*steps, *((self.sizes[BATCH],) if buffer.batch else ()))

    def steps(self, buffer: Buffer, axis: str) -> int:
        """The number of steps of the sequence that a buffer holds along an axis."""
        if buffer.role != "block":
            return self.sizes[axis]
        return min(self.sizes[axis], self.program.block_steps(self.sizes[BATCH]))

    def inside(self, buffer: Buffer, array: Array, first: int) -> Array:
        """The view of the steps of the sequence, from the row ``first`` of an array on."""
        if not buffer.around:
            return array
        return _rows(array, buffer.axes.index(buffer.axis), first, first + self.sizes[buffer.axis])

    def view(self, ref: Ref, domain: Domain) -> tuple[Array, tuple[str, ...]]:
        """The elements that a reference denotes, and the axes of the dimensions before them.

        It is a view of the buffer's array, or a copy for an unpadded input.  An axis that neither
        the statement nor a loop around it iterates over has all of its steps, and one whose first
        or last step is read has that step; one that is read along another axis is that one.
        """
        buffer, array = self.buffers.get(ref.buffer), self.arrays.get(ref.buffer)
        if buffer is None or array is None:
            raise ProgramFault(f"`{ref.buffer}` is not among the buffers of the function")
        axes: list[str] = []
        for axis in buffer.axes:
            low, high = self._rows(buffer, ref, axis, domain)
            array = self._cut(buffer, array, len(axes), low, high)
            own = axis == ref.end
            end = own and ref.row in ("first", "last")
            axis = ref.by if own and ref.row == "along" else axis
            if axis in domain.steps and axis not in domain.over and not end:
                array = array[along(len(axes), 0)]
            else:
                axes.append(axis)
        stop = ref.offset + prod(ref.shape)
        if not 0 <= ref.offset <= stop <= array.shape[-1]:
            raise ProgramFault(
                f"the elements {ref.offset} to {stop} of `{ref.buffer}`, which has"
                f" {array.shape[-1]}"
            )
        return array[..., ref.offset : stop], (*axes, *((BATCH,) if buffer.batch else ()))

    def _rows(self, buffer: Buffer, ref: Ref, axis: str, domain: Domain) -> tuple[int, int]:
        """The range of rows that a reference denotes along an axis."""
        if ref.row in ("first", "last") and axis == ref.end:
            low = 0 if ref.row == "first" else self.sizes[axis] - 1
            high = low + 1
        else:
            by = ref.by if axis == ref.end else axis
            low, high = domain.range(by, self.sizes[by])
        move = 0
        if buffer.role == "block":
            if domain.block is None:
                raise ProgramFault(f"`{buffer.name}` holds the steps of a block, outside its loop")
            move -= domain.block[0]
        if axis == buffer.axis:
            move += ref.shift - (buffer.before if buffer.unpadded else 0)
        return low + move, high + move

    def _cut(self, buffer: Buffer, array: Array, position: int, low: int, high: int) -> Array:
        """The rows ``low`` to ``high`` along a dimension."""
        count = array.shape[position]
        if 0 <= low <= high <= count:
            return _rows(array, position, low, high)
        if not buffer.unpadded:
            raise ProgramFault(f"the rows {low} to {high} of `{buffer.name}`, which has {count}")
        rows = np.arange(low, high)
        found = np.take(array, np.clip(rows, 0, count - 1), axis=position)
        found[along(position, (rows < 0) | (rows >= count))] = self._outside
        return found


def along(position: int, index: Any) -> tuple[Any, ...]:
    """An index along one dimension of an array."""
    return (*(slice(None),) * position, index)


def _rows(array: Array, position: int, low: int, high: int) -> Array:
    found: Array = array[along(position, slice(low, high))]
    return found
