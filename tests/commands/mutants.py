"""Random changes of the compiler, each of which the tests should notice.

    python -m tests.commands.mutants --count 300 --seed 0

cosmic-ray (`pip install -e '.[mutation]'`) finds the places and makes the changes, in a copy of the
checkout.  Places are drawn from all parts alike, and one change at each.  It is held to tests that
run the place, with kernels as plain Python, and to random programs at last; a change that never
ends is noticed too.  What no test notices is printed as a difference, to be looked at by a person.

Left out is what makes no difference to a right program, wherever it stands:

- annotations, and what only type checkers see;
- what forbids something that is not done: assertions, `strict`, `frozen`, `slots`, `kw_only`;
- a decorator that keeps results or asks for compilation;
- `is` for `==` and the reverse, the same for `None`, small numbers and most names.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from tests.helpers.paths import ROOT

PYTEST = [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-p", "tests.commands.lines"]
PYTEST += ["-p", "no:cacheprovider", "-p", "no:xdist"]
# They run in processes of their own, and run most lines of the compiler.
SOON = 5  # seconds of the tests that come first
PROGRAMS = "tests/commands/test_random_programs.py::test_some_programs_mean_what_they_say"


@dataclass(frozen=True)
class Part:
    """Modules of rollc by pattern."""

    modules: tuple[str, ...]
    without: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        """From the current folder."""
        left = {path for pattern in self.without for path in Path().glob(pattern)}
        return sorted({path for name in self.modules for path in Path().glob(name)} - left)


PARTS = {
    "lang": Part(("rollc/lang/**/*.py",)),
    "operations": Part(("rollc/ir/operations/*.py",)),
    "graph": Part(
        ("rollc/ir/*.py", "rollc/ir/time/*.py", "rollc/autodiff/*.py", "rollc/transforms/**/*.py")
    ),
    # What is written for Numba or LLVM alone does not run as plain Python.
    "kernel": Part(("rollc/kernel/**/*.py", "rollc/backends/numba/codegen/*.py")),
    "calls": Part(
        (
            *("rollc/runtime/*.py", "rollc/network/**/*.py", "rollc/driver/*.py"),
            *("rollc/entries/*.py", "rollc/support/*.py"),
            *("rollc/backends/*.py", "rollc/torch/*.py"),
        )
    ),
}
FORBIDS = ("strict", "frozen", "slots", "kw_only")
KEEPS = ("cache", "overload", "register_jitable", "routine", "shared")
SAME = ("_Eq_Is", "_Is_Eq", "_NotEq_IsNot", "_IsNot_NotEq")


def note(folder: Path) -> None:
    """Note in a folder what the tests run that are below the current one."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([*PYTEST, "--lines-into", str(folder), "tests"])


@cache
def seconds(folder: Path) -> dict[str, float]:
    """How long each test takes that passes."""
    found: dict[str, float] = json.loads((folder / "seconds.json").read_text())
    return found


