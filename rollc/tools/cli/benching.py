"""``bench``: rollc's kernels compared with other libraries."""

from __future__ import annotations

import difflib
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rollc.errors import InputError
from rollc.tools import console, files
from rollc.tools.cli import effect

if TYPE_CHECKING:
    from rollc.tools.bench.conductor import Settings
    from rollc.tools.bench.peers import Peer
    from rollc.tools.bench.report import Report
    from rollc.tools.bench.task import Mode, Task

BUILD, MEMORY = "build", "memory"
"""Names that are measured in other ways than workloads are."""
_LIMIT = 600.0  # seconds that a peer may take to get ready
_IDLE = 0.5  # the load of a machine that does nothing else
_WIDTH = 200  # columns of the tables where there is no terminal


def list_workloads() -> None:
    """Print the workloads by name."""
    others = ("names", "sizes", "threads", "modes", "dtypes", "peers", "rounds", "quick")
    effect.refuse([*others, "markdown", "json_file"], "with `--list`")
    from rollc.tools.bench.workloads import WORKLOADS

    lines = [
        (workload.name, workload.title, ", ".join(workload.dtypes), ", ".join(workload.peers))
        for workload in WORKLOADS
    ]
    console.table(("name", "what it is", "types", "peers"), lines)


def bench(
    names: Sequence[str],
    sizes: Sequence[tuple[int, int, int]],
    threads: Sequence[int],
    modes: Sequence[Mode],
    dtypes: Sequence[str],
    peers: Sequence[str],
    rounds: int | None,
    quick: bool,
    markdown: str | None,
    json_file: str | None,
) -> int:
    """Measure and print tables; 3 where rollc could not run a workload.

    Interrupted, it prints what it has found so far, writes no file, and returns 130.
    """
    from rich.console import Console

    from rollc.tools.bench import report as reports
    from rollc.tools.bench.conductor import Settings
    from rollc.tools.bench.task import USUAL, Task
    from rollc.tools.bench.workers import cores
    from rollc.tools.bench.workloads import Size, chosen

    files.check_outputs(markdown, json_file)
    settings = Settings(rounds or (3 if quick else 9))
    sound = [count for count in threads or (1, 2) if count <= len(cores())]
    if len(sound) < len(threads):
        raise InputError(f"there are only {len(cores())} cores for {max(threads)} threads")
    if names and {*names} <= {BUILD, MEMORY}:
        why = f"on {' and '.join(names)}"
        effect.refuse(["sizes", "modes", "dtypes", "threads"], why)
    workload_names = [name for name in names if name not in (BUILD, MEMORY)]
    workloads = (
        chosen(workload_names, [Size(*size) for size in sizes])
        if workload_names or not names
        else ()
    )
    players = _present(peers)
    tasks = [
        Task(workload, dtype, mode, count)
        for count in sound
        for workload in workloads
        for dtype in dtypes or workload.dtypes
        for mode in modes or USUAL
        if mode != "step" or workload.streams
    ]
    if modes and not tasks:
        raise InputError("none of these workloads runs step by step")
    extras = [name for name in (BUILD, MEMORY) if not names or name in names]
    _say_if_busy(max((task.threads for task in tasks), default=1), len(cores()))
    with tempfile.TemporaryDirectory(prefix="rollc-bench-") as scratch:
        found = _measured(tasks, extras, players, bool(peers), settings, Path(scratch))
    _say_what_is_missing(found)
    if found.complete:
        command = f"rollc {shlex.join(sys.argv[1:])}"
        if markdown is not None:
            files.write_text(markdown, reports.markdown(found, command))
        if json_file is not None:
            data = reports.as_data(found, command)
            files.write_text(json_file, json.dumps(data, indent=1) + "\n")
    if files.STREAM not in (markdown, json_file):
        wide = None if sys.stdout.isatty() else _WIDTH
        plain = not console.in_colour(sys.stdout)
        reports.show(found, Console(no_color=plain, highlight=False, width=wide))
    if not found.complete:
        console.note("interrupted: these are the workloads until then")
        return 130
    return 3 if found.failed else 0


