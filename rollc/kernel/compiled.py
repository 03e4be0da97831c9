"""A compiled program: its buffers, its functions, and how they are called.

The functions are compiled by Numba when they are first called, or by :meth:`compile`, and
kept beside the source file (:mod:`rollc.kernel.native`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc import threads
from rollc.graph.graph import BATCH
from rollc.kernel import native
from rollc.kernel.helpers import Helpers
from rollc.kernel.host import panel_size
from rollc.kernel.memory import Lender, empty
from rollc.kernel.native import Bound, Function, Plain
from rollc.kernel.program import Buffer, Loop, Pack, Program, Ref, Result, Times, simple_statements
from rollc.kernel.program import Function as Phase
from rollc.kernel.words import MATRIX
from rollc.kernel.work import divisible_work, product_work

Array = NDArray[Any]
_NONE: Mapping[str, Array] = {}

FEWEST = 4  # sequences of a thread, where each step reads a matrix for all of them
# Operations of matrix products: less is done before another thread has its data.
WORTHWHILE = 20_000_000
# The same of threads that help with large products: their numbers go to and fro.
DIVISIBLE = 50_000_000
_HELP = "help_team"  # the routine of threads that help with large products


class Kernel:
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
        self._panels, self._matrices = tuple(shared), sum(shared.values())
        self._idle: list[_Frame] = []
        self._joined = Lender()
        self._functions: dict[str, Function] | None = None

    @staticmethod
    def _is_given(buffer: Buffer) -> bool:
        """Whether an array is the caller's."""
        return buffer.role == "leaf" and not buffer.around

    def _is_own(self, buffer: Buffer) -> bool:
        """Whether an array is a thread's alone: no one else's, and not given to the caller."""
        lent = buffer.role == "result" or buffer.name in self._panels
        return not lent and not self._is_given(buffer)

    @property
    def functions(self) -> dict[str, Function]:
        """The functions by phase, loaded or else compiled."""
        if self._functions is None:
            code = None if native.interpreted() else native.load(self._places())
            found = None if code is None else native.link(code)
            if found is None:
                self.compile()
            else:
                self._functions = found
        assert self._functions is not None
        return self._functions

    def compile(self) -> None:
        """Compile every function now, and keep the code."""
        module = _module(self.source, self._source_text())
        functions = {
            function.phase: getattr(module, function.phase) for function in self.program.functions
        }
        if native.interpreted():
            self._functions = {name: partial(Plain, own) for name, own in functions.items()}
            return
        from numba.np.numpy_support import from_dtype

        from rollc.kernel.linking import machine_code

        arguments = {function.phase: self._types(function) for function in self.program.functions}
        code = machine_code(functions, arguments, {_HELP: from_dtype(self.dtype)})
        native.save(code, self._places())
        self._functions = native.link(code)

    def _places(self) -> tuple[Path, ...]:
        made_from = f"{self.dtype}\n{self._source_text()}".encode()
        return native.places(self.source.parent, self.source.stem, made_from)

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
        rows = prod(_lead(buffer, sizes))
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
        shares = self._shares(steps, sizes[BATCH])
        return [{**steps, BATCH: share.stop - share.start} for share in shares]

    def run(
        self,
        leaves: Mapping[str, Array],
        steps: int | Mapping[str, int],
        batch: int,
        phases: Sequence[str],
    ) -> dict[tuple[str, str], Array]:
        """The results of the phases: arrays by sort (output, loss, gradient) and label.

        ``steps`` is the number of steps, by axis where there are several.  ``leaves`` have
        been checked: the right shapes, dtypes and index ranges.  The arrays that come back
        are the caller's own.  Large batches are shared out to threads (:mod:`rollc.threads`).
        """
        axes = self.program.axes or ("t",)
        sizes = {axes[0]: steps} if isinstance(steps, int) else dict(steps)
        shares = self._shares(sizes, batch)
        if len(shares) == 1:
            return self._run(leaves, sizes, batch, batch, phases)
        wanted = [result for result in self.program.results if result.phase in phases]
        rows = self._rows_apart(leaves, {**sizes, BATCH: batch}, wanted)
        wholes = {
            result: self._joined_array(result, sizes, batch)
            for result in wanted
            if self.buffers[result.ref.buffer].batch and result.ref.buffer not in rows
        }
        panels = {
            name: self._joined.lend(name, self.dimensions(self.buffers[name], {}), self.dtype)
            for name in self._panels
        }
        counts = empty((1, MATRIX * self._matrices), np.dtype(np.int64))
        counts[...] = 0
        words = 0 if native.interpreted() else int(counts.ctypes.data)

        def part(share: slice) -> dict[tuple[str, str], Array]:
            own = self._part(leaves, share)
            mine = {name: array[share.start :] for name, array in rows.items()}
            count = share.stop - share.start
            found = self._run(own, sizes, count, batch, phases, {**mine, **panels}, words)
            for result, whole in wholes.items():
                before = (slice(None),) * len(self.buffers[result.ref.buffer].axes)
                whole[(*before, share)] = found.pop((result.sort, result.label))
            return found

        parts = threads.each(part, shares)

        def joined(result: Result) -> Array:
            if result.ref.buffer in rows:
                return self._result(result, rows[result.ref.buffer], {**sizes, BATCH: batch})
            if result in wholes:
                return wholes[result]
            return self._sum(result, [found[result.sort, result.label] for found in parts])

        return {(result.sort, result.label): joined(result) for result in wanted}

    def _shares(self, sizes: Mapping[str, int], batch: int) -> list[slice]:
        """The sequences of each thread."""
        count = min(threads.count(), batch // (FEWEST if self._multiplies_each_step else 1))
        if count < 2 or not self.program.splits:
            return [slice(0, batch)]
        if product_work(self.program, max(sizes.values()), batch) < WORTHWHILE:
            return [slice(0, batch)]
        size = -(-batch // count)
        return [slice(first, min(first + size, batch)) for first in range(0, batch, size)]

    def _rows_apart(
        self, leaves: Mapping[str, Array], sizes: Mapping[str, int], wanted: Sequence[Result]
    ) -> dict[str, Array]:
        """The rows of all sequences of the arrays that threads use where they are."""
        results = {result.ref.buffer for result in wanted}
        rows: dict[str, Array] = {}
        for buffer in self.program.buffers:
            name, dtype = buffer.name, self.dtypes[buffer.name]
            if not buffer.apart:
                continue
            shape = self.dimensions(buffer, sizes)
            if buffer.role == "leaf":
                array = _plain(leaves[name], dtype, self._joined, name)
                rows[name] = array.reshape(shape)
            elif name in results:
                rows[name] = self._joined.lend(name, shape, dtype)
        return rows

    def _part(self, leaves: Mapping[str, Array], share: slice) -> dict[str, Array]:
        """The leaves of some of the sequences."""
        found: dict[str, Array] = {}
        for name in self.leaves:
            buffer = self.buffers[name]
            if buffer.batch and not buffer.apart:
                found[name] = leaves[name][(*(slice(None),) * len(buffer.axes), share)]
            elif not buffer.batch:
                found[name] = leaves[name]
        return found

    def _joined_array(self, result: Result, sizes: Mapping[str, int], batch: int) -> Array:
        """Where the parts of a result go."""
        buffer = self.buffers[result.ref.buffer]
        shape = (*(sizes[axis] for axis in buffer.axes), batch, *result.ref.shape)
        return self._joined.lend((result.sort, result.label), shape, self.dtypes[result.ref.buffer])

    @staticmethod
    def _sum(result: Result, parts: Sequence[Array]) -> Array:
        """A result of the whole batch, from those of its parts."""
        if not result.partial:
            return parts[0]
        first, *rest = parts
        for part in rest:
            first += part
        return first

    def _run(
        self,
        leaves: Mapping[str, Array],
        steps: Mapping[str, int],
        batch: int,
        whole: int,
        phases: Sequence[str],
        common: Mapping[str, Array] = _NONE,
        words: int = 0,
    ) -> dict[tuple[str, str], Array]:
        """The results of ``batch`` sequences, of a ``whole`` that they are a part of.

        ``common`` are arrays of all threads: those of the whole that are used as they are, from
        the part's first sequence on, and panels, with ``words`` for those who pack them.
        Results in them are not among those that come back.
        """
        frame = self._frame({**steps, BATCH: batch})
        arrays = {**frame.arrays, **common}
        for name, shape, dtype in frame.given:
            if name not in arrays:
                arrays[name] = _plain(leaves[name], dtype, frame.lender, name).reshape(shape)
        for name, inside in frame.copied.items():
            inside[...] = np.asarray(leaves[name]).reshape(inside.shape)
        for name, shape, dtype in frame.results:
            if name not in arrays:
                arrays[name] = frame.lender.lend(name, shape, dtype)

        def call(team: int) -> None:
            for function in self.program.functions:
                if function.phase in phases:
                    self._call(function, frame, arrays, (whole, team, words), phases)

        helpers = self._helpers(frame, phases) if batch == whole else None
        if helpers is None:
            call(0)
        else:
            helpers.call(call, threads.count() - 1)
        results: dict[tuple[str, str], Array] = {
            key: self._result(result, arrays[result.ref.buffer], frame.sizes, frame.whole.get(key))
            for key, result in frame.leaving
            if result.phase in phases and result.ref.buffer not in common
        }
        self._idle.append(frame)
        return results

    def _call(
        self,
        function: Phase,
        frame: _Frame,
        arrays: Mapping[str, Array],
        call: tuple[int, int, int],
        phases: Sequence[str],
    ) -> None:
        """Run a function.  A call has a number of sequences in all, a team and words."""
        whole, team, words = call
        optional = [function.optional in phases] if function.optional else []
        key = (function.phase, whole, *optional)
        if key not in frame.bound:
            steps = [frame.sizes[axis] for axis in self.program.axes or ("t",)]
            batch = frame.sizes[BATCH]
            numbers = [*steps, batch, whole, self.program.block_steps(batch), team, words]
            own = [arrays[name] for name in function.buffers]
            code = self.functions[function.phase]
            frame.bound[key] = code([*numbers, *optional], own)
        else:
            bound = frame.bound[key]
            first = len(frame.sizes) + 2
            bound.count(first, team)
            bound.count(first + 1, words)
            for place, name in frame.places[function.phase]:
                bound.give(place, arrays[name])
        frame.bound[key]()

    def _helpers(self, frame: _Frame, phases: Sequence[str]) -> Helpers | None:
        """Threads beside this one, where it alone runs the loops but not every product."""
        if threads.count() < 2 or native.interpreted():
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

    def _frame(self, sizes: Mapping[str, int]) -> _Frame:
        with suppress(IndexError):  # none is left, or another thread has taken the last one
            while True:
                frame = self._idle.pop()
                if frame.sizes == sizes:
                    return frame
        frame = _Frame(sizes)
        for buffer in self.program.buffers:
            name = buffer.name
            shape = self.dimensions(buffer, sizes)
            if self._is_own(buffer):
                array = frame.arrays[name] = empty(shape, self.dtypes[name])
                if buffer.role == "leaf":
                    rows = array.reshape((*_lead(buffer, sizes), -1))
                    frame.copied[name] = _inside(rows, buffer, sizes, buffer.before)
            else:
                given = frame.given if buffer.role == "leaf" else frame.results
                given.append((name, shape, self.dtypes[name]))
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
                lead = _lead(self.buffers[result.ref.buffer], sizes)
                frame.whole[key] = (*lead, *result.ref.shape)
        return frame

    def _result(
        self,
        result: Result,
        array: Array,
        sizes: Mapping[str, int],
        whole: tuple[int, ...] | None = None,
    ) -> Array:
        """A value with its own dimensions: steps, sequences, then its shape.

        ``whole`` are those where it is known that the value is all of the array.
        """
        if whole is not None:
            return array.reshape(whole)
        ref = result.ref
        buffer = self.buffers[ref.buffer]
        rows = array.reshape((*_lead(buffer, sizes), -1))
        inside = _inside(rows, buffer, sizes, ref.shift)
        array = inside[..., ref.offset : ref.offset + prod(ref.shape)]
        # Leaves and buffers that are used again are not given away.
        given = array if buffer.role == "result" else array.copy()
        return given.reshape((*given.shape[:-1], *ref.shape))

    def _is_whole(self, ref: Ref) -> bool:
        """Whether a result is all of a buffer that leaves the kernel."""
        buffer = self.buffers[ref.buffer]
        return buffer.role == "result" and not buffer.around and ref.shape == buffer.shape


_Place = tuple[str, tuple[int, int], np.dtype[Any]]


@dataclass
class _Frame:
    """What calls of one size use again.

    ``arrays`` stay, with ``copied`` the places in them that leaves are copied to; ``given``
    leaves and ``results`` are the caller's, and others in each call, with ``lender`` their
    memory; ``leaving`` are the values that the caller gets, with ``whole`` the shapes of those
    that are a buffer as it is; ``bound`` are the functions, as they were last called, and
    ``places`` those of the arguments that are not kept; ``helpers`` are for calls of some
    phases, where the work of large products is ``divisible``.
    """

    sizes: Mapping[str, int]
    lender: Lender = field(default_factory=Lender)
    arrays: dict[str, Array] = field(default_factory=dict)
    copied: dict[str, Array] = field(default_factory=dict)
    given: list[_Place] = field(default_factory=list)
    results: list[_Place] = field(default_factory=list)
    leaving: list[tuple[tuple[str, str], Result]] = field(default_factory=list)
    whole: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    bound: dict[tuple[Any, ...], Bound | Plain] = field(default_factory=dict)
    places: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    divisible: bool | None = None
    helpers: dict[tuple[str, ...], Helpers] = field(default_factory=dict)


def _plain(array: Array, dtype: np.dtype[Any], lender: Lender, name: str) -> Array:
    """An array with its elements side by side, in a precision: a copy only if it has to be."""
    if array.flags.c_contiguous and array.dtype == dtype:
        return array
    copy = lender.lend(name, array.shape, dtype)
    copy[...] = array
    return copy


def _lead(buffer: Buffer, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The dimensions that a buffer's rows are: steps by axis, then sequences."""
    steps = (sizes[axis] + (buffer.around if axis == buffer.axis else 0) for axis in buffer.axes)
    return (*steps, *((sizes[BATCH],) if buffer.batch else ()))


def _inside(rows: Array, buffer: Buffer, sizes: Mapping[str, int], first: int) -> Array:
    """As many steps as the sequence has, from the step ``first`` of the buffer on."""
    if not buffer.around:
        return rows
    place = (slice(None),) * buffer.axes.index(buffer.axis)
    return rows[(*place, slice(first, first + sizes[buffer.axis]))]


def _module(source: Path, text: str) -> ModuleType:
    """The module of a kernel's source, under a name of its own."""
    module = ModuleType(f"rollc_kernel_{source.stem}")
    module.__file__ = str(source)
    sys.modules[module.__name__] = module
    exec(compile(text, source, "exec"), module.__dict__)
    return module
