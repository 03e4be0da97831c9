"""All kernels of a network as plain Python, in a separate process.

Compiling a kernel takes a second or two, and finds little that running its source does not.
Numba is switched off for a whole process, before anything is imported: so these kernels have one,
which runs while the main kernels are compiled here.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rollc.backends.numba.jit import object_code
from rollc.support.fingerprint import PACKAGE
from rollc.tools.verify.case import Case
from rollc.tools.verify.comparison import Row
from rollc.tools.verify.kernels import checkpointed, kernels, main_kernels, on_demand, variants

_WHICH = ", plain Python"


def all_kernels(case: Case) -> list[Row]:
    """Every kernel that a network can have, in double precision, here."""
    with tempfile.TemporaryDirectory(prefix="rollc-verify-") as scratch:
        network = on_demand(case.graph, "float64", Path(scratch))
        rows = [
            *kernels(case, network, _WHICH),
            *variants(case, network, _WHICH),
            *checkpointed(case, network, _WHICH),
        ]
        if len(case.graph.axes) == 1:
            steps = case.sizes[network.axes[0]]
            fixed = on_demand(case.graph, "float64", Path(scratch), steps)
            rows += main_kernels(case, fixed, f" of {steps} steps{_WHICH}")
    return rows


@contextmanager
def beside(case: Case) -> Iterator[Callable[[], list[Row]]]:
    """Compute :func:`all_kernels` in another process; the answer waits for it."""
    if object_code.interpreted():
        yield lambda: all_kernels(case)
        return
    root = str(PACKAGE.parent)
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", "rollc.tools.verify.plain"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": paths},
    )
    assert process.stdin is not None
    try:
        process.stdin.write(pickle.dumps(case))
        process.stdin.close()
        process.stdin = None

        def answer() -> list[Row]:
            found, said = process.communicate()
            if process.returncode:
                raise RuntimeError(said.decode(errors="replace")[-3000:])
            rows: list[Row] = pickle.loads(found)
            return rows

        yield answer
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    sys.stdout.buffer.write(pickle.dumps(all_kernels(pickle.load(sys.stdin.buffer))))
