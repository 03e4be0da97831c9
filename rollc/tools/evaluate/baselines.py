"""Predictions that need no network: what a network has to be better than.

Sequences are lists of arrays ``[T]`` or, of features, ``[T, F]``; what is missing is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LAGS = 9  # values before that a linear prediction reads


def last(values: Array, steps: int = 1) -> Array:
    """The value so many steps before, or the one before that where it is missing; NaN at first."""
    found = np.full(len(values), np.nan)
    if len(values) > steps:
        found[steps:] = held(values)[:-steps]
    return found


def held(values: Array) -> Array:
    """Each missing value as the one before it; NaN before the first."""
    at = np.where(np.isnan(values), -1, np.arange(len(values)))
    at = np.maximum.accumulate(at) if len(at) else at
    return np.where(at >= 0, values[np.maximum(at, 0)], np.nan)


@dataclass(frozen=True)
class Linear:
    """Least squares on the features of a step and on the values before, with an intercept."""

    weights: Array
    lags: int

    def __call__(self, values: Array, features: Array) -> Array:
        """A prediction for each step; NaN where a value before or a feature is missing."""
        return np.asarray(_table(values, features, self.lags) @ self.weights)


def linear(values: Sequence[Array], features: Sequence[Array]) -> Linear | None:
    """The linear prediction fitted to sequences; None where there is too little to fit it to."""
    longest = max(map(len, values), default=0)
    lags = min(LAGS, longest // 4)
    pairs = list(zip(values, features, strict=True))
    rows = np.concatenate([_table(v, f, lags) for v, f in pairs]) if pairs else np.zeros((0, 1))
    wanted = np.concatenate(list(values)) if pairs else np.zeros(0)
    whole = np.isfinite(rows).all(axis=1) & np.isfinite(wanted)
    if whole.sum() <= rows.shape[1]:
        return None
    return Linear(np.linalg.lstsq(rows[whole], wanted[whole], rcond=None)[0], lags)


def _table(values: Array, features: Array, lags: int) -> Array:
    before = [last(values, lag) for lag in range(1, lags + 1)]
    return np.column_stack([*before, features, np.ones(len(values))])
