"""An executable: a program with its functions, loaded or else compiled at the first call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rollc.backends import registry
from rollc.backends.protocol import Bound, Functions, Source, Team
from rollc.ir.graph import BATCH
from rollc.kernel import cost_model
from rollc.kernel.program import Function, Program
from rollc.runtime.batch_sharding import Sharding
from rollc.runtime.frames import Frame
from rollc.runtime.memory import Memory
from rollc.support import threads

Array = NDArray[Any]


class Executable:
    """A program with its code, for one precision.

    ``text`` is the content of the file ``source``, which is otherwise read when it is needed.
    ``backend`` is the name of one, None for the default.
    """

    def __init__(
        self,
        program: Program,
        source: Path,
        dtype: str,
        text: str | None = None,
        backend: str | None = None,
    ) -> None:
        self.program = program
        self.source = source
        self.backend = registry.backend(backend)
        self.memory = Memory(program, self.backend, dtype)
        self.sharding = Sharding(program, self.backend, self.memory)
        self._text = text
        self._functions: Functions | None = None

    @property
    def functions(self) -> Functions:
        """The functions, loaded or else compiled."""
        if self._functions is None:
            self._functions = self.backend.load(self._source())
        if self._functions is None:
            self.compile()
        assert self._functions is not None
        return self._functions

    def compile(self) -> None:
        """Compile every function now, and save the code."""
        self._functions = self.backend.compile(self._source())

    def _source(self) -> Source:
        if self._text is None:
            self._text = self.source.read_text(encoding="utf-8")
        return Source(self.program, self.memory.dtype, self.source, self._text)

    def bytes(self, sizes: Mapping[str, int]) -> int:
        """The memory of a call, besides the caller's own arrays; the next call reuses it."""
        return self.memory.bytes(sizes, self.sharding.sizes(sizes))

    def call(
        self,
        function: Function,
        frame: Frame,
        arrays: Mapping[str, Array],
        call: tuple[int, int, int],
        phases: Collection[str],
    ) -> None:
        """Run a function.  ``call`` is the whole batch size, and the addresses of two control
        blocks: of a worker team, and of the packing of shared panels.
        """
        whole, team, progress = call
        optional = [function.optional in phases] if function.optional else []
        key = (function.phase, whole, *optional)
        bound = frame.bound.get(key)
        if bound is None:
            steps = [frame.sizes[axis] for axis in self.program.axes or ("t",)]
            batch = frame.sizes[BATCH]
            block, part = self.program.block_steps(batch), self.memory.part
            numbers = [*steps, batch, whole, block, team, progress, part, *optional]
            own = [arrays[name] for name in function.buffers]
            made = self.functions.phases[function.phase](numbers, own)
            if isinstance(made, Bound):
                frame.bound[key] = made
            made()
            return
        first = len(frame.sizes) + 2
        bound.count(first, team)
        bound.count(first + 1, progress)
        for position, name in frame.replaced[function.phase]:
            bound.give(position, arrays[name])
        bound()

    def team(self, frame: Frame, phases: Collection[str]) -> Team | None:
        """A worker team for large products; None where it does not pay off."""
        if threads.count() < 2 or self.functions.team is None:
            return None
        if frame.divisible is None:
            (*steps, batch) = frame.sizes.values()
            target = self.backend.target
            frame.divisible = cost_model.is_divisible(target, self.program, max(steps), batch)
        if not frame.divisible:
            return None
        key = tuple(phases)
        if key not in frame.teams:
            frame.teams[key] = self.functions.team()
        return frame.teams[key]

    def standing_team(self, steps: Mapping[str, int], batch: int) -> Team | None:
        """A worker team for calls that follow one another; None where it does not pay off."""
        if threads.count() < 2 or self.functions.team is None:
            return None
        target, longest = self.backend.target, max(steps.values())
        if not cost_model.is_divisible_often(target, self.program, longest, batch):
            return None
        return self.functions.team()
