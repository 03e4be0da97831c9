"""The memory of a training step: the memory of a process beyond that of its libraries.

In its own process, a peer first runs a short sequence, then the long one, twice.  The result is the
peak memory of the process, less its peak before the long sequence: the caller's arrays, buffers,
the tape and gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rollc.tools.bench.data import problem, write_problem
from rollc.tools.bench.peers import ROLLC, Peer
from rollc.tools.bench.task import Task
from rollc.tools.bench.workers import workers
from rollc.tools.bench.workloads import Size, chosen

SYSTEM = "lstm"
SIZE = Size(1000, 32, 256)


def peak_bytes(
    peers: Sequence[Peer], folder: Path, limit: float, say: Callable[[str], None]
) -> dict[str, int]:
    """The bytes that a gradient takes, by peer, rollc first."""
    tasks = []
    for name, each in (("short", SIZE._replace(steps=2)), ("long", SIZE)):
        (workload,) = chosen([SYSTEM], [each])
        tasks.append((Task(workload, "float32", "gradient", 1), folder / f"{name}.npz"))
        write_problem(problem(workload, "float32"), tasks[-1][1])
    found = {}
    for peer in (ROLLC, *peers):
        say(peer.name)
        # A build is remembered by the process that made it: this one is given up.
        for counted in (False, True):
            with workers(1, limit) as own:
                peaks = []
                for task, data in tasks[: 1 + counted]:
                    own.ask(
                        peer.library,
                        do="prepare",
                        peer=peer.name,
                        task=task.as_data(),
                        data=str(data),
                        results=None,
                    )
                    own.ask(peer.library, do="turn", peer=peer.name, seconds=0)
                    peaks.append(own.ask(peer.library, do="peak memory")["bytes"])
        found[peer.name] = peaks[1] - peaks[0]
    return found
