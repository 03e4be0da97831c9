"""Reductions of a sequence from those of its windows, and their derivatives both ways.

Steps with an equal extreme share its gradient alike, in whichever windows they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.window_split import Reduction

Array = NDArray[Any]

WHOLE = np.dtype(np.float64)  # of sums over windows


def part_of(place: int, first: int, last: int) -> tuple[slice, ...]:
    """Some steps of an array, along the axis at a place."""
    return (*(slice(None),) * place, slice(first, last))


def combined(reduction: Reduction, parts: list[Array], sizes: Mapping[str, int]) -> Array:
    """A reduction of the whole sequence, from those of its windows."""
    match reduction.how:
        case "first":
            return parts[0]
        case "last":
            return parts[-1]
        case "max":
            return np.asarray(np.max(parts, axis=0))
        case "min":
            return np.asarray(np.min(parts, axis=0))
        case how:
            total = np.sum(parts, axis=0, dtype=np.float64)
            total = total / reduction.count(sizes) if how == "mean" else total
            return np.asarray(total).astype(parts[0].dtype)


def shared(
    reduction: Reduction,
    cotangent: Array,
    parts: Sequence[Mapping[str, Array]],
    index: int,
    values: Mapping[str, Array],
    sizes: Mapping[str, int],
) -> Array:
    """What a window gets of the cotangent of a reduction."""
    match reduction.how:
        case "sum":
            return cotangent
        case "mean":
            count = np.asarray(reduction.count(sizes), dtype=cotangent.dtype)
            return np.asarray(cotangent / count)
        case "first":
            return cotangent if index == 0 else np.zeros_like(cotangent)
        case "last":
            return cotangent if index == len(parts) - 1 else np.zeros_like(cotangent)
    taken = [
        _taken(part[reduction.node], values[reduction.node], part[reduction.taken])
        for part in parts
    ]
    share = cotangent * taken[index] / np.maximum(np.sum(taken, axis=0), 1)
    return np.asarray(np.where(taken[index] > 0, share, 0)).astype(cotangent.dtype)


def _taken(part: Array, whole: Array, count: Array) -> Array:
    """How many steps of a window have the extreme of the whole; NaN is one, where there is any."""
    return np.where((part == whole) | np.isnan(part), count, 0)


class Total:
    """A reduction of the whole sequence and its derivative, window after window.

    ``sizes`` are those of the whole sequence.
    """

    def __init__(self, reduction: Reduction, sizes: Mapping[str, int]) -> None:
        self.how = reduction.how
        self.count = reduction.count(sizes)
        self.value: Array = np.zeros(())
        self.tangent: Array | None = None
        self.dtype: np.dtype[Any] = WHOLE
        self._windows = 0
        self._count: Array = np.ones(())  # the steps that share an extreme

    @property
    def found(self) -> Array:
        """The value, in the precision of the parts."""
        return self.value.astype(self.dtype)

    def add(self, value: Array, slopes: Array | None, taken: Array | None) -> None:
        """Take one more window in, of whose steps so many have its extreme."""
        self.dtype = value.dtype
        first, self._windows = self._windows == 0, self._windows + 1
        if self.how in ("first", "last"):
            if first or self.how == "last":
                self.value, self.tangent = value, slopes
            return
        if self.how in ("sum", "mean"):
            share = 1 / self.count if self.how == "mean" else 1.0
            self.value = self.value + value.astype(WHOLE) * share
            if slopes is not None:
                if self.tangent is None:
                    self.tangent = np.zeros(slopes.shape, WHOLE)
                self.tangent += slopes * share
            return
        assert taken is not None
        if first:
            self.value, self.tangent, self._count = value, slopes, taken
            return
        whole = (np.maximum if self.how == "max" else np.minimum)(self.value, value)
        before, now = _taken(self.value, whole, self._count), _taken(value, whole, taken)
        if slopes is not None and self.tangent is not None:
            kept = np.where(before > 0, self.tangent * before, 0)
            added = np.where(now > 0, slopes * now, 0)
            self.tangent = (kept + added) / np.maximum(before + now, 1)
        self.value, self._count = whole, before + now
