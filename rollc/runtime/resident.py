"""Resident kernels: calls of one size, one after the other, on the same arrays.

A call of :class:`~rollc.runtime.kernel.Kernel` allocates memory, starts threads, converts its
arguments, and returns its results.  For a step of a small network that is most of the time.  A
resident kernel does all of it beforehand: the caller writes leaves into its arrays, and reads
results from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.backends.protocol import Bound
from rollc.ir.graph import BATCH
from rollc.kernel.program import Result
from rollc.runtime.frames import Frame, lead
from rollc.runtime.kernel import Kernel
from rollc.runtime.memory import FIRST
from rollc.support import threads
from rollc.support.allocator import empty

Array = NDArray[Any]


def shares_of(kernel: Kernel, steps: Mapping[str, int], batch: int) -> list[slice] | None:
    """The sequences of each thread of a resident kernel; None where it cannot be one.

    That is so where other threads help with products of all steps, and where threads of their own
    sequences would have to make something together.
    """
    sizes, memory = {**steps, BATCH: batch}, kernel.memory
    shares = kernel.sharding.shares(steps, batch)
    if len(shares) > 1:
        shared = not memory.panels and all(
            _is_shareable(kernel, result.ref.buffer, sizes) and not result.partial
            for result in kernel.program.results
        )
        shared = shared and all(_is_shareable(kernel, name, sizes) for name in memory.leaves)
        return shares if shared else None
    frame = memory.frame(sizes)
    helped = kernel.team(frame, (FIRST,)) is not None
    memory.frames.give_back([frame])
    return None if helped else shares


def _is_shareable(kernel: Kernel, name: str, sizes: Mapping[str, int]) -> bool:
    """Whether threads can have some sequences each of one array."""
    buffer = kernel.memory.buffers[name]
    if kernel.memory.is_own(buffer):
        return False
    if buffer.strided:
        return bool(buffer.shape)
    return not buffer.batch or prod(lead(buffer, sizes)) == sizes[BATCH]


class Resident:
    """The first phase of a kernel, for one size; each of ``shares`` is for a thread.

    ``leaves`` are the arrays that leaves are written to, and ``results`` those of results, both
    with time and batch in front.
    """

    def __init__(
        self, kernel: Kernel, steps: Mapping[str, int], batch: int, shares: Sequence[slice]
    ) -> None:
        self._kernel = kernel
        self._sizes = {**steps, BATCH: batch}
        memory, functions = kernel.memory, kernel.program.functions
        # Where all results are leaves there is nothing to compute.
        self._function = next((one for one in functions if one.phase == FIRST), None)
        counts = [share.stop - share.start for share in shares]
        self._frames = [memory.frame({**steps, BATCH: count}) for count in counts]
        frame = self._frames[0]
        self._arrays = dict(frame.arrays)
        for name, *_ in (*frame.given, *frame.results.get(FIRST, ())):
            shape = memory.dimensions(memory.buffers[name], self._sizes)
            self._arrays[name] = empty(shape, memory.dtypes[name])
        self.leaves = {name: self._leaf(name) for name in memory.leaves}
        self.results = {
            (result.kind, result.label): self._view(result)
            for result in kernel.program.results
            if result.phase == FIRST
        }
        names = self._function.buffers if self._function else ()
        # A leaf that is an output too is read from the resident array.
        fixed = {*frame.copied, *(result.ref.buffer for result in kernel.program.results)}
        self._indices = {
            name: index
            for index, name in enumerate(names)
            if name not in fixed and not (memory.buffers[name].batch and len(shares) > 1)
        }
        self._shares = [*zip(self._frames, shares, strict=True)]
        self._calls = [self._made(*one) for one in self._shares]
        self._bound = all(isinstance(call, Bound) for call in self._calls)

    def takes(self, name: str) -> bool:
        """Whether a leaf can be an array of the caller's, in place: see :meth:`give`."""
        return self._bound and name in self._indices

    def give(self, name: str, array: Array) -> None:
        """Have the next call read a leaf from an array in place, contiguous and of the leaf's size.

        It has to live until then.
        """
        for call in self._calls:
            assert isinstance(call, Bound)
            call.give(self._indices[name], array)

    def run(self) -> None:
        """Compute the results of the leaves in the arrays."""
        calls = self._calls
        if not self._bound:
            calls = [self._made(*one) for one in self._shares]
        if len(calls) == 1:
            calls[0]()
        else:
            threads.each(lambda call: call(), calls)

    def _made(self, frame: Frame, share: slice) -> Callable[[], object]:
        """The function for some sequences."""
        function, memory = self._function, self._kernel.memory
        if function is None:
            return lambda: None
        axes, whole = self._kernel.program.axes or ("t",), self._sizes[BATCH]
        count = share.stop - share.start
        block = self._kernel.program.block_steps(count)
        numbers = [self._sizes[axis] for axis in axes] + [count, whole, block, 0, 0, memory.part]
        optional = [0] if function.optional else []
        arrays = [
            frame.arrays[name] if name in frame.arrays else self._rows(name, share)
            for name in function.buffers
        ]
        return self._kernel.functions.phases[FIRST]([*numbers, *optional], arrays)

    def _rows(self, name: str, share: slice) -> Array:
        """Some sequences of an array of all of them."""
        buffer, array = self._kernel.memory.buffers[name], self._arrays[name]
        if not buffer.batch:  # all threads compute it, each for itself
            alone = share.start == 0 or buffer.role == "leaf"
            return array if alone else empty(array.shape, array.dtype)
        if buffer.strided:
            return array[share.start :]
        if share == slice(0, self._sizes[BATCH]):
            return array
        return array[share] if buffer.shape else array[:, share]

    def _leaf(self, name: str) -> Array:
        memory = self._kernel.memory
        buffer = memory.buffers[name]
        array = self._frames[0].copied.get(name, self._arrays[name])
        lead = [self._sizes[axis] for axis in (*buffer.axes, *((BATCH,) if buffer.batch else ()))]
        leaf = array.reshape((*lead, *buffer.shape))
        assert np.may_share_memory(leaf, array)
        return leaf

    def _view(self, result: Result) -> Array:
        array = self._arrays[result.ref.buffer]
        view = self._kernel.memory.view(result, array, self._sizes)
        assert np.may_share_memory(view, array)
        return view
