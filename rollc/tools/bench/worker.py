"""A process that runs peers, on given cores and with as many threads.

``python -m rollc.tools.bench.worker CORES`` reads requests from standard input and answers on
standard output, a line of JSON each.  The cores are set before any library is imported, and so
is the number of threads, by the environment that :func:`environment` returns.

    {"do": "prepare", "peer": …, "task": …, "data": FILE, "results": FILE}
        runs it once, writes its results; answers with the seconds that it took
    {"do": "turn", "peer": …, "seconds": …}
        runs it once untimed, then repeatedly for so long; answers with the times
    {"do": "forget"}
        releases everything that is prepared
    {"do": "peak memory"}
        answers with the peak memory of the process so far, in bytes

An answer with ``error`` has the message of an exception; the process goes on.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollc.tools.bench.task import Ready

_PARENT_DEATH_SIGNAL = 1  # of prctl(2)
WARM_UP = 0.02  # seconds of calls that are not timed


def environment(threads: int) -> dict[str, str]:
    """The variables that tell libraries how many threads to have."""
    count = str(threads)
    names = ("OMP", "MKL", "OPENBLAS", "NUMBA", "NUMEXPR")
    return {
        **{f"{name}_NUM_THREADS": count for name in names},
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=" + ("true" if threads > 1 else "false"),
        "JAX_PLATFORMS": "cpu",
    }


def pin(cores: set[int]) -> None:
    """Keep this process to some cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def end_with_parent() -> None:
    """Have Linux end this process when the one that started it ends, also if this is halted."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


class _Worker:
    """What is prepared, by the names of the peers."""

    def __init__(self) -> None:
        self.ready: dict[str, Ready] = {}

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "prepare":
                return self._prepare(request)
            case "turn":
                return {"times": self._turn(request["peer"], request["seconds"])}
            case "forget":
                self._forget()
                return {}
            case "peak memory":
                return {"bytes": _peak_memory()}
        raise ValueError(f"unknown request {request['do']!r}")

    def _prepare(self, request: Mapping[str, Any]) -> dict[str, Any]:
        import numpy as np

        from rollc.tools.bench import peers
        from rollc.tools.bench.data import read_problem
        from rollc.tools.bench.task import task_of

        prepare = peers.function(request["peer"])
        problem = read_problem(request["data"])
        start = time.perf_counter()
        ready = prepare(task_of(request["task"]), problem)
        found = ready.call()
        seconds = time.perf_counter() - start
        self.ready[request["peer"]] = ready
        if request["results"]:
            arrays: dict[str, Any] = ready.results(found)
            np.savez(request["results"], **arrays)
        return {"seconds": seconds, "multiply_adds": ready.multiply_adds}

    def _turn(self, peer: str, seconds: float) -> list[float]:
        call = self.ready[peer].call
        now = time.perf_counter
        # The last turn was another's: the caches are not ours any more, and threads that begin
        # again may share a core until the system moves them.
        begin = now() + WARM_UP
        call()
        while now() < begin:
            call()
        times: list[float] = []
        end = now() + seconds
        while not times or now() < end:
            start = now()
            call()
            times.append(now() - start)
        return times

    def _forget(self) -> None:
        import gc

        self.ready.clear()
        gc.collect()


def _peak_memory() -> int:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    end_with_parent()
    pin({int(core) for core in sys.argv[1].split(",")})
    # What libraries print must not get among the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = _Worker()
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:  # whatever a library raises is its answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
