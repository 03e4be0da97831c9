"""The benchmark of one task: peers on the same cores, compared in results, then timed alternately.

Each library has its own process (:mod:`.worker`), which is idle while another is measured.  A
round measures rollc, every peer, and the machine's peak once each, so that the load and the clock
of the machine are much the same for all of a round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from statistics import median

import numpy as np

from rollc.tools.bench.data import Array, problem, write_problem
from rollc.tools.bench.peers import PEAK, PEERS, ROLLC, Peer
from rollc.tools.bench.statistics import Spread, ratios, spread
from rollc.tools.bench.task import Task
from rollc.tools.bench.workers import PeerError, Workers

TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
"""How far a peer's numbers may be from rollc's, in terms of the largest of an array (of a
gradient's own array, or a thousandth of the largest gradient if that is more)."""


@dataclass(frozen=True)
class Settings:
    """How long to measure: rounds, and seconds of each turn."""

    rounds: int = 9
    seconds: float = 0.05


@dataclass(frozen=True)
class Measured:
    """A peer's times: its median in each round, in seconds.

    ``ready`` is how long it took to prepare and run once, compilation included; ``error`` the
    largest difference of its numbers from rollc's.
    """

    times: tuple[float, ...]
    ready: float
    error: float = 0.0


@dataclass(frozen=True)
class Row:
    """What was measured of a task.

    ``peak`` is what the machine gave in each round, in multiply-adds a second, and
    ``multiply_adds`` the work of the task's matrix products; ``left_out`` says why a peer has
    no times.
    """

    task: Task
    ours: Measured
    peers: Mapping[str, Measured]
    peak: tuple[float, ...] = ()
    multiply_adds: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)

    def ratio(self, peer: str) -> Spread:
        """Our time over a peer's."""
        return spread(ratios(self.ours.times, self.peers[peer].times))

    @property
    def best(self) -> str | None:
        """The peer that our time is the largest multiple of."""
        return max(self.peers, key=lambda peer: self.ratio(peer).median, default=None)

    @property
    def share(self) -> Spread | None:
        """The part of the machine's peak that the task's matrix products reach."""
        if not self.multiply_adds or not self.peak:
            return None
        reached = [self.multiply_adds / time for time in self.ours.times]
        return spread(ratios(reached, self.peak))


def measure(
    task: Task,
    peers: Sequence[Peer],
    settings: Settings,
    workers: Workers,
    folder: Path,
    say: Callable[[str], None],
) -> Row:
    """Measure a task.  Raises :class:`PeerError` where rollc itself cannot run it.

    ``folder`` takes the arrays; ``say`` is told what is being done.
    """
    numbers = problem(task.workload, task.dtype)
    data = folder / "data.npz"
    write_problem(numbers, data)

    def prepare(peer: Peer) -> tuple[Measured, dict[str, Array], int]:
        say(peer.name)
        results = folder / f"{peer.name}.npz"
        answer = workers.ask(
            peer.library,
            do="prepare",
            peer=peer.name,
            task=task.as_data(),
            data=str(data),
            results=str(results),
        )
        with np.load(results) as arrays:
            found = dict(arrays)
        return Measured((), answer["seconds"]), found, answer["multiply_adds"]

    try:
        ours, expected, _ = prepare(ROLLC)
        _, _, in_registers = prepare(PEAK)
        ready: dict[str, Measured] = {}
        left_out: dict[str, str] = {}
        for peer in peers:
            if task.mode not in peer.modes or task.dtype not in peer.dtypes:
                continue
            try:
                measured, found, _ = prepare(peer)
            except PeerError as error:
                left_out[peer.name] = str(error)
                continue
            difference, where = largest_difference(found, expected)
            if difference <= TOLERANCE[task.dtype]:
                ready[peer.name] = Measured((), measured.ready, difference)
            else:
                left_out[peer.name] = f"`{where}` differs from rollc's by {difference:.1e}"
        times = _rounds(ready, left_out, settings, workers, say)
    finally:
        workers.forget()
    products = {
        "forward": numbers.products,
        "gradient": 3 * numbers.products,
        "step": numbers.products // task.workload.size.steps,
    }
    return Row(
        task,
        Measured(times[ROLLC.name], ours.ready),
        {
            name: Measured(times[name], known.ready, known.error)
            for name, known in ready.items()
            if name not in left_out
        },
        tuple(in_registers / time for time in times[PEAK.name]),
        products[task.mode],
        left_out,
    )


def _rounds(
    ready: Mapping[str, Measured],
    left_out: dict[str, str],
    settings: Settings,
    workers: Workers,
    say: Callable[[str], None],
) -> dict[str, tuple[float, ...]]:
    """The medians of every turn; a peer that fails on the way is left out."""
    players = [ROLLC, *(PEERS[name] for name in ready), PEAK]
    times: dict[str, list[float]] = {peer.name: [] for peer in players}
    for number in range(settings.rounds):
        say(f"round {number + 1} of {settings.rounds}")
        for peer in players:
            if peer.name in left_out:
                continue
            try:
                answer = workers.ask(
                    peer.library, do="turn", peer=peer.name, seconds=settings.seconds
                )
            except PeerError as error:
                if peer in (ROLLC, PEAK):
                    raise
                left_out[peer.name] = str(error)
                continue
            times[peer.name].append(median(answer["times"]))
    return {name: tuple(found) for name, found in times.items()}


def largest_difference(
    found: Mapping[str, Array], expected: Mapping[str, Array]
) -> tuple[float, str]:
    """How far results are from those expected, and of which array; infinite if not the same ones.

    The measure is the largest magnitude of the array that is expected.  A gradient that nearly
    cancels has few digits in any order of summation: there it is a thousandth of the largest.
    """
    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())
        return float("inf"), odd[0]
    sizes = {name: float(np.abs(array).max()) for name, array in expected.items()}
    slopes = [size for name, size in sizes.items() if name.startswith("grad.")]
    least = 1e-3 * max(slopes, default=0.0)
    worst = (0.0, "")
    for name, array in expected.items():
        if found[name].shape != array.shape:
            return float("inf"), name
        scale = max(sizes[name], least) or 1.0
        difference = float(np.abs(found[name].astype(float) - array.astype(float)).max()) / scale
        if not difference <= worst[0]:
            worst = (float("inf") if isnan(difference) else difference, name)
    return worst
