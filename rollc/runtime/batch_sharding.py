"""Batch sharding: the shard of each thread, and the results of all shards."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from rollc.backends.protocol import Backend
from rollc.ir.graph import BATCH
from rollc.kernel import cost_model
from rollc.kernel.cost import multiplies_each_step
from rollc.kernel.program import Program, Result
from rollc.runtime.frames import plain
from rollc.runtime.memory import Memory
from rollc.support import threads
from rollc.support.allocator import Lender

Array = NDArray[Any]


class Sharding:
    """The shards of a program's batches; ``lender`` has memory for their joint arrays."""

    def __init__(self, program: Program, backend: Backend, memory: Memory) -> None:
        self.program = program
        self.backend = backend
        self.memory = memory
        self.lender = Lender()
        self._multiplies_each_step = multiplies_each_step(program)

    def shares(self, steps: Mapping[str, int], batch: int) -> list[slice]:
        """The shards of a batch: the sequences of each thread."""
        target = self.backend.target
        fewest = cost_model.fewest_sequences(target, self._multiplies_each_step)
        count = min(threads.count(), batch // fewest)
        if count < 2 or not (self.program.splits and self.backend.threaded):
            return [slice(0, batch)]
        longest = max(steps.values())
        if not cost_model.is_sharded(target, self.program, longest, batch):
            return [slice(0, batch)]
        size = -(-batch // count)
        return [slice(first, min(first + size, batch)) for first in range(0, batch, size)]

    def sizes(self, sizes: Mapping[str, int]) -> list[dict[str, int]]:
        """The sizes of each thread's shard."""
        steps = {axis: count for axis, count in sizes.items() if axis != BATCH}
        shares = self.shares(steps, sizes[BATCH])
        return [{**steps, BATCH: share.stop - share.start} for share in shares]

    def strided_rows(
        self,
        leaves: Mapping[str, Array],
        sizes: Mapping[str, int],
        wanted: Sequence[Result],
        copied: Collection[str],
    ) -> dict[str, Array]:
        """The rows of all sequences of the arrays that threads use in place.

        Those of the leaves in ``copied`` are copies.
        """
        results = {result.ref.buffer for result in wanted}
        rows: dict[str, Array] = {}
        for buffer in self.program.buffers:
            name, dtype = buffer.name, self.memory.dtypes[buffer.name]
            if not buffer.strided:
                continue
            shape = self.memory.dimensions(buffer, sizes)
            if name in leaves:
                array = plain(leaves[name], dtype, self.lender, name, copy=name in copied)
                rows[name] = array.reshape(shape)
            elif name in results:
                rows[name] = self.lender.lend(name, shape, dtype)
        return rows

    def part_of(self, leaves: Mapping[str, Array], share: slice) -> dict[str, Array]:
        """The leaves of a shard."""
        found: dict[str, Array] = {}
        for name in self.memory.leaves & leaves.keys():
            buffer = self.memory.buffers[name]
            if buffer.batch and not buffer.strided:
                found[name] = leaves[name][(*(slice(None),) * len(buffer.axes), share)]
            elif not buffer.batch:
                found[name] = leaves[name]
        return found

    def joined_array(self, result: Result, sizes: Mapping[str, int]) -> Array:
        """The array of the whole batch for a result."""
        buffer = self.memory.buffers[result.ref.buffer]
        shape = (*(sizes[axis] for axis in buffer.axes), sizes[BATCH], *result.ref.shape)
        dtype = self.memory.dtypes[result.ref.buffer]
        return self.lender.lend((result.kind, result.label), shape, dtype)

    def common_panels(self) -> dict[str, Array]:
        """The panels that the threads of a call share."""
        memory = self.memory
        return {
            name: self.lender.lend(name, memory.dimensions(memory.buffers[name], {}), memory.dtype)
            for name in memory.panels
        }

    def copied(self, name: str, leaf: Array) -> Array:
        """A copy of a leaf that the threads of a call share."""
        return plain(leaf, self.memory.dtypes[name], self.lender, name, copy=True)


def total(result: Result, parts: Sequence[Array]) -> Array:
    """A result of the whole batch, from those of its shards."""
    if not result.partial:
        return parts[0]
    first, *rest = parts
    for part in rest:
        first += part
    return first
