"""Random programs of the whole language: some of them now, and that they have all there is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from rollc.lang.functions import ENDS, FUNCTIONS, OVER_TIME, SYMBOLS  # noqa: E402
from tests.random_programs.features import FORMS, features  # noqa: E402
from tests.random_programs.generate import generate  # noqa: E402

COUNT = 60


def test_some_programs_mean_what_they_say(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="programs are held to PyTorch")
    run = subprocess.run(
        [sys.executable, "-m", "tests.random_programs", "--count", str(COUNT), "--seed", "100000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "ROLLC_CACHE": str(tmp_path)},
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = int(run.stdout.rsplit("\n", 2)[-2].split()[0])
    assert passed >= COUNT * 0.9, run.stdout


def test_programs_have_every_operation_and_every_form() -> None:
    found: set[str] = set()
    for seed in range(700):
        found |= features(*generate(seed))
    wanted = {f"`{name}`" for name in (*FUNCTIONS, *SYMBOLS, "split", "neg")}
    wanted |= {f"`{name}` over" for name in (*OVER_TIME, *ENDS)}
    found |= {" ".join(name.split()[:1]) for name in found if name.startswith("`")}
    assert not wanted - found
    assert not FORMS - found
