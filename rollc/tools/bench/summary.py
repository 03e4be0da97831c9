"""The summary of a benchmark: by groups of workloads, compared with rollc's targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollc.tools.bench.conductor import Row
from rollc.tools.bench.statistics import geometric_mean
from rollc.tools.bench.task import USUAL, Mode
from rollc.tools.bench.workloads import BUILT_IN, OWN, SCALAR, STACKS


@dataclass(frozen=True)
class Group:
    """The rows of a group in one mode, against one peer or, with ``peer`` None, the best.

    ``mean`` and ``worst`` are ratios of rollc's time to the peer's, the first the geometric
    mean of the rows' medians; the limits are what they are meant to be at most.
    """

    title: str
    rows: int
    mean: float
    worst: float
    where: str
    mean_limit: float | None
    worst_limit: float | None


@dataclass(frozen=True)
class Limit:
    """Another figure, and what it is meant to be at most (at least, with ``least``)."""

    title: str
    found: float
    limit: float
    unit: str
    least: bool = False

    @property
    def met(self) -> bool:
        return self.found >= self.limit if self.least else self.found <= self.limit


_GROUPS: tuple[tuple[str, str, str | None], ...] = (
    (BUILT_IN, "LSTM, GRU, RNN against PyTorch's layers", "torch"),
    (STACKS, "stacks of LSTMs against PyTorch's layers", "torch"),
    (OWN, "cells without a built-in against the best peer", None),
    (SCALAR, "single numbers against a loop by hand in Numba", "numba"),
)
_LIMITS: Mapping[tuple[str, Mode], tuple[float | None, float | None]] = {
    (BUILT_IN, "gradient"): (0.70, 1.00),
    (BUILT_IN, "forward"): (0.60, 1.00),
    (OWN, "gradient"): (0.25, 0.60),
    (SCALAR, "gradient"): (None, 1.05),
    (SCALAR, "forward"): (None, 1.05),
}


def groups(rows: Sequence[Row]) -> tuple[Group, ...]:
    """The groups of which there is a row with their peer."""
    found = []
    for group, title, peer in _GROUPS:
        for mode in (*reversed(USUAL), "step"):
            ratios: dict[str, float] = {}
            for row in rows:
                against = peer or row.best
                if (row.task.workload.group, row.task.mode) == (group, mode) and (
                    against is not None and against in row.peers
                ):
                    ratios[row.task.title] = row.ratio(against).median
            if ratios:
                where = max(ratios, key=lambda title: ratios[title])
                limits = _LIMITS.get((group, mode), (None, None))
                mean = geometric_mean(list(ratios.values()))
                title_of_mode = f"{title}, {mode}"
                found.append(Group(title_of_mode, len(ratios), mean, ratios[where], where, *limits))
    return tuple(found)


def limits(
    rows: Sequence[Row],
    builds: Mapping[str, Sequence[float]],
    memory: Mapping[str, int],
) -> tuple[Limit, ...]:
    """The figures that are no ratio of times."""
    from rollc.tools.bench.statistics import spread

    found = []
    shares = [row.share.median for row in rows if row.share is not None and _is_large_lstm(row)]
    if shares:
        found.append(
            Limit(
                "LSTM gradient, H >= 128, B >= 32, one thread: least share of the peak",
                100 * min(shares),
                85,
                "%",
                least=True,
            )
        )
    if builds:
        cold, run = spread(builds["cold"]).median, spread(builds["run"]).median
        found.append(Limit("cold `rollc build lstm`, whole process", cold, 3, "s"))
        found.append(Limit("`rollc run --grad` of a built folder, whole process", run, 0.7, "s"))
    if "torch" in memory:
        part = memory["rollc"] / memory["torch"]
        found.append(Limit("memory of a training step against PyTorch's layer", part, 0.8, ""))
    return tuple(found)


def _is_large_lstm(row: Row) -> bool:
    task, size = row.task, row.task.workload.size
    return (task.workload.system, task.mode, task.threads) == ("lstm", "gradient", 1) and (
        size.width >= 128 and size.batch >= 32
    )
