"""The time of builds and runs, each as a whole process of the ``rollc`` command.

*cold* has an empty cache of builds (routines that all kernels share are compiled already: the very
first build on a machine takes longer); *warm* finds the build in the cache; *run* is ``rollc
run --grad`` of a built folder on little data.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rollc.tools.bench.workers import PeerError
from rollc.tools.datafiles import write_npz

SPEC = "lstm"


def build_times(
    folder: Path, rounds: int, say: Callable[[str], None]
) -> dict[str, tuple[float, ...]]:
    """Seconds by what was done: ``cold``, ``warm`` and ``run``, once a round.

    ``folder`` is empty and can be written.  Raises :class:`PeerError` if a command fails.
    """
    inputs = folder / "inputs.npz"
    random = np.random.default_rng(0)
    inputs.write_bytes(
        write_npz({"x": random.normal(size=(10, 4, 16)), "y": random.normal(size=(10, 4, 8))})
    )
    times: dict[str, list[float]] = {"cold": [], "warm": [], "run": []}
    for number in range(rounds + 1):
        cache, built = folder / f"{number}.cache", folder / f"{number}.built"
        say(f"round {number} of {rounds}" if number else "the routines that kernels share")
        build = ["build", SPEC, "-o", str(built)]
        run = ["run", str(built), "--inputs", str(inputs), "--grad"]
        for what, command in (("cold", build), ("warm", build), ("run", run)):
            seconds = _seconds(cache, command)
            if number:
                times[what].append(seconds)
    return {what: tuple(found) for what, found in times.items()}


def _seconds(cache: Path, arguments: Sequence[str]) -> float:
    """The time of a command with its own cache of builds."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "rollc", *arguments],
        env={**os.environ, "ROLLC_CACHE": str(cache)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PeerError(f"`rollc {' '.join(arguments)}` failed: {last}")
    return seconds
