"""Random changes of the compiler, each of which the tests should notice.

    python tests/mutants.py --count 300 --seed 0

cosmic-ray (`pip install -e '.[mutation]'`) finds the places and makes the changes, in a copy of the
checkout.  Each change is held to the quick tests of what it is a change of, with kernels as plain
Python; what no test notices is printed as a difference, to be looked at by a person.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Part:
    """Modules of rollc by pattern, and the tests that are about them."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()

    def files(self, root: Path) -> list[Path]:
        left = {path for pattern in self.without for path in root.glob(pattern)}
        found = {path for pattern in self.modules for path in root.glob(pattern)}
        return sorted(path.relative_to(root) for path in found - left)


_PROGRAMS = "tests/test_random_programs.py"
PARTS = {
    "lang": Part(
        ("rollc/lang/*.py",),
        ("tests/test_lang_*.py", "tests/test_shapes.py", "tests/test_cells.py", _PROGRAMS),
    ),
    "operations": Part(
        ("rollc/graph/operations/*.py",),
        (
            *("tests/test_operations.py", "tests/test_type_rules.py", "tests/test_exactness.py"),
            *("tests/test_reached.py", _PROGRAMS),
        ),
    ),
    "graph": Part(
        ("rollc/graph/*.py", "rollc/graph/rewrites/*.py"),
        (
            *("tests/test_simplify.py", "tests/test_check.py", "tests/test_unroll.py"),
            *("tests/test_reached.py", "tests/test_nothing.py", "tests/test_optimised.py"),
            *("tests/property/test_rewrites.py", _PROGRAMS),
        ),
    ),
    # What is written in LLVM's instructions does not run as plain Python.
    "kernel": Part(
        ("rollc/kernel/*.py",),
        (
            *("tests/test_optimised.py", "tests/test_why.py", "tests/test_block.py"),
            *("tests/test_vjp.py", "tests/test_irtext.py", _PROGRAMS),
        ),
        tuple(
            f"rollc/kernel/{name}.py"
            for name in (
                *("each", "elementary", "helpers", "host", "library", "linear", "linking"),
                *("native", "reductions", "routines", "rows", "special", "tile", "turn"),
                *("vectors", "words"),
            )
        ),
    ),
    "calls": Part(
        ("rollc/*.py",),
        (
            *("tests/test_network.py", "tests/test_nothing.py", "tests/test_vjp.py"),
            *("tests/test_streaming.py", "tests/test_misuse.py", _PROGRAMS),
        ),
        ("rollc/draw.py", "rollc/fold.py", "rollc/training.py", "rollc/optimise.py"),
    ),
}


def command(part: Part) -> str:
    """The tests of a part, which end at the first that fails."""
    files = [str(path.relative_to(ROOT)) for name in part.tests for path in sorted(ROOT.glob(name))]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return shlex.join([sys.executable, "-m", "pytest", *options, *files])


def changes(parts: Sequence[str], count: int, seed: int) -> Iterator[tuple[str, Any]]:
    """So many changes, from all parts alike, by the name of their part."""
    from cosmic_ray.commands.init import _all_work_items

    draw = random.Random(seed)
    share = -(-count // len(parts))
    for name in parts:
        items = list(_all_work_items(PARTS[name].files(Path()), {}))
        for item in draw.sample(items, min(share, len(items))):
            yield name, item


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", action="append", choices=PARTS, help="not all of them")
    parser.add_argument("--longest", type=float, default=600, help="seconds for one change")
    arguments = parser.parse_args()
    from cosmic_ray.mutating import mutate_and_test

    os.environ["NUMBA_DISABLE_JIT"] = "1"
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="rollc-mutants-") as scratch:
        copy = Path(scratch) / "rollc"
        ignored = shutil.ignore_patterns(".*", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=ignored)
        os.chdir(copy)
        os.environ["ROLLC_CACHE"] = str(Path(scratch) / "cache")
        for name, item in changes(arguments.part or list(PARTS), arguments.count, arguments.seed):
            result = mutate_and_test(item.mutations, command(PARTS[name]), arguments.longest)
            outcome = str(result.test_outcome or result.worker_outcome).rpartition(".")[2].lower()
            outcomes[outcome] += 1
            (mutation,) = item.mutations
            place = f"{mutation.module_path}:{mutation.start_pos[0]}"
            print(f"{outcome:9} {place} {mutation.operator_name}", flush=True)
            if outcome == "survived":
                print(result.diff, flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
    return 1 if outcomes["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
