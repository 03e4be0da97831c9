"""Products and sums over axes, in every combination, as plain-Python kernels.

    NUMBA_DISABLE_JIT=1 python -m tests.commands.axis_products --count 100 --seed 0   (0: all)

Operands are numbers and vectors that run over no axis, one or both, with the batch or without it,
recurrent or not; the kernels of outputs and of gradients are held to the interpreter.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np

from rollc.autodiff.adjoint import adjoint
from rollc.driver.sources import read_spec
from rollc.transforms.canonicalize import canonicalize
from tests.commands.fuzz_kernels import kernel_of, same

FRAME = """\
net products
time s, t
input a[s], b[t], va[s]: [4], vb[t]: [4]
static input z, vz: [4]
param p, vp: [4], M: [4, 4] = normal(0.3)
c = a * b
vc = va * vb
d = 0.5 * d[s-1] + p
vd = 0.5 * vd[t-1] + vp
e = tanh(e[t-1] + b)
ve = tanh(M @ ve[s-1] + va)
g = tanh(g[s-1] + c)
vg = tanh(M @ vg[t-1] + vc)
f = a[s-1] * 2
"""
AXES = {"p": "", "z": "", "a": "s", "b": "t", "c": "st", "d": "s", "e": "t", "g": "st", "f": "s"}
OPERANDS = [*AXES, *(f"v{name}" for name in AXES if name != "f")]
REDUCTIONS = ("", "sum s", "sum t", "sum s sum t", "sum t sum s", "mean s", "max t", "last s")


def axes_of(name: str) -> set[str]:
    return set({**AXES, "vd": "t", "ve": "s"}.get(name, AXES[name[-1]]))


def forms(a: str, b: str) -> Iterator[str]:
    vectors = a.startswith("v") + b.startswith("v")
    yield f"{a} * {b}"
    yield f"{a} * p * {b}"
    if vectors == 2:
        yield f"dot({a}, {b})"
        yield f"outer({a}, {b})"
    if vectors:
        yield f"M @ ({a} * {b})"


def cases() -> list[str]:
    """The specs."""
    found = []
    for a, b in combinations_with_replacement(OPERANDS, 2):
        for form in forms(a, b):
            for reduction in REDUCTIONS:
                left = axes_of(a) | axes_of(b)
                words = reduction.split()
                value, fits = form, True
                for how, axis in zip(words[::2], words[1::2], strict=True):
                    fits = fits and axis in left
                    value = f"{how}({value}, over {axis})"
                    left = left - {axis}
                if not fits:
                    continue
                number = not (a.startswith("v") or b.startswith("v")) or form.startswith("dot")
                loss = "sin(y)" if number else "sum(sin(y))"
                for axis in sorted(left):
                    loss = f"mean({loss}, over {axis})"
                found.append(f"{FRAME}y = {value}\noutput y\nloss {loss}\n")
    return found


def check(text: str, seed: int) -> None:
    graph = canonicalize(read_spec(text, "spec")[0])
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        for built in (canonicalize(adjoint(graph)), canonicalize(replace(graph, loss=None))):
            kernel = kernel_of(built, None, Path(folder))
            same(built, kernel, 1 + seed % 3, 1 + seed % 2, seed)


def main() -> int:
    if os.environ.get("NUMBA_DISABLE_JIT") != "1":
        sys.exit("expected NUMBA_DISABLE_JIT=1 in the environment")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = cases()
    if arguments.count:
        found = random.Random(arguments.seed).sample(found, arguments.count)
    failures = 0
    for number, text in enumerate(found, arguments.seed):
        try:
            check(text, number)
        except Exception:
            failures += 1
            print(text[len(FRAME) :], traceback.format_exc()[-700:])
    print(f"{len(found)} products: {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
