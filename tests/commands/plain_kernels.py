"""Specs verified with kernels that run as plain Python.

To compile them takes seconds each, and finds little that running them does not:

    NUMBA_DISABLE_JIT=1 python -m tests.commands.plain_kernels '{"specs/gru.roll": {"H": 3}}'

The argument maps files to sizes; what does not pass is printed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from rollc.tools.verify import verify
from tests.helpers.processes import plain_python


def failures(specs: Mapping[str, Mapping[str, int]], cache: Path) -> str:
    """What does not pass, found in a process of its own."""
    module, given = "tests.commands.plain_kernels", json.dumps(specs)
    run = plain_python(module, given, timeout=300, ROLLC_CACHE=str(cache))
    return run.stdout + run.stderr[-3000:] * (run.returncode != 0)


def main() -> None:
    assert os.environ.get("NUMBA_DISABLE_JIT") == "1", "set NUMBA_DISABLE_JIT=1"
    for path, sets in json.loads(sys.argv[1]).items():
        text = Path(path).read_text(encoding="utf-8")
        rows = verify(text, path, sets=sets, dtypes=("float64",))
        if sum("kernel" in row.what for row in rows) < 5:
            print(path, "has kernels that were not compared")
        for row in rows:
            if not row.passed:
                print(path, row)


if __name__ == "__main__":
    main()
