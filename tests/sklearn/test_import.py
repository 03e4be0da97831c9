"""`rollc.sklearn` where scikit-learn is not installed, and where nobody asks for it."""

from __future__ import annotations

import subprocess
import sys

ABSENT = """
import sys
sys.modules["sklearn"] = None
import rollc
for way in ("import rollc.sklearn", "rollc.sklearn"):
    try:
        exec(way)
    except ImportError as error:
        print(error)
"""


def test_without_scikit_learn() -> None:
    run = subprocess.run([sys.executable, "-c", ABSENT], capture_output=True, text=True, timeout=60)
    assert run.stdout == 2 * (
        "rollc.sklearn needs scikit-learn, which is not installed: pip install 'rollc[sklearn]'\n"
    ), run.stderr
