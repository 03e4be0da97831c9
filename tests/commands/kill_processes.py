"""Commands that are killed at any moment: what they write is whole or as it was, and nothing stays.

    NUMBA_DISABLE_JIT=1 python -m tests.commands.kill_processes --count 1000 --seed 0

A command runs in a fork of this process, so that one takes milliseconds, and is killed at a random
time or right before one of its calls of the system.  After each kill every target is one of the
known results, or is not there if it was not there before; after every few kills the command runs
to its end, and nothing unfinished lies anywhere.  With kernels as plain Python nothing is compiled;
without ``NUMBA_DISABLE_JIT`` it is, and machine code is written too.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rollc.driver import artefact_store
from rollc.tools.cli import main as command
from rollc.tools.cli.data_commands import running  # noqa: F401
from rollc.tools.datafiles import write_npz
from rollc.training import loop  # noqa: F401  (for the forks)

SPEC = """\
net small
dim H = 2
input x: [H]
target y: [H]
param W: [H, H], b: [H]
h = tanh(W @ h[t-1] + x + b)
output h
loss mean(mse(h, y), over t)
"""
CALLS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync", "close", "stat", "utime")


@dataclass
class Case:
    """A command in two variants, and the files or folders that it writes."""

    name: str
    variants: Sequence[Sequence[str]]
    targets: Sequence[Path]
    seconds: float = 0.0
    calls: int = 0
    known: list[list[object]] = field(default_factory=list)


def content(target: Path) -> object:
    """What a target holds; None where there is none.  Raises where it is not whole."""
    if target.is_dir():
        return artefact_store.read(target).hashes
    return target.read_bytes() if target.exists() else None


def forked(arguments: Sequence[str], call: int | None, count: Path | None = None) -> int:
    """The process of a command, which is killed before its ``call``-th call of the system."""
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        done = 0

        def counted(own: Callable[..., object]) -> Callable[..., object]:
            def called(*given: object, **more: object) -> object:
                nonlocal done
                done += 1
                if done == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return own(*given, **more)

            return called

        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        status = command(list(arguments))
        if count is not None:
            count.write_text(str(done))
    finally:
        os._exit(status)


def finished(arguments: Sequence[str], count: Path | None = None) -> None:
    """Run a command to its end."""
    _, status = os.waitpid(forked(arguments, None, count), 0)
    assert status == 0, f"{arguments}: status {os.waitstatus_to_exitcode(status)}"


def left(folder: Path) -> list[Path]:
    """What is unfinished below a folder."""
    return [path for path in folder.rglob("*") if path.name.endswith(".rollc-tmp")]


def cases(folder: Path) -> list[Case]:
    spec, data = folder / "small.roll", folder / "data.npz"
    spec.write_text(SPEC)
    random_ = np.random.default_rng(0)
    arrays = {name: random_.normal(size=(5, 3, 2)) for name in "xy"}
    data.write_bytes(write_npz(arrays))
    finished(["build", str(spec), "-o", str(folder / "built")])
    out = {name: folder / name for name in ("net", "o.npz", "s.npz", "p.npz")}
    run = ["run", str(folder / "built"), "--inputs", str(data), "--outputs", str(out["o.npz"])]
    run += ["--save-state", str(out["s.npz"])]
    train = ["train", str(spec), "--data", str(data), "-o", str(out["p.npz"]), "--epochs", "2"]
    build = ["build", str(spec), "-o", str(out["net"])]
    return [
        Case("build", [[*build, "--set", f"H={size}"] for size in (2, 3)], [out["net"]]),
        Case("run", [[*run, "--seed", seed] for seed in "01"], [out["o.npz"], out["s.npz"]]),
        Case("train", [[*train, "--rate", rate] for rate in ("0.1", "0.2")], [out["p.npz"]]),
    ]


def kill(count: int, seed: int, every: int, folder: Path) -> Counter[str]:
    """Kill so many commands; raises ``AssertionError`` where one did harm."""
    random_ = random.Random(seed)
    os.environ["ROLLC_CACHE"] = str(folder / "cache")
    os.environ["ROLLC_THREADS"] = "1"
    tempfile.tempdir = str(folder / "tmp")
    (folder / "tmp").mkdir()
    found = cases(folder)
    for case in found:
        for variant in case.variants:
            start = time.perf_counter()
            finished(variant, folder / "count")
            case.seconds = max(case.seconds, time.perf_counter() - start)
            case.calls = max(case.calls, int((folder / "count").read_text()))
            case.known.append([content(target) for target in case.targets])
    outcomes: Counter[str] = Counter()
    for number in range(count):
        case = random_.choice(found)
        variant = random_.choice(case.variants)
        if random_.random() < 0.5:  # nothing is in the cache
            for place in (folder / "cache").glob("*/manifest.json"):
                place.unlink()
        before = [content(target) for target in case.targets]
        at_call = random_.random() < 0.6
        process = forked(variant, random_.randint(1, case.calls) if at_call else None)
        if not at_call:
            time.sleep(random_.random() * case.seconds)
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        outcomes["killed" if os.WIFSIGNALED(status) else "done before"] += 1
        for place, target in enumerate(case.targets):
            whole = content(target)
            known = [before[place], *(results[place] for results in case.known)]
            assert whole in known, f"kill {number} of {case.name}: {target.name} is torn"
        if number % every == every - 1:
            for other in found:
                finished(random_.choice(other.variants))
            finished(["build", str(folder / "small.roll"), "--set", f"H={number + 4}"])
            unfinished = left(folder)
            assert not unfinished, f"after kill {number} there is {unfinished}"
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=25, help="kills between whole runs")
    arguments = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = kill(arguments.count, arguments.seed, arguments.every, Path(folder))
    print(f"{arguments.count} in {time.perf_counter() - start:.0f} s: {dict(outcomes)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
