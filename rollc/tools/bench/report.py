"""The results of a benchmark, as tables for people and as data for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollc import __version__
from rollc.tools.bench.conductor import Measured, Row, Settings
from rollc.tools.bench.statistics import Spread, spread
from rollc.tools.bench.summary import groups, limits

if TYPE_CHECKING:
    from rich.console import Console

_LIBRARIES = ("numba", "numpy", "torch", "jax", "pytensor", "onnxruntime")
_NUMBERS = frozenset({"ms", "of peak", "ratio", "quartiles", "rows", "mean", "worst", "s", "MB"})


@dataclass(frozen=True)
class Report:
    """All that a run of ``rollc bench`` found.

    ``builds`` are seconds by what was built, ``memory`` bytes by peer; ``failed`` says why a
    task has no row, and ``complete`` whether the run came to its end.
    """

    settings: Settings
    rows: Sequence[Row] = ()
    builds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False

    def without(self, title: str, error: Exception) -> Report:
        """The same, with the reason why there is nothing of a task."""
        return replace(self, failed={**self.failed, title: str(error)})


@dataclass(frozen=True)
class Table:
    title: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def tables(report: Report) -> tuple[Table, ...]:
    """The tables that have lines."""
    made = (
        _times(report.rows),
        _groups(report.rows),
        _limits(report),
        _builds(report.builds),
        _memory(report.memory),
    )
    return tuple(table for table in made if table.lines)


def _times(rows: Sequence[Row]) -> Table:
    heads = ("workload", "mode", "type", "threads", "ms", "of peak")
    return Table(
        "rollc's time over the best peer's: medians of rounds",
        (*heads, "best peer", "ratio", "quartiles", "the others"),
        tuple(_line(row) for row in rows),
    )


def _line(row: Row) -> tuple[str, ...]:
    task = row.task
    share = "" if row.share is None else f"{100 * row.share.median:.0f}%"
    own = (task.workload.name, task.mode, task.dtype, str(task.threads))
    took = f"{1e3 * spread(row.ours.times).median:.3g}"
    if row.best is None:
        return (*own, took, share, "", "", "", "")
    best = row.ratio(row.best)
    others = sorted(set(row.peers) - {row.best}, key=lambda peer: -row.ratio(peer).median)
    said = ", ".join(f"{peer} {_ratio(row.ratio(peer).median)}" for peer in others)
    return (*own, took, share, row.best, _ratio(best.median), _quartiles(best), said)


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def _quartiles(found: Spread) -> str:
    return f"{_ratio(found.low)} to {_ratio(found.high)}"


def _groups(rows: Sequence[Row]) -> Table:
    lines = []
    for group in groups(rows):
        lines.append(
            (
                group.title,
                str(group.rows),
                _against(group.mean, group.mean_limit),
                _against(group.worst, group.worst_limit),
                group.where,
            )
        )
    heads = ("rollc's time over theirs", "rows", "mean", "worst", "which")
    title = "by groups (mean: geometric; in brackets: what is meant at most)"
    return Table(title, heads, tuple(lines))


def _against(found: float, limit: float | None) -> str:
    return _ratio(found) if limit is None else f"{_ratio(found)} ({limit:.2f})"


def _limits(report: Report) -> Table:
    lines = []
    for limit in limits(report.rows, report.builds, report.memory):
        bound = "at least" if limit.least else "at most"
        unit = f" {limit.unit}" if limit.unit else ""
        meant = f"{bound} {limit.limit:g}{unit}"
        lines.append((limit.title, f"{limit.found:.2f}{unit}", meant, "yes" if limit.met else "no"))
    return Table("other figures", ("what", "found", "meant", "reached"), tuple(lines))


def _builds(builds: Mapping[str, Sequence[float]]) -> Table:
    lines = tuple(
        (what, f"{spread(times).median:.2f}", _seconds(spread(times)))
        for what, times in builds.items()
    )
    return Table("whole processes with the LSTM", ("what", "s", "quartiles"), lines)


def _seconds(found: Spread) -> str:
    return f"{found.low:.2f} to {found.high:.2f}"


def _memory(memory: Mapping[str, int]) -> Table:
    lines = tuple((peer, f"{count / 1e6:.0f}") for peer, count in memory.items())
    return Table("memory of a training step of the LSTM, T=1000, B=32, H=256", ("who", "MB"), lines)


def show(report: Report, console: Console) -> None:
    """Print the tables to a terminal or a file."""
    from rich import box
    from rich.table import Table as RichTable

    for table in tables(report):
        console.print(table.title)
        made = RichTable(box=box.SIMPLE_HEAD)
        for head in table.heads:
            made.add_column(head, justify="right" if head in _NUMBERS else "left")
        for line in table.lines:
            made.add_row(*line)
        console.print(made)


def markdown(report: Report, command: str) -> str:
    """The tables in Markdown, with the machine and the command that made them."""
    about = machine()
    libraries = ", ".join(f"{name} {number}" for name, number in about["libraries"].items())
    lines = [f"`{command}` on {about['processor']} ({about['cores']} cores), {libraries}.", ""]
    for table in tables(report):
        lines += [f"**{table.title}**", "", _row(table.heads)]
        lines.append(_row(["---:" if head in _NUMBERS else "---" for head in table.heads]))
        lines += [*map(_row, table.lines), ""]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def as_data(report: Report, command: str) -> dict[str, Any]:
    """Everything, every round of it: times in seconds, multiply-adds a second, bytes."""
    return {
        "command": command,
        "machine": machine(),
        "rounds": report.settings.rounds,
        "seconds a turn": report.settings.seconds,
        "rows": [_row_as_data(row) for row in report.rows],
        "builds": {what: list(times) for what, times in report.builds.items()},
        "memory": dict(report.memory),
        "failed": dict(report.failed),
    }


def _row_as_data(row: Row) -> dict[str, Any]:
    return {
        **row.task.as_data(),
        "workload": row.task.workload.name,
        "group": row.task.workload.group,
        "multiply-adds": row.multiply_adds,
        "peak": list(row.peak),
        "rollc": _measured(row.ours),
        "peers": {name: _measured(measured) for name, measured in row.peers.items()},
        "left out": dict(row.left_out),
    }


def _measured(measured: Measured) -> dict[str, Any]:
    return {
        "times": list(measured.times),
        "ready": measured.ready,
        "difference": measured.error,
    }


def machine() -> dict[str, Any]:
    """The processor, the cores that may be used, and the versions of the libraries."""
    libraries = {"rollc": __version__, "Python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": _processor(), "cores": cores, "libraries": libraries}


def _processor() -> str:
    """The processor's name, as Linux knows it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