@cache
def runs(folder: Path) -> dict[str, dict[int, set[str]]]:
    """The tests that run each line of each module."""
    from coverage import CoverageData

    data = CoverageData(str(folder / "coverage"))
    data.read()
    return {
        file[file.rindex("/rollc/") + 1 :]: {
            line: seconds(folder).keys() & tests
            for line, tests in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }


@cache
def breadth(folder: Path) -> Counter[str]:
    """How many lines each test runs."""
    modules = runs(folder).values()
    return Counter(test for lines in modules for tests in lines.values() for test in tests)


def tests_of(folder: Path, path: str, line: int, longest: float) -> tuple[list[str], list[str]]:
    """The tests that run a line or, if none does, the least of what it is part of.

    First those that run little else; then one of each file in turn, the quickest first, and so
    many as take that long.
    """
    around = [span for span in spans(path) | {range(line, line + 1)} if line in span]
    lines = runs(folder).get(path, {})
    found: set[str] = set()
    for span in sorted(around, key=len):
        found = found or {test for at in span for test in lines.get(at, ())}
    narrow = _while(folder, sorted(found, key=lambda test: (breadth(folder)[test], test)), SOON)
    files: dict[str, list[str]] = defaultdict(list)
    for test in sorted(found - set(narrow), key=lambda test: (seconds(folder)[test], test)):
        files[test.partition("::")[0]].append(test)
    turns = sorted((at, test) for tests in files.values() for at, test in enumerate(tests))
    return narrow, [*_while(folder, [test for _, test in turns], longest), PROGRAMS]


def _while(folder: Path, tests: Sequence[str], longest: float) -> list[str]:
    """As many of the tests as take that long."""
    took = accumulate(seconds(folder)[test] for test in tests)
    return [test for test, until in zip(tests, took, strict=True) if until <= longest]


def command(tests: Sequence[str], file: Path) -> str:
    """Run these tests, which are written to a file, to the first that fails."""
    file.write_text("\n".join(tests), encoding="utf-8")
    files = dict.fromkeys(test.partition("::")[0] for test in tests)
    return shlex.join([*PYTEST, "-x", "--only", str(file), *files])


@cache
def spans(path: str) -> set[range]:
    """The lines of each statement of a module, and of the whole."""
    text = Path(path).read_text(encoding="utf-8")
    found = {range(1, len(text.split("\n")) + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt):
            parts = (node, *getattr(node, "decorator_list", []))
            found.add(range(min(part.lineno for part in parts), (node.end_lineno or 0) + 1))
    return found


def idle(path: Path) -> Iterator[ast.stmt | ast.expr | ast.keyword]:
    """What makes no difference."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.arg(annotation=ast.expr() as found) | ast.AnnAssign(annotation=found):
                yield found
            case ast.If(test=ast.Name("TYPE_CHECKING")) | ast.Assert():
                yield node
            case ast.keyword(arg=str(name)) if name in FORBIDS:
                yield node
            case ast.FunctionDef(returns=returned, decorator_list=decorators):
                if returned is not None:
                    yield returned
                for decorator in decorators:
                    if ast.unparse(decorator).partition("(")[0] in KEEPS:
                        yield decorator


def changes(parts: Sequence[str], count: int, seed: int) -> Iterator[Any]:
    """So many changes, from all parts alike, each at a place of its own."""
    from cosmic_ray.commands.init import _all_work_items

    for name in parts:
        draw = random.Random(f"{seed} {name}")
        places: dict[tuple[str, tuple[int, int]], list[Any]] = defaultdict(list)
        for path in PARTS[name].files():
            left = [
                ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))
                for node in idle(path)
            ]
            for item in _all_work_items([path], {}):
                (change,) = item.mutations
                # That of a decorator begins with its sign, which is no part of the node.
                line, column = change.start_pos
                at = (line, column + (change.operator_name == "core/RemoveDecorator"))
                idly = any(first <= at <= last for first, last in left)
                if not idly and not change.operator_name.endswith(SAME):
                    places[str(path), change.start_pos].append(change)
        share = -(-count // len(parts))
        for place in draw.sample(sorted(places), min(share, len(places))):
            yield draw.choice(places[place])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", action="append", choices=PARTS, help="not all of them")
    parser.add_argument("--lines", type=Path, help="a folder for which test runs which line")
    parser.add_argument("--longest", type=float, default=40, help="seconds of tests for a change")
    arguments = parser.parse_args()
    from cosmic_ray.mutating import mutate_and_test

    os.environ["NUMBA_DISABLE_JIT"] = "1"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="rollc-mutants-") as scratch:
        copy = Path(scratch) / "rollc"
        lines = (arguments.lines or Path(scratch) / "lines").absolute()
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        os.chdir(copy)
        if not (lines / "seconds.json").exists():
            note(lines)
        # What is compiled here is read by all that follow, which write none.
        subprocess.run([*PYTEST, "--collect-only", "tests"], stdout=subprocess.DEVNULL)
        os.environ["ROLLC_CACHE"] = str(Path(scratch) / "cache")
        for change in changes(arguments.part or list(PARTS), arguments.count, arguments.seed):
            begin, line = time.monotonic(), change.start_pos[0]
            stages = tests_of(lines, str(change.module_path), line, arguments.longest)
            commands = [
                command(tests, Path(scratch) / f"tests{at}")
                for at, tests in enumerate(stages)
                if tests
            ]
            both = shlex.join(["sh", "-c", " && ".join(commands)])
            result = mutate_and_test([change], both, 120 + 5 * arguments.longest)
            outcome = str(result.test_outcome or result.worker_outcome).rpartition(".")[2].lower()
            outcomes[outcome] += 1
            by = re.search(r"^(?:FAILED|ERROR) (\S+)", result.output or "", re.MULTILINE)
            print(
                f"{outcome:9} {change.module_path}:{line} {change.operator_name}",
                f"({time.monotonic() - begin:.0f} s, {sum(map(len, stages))} tests)",
                by[1] if by else "",
                flush=True,
            )
            if outcome != "killed":
                print(result.diff, flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
    return 1 if outcomes["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