def _say_if_busy(threads: int, cores: int) -> None:
    """Note where others run on the cores that are to be measured.

    A thread that has to wait for a core holds up all others, of one peer more than of another:
    then rounds agree with each other, and say nothing.
    """
    with suppress(OSError):
        load = os.getloadavg()[0]
        if load > cores - threads + _IDLE:
            console.warning(
                f"others are at work here, a load of {load:.1f} on {cores} cores: what is measured"
                f" with {threads} thread{'s' * (threads > 1)} beside them is no measure"
            )


def _present(names: Sequence[str]) -> list[Peer]:
    """The peers that were asked for, or the usual ones; a note on those not installed."""
    from rollc.tools.bench.peers import PEERS, missing

    for name in names:
        if name not in PEERS:
            near = difflib.get_close_matches(name, PEERS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(PEERS)}"
            raise InputError(f"there is no peer `{name}`; {hint}")
    wanted = [PEERS[name] for name in names] or [peer for peer in PEERS.values() if peer.usual]
    absent: dict[str, list[str]] = {}
    for peer in wanted:
        for library in missing(peer):
            absent.setdefault(library, []).append(peer.name)
    for library, without in absent.items():
        console.note(
            f"{library} is not installed: without {', '.join(without)} (pip install 'rollc[bench]')"
        )
    return [peer for peer in wanted if not missing(peer)]


def _measured(
    tasks: Sequence[Task],
    extras: Sequence[str],
    peers: Sequence[Peer],
    asked: bool,
    settings: Settings,
    folder: Path,
) -> Report:
    """Everything, one after the other.  Peers that were asked for run whatever they can."""
    from rollc.tools.bench.building import build_times
    from rollc.tools.bench.conductor import measure
    from rollc.tools.bench.memory import peak_bytes
    from rollc.tools.bench.report import Report
    from rollc.tools.bench.workers import PeerError, workers

    found = Report(settings)
    done = 0
    with console.progress("bench", len(tasks) + len(extras)) as move, suppress(KeyboardInterrupt):

        def saying(title: str) -> Callable[[str], None]:
            return lambda text: move(done, f"{title}: {text}")

        for count in dict.fromkeys(task.threads for task in tasks):
            with workers(count, _LIMIT) as group:
                for task in tasks:
                    if task.threads != count:
                        continue
                    able = [peer for peer in peers if _can(peer, task, asked)]
                    try:
                        say = saying(task.title)
                        row = measure(task, able, settings, group, folder, say)
                        found = replace(found, rows=(*found.rows, row))
                    except PeerError as error:
                        found = found.without(task.title, error)
                    done += 1
                    move(done, task.title)
        for name in extras:
            try:
                if name == BUILD:
                    times = build_times(folder, settings.rounds, saying(name))
                    found = replace(found, builds=times)
                else:
                    layer = [peer for peer in peers if peer.name == "torch"]
                    memory = peak_bytes(layer, folder, _LIMIT, saying(name))
                    found = replace(found, memory=memory)
            except PeerError as error:
                found = found.without(name, error)
            done += 1
            move(done, name)
        return replace(found, complete=True)
    return found


def _can(peer: Peer, task: Task, asked: bool) -> bool:
    """Whether a peer takes part: those of the workload do, and any loop that was asked for."""
    return peer.name in task.workload.peers or (asked and peer.any_system)


def _say_what_is_missing(found: Report) -> None:
    """Warn of peers that were left out, each reason once, and of what rollc could not run."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in found.rows:
        for peer, reason in row.left_out.items():
            reasons.setdefault((peer, reason), []).append(row.task.title)
    for (peer, reason), titles in reasons.items():
        more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
        console.warning(f"{peer} is left out of {titles[0]}{more}: {reason}")
    for title, reason in found.failed.items():
        console.error(f"rollc could not run {title}: {reason}")
