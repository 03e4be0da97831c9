"""Numbers held to those of other code, and how far they were apart.

The largest differences of each test are kept: ``python -m tests.reference.errors`` makes of them
the table in ``docs/systems.md``.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np

Kind = Literal["values", "gradients"]
MEASURED: dict[tuple[str, Kind], float] = {}
"""By the id of a test: differences, over the largest number of the array if that is above 1."""


def agree(
    kind: Kind, found: Any, expected: Any, name: str = "", rtol: float = 1e-9, atol: float = 1e-10
) -> None:
    """Assert that two arrays are the same but for rounding."""
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol, atol, err_msg=f"{kind} of {name}")
    with np.errstate(invalid="ignore"):
        apart = np.where(found == expected, 0.0, np.abs(found - expected))
        largest = float(np.max(apart / max(1.0, np.abs(expected).max(initial=0.0)), initial=0.0))
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    MEASURED[test, kind] = max(largest, MEASURED.get((test, kind), 0.0))
