"""Statistics of times: medians, quartiles, and ratios round by round.

Machines are noisy, and their clocks drift.  A ratio is therefore taken within a round, in which
all peers are measured one after the other, and then the median of the rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles."""

    low: float
    median: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The quartiles of at least one number."""
    low, median, high = np.quantile(np.asarray(values, float), (0.25, 0.5, 0.75))
    return Spread(float(low), float(median), float(high))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Round by round, our time over theirs."""
    return tuple(our / their for our, their in zip(ours, theirs, strict=True))


def geometric_mean(values: Sequence[float]) -> float:
    """The mean of ratios: what a twofold gain here and a twofold loss there cancel in."""
    return float(np.exp(np.mean(np.log(np.asarray(values, float)))))
