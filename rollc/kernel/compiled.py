"""A compiled program: its buffers, its functions, and how they are called.

The functions are compiled by Numba when they are first called, or by :meth:`compile`, and
kept in Numba's cache beside the source file.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc import threads
from rollc.graph.graph import BATCH
from rollc.kernel.program import Buffer, Program, Ref, Result
from rollc.kernel.tile import host, panel_size
from rollc.kernel.work import product_work

Array = NDArray[Any]

FEWEST = 4  # sequences of a thread
# Operations of matrix products: less is done before another thread has its data.
WORTHWHILE = 20_000_000


class Kernel:
    """A program with its code, for one precision.

    Buffers that do not leave the kernel are kept for the next call of the same size; two
    threads may call at once, each then has its own.
    """

    def __init__(self, program: Program, source: Path, dtype: str) -> None:
        self.program = program
        self.source = source
        self.dtype = np.dtype(dtype)
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        self.leaves = {name for name, _ in program.leaves}
        self._kept = [buffer for buffer in program.buffers if self._is_own(buffer)]
        self._idle: list[tuple[Mapping[str, int], dict[str, Array]]] = []
        self._functions: dict[str, Callable[..., None]] | None = None

    @staticmethod
    def _is_given(buffer: Buffer) -> bool:
        """Whether an array is the caller's."""
        return buffer.role == "leaf" and not buffer.before + buffer.after

    def _is_own(self, buffer: Buffer) -> bool:
        """Whether an array is neither the caller's nor given to him."""
        return buffer.role != "result" and not self._is_given(buffer)

    @property
    def functions(self) -> dict[str, Callable[..., None]]:
        """The functions by phase; loading them does not compile them."""
        if self._functions is None:
            module = _load(self.source)
            self._functions = {
                function.phase: getattr(module, function.phase)
                for function in self.program.functions
            }
        return self._functions

    def compile(self) -> None:
        """Compile every function now."""
        from numba import boolean, int64, types
        from numba.np.numpy_support import from_dtype

        for function in self.program.functions:
            buffers = [self.buffers[name] for name in function.buffers]
            arrays = [
                types.Array(from_dtype(self._dtype(b)), 2, "C", readonly=self._is_given(b))
                for b in buffers
            ]
            dispatcher: Any = self.functions[function.phase]
            counts = [int64] * (max(len(self.program.axes), 1) + 2)
            optional = [boolean] if function.optional else []
            dispatcher.compile((*counts, *optional, *arrays))

    def _dtype(self, buffer: Buffer) -> np.dtype[Any]:
        kinds = {"float": self.dtype, "index": np.dtype(np.int64), "bool": np.dtype(np.bool_)}
        return kinds[buffer.kind]

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
        """The memory that a run takes, besides the caller's own arrays."""
        shares = self._share_sizes(sizes)
        results = [buffer for buffer in self.program.buffers if buffer.role == "result"]
        given = sum(self._size(buffer, share) for buffer in results for share in shares)
        if len(shares) > 1:
            # First each thread has copies of its leaves, then results are joined.
            leaves = [b for b in self.program.buffers if self._is_given(b)]
            copied = sum(self._size(b, sizes) for b in leaves if b.batch and b.axes)
            given += max([copied, *(self._size(b, sizes) for b in results if b.batch)])
        return self.kept_bytes(sizes) + given

    def kept_bytes(self, sizes: Mapping[str, int]) -> int:
        """The memory that is kept for the next call."""
        shares = self._share_sizes(sizes)
        return sum(self._size(buffer, share) for buffer in self._kept for share in shares)

    def _size(self, buffer: Buffer, sizes: Mapping[str, int]) -> int:
        return prod(self.dimensions(buffer, sizes)) * self._dtype(buffer).itemsize

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
        parts = threads.each(
            lambda share: self._run(
                self._part(leaves, share), sizes, share.stop - share.start, batch, phases
            ),
            shares,
        )
        # A result is joined from its parts, and these are gone before the next one is.
        return {
            (result.sort, result.label): self._whole(
                result, [part.pop((result.sort, result.label)) for part in parts]
            )
            for result in self.program.results
            if result.phase in phases
        }

    def _shares(self, sizes: Mapping[str, int], batch: int) -> list[slice]:
        """The sequences of each thread."""
        count = min(threads.count(), batch // FEWEST)
        if count < 2 or not self.program.splits:
            return [slice(0, batch)]
        if product_work(self.program, max(sizes.values()), batch) < WORTHWHILE:
            return [slice(0, batch)]
        # Whole tiles of rows, as far as they go.
        tile = host().rows
        size = -(-batch // count)
        size = -(-size // tile) * tile if size > tile else size
        return [slice(first, min(first + size, batch)) for first in range(0, batch, size)]

    def _part(self, leaves: Mapping[str, Array], share: slice) -> dict[str, Array]:
        """The leaves of some of the sequences."""
        return {
            name: leaves[name][(*(slice(None),) * len(self.buffers[name].axes), share)]
            if self.buffers[name].batch
            else leaves[name]
            for name in self.leaves
        }

    def _whole(self, result: Result, parts: Sequence[Array]) -> Array:
        """A result of the whole batch, from those of its parts."""
        buffer = self.buffers[result.ref.buffer]
        if buffer.batch:
            return np.concatenate(parts, axis=len(buffer.axes))
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
    ) -> dict[tuple[str, str], Array]:
        """The results of ``batch`` sequences, of a ``whole`` that they are a part of."""
        axes = self.program.axes or ("t",)
        sizes = {**steps, BATCH: batch}
        arrays = self._arrays(leaves, sizes)
        for function in self.program.functions:
            if function.phase in phases:
                arguments = [arrays[name] for name in function.buffers]
                numbers = [steps[axis] for axis in axes]
                optional = [function.optional in phases] if function.optional else []
                self.functions[function.phase](*numbers, batch, whole, *optional, *arguments)
        results: dict[tuple[str, str], Array] = {
            (result.sort, result.label): self._result(result.ref, arrays, sizes)
            for result in self.program.results
            if result.phase in phases
        }
        kept = {buffer.name: arrays[buffer.name] for buffer in self._kept}
        self._idle.append((sizes, kept))
        return results

    def _arrays(self, leaves: Mapping[str, Array], sizes: Mapping[str, int]) -> dict[str, Array]:
        arrays = self._reused(sizes)
        for buffer in self.program.buffers:
            name, dtype = buffer.name, self._dtype(buffer)
            if self._is_given(buffer):
                shape = self.dimensions(buffer, sizes)
                arrays[name] = np.ascontiguousarray(leaves[name], dtype=dtype).reshape(shape)
                # One type of argument, whether the caller may write to it or not.
                arrays[name].flags.writeable = False
                continue
            if name not in arrays:
                arrays[name] = np.empty(self.dimensions(buffer, sizes), dtype=dtype)
            if buffer.role == "leaf":
                rows = arrays[name].reshape((*_lead(buffer, sizes), -1))
                inside = _inside(rows, buffer, sizes, buffer.before)
                inside[...] = np.asarray(leaves[name]).reshape(inside.shape)
        return arrays

    def _reused(self, sizes: Mapping[str, int]) -> dict[str, Array]:
        with suppress(IndexError):  # none is left, or another thread has taken the last one
            while True:
                known, kept = self._idle.pop()
                if known == sizes:
                    return dict(kept)
        return {}

    def _result(self, ref: Ref, arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> Array:
        """A value with its own dimensions: steps, sequences, then its shape."""
        buffer = self.buffers[ref.buffer]
        rows = arrays[ref.buffer].reshape((*_lead(buffer, sizes), -1))
        inside = _inside(rows, buffer, sizes, ref.shift)
        array = inside[..., ref.offset : ref.offset + prod(ref.shape)]
        # Leaves and buffers that are used again are not given away.
        given = array if buffer.role == "result" else array.copy()
        return given.reshape((*given.shape[:-1], *ref.shape))


def _lead(buffer: Buffer, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The dimensions that a buffer's rows are: steps by axis, then sequences."""
    around = buffer.before + buffer.after
    steps = (sizes[axis] + (around if axis == buffer.axis else 0) for axis in buffer.axes)
    return (*steps, *((sizes[BATCH],) if buffer.batch else ()))


def _inside(rows: Array, buffer: Buffer, sizes: Mapping[str, int], first: int) -> Array:
    """As many steps as the sequence has, from the step ``first`` of the buffer on."""
    if not buffer.before + buffer.after:
        return rows
    place = (slice(None),) * buffer.axes.index(buffer.axis)
    return rows[(*place, slice(first, first + sizes[buffer.axis]))]


def _load(source: Path) -> ModuleType:
    """The module of a kernel's source file, under a name of its own."""
    name = f"rollc_kernel_{source.stem}"
    spec = importlib.util.spec_from_file_location(name, source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
