"""Where things lie in the checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
GOOD_SPECS = ROOT / "tests" / "lang" / "specs" / "good"
BAD_SPECS = ROOT / "tests" / "lang" / "specs" / "bad"
