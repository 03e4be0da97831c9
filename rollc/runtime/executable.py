"""A compiled program: its buffers, its functions, and what calls need of it.

The functions are compiled by Numba when they are first called, or by :meth:`compile`, and
kept beside the source file (:mod:`rollc.backends.numba.jit.object_code`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.backends.numba.jit import object_code
from rollc.backends.numba.jit.object_code import Bindable, Bound
from rollc.backends.numba.jit.target import panel_size
from rollc.backends.numba.worker_team import Helpers
from rollc.ir.graph import BATCH
from rollc.kernel.cost import divisible_work, product_work
from rollc.kernel.program import (
    Buffer,
    Loop,
    Pack,
    Program,
    Ref,
    Result,
    Times,
    simple_statements,
)
from rollc.kernel.program import Function as Phase
from rollc.runtime.frames import Frame, Frames, inside, lead, plain
from rollc.support import threads
from rollc.support.allocator import Lender, empty

Array = NDArray[Any]

FEWEST = 4  # sequences of a thread, where each step reads a matrix for all of them
# Operations of matrix products: less is done before another thread has its data.
WORTHWHILE = 20_000_000
# The same of threads that help with large products: their numbers go to and fro.
DIVISIBLE = 50_000_000
FIRST = "primal"  # the phase that the others follow
_HELP = "help_team"  # the routine of threads that help with large products


class Executable:
    """A program with its code, for one precision.

    Buffers that do not leave the kernel are kept for the next call of the same size, and those
    of results that nobody holds any more are; two threads may call at once, each then has its
    own.  ``text`` is what the file ``source`` holds; without it, it is read when it is needed.
    """

    def __init__(self, program: Program, source: Path, dtype: str, text: str | None = None) -> None:
        self.program = program
        self.source = source
        self._text = text
        self.dtype = np.dtype(dtype)
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        kinds = {"float": self.dtype, "index": np.dtype(np.int64), "bool": np.dtype(np.bool_)}
        self.dtypes = {buffer.name: kinds[buffer.kind] for buffer in program.buffers}
        self.leaves = {name for name, _ in program.leaves}
        self._multiplies_each_step = any(
            isinstance(part, Times)
            for function in program.functions
            for loop in function.body
            if isinstance(loop, Loop)
            for part in loop.body
        )
        # Panels that all threads pack for all, and how many matrices those are made from.
        shared = {
            statement.panel: len(statement.parts)
            for function in program.functions
            for statement in simple_statements(function.body)
            if isinstance(statement, Pack) and statement.job is not None
        }
        self._panels, self.matrices = tuple(shared), sum(shared.values())
        self.read_later = _read_later(program)
        # Buffers that are one result, and nothing else's: others are not given away.
        times = Counter(result.ref.buffer for result in program.results)
        self._alone = {n for n, count in times.items() if count == 1 and self._is_result(n)}
        self.frames = Frames()
        self.joined = Lender()
        self._functions: dict[str, Bindable] | None = None

    @staticmethod
    def _is_given(buffer: Buffer) -> bool:
        """Whether an array is the caller's."""
        return buffer.role == "leaf" and not buffer.around

    def _is_result(self, name: str) -> bool:
        return self.buffers[name].role == "result"

    def _is_own(self, buffer: Buffer) -> bool:
        """Whether an array is a thread's alone: no one else's, and not given to the caller."""
        lent = buffer.role == "result" or buffer.name in self._panels
        return not lent and not self._is_given(buffer)

    @property
    def functions(self) -> dict[str, Bindable]:
        """The functions by phase, loaded or else compiled."""
        if self._functions is None:
            code = None if object_code.interpreted() else object_code.load(self._places())
            found = None if code is None else object_code.link(code)
            if found is None:
                self.compile()
            else:
                self._functions = found
        assert self._functions is not None
        return self._functions

    def compile(self) -> None:
        """Compile every function now, and keep the code."""
        object_code.start_compiler()
        module = _module(self.source, self._source_text())
        functions = {
            function.phase: getattr(module, function.phase) for function in self.program.functions
        }
        if object_code.interpreted():
            self._functions = {name: object_code.plain(own) for name, own in functions.items()}
            return
        from numba.np.numpy_support import from_dtype

        from rollc.backends.numba.jit.routine import machine_code

        arguments = {function.phase: self._types(function) for function in self.program.functions}
        code = machine_code(functions, arguments, {_HELP: from_dtype(self.dtype)})
        object_code.save(code, self._places())
        self._functions = object_code.link(code)

    def _places(self) -> tuple[Path, ...]:
        made_from = f"{self.dtype}\n{self._source_text()}".encode()
        return object_code.places(self.source.parent, self.source.stem, made_from)

    def _source_text(self) -> str:
        if self._text is None:
            self._text = self.source.read_text(encoding="utf-8")
        return self._text

    def _types(self, function: Phase) -> list[Any]:
        """The types of a function's arguments."""
        from numba import boolean, int64, types
        from numba.np.numpy_support import from_dtype

        counts = [int64] * (max(len(self.program.axes), 1) + 5)
        optional = [boolean] if function.optional else []
        arrays = (types.Array(from_dtype(self.dtypes[name]), 2, "C") for name in function.buffers)
        return [*counts, *optional, *arrays]

    def dimensions(self, buffer: Buffer, sizes: Mapping[str, int]) -> tuple[int, int]:
        """The shape of a buffer's array: its rows, and the elements of one value.

        Numbers lie in one row, so that loops over sequences and steps go along it.
        """
        if buffer.role == "panel":
            inner, width = buffer.shape
            return 1, panel_size(inner, width, self.dtype.itemsize)
        if buffer.role == "block":
            (axis,) = buffer.axes
            sizes = {**sizes, axis: min(sizes[axis], self.program.block_steps(sizes[BATCH]))}
        rows = prod(lead(buffer, sizes))
        return (rows, prod(buffer.shape)) if buffer.shape else (1, rows)

    def bytes(self, sizes: Mapping[str, int]) -> int:
        """The memory that a run takes, besides the caller's own arrays; the next has it again."""
        shares = self._share_sizes(sizes)
        results = [buffer for buffer in self.program.buffers if buffer.role == "result"]
        panels = [buffer for buffer in self.program.buffers if buffer.name in self._panels]
        own = [buffer for buffer in self.program.buffers if self._is_own(buffer)]
        if len(shares) == 1:
            return sum(self._size(buffer, sizes) for buffer in own + results + panels)
        # Threads have copies of their leaves, and results are joined, but for what is apart.
        whole = panels + [buffer for buffer in results if buffer.batch]
        whole += [b for b in self.program.buffers if self._is_given(b) and b.axes and b.batch]
        parts = own + [buffer for buffer in results if not buffer.apart]
        return sum(self._size(buffer, share) for buffer in parts for share in shares) + sum(
            self._size(buffer, sizes)
            for buffer in whole
            if not (buffer.apart and buffer.role == "leaf")
        )

    def _size(self, buffer: Buffer, sizes: Mapping[str, int]) -> int:
        return prod(self.dimensions(buffer, sizes)) * self.dtypes[buffer.name].itemsize

    def _share_sizes(self, sizes: Mapping[str, int]) -> list[dict[str, int]]:
        """The sizes that each thread computes."""
        steps = {axis: count for axis, count in sizes.items() if axis != BATCH}
        shares = self.shares(steps, sizes[BATCH])
        return [{**steps, BATCH: share.stop - share.start} for share in shares]

    # For calls -------------------------------------------------------------------------

    def shares(self, sizes: Mapping[str, int], batch: int) -> list[slice]:
        """The sequences of each thread."""
        count = min(threads.count(), batch // (FEWEST if self._multiplies_each_step else 1))
        if count < 2 or not self.program.splits:
            return [slice(0, batch)]
        if product_work(self.program, max(sizes.values()), batch) < WORTHWHILE:
            return [slice(0, batch)]
        size = -(-batch // count)
        return [slice(first, min(first + size, batch)) for first in range(0, batch, size)]

    def rows_apart(
        self,
        leaves: Mapping[str, Array],
        sizes: Mapping[str, int],
        wanted: Sequence[Result],
        copied: Collection[str],
    ) -> dict[str, Array]:
        """The rows of all sequences of the arrays that threads use where they are.

        Of the leaves ``copied`` they are a copy.
        """
        results = {result.ref.buffer for result in wanted}
        rows: dict[str, Array] = {}
        for buffer in self.program.buffers:
            name, dtype = buffer.name, self.dtypes[buffer.name]
            if not buffer.apart:
                continue
            shape = self.dimensions(buffer, sizes)
            if name in leaves:
                array = plain(leaves[name], dtype, self.joined, name, copy=name in copied)
                rows[name] = array.reshape(shape)
            elif name in results:
                rows[name] = self.joined.lend(name, shape, dtype)
        return rows

    def part_of(self, leaves: Mapping[str, Array], share: slice) -> dict[str, Array]:
        """The leaves of some of the sequences."""
        found: dict[str, Array] = {}
        for name in self.leaves & leaves.keys():
            buffer = self.buffers[name]
            if buffer.batch and not buffer.apart:
                found[name] = leaves[name][(*(slice(None),) * len(buffer.axes), share)]
            elif not buffer.batch:
                found[name] = leaves[name]
        return found

    def joined_array(self, result: Result, sizes: Mapping[str, int]) -> Array:
        """Where the parts of a result go."""
        buffer = self.buffers[result.ref.buffer]
        shape = (*(sizes[axis] for axis in buffer.axes), sizes[BATCH], *result.ref.shape)
        return self.joined.lend((result.sort, result.label), shape, self.dtypes[result.ref.buffer])

    def common_panels(self) -> dict[str, Array]:
        """The panels that all threads of a call use."""
        return {
            name: self.joined.lend(name, self.dimensions(self.buffers[name], {}), self.dtype)
            for name in self._panels
        }

    def copied(self, name: str, leaf: Array) -> Array:
        """A copy of a leaf for all threads of a call."""
        return plain(leaf, self.dtypes[name], self.joined, name, copy=True)

    def call(
        self,
        function: Phase,
        frame: Frame,
        arrays: Mapping[str, Array],
        call: tuple[int, int, int],
        phases: Collection[str],
    ) -> None:
        """Run a function.  A call has a number of sequences in all, a team and words."""
        whole, team, words = call
        optional = [function.optional in phases] if function.optional else []
        key = (function.phase, whole, *optional)
        bound = frame.bound.get(key)
        if bound is None:
            steps = [frame.sizes[axis] for axis in self.program.axes or ("t",)]
            batch = frame.sizes[BATCH]
            numbers = [*steps, batch, whole, self.program.block_steps(batch), team, words]
            own = [arrays[name] for name in function.buffers]
            made = self.functions[function.phase]([*numbers, *optional], own)
            if isinstance(made, Bound):
                frame.bound[key] = made
            made()
            return
        first = len(frame.sizes) + 2
        bound.count(first, team)
        bound.count(first + 1, words)
        for place, name in frame.places[function.phase]:
            bound.give(place, arrays[name])
        bound()

    def helpers(self, frame: Frame, phases: Collection[str]) -> Helpers | None:
        """Threads beside this one, where it alone runs the loops but not every product."""
        if threads.count() < 2 or object_code.interpreted():
            return None
        if frame.divisible is None:
            (*steps, batch) = frame.sizes.values()
            frame.divisible = divisible_work(self.program, max(steps), batch) >= DIVISIBLE
        if not frame.divisible:
            return None
        key = tuple(phases)
        if key not in frame.helpers:
            frame.helpers[key] = Helpers(self.functions[_HELP], np.empty((1, 1), self.dtype))
        return frame.helpers[key]

    def frame(self, sizes: Mapping[str, int]) -> Frame:
        """A frame of that size, to be given back."""
        found = self.frames.take(sizes)
        if found is not None:
            return found
        frame = Frame(sizes)
        phases: dict[str, list[str]] = {}  # those that take a buffer
        for function in self.program.functions:
            frame.results[function.phase] = []
            for name in function.buffers:
                phases.setdefault(name, []).append(function.phase)
        for buffer in self.program.buffers:
            name = buffer.name
            shape = self.dimensions(buffer, sizes)
            if self._is_own(buffer):
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
            frame.places[function.phase] = [
                (place, name)
                for place, name in enumerate(function.buffers)
                if name not in frame.arrays
            ]
        for result in self.program.results:
            key = result.sort, result.label
            frame.leaving.append((key, result))
            if self._is_whole(result.ref):
                buffer = self.buffers[result.ref.buffer]
                frame.whole[key] = (*lead(buffer, sizes), *result.ref.shape)
        return frame

    def result(self, result: Result, array: Array, sizes: Mapping[str, int]) -> Array:
        """A value with its own dimensions: steps, sequences, then its shape."""
        ref = result.ref
        buffer = self.buffers[ref.buffer]
        rows = array.reshape((*lead(buffer, sizes), -1))
        steps = inside(rows, buffer, sizes, ref.shift)
        found = steps[..., ref.offset : ref.offset + prod(ref.shape)]
        found = found if ref.buffer in self._alone else found.copy()
        return found.reshape((*found.shape[:-1], *ref.shape))

    @staticmethod
    def copy_of(result: Result, array: Array, lender: Lender) -> Array:
        """A copy of a value, in memory that is lent."""
        return plain(array, array.dtype, lender, (result.sort, result.label), copy=True)

    def _is_whole(self, ref: Ref) -> bool:
        """Whether a result is all of a buffer that leaves the kernel."""
        return ref.buffer in self._alone and not self.buffers[ref.buffer].around


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


def _module(source: Path, text: str) -> ModuleType:
    """The module of a kernel's source, under a name of its own."""
    module = ModuleType(f"rollc_kernel_{source.stem}")
    module.__file__ = str(source)
    sys.modules[module.__name__] = module
    exec(compile(text, source, "exec"), module.__dict__)
    return module
