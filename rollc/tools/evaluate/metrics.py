"""Measures of predictions that fit what a loss compares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Metrics = dict[str, float]

_LEAST = 1e-12  # of a probability, so that one that is 0 costs a finite number


def of_numbers(predicted: Array, actual: Array) -> Metrics:
    """RMSE, MAE and R2 of numbers ``[N]``; R2 is NaN where the actual ones are all the same."""
    errors = np.asarray(predicted, np.float64) - actual
    spread = float(np.sum((actual - actual.mean()) ** 2))
    squares = float(np.sum(errors**2))
    return {
        "RMSE": float(np.sqrt(squares / len(errors))),
        "MAE": float(np.abs(errors).mean()),
        "R2": 1 - squares / spread if spread else float("nan"),
    }


def of_classes(chosen: Array, actual: Array, probabilities: Array | None = None) -> Metrics:
    """Accuracy, F1 and, from probabilities ``[N, K]``, perplexity, of classes ``[N]``.

    F1 is the mean of those of the classes that occur or are chosen.
    """
    scores = []
    for each in np.union1d(actual, chosen):
        hits = int(np.sum((chosen == each) & (actual == each)))
        scores.append(2 * hits / int(np.sum(chosen == each) + np.sum(actual == each)))
    found = {"accuracy": float(np.mean(chosen == actual)), "F1": float(np.mean(scores))}
    if probabilities is not None:
        own = np.take_along_axis(probabilities, actual[:, None], axis=1)
        found["perplexity"] = float(np.exp(-np.log(np.maximum(own, _LEAST)).mean()))
    return found


def of_yes_or_no(probability: Array, actual: Array) -> Metrics:
    """Accuracy, F1 of yes, and perplexity, of probabilities ``[N]`` of a yes."""
    yes, truth = probability > 0.5, actual > 0.5
    hits = int(np.sum(yes & truth))
    both = int(yes.sum() + truth.sum())
    chances = np.clip(np.asarray(probability, np.float64), _LEAST, 1 - _LEAST)
    logs = actual * np.log(chances) + (1 - actual) * np.log(1 - chances)
    return {
        "accuracy": float(np.mean(yes == truth)),
        "F1": 2 * hits / both if both else float("nan"),
        "perplexity": float(np.exp(-logs.mean())),
    }
