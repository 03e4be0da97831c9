"""Measures of predictions that fit what a loss compares.

Those of several batches add up: of each the sums are kept that the measures are made of.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Metrics = dict[str, float]

_LEAST = 1e-12  # of a probability, so that one that is 0 costs a finite number


@dataclass(frozen=True)
class Numbers:
    """Errors of numbers, by column: of those that there are (``actual`` may be NaN)."""

    count: Array
    squares: Array
    sizes: Array
    mean: Array
    spread: Array  # the sum of the squared differences from the mean

    @classmethod
    def of(cls, predicted: Array, actual: Array) -> Self:
        """Of ``[N, D]``."""
        truth = np.asarray(actual, np.float64)
        there = ~np.isnan(truth)
        errors = np.where(there, np.asarray(predicted, np.float64) - truth, 0.0)
        count = there.sum(axis=0)
        mean = np.where(there, truth, 0.0).sum(axis=0) / np.maximum(count, 1)
        return cls(
            count,
            (errors**2).sum(axis=0),
            np.abs(errors).sum(axis=0),
            mean,
            np.where(there, (truth - mean) ** 2, 0.0).sum(axis=0),
        )

    def __add__(self, other: Self) -> Self:
        """Source of the spread: Chan, Golub and LeVeque, Updating formulae and a pairwise
        algorithm for computing sample variances (1979)."""
        count = self.count + other.count
        moved = (other.mean - self.mean) * other.count / np.maximum(count, 1)
        between = (other.mean - self.mean) * moved * self.count
        return type(self)(
            count,
            self.squares + other.squares,
            self.sizes + other.sizes,
            self.mean + moved,
            self.spread + other.spread + between,
        )

    def metrics(self) -> Metrics:
        """RMSE, MAE and R2, each the mean over the columns; R2 of those that change, or NaN."""
        known = self.count > 0
        count, squares, sizes, mean, spread = (getattr(self, f.name)[known] for f in fields(self))
        changes = spread > count * (1e-12 * mean) ** 2  # else it is rounding alone
        return {
            "RMSE": _mean(np.sqrt(squares / count)),
            "MAE": _mean(sizes / count),
            "R2": _mean(1 - squares[changes] / spread[changes]),
        }


@dataclass(frozen=True)
class Classes:
    """Hits, and how often each class was chosen and was right; ``logs`` is NaN without
    probabilities."""

    hits: Array
    chosen: Array
    actual: Array
    logs: float

    @classmethod
    def of(
        cls, chosen: Array, actual: Array, probabilities: Array | None = None, count: int = 0
    ) -> Self:
        """Of ``[N]`` classes and ``[N, K]`` probabilities, of ``count`` classes or those here."""
        most = max(count, *(int(each.max(initial=-1)) + 1 for each in (chosen, actual)))
        times = [np.bincount(each, minlength=most) for each in (chosen, actual)]
        hits = np.bincount(actual[chosen == actual], minlength=most)
        logs = float("nan")
        if probabilities is not None:
            own = np.take_along_axis(probabilities, actual[:, None], axis=1)
            logs = float(np.log(np.maximum(own, _LEAST)).sum(dtype=np.float64))
        return cls(hits, times[0], times[1], logs)

    def __add__(self, other: Classes) -> Classes:
        return _sum(self, other)

    def metrics(self) -> Metrics:
        """Accuracy, F1 (the mean of the classes that occur or are chosen) and perplexity."""
        both, total = self.chosen + self.actual, self.actual.sum()
        if not total:
            return {"accuracy": float("nan"), "F1": float("nan")}
        found = {
            "accuracy": float(self.hits.sum() / total),
            "F1": _mean(2 * self.hits[both > 0] / both[both > 0]),
        }
        if not np.isnan(self.logs):
            found["perplexity"] = float(np.exp(-self.logs / total))
        return found


@dataclass(frozen=True)
class YesOrNo:
    """Answers of yes or no, by column."""

    count: Array
    right: Array
    hits: Array
    both: Array
    logs: Array

    @classmethod
    def of(cls, probability: Array, actual: Array) -> Self:
        """Of probabilities of a yes ``[N, D]``, of those that there are (``actual`` may be NaN)."""
        truth = np.asarray(actual, np.float64)
        there = ~np.isnan(truth)
        yes, is_yes = (probability > 0.5) & there, truth > 0.5
        chances = np.clip(np.asarray(probability, np.float64), _LEAST, 1 - _LEAST)
        logs = truth * np.log(chances) + (1 - truth) * np.log(1 - chances)
        return cls(
            there.sum(axis=0),
            ((yes == is_yes) & there).sum(axis=0),
            (yes & is_yes).sum(axis=0),
            yes.sum(axis=0) + is_yes.sum(axis=0),
            np.where(there, logs, 0.0).sum(axis=0),
        )

    def __add__(self, other: YesOrNo) -> YesOrNo:
        return _sum(self, other)

    def metrics(self) -> Metrics:
        """Accuracy, F1 of yes, and perplexity, each the mean over the columns."""
        known = self.count > 0
        count, both = self.count[known], self.both
        return {
            "accuracy": _mean(self.right[known] / count),
            "F1": _mean(2 * self.hits[both > 0] / both[both > 0]),
            "perplexity": _mean(np.exp(-self.logs[known] / count)),
        }


Own = TypeVar("Own", Classes, YesOrNo)
Sums = Numbers | Classes | YesOrNo


def of_numbers(predicted: Array, actual: Array) -> Metrics:
    """RMSE, MAE and R2 of numbers ``[N]``; R2 is NaN where the actual ones are all the same."""
    return Numbers.of(predicted[:, None], actual[:, None]).metrics()


def of_classes(chosen: Array, actual: Array, probabilities: Array | None = None) -> Metrics:
    """Accuracy, F1 and, from probabilities ``[N, K]``, perplexity, of classes ``[N]``."""
    return Classes.of(chosen, actual, probabilities).metrics()


def of_yes_or_no(probability: Array, actual: Array) -> Metrics:
    """Accuracy, F1 of yes, and perplexity, of probabilities ``[N]`` of a yes."""
    return YesOrNo.of(probability[:, None], actual[:, None]).metrics()


def _sum(one: Own, other: Own) -> Own:
    return type(one)(*(getattr(one, f.name) + getattr(other, f.name) for f in fields(one)))


def _mean(numbers: Array) -> float:
    return float(np.mean(numbers)) if len(numbers) else float("nan")
