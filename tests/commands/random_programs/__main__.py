"""Random programs, each computed in several ways and held to what it means.

    python -m tests.commands.random_programs --count 1000 --seed 0
    python -m tests.commands.random_programs --minutes 30 --seed 5000 --jobs 2
    python -m tests.commands.random_programs --count 50 --compiled

Uncompiled, kernels run as plain Python.  A failure is printed with its seed and the smallest
program that fails in the same way; the exit status is then 1.  At the end is a table of what of
the language the programs had.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, help="how many programs")
    parser.add_argument("--minutes", type=float, help="for how long, if there is no count")
    parser.add_argument("--seed", type=int, default=0, help="of the first program")
    parser.add_argument("--compiled", action="store_true", help="kernels are compiled")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--way", action="append", help="one way instead of those that are drawn")
    parser.add_argument("--shrink", type=int, default=400, help="tries to make a failure small")
    parser.add_argument("--having", help="only programs with this form: one of the table")
    parser.add_argument("--show", action="store_true", help="print each program")
    arguments = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        parser.error("PyTorch is not installed: pip install '.[torch]'")
    if not arguments.compiled:
        os.environ["NUMBA_DISABLE_JIT"] = "1"
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    from tests.commands.random_programs.run import run_all  # Numba reads the environment once

    return run_all(arguments)


if __name__ == "__main__":
    sys.exit(main())
