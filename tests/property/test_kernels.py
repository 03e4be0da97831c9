"""The generated source of random graphs and specs computes what the interpreter does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("uncompiled.py")


@pytest.mark.long
@pytest.mark.parametrize(
    ("of", "count"), [("graphs", 200), ("states", 60), ("specs", 40), ("axes", 40)]
)
def test_kernels_agree_with_the_interpreter(of: str, count: int) -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, str(PROGRAM), "--count", str(count), "--seed", "0", "--of", of]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-6000:]
    assert "agree" in run.stdout


def test_products_of_what_runs_over_any_axes() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, str(PROGRAM.with_name("products.py")), "--count", "60"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
