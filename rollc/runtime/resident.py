"""Resident kernels: calls of one size, one after the other, in one thread, on the same arrays.

A call of :class:`~rollc.runtime.kernel.Kernel` allocates memory, starts threads, converts its
arguments, and returns its results.  For a step of a small network that is most of the time.  A
resident kernel does all of it beforehand: the caller writes leaves into its arrays, and reads
results from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.backends.protocol import Bound
from rollc.ir.graph import BATCH
from rollc.kernel.program import Result
from rollc.runtime.kernel import Kernel
from rollc.runtime.memory import FIRST
from rollc.support.allocator import empty

Array = NDArray[Any]


def is_worth_threads(kernel: Kernel, steps: Mapping[str, int], batch: int) -> bool:
    """Whether a call of that size is faster with several threads."""
    if len(kernel.sharding.shares(steps, batch)) > 1:
        return True
    frame = kernel.memory.frame({**steps, BATCH: batch})
    helped = kernel.team(frame, (FIRST,)) is not None
    kernel.memory.frames.give_back([frame])
    return helped


class Resident:
    """The first phase of a kernel, for one size.

    ``places`` are the arrays that leaves are written to, and ``results`` those of results, both
    with time and batch in front.
    """

    def __init__(self, kernel: Kernel, steps: Mapping[str, int], batch: int) -> None:
        self._kernel = kernel
        self._sizes = {**steps, BATCH: batch}
        memory, functions = kernel.memory, kernel.program.functions
        # Where all results are leaves there is nothing to compute.
        self._function = next((one for one in functions if one.phase == FIRST), None)
        self._frame = frame = memory.frame(self._sizes)
        self._arrays = dict(frame.arrays)
        for name, shape, dtype in (*frame.given, *frame.results.get(FIRST, ())):
            self._arrays[name] = empty(shape, dtype)
        self.places = {name: self._place(name) for name in memory.leaves}
        self.results = {
            (result.kind, result.label): self._view(result)
            for result in kernel.program.results
            if result.phase == FIRST
        }
        names = self._function.buffers if self._function else ()
        # What is an output as it is stays at its place, from where results are read.
        fixed = {*frame.copied, *(result.ref.buffer for result in kernel.program.results)}
        self._indices = {name: place for place, name in enumerate(names) if name not in fixed}
        self._call = self._made()
        self._bound = isinstance(self._call, Bound)

    def takes(self, name: str) -> bool:
        """Whether a leaf can be an array of the caller's, in place: see :meth:`give`."""
        return self._bound and name in self._indices

    def give(self, name: str, array: Array) -> None:
        """Have the next call read a leaf from an array in place, contiguous and of the leaf's size.

        It has to live until then.
        """
        assert isinstance(self._call, Bound)
        self._call.give(self._indices[name], array)

    def run(self) -> None:
        """Compute the results of the leaves in the arrays."""
        if self._bound:
            self._call()
        else:
            self._made()()

    def _made(self) -> Callable[[], object]:
        function, memory = self._function, self._kernel.memory
        if function is None:
            return lambda: None
        axes, batch = self._kernel.program.axes or ("t",), self._sizes[BATCH]
        block = self._kernel.program.block_steps(batch)
        numbers = [self._sizes[axis] for axis in axes] + [batch, batch, block, 0, 0, memory.part]
        optional = [0] if function.optional else []
        arrays = [self._arrays[name] for name in function.buffers]
        return self._kernel.functions.phases[FIRST]([*numbers, *optional], arrays)

    def _place(self, name: str) -> Array:
        memory = self._kernel.memory
        buffer = memory.buffers[name]
        array = self._frame.copied.get(name, self._arrays[name])
        lead = [self._sizes[axis] for axis in (*buffer.axes, *((BATCH,) if buffer.batch else ()))]
        place = array.reshape((*lead, *buffer.shape))
        assert np.may_share_memory(place, array)
        return place

    def _view(self, result: Result) -> Array:
        array = self._arrays[result.ref.buffer]
        view = self._kernel.memory.view(result, array, self._sizes)
        assert np.may_share_memory(view, array)
        return view
