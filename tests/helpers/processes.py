"""Programs of the tests in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.helpers.paths import ROOT


def plain_python(
    module: str, *arguments: str, timeout: float = 600, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a module; kernels are plain Python there, which holds for a whole process."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
