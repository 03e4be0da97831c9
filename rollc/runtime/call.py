"""One call of a kernel: its arrays, and the phases that have run on them.

Most calls run all phases and are over.  One that is *kept* runs its first phase, and then the
others any number of times, each time from other cotangents: its frames hold the tape.  No phase
writes buffers of another one, so that all runs read the same tape; of the caller's arrays that
they read, leaves and results, the call has copies.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import BATCH
from rollc.kernel.program import Result
from rollc.runtime.batch_sharding import total
from rollc.runtime.executable import Executable
from rollc.runtime.frames import Frame, plain
from rollc.runtime.memory import FIRST
from rollc.support import threads

Array = NDArray[Any]
Results = dict[tuple[str, str], Array]
"""Arrays by kind (output, loss, gradient) and label."""

_NONE: Mapping[str, Array] = {}
_NOTHING: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Part:
    """The shard that one thread computes, its frame, and the arrays that it keeps."""

    share: slice
    frame: Frame
    arrays: Mapping[str, Array]

    @property
    def count(self) -> int:
        return int(self.share.stop - self.share.start)


class Call:
    """A call of a kernel; when it is collected, other calls reuse its frames.

    With ``keep`` the first phase runs first, by itself, and the others after it any number of
    times, from any thread.  Large batches are sharded among threads
    (:mod:`rollc.support.threads`).
    """

    __slots__ = ("__weakref__", "_early", "_keep", "_lock", "_parts", "_sizes", "kernel")

    def __init__(
        self, kernel: Executable, steps: Mapping[str, int], batch: int, *, keep: bool = False
    ) -> None:
        self.kernel = kernel
        self._sizes = sizes = {**steps, BATCH: batch}
        self._keep = keep
        self._parts: list[_Part] = []
        if keep:
            self._early: Results = {}  # gradients that the first phase computes
            self._lock = threading.Lock()
        for share in kernel.sharding.shares(steps, batch):
            count = share.stop - share.start
            frame = kernel.memory.frame(sizes if count == batch else {**sizes, BATCH: count})
            self._parts.append(_Part(share, frame, frame.arrays))

    def __del__(self) -> None:
        self.kernel.memory.frames.give_back([part.frame for part in self._parts], spare=self._keep)

    @property
    def bytes(self) -> int:
        """The memory that it has to itself."""
        return sum(array.nbytes for part in self._parts for array in part.arrays.values())

    def run(
        self, leaves: Mapping[str, Array], phases: Collection[str], owned: Collection[str] = ()
    ) -> Results:
        """The results of some phases, from the leaves that no earlier phase has taken.

        Results are the caller's own.  ``owned`` are leaves that nobody else will change.
        """
        if not self._keep:
            return self._results(leaves, phases, _NOTHING)
        with self._lock:
            found = self._results(leaves, phases, self.kernel.memory.read_later.difference(owned))
            if FIRST in phases:
                self._early = {key: found.pop(key) for key in [*found] if key[0] == "gradient"}
                return found
            return found | {key: array.copy() for key, array in self._early.items()}

    def _results(
        self, leaves: Mapping[str, Array], phases: Collection[str], copied: frozenset[str]
    ) -> Results:
        if len(self._parts) == 1:
            return self._run(self._parts[0], leaves, phases, copied)
        return self._run_parts(leaves, phases, copied)

    def _run(
        self,
        part: _Part,
        leaves: Mapping[str, Array],
        phases: Collection[str],
        copied: frozenset[str],
        common: Mapping[str, Array] = _NONE,
        progress: int = 0,
    ) -> Results:
        """The results of a shard.

        ``common`` are arrays of all threads: strided arrays of the whole batch, from the shard's
        first sequence on, and shared panels, with the address of the control block ``progress``
        of their packing.  Results in them are not returned.
        """
        kernel, frame, whole = self.kernel, part.frame, self._sizes[BATCH]
        memory = kernel.memory
        arrays = {**part.arrays, **common}
        for name, shape, dtype in frame.given:
            if name in leaves and name not in arrays:
                array = plain(leaves[name], dtype, frame.lender, name, copy=name in copied)
                arrays[name] = array.reshape(shape)
        for name, inside in frame.copied.items():
            if name in leaves:
                inside[...] = np.asarray(leaves[name]).reshape(inside.shape)
        functions = [one for one in kernel.program.functions if one.phase in phases]
        for function in functions:
            for name, shape, dtype in frame.results[function.phase]:
                if name not in arrays:
                    arrays[name] = frame.lender.lend(name, shape, dtype)

        def call(team: int) -> None:
            for function in functions:
                kernel.call(function, frame, arrays, (whole, team, progress), phases)

        team = kernel.team(frame, phases) if part.count == whole else None
        if team is None:
            call(0)
        else:
            team.call(call, threads.count() - 1)
        if self._keep and FIRST in phases:
            stay = {name: arrays[name] for name in memory.read_later if name in arrays}
            part.arrays = {**frame.arrays, **stay}
        found: Results = {}
        for key, result, view in frame.leaving:
            buffer = result.ref.buffer
            if result.phase in phases and buffer not in common:
                array = view.given_away(arrays[buffer])
                if self._keep:
                    array = memory.leaving(result, array, frame.lender)
                found[key] = array
        return found

    def _run_parts(
        self, leaves: Mapping[str, Array], phases: Collection[str], copied: frozenset[str]
    ) -> Results:
        """The results of the whole batch, sharded among threads."""
        kernel, sizes = self.kernel, self._sizes
        memory, sharding = kernel.memory, kernel.sharding
        wanted = [result for result in kernel.program.results if result.phase in phases]
        rows = sharding.strided_rows(leaves, sizes, wanted, copied)
        wholes = {
            result: sharding.joined_array(result, sizes)
            for result in wanted
            if memory.buffers[result.ref.buffer].batch and result.ref.buffer not in rows
        }
        # Threads share one copy of leaves without the batch.
        alike = {name for name in copied if not memory.buffers[name].batch and name in leaves}
        leaves = {**leaves, **{name: sharding.copied(name, leaves[name]) for name in alike}}
        panels = sharding.common_panels()
        packing = kernel.backend.packing(memory.matrices)
        progress = 0 if packing is None else int(packing.ctypes.data)

        def run(part: _Part) -> Results:
            own = sharding.part_of(leaves, part.share)
            mine = {name: array[part.share.start :] for name, array in rows.items()}
            found = self._run(part, own, phases, copied - alike, {**mine, **panels}, progress)
            for result, whole in wholes.items():
                before = (slice(None),) * len(memory.buffers[result.ref.buffer].axes)
                whole[(*before, part.share)] = found.pop((result.kind, result.label))
            return found

        parts = threads.each(run, self._parts)

        def joined(result: Result) -> Array:
            key, buffer = (result.kind, result.label), result.ref.buffer
            if buffer in rows:
                array = memory.result(result, rows[buffer], sizes)
                return memory.leaving(result, array, sharding.lender) if self._keep else array
            if result in wholes:
                return wholes[result]
            return total(result, [found[key] for found in parts])

        return {(result.kind, result.label): joined(result) for result in wanted}
