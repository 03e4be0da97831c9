"""Adam, on dictionaries of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class AdamState:
    """The running means of the gradients and of their squares, after ``count`` updates."""

    count: int
    mean: Arrays
    square: Arrays


def adam_start(params: Arrays) -> AdamState:
    """The state before the first update: zeros of the shapes and dtypes of ``params``."""
    zeros = {name: np.zeros_like(value) for name, value in params.items()}
    return AdamState(0, zeros, zeros)


def adam(
    params: Arrays,
    gradients: Arrays,
    state: AdamState,
    rate: float = 1e-3,
    *,
    decay: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
) -> tuple[dict[str, NDArray[Any]], AdamState]:
    """One update: new parameters and the state for the next one.  Changes no argument.

    ``gradients`` has an array for every parameter, and may have more.  ``rate`` is the
    step size, ``decay`` the weight of the past in the two running means.

    Source: Kingma and Ba, Adam: a method for stochastic optimization (2015), algorithm 1,
    with the corrections of both means for their start at zero.
    """
    past_mean, past_square = decay
    count = state.count + 1
    mean, square, updated = {}, {}, {}
    for name, value in params.items():
        gradient = gradients[name]
        mean[name] = past_mean * state.mean[name] + (1 - past_mean) * gradient
        square[name] = past_square * state.square[name] + (1 - past_square) * gradient**2
        unbiased_mean = mean[name] / (1 - past_mean**count)
        unbiased_square = square[name] / (1 - past_square**count)
        updated[name] = value - rate * unbiased_mean / (np.sqrt(unbiased_square) + epsilon)
    return updated, AdamState(count, mean, square)
