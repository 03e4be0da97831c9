"""Specs verified with kernels that run as plain Python.

To compile them takes seconds each, and finds little that running them does not:

    NUMBA_DISABLE_JIT=1 python tests/plain_kernels.py '{"specs/gru.roll": {"H": 3}}'

The argument maps files to sizes; what does not pass is printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rollc.tools.verify import verify


def failures(specs: Mapping[str, Mapping[str, int]], cache: Path) -> str:
    """What does not pass, found in a process of its own."""
    run = subprocess.run(
        [sys.executable, __file__, json.dumps(specs)],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "ROLLC_CACHE": str(cache)},
        timeout=300,
    )
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
