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

from rollc.backends.protocol import Bound, Team
from rollc.ir.graph import BATCH
from rollc.kernel.program import Result
from rollc.runtime.frames import Frame, lead
from rollc.runtime.kernel import Kernel
from rollc.runtime.memory import FIRST
from rollc.support import threads
from rollc.support.allocator import empty

Array = NDArray[Any]


def resident_of(kernel: Kernel, steps: Mapping[str, int], batch: int) -> Resident | None:
    """A resident kernel; None where it cannot be one.

    That is so where threads of their own sequences would have to make something together.
    """
    team = kernel.standing_team(steps, batch)
    shares = [slice(0, batch)] if team is not None else kernel.sharding.shares(steps, batch)
    if len(shares) > 1 and not _are_shareable(kernel, {**steps, BATCH: batch}):
        return None
    return Resident(kernel, steps, batch, shares, team)


def _are_shareable(kernel: Kernel, sizes: Mapping[str, int]) -> bool:
    """Whether threads can have some sequences each."""
    if kernel.memory.panels or any(result.partial for result in kernel.program.results):
        return False
    names = {*kernel.memory.leaves, *(result.ref.buffer for result in kernel.program.results)}
    return all(_is_shareable(kernel, name, sizes) for name in names)


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

    With a ``team`` there is one share, and the team divides products.  ``leaves`` are the arrays
    that leaves are written to, and ``results`` those of results, both with time and batch in front.
    """

    def __init__(
        self,
        kernel: Kernel,
        steps: Mapping[str, int],
        batch: int,
        shares: Sequence[slice],
        team: Team | None = None,
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
        self._all = self._together(team) if self._bound else None

    def _together(self, team: Team | None) -> Callable[[], object]:
        """What calls the functions of all threads."""
        if len(self._calls) > 1:
            return lambda: threads.each(lambda call: call(), self._calls)
        (call,) = self._calls
        if team is None:
            return call
        assert isinstance(call, Bound)
        return team.repeated(call, len(self._sizes) + 2, threads.count() - 1)

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
        if self._all is not None:
            self._all()
        else:
            threads.each(lambda call: call(), [self._made(*one) for one in self._shares])

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
