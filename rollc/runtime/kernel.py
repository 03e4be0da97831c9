"""Kernels: executables with their two ways of calling, at once or with a tape."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy

from rollc.runtime.batch_sharding import Sharding
from rollc.runtime.call import Call, Results
from rollc.runtime.constants import constants_of
from rollc.runtime.executable import Array, Executable
from rollc.runtime.memory import FIRST, Memory


class Kernel(Executable):
    """A program with its code, for one precision; it can be called from several threads at once."""

    def run(
        self,
        leaves: Mapping[str, Array],
        steps: int | Mapping[str, int],
        batch: int,
        phases: Sequence[str],
    ) -> Results:
        """The results of the phases: arrays by kind (output, loss, gradient) and label.

        ``steps`` is the number of steps, by axis where there are several.  ``leaves`` have
        been checked: the right shapes, dtypes and index ranges.  The arrays that it returns
        are the caller's own.  Large batches are sharded among threads.
        """
        return Call(self, self._by_axis(steps), batch).run(leaves, phases)

    def record(
        self,
        leaves: Mapping[str, Array],
        steps: int | Mapping[str, int],
        batch: int,
        owned: Collection[str] = (),
    ) -> tuple[Results, Call]:
        """The results of the first phase, and a call with its tape, to run the others.

        Later changes of ``leaves`` and results do not affect the others; ``owned`` are leaves that
        nobody will change, which are not copied for that.
        """
        call = Call(self, self._by_axis(steps), batch, keep=True)
        return call.run(leaves, (FIRST,), owned), call

    def with_parameters(self, params: Mapping[str, Array]) -> Kernel:
        """The same kernel with parameters of its own: what they alone give is computed now.

        Its leaves are the others.  The arrays of ``params`` are to stay as they are.
        """
        constants = constants_of(self, params)
        found = copy(self)
        found.memory = Memory(self.program, self.backend, self.memory.dtype.name, constants)
        found.sharding = Sharding(self.program, self.backend, found.memory)
        return found

    def _by_axis(self, steps: int | Mapping[str, int]) -> Mapping[str, int]:
        return {(self.program.axes or ("t",))[0]: steps} if isinstance(steps, int) else steps
