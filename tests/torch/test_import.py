"""`rollc.torch` where PyTorch is not installed, and where nobody asks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

ABSENT = """
import sys
sys.modules["torch"] = None
import rollc
for way in ("import rollc.torch", "rollc.torch"):
    try:
        exec(way)
    except ImportError as error:
        print(error)
"""


def test_without_pytorch() -> None:
    run = subprocess.run([sys.executable, "-c", ABSENT], capture_output=True, text=True, timeout=60)
    assert run.stdout == 2 * (
        "rollc.torch needs PyTorch, which is not installed: pip install 'rollc[torch]'\n"
    ), run.stderr
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, rollc\nfrom rollc import *\n"
            "print('torch' in sys.modules, rollc.torch.Module)",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout == "False <class 'rollc.torch.module.Module'>\n", run.stderr
