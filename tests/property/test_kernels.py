"""The generated source of random graphs computes what the interpreter does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("uncompiled.py")


def test_kernels_of_random_graphs_agree_with_the_interpreter() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, str(PROGRAM), "--count", "200", "--seed", "0"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-6000:]
    assert "agree" in run.stdout
