"""One comparison: the expected values, the values found, and their difference.

Errors are relative to the largest element of each array, since a single element can be the
small difference of large ones; values that should cancel to nothing are measured against the other
arrays of the comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]

STAGES = 1e-9  # between two stages, both in float64
# A small array is compared at this part of the largest one's scale.
NEGLIGIBLE = 1e-3


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: its largest error, the error that is allowed, and where it was.

    ``reason`` says why nothing can be concluded from these data, where that is so: then the
    row is neither passed nor failed.
    """

    what: str
    error: float
    tolerance: float
    where: str = ""
    reason: str = ""

    @property
    def passed(self) -> bool:
        return not self.reason and self.error <= self.tolerance

    @property
    def failed(self) -> bool:
        return not self.reason and not self.passed


def not_compared(what: str, reason: str, tolerance: float = math.nan) -> Row:
    """A row of what could not be compared, and why."""
    return Row(what, math.nan, tolerance, reason=reason)


def compared(what: str, expected: Arrays, found: Arrays, tolerance: float = STAGES) -> Row:
    """Arrays by name, found and expected."""
    error, where = largest_error(expected, found)
    return Row(what, error, tolerance, where)


def largest_error(expected: Arrays, found: Arrays) -> tuple[float, str]:
    """The largest relative error, and the name of its array.

    Infinite where an array is missing, has another shape, or is NaN where it should not be.
    """
    names = sorted({*expected, *found})
    if expected.keys() != found.keys():
        odd = next(name for name in names if (name in expected) != (name in found))
        return math.inf, odd
    top = max((_magnitude(array) for array in expected.values()), default=0.0)
    floor = max(NEGLIGIBLE * top, 1e-30)
    errors = [(_error(expected[name], found[name], floor), name) for name in names]
    return max(errors, default=(0.0, ""))


def _magnitude(array: Array) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max(initial=0.0))


def _error(expected: Array, found: Array, floor: float) -> float:
    try:
        expected, found = np.broadcast_arrays(expected, found)
    except ValueError:
        return math.inf
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    with np.errstate(invalid="ignore"):
        gaps = np.abs(np.where(same, 0.0, expected - found.astype(np.float64)))
    gap = float(gaps.max(initial=0.0))
    return gap / max(_magnitude(expected), floor) if gap == gap else math.inf
