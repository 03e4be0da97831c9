"""How long the parts of a kernel take, on one thread: its program with a clock, run beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.backends import registry
from rollc.ir.graph import BATCH
from rollc.kernel.program import Program
from rollc.kernel.refine.laps import LAPS, Part, with_laps
from rollc.runtime.kernel import Kernel
from rollc.support import threads

Array = NDArray[Any]

FEWEST, MOST, ENOUGH = 3, 50, 0.5
"""The calls of each of the two, but for those after so many seconds."""


@dataclass(frozen=True)
class LoopTimes:
    """The parts of a kernel, and the seconds of each in the fastest call with a clock.

    ``timed`` is that call, ``plain`` the fastest of the kernel without a clock.
    """

    parts: tuple[Part, ...]
    seconds: tuple[float, ...]
    timed: float
    plain: float
    calls: int


def loop_times(
    program: Program,
    dtype: str,
    leaves: Mapping[str, Array],
    steps: Mapping[str, int],
    batch: int,
    backend: str | None = None,
) -> LoopTimes:
    """The times of a program on leaves that have been checked.

    It is compiled twice, and both are called in turn, without the gradients of inputs.
    """
    made, parts = with_laps(program, {**steps, BATCH: batch}, dtype)
    phases = [function.phase for function in program.functions]
    laps = np.zeros(len(parts) + 1, np.int64)
    chosen = threads.chosen()
    threads.use(1)
    try:
        with TemporaryDirectory() as folder:
            plain, timed = (
                partial(_kernel(each, name, dtype, folder, backend).run, {**leaves, LAPS: laps})
                for each, name in ((program, "plain"), (made, "timed"))
            )
            plain(steps, batch, phases)  # this compiles it
            timed(steps, batch, phases)
            best, seconds, found = float("inf"), float("inf"), laps
            calls, begin = 0, perf_counter()
            while calls < FEWEST or (calls < MOST and perf_counter() - begin < ENOUGH):
                start = perf_counter()
                plain(steps, batch, phases)
                best = min(best, perf_counter() - start)
                laps[...] = 0
                start = perf_counter()
                timed(steps, batch, phases)
                if (taken := perf_counter() - start) < seconds:
                    seconds, found = taken, laps.copy()
                calls += 1
    finally:
        threads.use(chosen)
    return LoopTimes(parts, tuple(1e-9 * found[1:]), seconds, best, calls)


def _kernel(program: Program, name: str, dtype: str, folder: str, backend: str | None) -> Kernel:
    own = registry.backend(backend)
    path, text = Path(folder) / f"{name}{own.suffix}", own.emit(program, dtype)
    path.write_text(text, encoding="utf-8")
    return Kernel(program, path, dtype, text, backend)
