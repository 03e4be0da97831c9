"""Many programs, in one process or several; what of the language they had, and what failed."""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import random
import re
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import torch

from rollc.lang.diagnostics.spec_error import SpecError
from rollc.support import threads
from tests.commands.random_programs import language as la
from tests.commands.random_programs.compare import WAYS, Different, Unsure, run, ways_of
from tests.commands.random_programs.features import features
from tests.commands.random_programs.generate import generate
from tests.commands.random_programs.shrink import shrink
from tests.commands.random_programs.writing.scope import Settings


@dataclass
class Result:
    seed: int
    outcome: str  # "passed", "unsure" or "failed"
    compared: int = 0
    features: frozenset[str] = frozenset()
    ways: tuple[str, ...] = ()
    report: str = ""
    kind: str = ""
    seconds: float = 0.0


@dataclass
class Totals:
    outcomes: Counter[str] = field(default_factory=Counter)
    features: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    seconds: float = 0.0

    def add(self, result: Result) -> None:
        self.outcomes[result.outcome] += 1
        self.seconds += result.seconds
        if result.outcome == "passed":
            self.features.update(result.features)
            self.ways.update(result.ways)
            self.compared += result.compared


def kind_of(error: BaseException) -> str:
    """What makes two failures the same one."""
    first = re.sub(r"[\d.e+-]+", "", (str(error) or repr(error)).splitlines()[0])
    if isinstance(error, Different):
        return "different: " + " ".join(first.split()[:3])
    if isinstance(error, SpecError):
        codes = sorted(set(re.findall(r"error\[(R\d+)\]", str(error))))
        return f"refused: {' '.join(codes)}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {place.name}"


def attempt(program: la.Program, settings: Settings, ways: list[str], dtype: str) -> int:
    """The number of arrays compared."""
    return run(program, settings, ways, dtype)


def one(seed: int, compiled: bool, ways: list[str] | None, tries: int) -> Result:
    torch.set_num_threads(1)
    started = time.process_time()
    program, settings = generate(seed)
    chosen = random.Random(seed)
    dtype = chosen.choice(["float64", "float32"]) if compiled else "float64"
    if compiled:
        threads.use(chosen.choice([1, 2, 2]))
        picked = ways or [chosen.choice([name for name in WAYS if name != "interpreter"])]
    else:
        picked = ways or ways_of(settings)
    had = features(program, settings)
    try:
        compared = attempt(program, settings, picked, dtype)
    except Unsure:
        return Result(seed, "unsure", seconds=time.process_time() - started)
    except Exception as error:
        kind = kind_of(error)

        def fails(small: la.Program, other: Settings) -> bool:
            try:
                attempt(small, other, picked, dtype)
            except Exception as again:
                return kind_of(again) == kind
            return False

        first = str(error) or repr(error)
        small, other = shrink(program, settings, fails, tries)
        try:
            attempt(small, other, picked, dtype)
            shown = first
        except Exception as again:
            shown = str(again) or repr(again)
            if not isinstance(again, Different | SpecError):
                shown += "\n" + "".join(traceback.format_exc(limit=-4))
        report = "\n".join(
            [f"seed {seed}, {dtype}, {' '.join(picked)}", f"{other}", la.text(small), shown]
        )
        return Result(seed, "failed", report=report, kind=kind)
    seconds = time.process_time() - started
    return Result(seed, "passed", compared, had, tuple(picked), seconds=seconds)


def results(arguments: argparse.Namespace) -> Iterator[Result]:
    ended = time.monotonic() + 60 * (arguments.minutes or 1e9)
    count = arguments.count if arguments.count is not None else None
    if count is None and arguments.minutes is None:
        count = 100
    seeds = itertools.takewhile(
        lambda seed: time.monotonic() < ended,
        itertools.islice(
            (
                seed
                for seed in itertools.count(arguments.seed)
                if arguments.having is None or arguments.having in features(*generate(seed))
            ),
            count,
        ),
    )
    work = partial(one, compiled=arguments.compiled, ways=arguments.way, tries=arguments.shrink)
    if arguments.jobs == 1:
        yield from map(work, seeds)
        return
    context = multiprocessing.get_context("forkserver")
    with context.Pool(arguments.jobs, maxtasksperchild=500) as pool:
        yield from pool.imap_unordered(work, seeds)


def run_all(arguments: argparse.Namespace) -> int:
    totals, kinds = Totals(), Counter[str]()
    with suppress(KeyboardInterrupt):  # what was done until then counts
        for number, result in enumerate(results(arguments), 1):
            totals.add(result)
            if arguments.show:
                program, settings = generate(result.seed)
                print(f"# seed {result.seed}: {settings}\n{la.text(program)}")
            if result.outcome == "failed":
                kinds[result.kind] += 1
                print(f"FAILED {result.kind}, seed {result.seed}", flush=True)
                if kinds[result.kind] <= 5:
                    print(f"{result.report}\n", flush=True)
            if result.outcome == "unsure":
                print(f"unsure: seed {result.seed}", flush=True)
            if number % 500 == 0:
                print(f"{number} programs: {dict(totals.outcomes)}", flush=True)
    print(table(totals))
    return 1 if kinds else 0


def table(totals: Totals) -> str:
    passed = totals.outcomes["passed"]
    lines = ["", "what the programs that passed had:"]
    lines += [f"  {count:7} {name}" for name, count in sorted(totals.features.items())]
    lines += ["ways:"]
    lines += [f"  {count:7} {name}" for name, count in sorted(totals.ways.items())]
    counted = ", ".join(f"{count} {outcome}" for outcome, count in totals.outcomes.most_common())
    each = totals.seconds / max(1, passed)
    lines += [f"{counted}; {totals.compared} arrays compared; {each:.3f} s a program"]
    return "\n".join(lines)
