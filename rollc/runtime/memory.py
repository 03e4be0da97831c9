"""The memory of a kernel: the layout of its buffers, and which are the caller's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.backends.protocol import Backend
from rollc.ir.graph import BATCH
from rollc.kernel.program import (
    PHASES,
    REST,
    WHOLE,
    Buffer,
    Pack,
    Program,
    Result,
    simple_statements,
)
from rollc.runtime.frames import Frame, Frames, View, inside, lead
from rollc.support.allocator import Lender, empty

Array = NDArray[Any]
FIRST = PHASES[0]
"""The phase that runs before the others."""


class Memory:
    """The arrays of a program, for one precision.

    The kernel's own buffers are reused by the next call of the same size, and so are those of
    results that nobody holds any more; calls from several threads have separate ones.  ``panels``
    are packed from a number of ``matrices`` by the threads of a call together; ``read_later`` are
    the leaves and results of the first phase that others read.  ``constants`` are parameters and
    the results of prologues, which calls then skip.
    """

    def __init__(
        self,
        program: Program,
        backend: Backend,
        dtype: str,
        constants: Mapping[str, Array] | None = None,
    ) -> None:
        self.program = program
        self.dtype = np.dtype(dtype)
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        kinds = {"float": self.dtype, "index": np.dtype(np.int64), "bool": np.dtype(np.bool_)}
        self.dtypes = {buffer.name: kinds[buffer.kind] for buffer in program.buffers}
        self.constants = constants or {}
        self.part = WHOLE if constants is None else REST
        self.leaves = {name for name, _ in program.leaves if name not in self.constants}
        shared = {
            statement.panel: len(statement.parts)
            for function in program.functions
            for statement in simple_statements(function.statements)
            if isinstance(statement, Pack)
            and statement.job is not None
            and statement.panel not in self.constants
        }
        self.panels, self.matrices = tuple(shared), sum(shared.values())
        self.read_later = _read_later(program)
        # Buffers that hold a single result are returned to the caller; others are copied from.
        times = Counter(result.ref.buffer for result in program.results)
        self._single = {n for n, count in times.items() if count == 1 and self._is_result(n)}
        self._panel_size = backend.panel_size
        self.frames = Frames()

    def is_given(self, buffer: Buffer) -> bool:
        """Whether an array is the caller's."""
        return buffer.role == "leaf" and not buffer.around and buffer.name not in self.constants

    def _is_result(self, name: str) -> bool:
        return self.buffers[name].role == "result"

    def is_own(self, buffer: Buffer) -> bool:
        """Whether an array is private to a thread: not shared, and not the caller's."""
        lent = buffer.role == "result" or buffer.name in self.panels
        return not (lent or self.is_given(buffer) or buffer.name in self.constants)

    def dimensions(self, buffer: Buffer, sizes: Mapping[str, int]) -> tuple[int, int]:
        """The shape of a buffer's array: its rows, and the elements of one value.

        Numbers are contiguous in one row.
        """
        if buffer.role == "panel":
            inner, width = buffer.shape
            return 1, self._panel_size(inner, width, self.dtype.itemsize)
        if buffer.role == "block":
            (axis,) = buffer.axes
            sizes = {**sizes, axis: min(sizes[axis], self.program.block_steps(sizes[BATCH]))}
        rows = prod(lead(buffer, sizes))
        return (rows, prod(buffer.shape)) if buffer.shape else (1, rows)

    def bytes(self, sizes: Mapping[str, int], shares: Sequence[Mapping[str, int]]) -> int:
        """The memory of a call, besides the caller's own arrays; ``shares`` are threads' sizes."""
        results = [buffer for buffer in self.program.buffers if buffer.role == "result"]
        panels = [buffer for buffer in self.program.buffers if buffer.name in self.panels]
        own = [buffer for buffer in self.program.buffers if self.is_own(buffer)]
        if len(shares) == 1:
            return sum(self._size(buffer, sizes) for buffer in own + results + panels)
        # Shards have copies of leaves, and results are joined, except for strided arrays.
        whole = panels + [buffer for buffer in results if buffer.batch]
        whole += [b for b in self.program.buffers if self.is_given(b) and b.axes and b.batch]
        parts = own + [buffer for buffer in results if not buffer.strided]
        return sum(self._size(buffer, share) for buffer in parts for share in shares) + sum(
            self._size(buffer, sizes)
            for buffer in whole
            if not (buffer.strided and buffer.role == "leaf")
        )

    def _size(self, buffer: Buffer, sizes: Mapping[str, int]) -> int:
        return prod(self.dimensions(buffer, sizes)) * self.dtypes[buffer.name].itemsize

    def frame(self, sizes: Mapping[str, int]) -> Frame:
        """A frame of that size, idle or new; the call gives it back."""
        found = self.frames.take(sizes)
        if found is not None:
            return found
        frame = Frame(sizes)
        phases: dict[str, list[str]] = {}  # of each buffer, those that use it
        for function in self.program.functions:
            frame.results[function.phase] = []
            for name in function.buffers:
                phases.setdefault(name, []).append(function.phase)
        for buffer in self.program.buffers:
            name = buffer.name
            shape = self.dimensions(buffer, sizes)
            if name in self.constants:
                frame.arrays[name] = self.constants[name]
            elif self.is_own(buffer):
                array = frame.arrays[name] = empty(shape, self.dtypes[name])
                if buffer.role == "leaf":
                    rows = array.reshape((*lead(buffer, sizes), -1))
                    frame.copied[name] = inside(rows, buffer, sizes, buffer.before)
            elif buffer.role == "leaf":
                frame.given.append((name, shape, self.dtypes[name]))
            else:
                for phase in phases.get(name, ()):
                    frame.results[phase].append((name, shape, self.dtypes[name]))
        for function in self.program.functions:
            frame.replaced[function.phase] = [
                (position, name)
                for position, name in enumerate(function.buffers)
                if name not in frame.arrays
            ]
        for result in self.program.results:
            key = result.kind, result.label
            frame.leaving.append((key, result, self._view_of(result, sizes)))
        return frame

    def result(self, result: Result, array: Array, sizes: Mapping[str, int]) -> Array:
        """A result with its own dimensions, to be given away."""
        return self._view_of(result, sizes).given_away(array)

    def view(self, result: Result, array: Array, sizes: Mapping[str, int]) -> Array:
        """A result in the array of its buffer: steps, sequences, then its own shape."""
        return self._view_of(result, sizes).of(array)

    def _view_of(self, result: Result, sizes: Mapping[str, int]) -> View:
        ref = result.ref
        buffer, single = self.buffers[ref.buffer], ref.buffer in self._single
        rows = lead(buffer, sizes)
        without_halo = (*(sizes[axis] for axis in buffer.axes), *rows[len(buffer.axes) :])
        shape = (*without_halo, *ref.shape)
        if not buffer.around and ref.shape == buffer.shape:
            return View(shape, single)
        index = [slice(None)] * len(rows)
        if buffer.around:
            steps = buffer.axes.index(buffer.axis)
            index[steps] = slice(ref.shift, ref.shift + sizes[buffer.axis])
        elements = slice(ref.offset, ref.offset + prod(ref.shape))
        return View(shape, single, (*rows, prod(buffer.shape)), (*index, elements))

    def leaving(self, result: Result, array: Array, lender: Lender) -> Array:
        """A result of a kept call: a copy where a later phase reads its array."""
        if result.ref.buffer not in self.read_later:
            return array
        own = lender.lend((result.kind, result.label), array.shape, array.dtype)
        own[...] = array
        return own


def _read_later(program: Program) -> frozenset[str]:
    """The leaves and results of the first phase that others read."""
    first: set[str] = set()
    later = {result.ref.buffer for result in program.results if result.phase != FIRST}
    for function in program.functions:
        (first if function.phase == FIRST else later).update(function.buffers)
    roles = {buffer.name: buffer.role for buffer in program.buffers}
    return frozenset(
        name
        for name in later
        if roles[name] == "leaf" or (roles[name] == "result" and name in first)
    )
