"""How parameters follow their gradients: SGD, AdaGrad and Adam, on dictionaries of arrays.

Each method is a function from parameters, gradients and a frozen state to new parameters and
the next state; it changes no argument.  ``gradients`` has an array for every parameter, and
may have more.  Parameters keep their dtypes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.support.checks import real, shown

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Updated = dict[str, Array]


@dataclass(frozen=True)
class SGDState:
    """The running sum of the gradients, each update ago weighted by one more ``momentum``."""

    velocity: Arrays


def sgd_start(params: Arrays) -> SGDState:
    """The state before the first update: zeros of the shapes and dtypes of ``params``."""
    return SGDState(_zeros(params))


def sgd(
    params: Arrays,
    gradients: Arrays,
    state: SGDState,
    rate: float = 1e-2,
    *,
    momentum: float = 0.0,
) -> tuple[Updated, SGDState]:
    """One update by gradient descent: v = momentum v + g, then w = w - rate v.

    Source: Polyak, Some methods of speeding up the convergence of iteration methods (1964);
    Goodfellow, Bengio and Courville, Deep learning (2016), algorithm 8.2, but with the rate
    outside of the sum, as in PyTorch.
    """
    velocity = {name: momentum * state.velocity[name] + gradients[name] for name in params}
    updated = {name: value - rate * velocity[name] for name, value in params.items()}
    return updated, SGDState(velocity)


@dataclass(frozen=True)
class AdaGradState:
    """The sums of the squares of all gradients so far."""

    square: Arrays


def adagrad_start(params: Arrays) -> AdaGradState:
    """The state before the first update: zeros of the shapes and dtypes of ``params``."""
    return AdaGradState(_zeros(params))


def adagrad(
    params: Arrays,
    gradients: Arrays,
    state: AdaGradState,
    rate: float = 1e-2,
    *,
    epsilon: float = 1e-10,
) -> tuple[Updated, AdaGradState]:
    """One update, each element's step scaled by all the gradients that it has had.

    Source: Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and
    stochastic optimization (2011), figure 1 with diagonal matrices; ``epsilon`` is added to
    the root as in PyTorch.
    """
    square = {name: state.square[name] + gradients[name] ** 2 for name in params}
    updated = {
        name: value - rate * gradients[name] / (np.sqrt(square[name]) + epsilon)
        for name, value in params.items()
    }
    return updated, AdaGradState(square)


@dataclass(frozen=True)
class AdamState:
    """The running means of the gradients and of their squares, after ``count`` updates."""

    count: int
    mean: Arrays
    square: Arrays


def adam_start(params: Arrays) -> AdamState:
    """The state before the first update: zeros of the shapes and dtypes of ``params``."""
    zeros = _zeros(params)
    return AdamState(0, zeros, zeros)


def adam(
    params: Arrays,
    gradients: Arrays,
    state: AdamState,
    rate: float = 1e-3,
    *,
    decay: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
) -> tuple[Updated, AdamState]:
    """One update; ``decay`` is the weight of the past in the two running means.

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


def clipped(params: Arrays, gradients: Arrays, most: float) -> Updated:
    """The gradients of ``params``, scaled down so that their joint norm is ``most`` or less.

    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural
    networks (2013), algorithm 1.
    """
    squares = [np.sum(np.square(gradients[name], dtype=np.float64)) for name in params]
    norm = float(np.sqrt(np.sum(squares)))
    scale = most / norm if norm > most else 1.0
    return {name: gradients[name] * scale for name in params}


@dataclass(frozen=True)
class Optimiser:
    """A method with its numbers chosen: the state to start from, and one update."""

    start: Callable[[Arrays], Any]
    update: Callable[[Arrays, Arrays, Any], tuple[Updated, Any]]


OPTIMISERS = {
    "adam": Optimiser(adam_start, adam),
    "adagrad": Optimiser(adagrad_start, adagrad),
    "sgd": Optimiser(sgd_start, sgd),
}


def optimiser(name: str = "adam", **numbers: Any) -> Optimiser:
    """A method by its name, with its numbers such as ``rate`` where they are not the usual."""
    if not isinstance(name, str) or name not in OPTIMISERS:
        raise InputError(f"unknown optimiser {shown(name)}: expected {', '.join(OPTIMISERS)}")
    method = OPTIMISERS[name]
    known = [
        each.name
        for each in signature(method.update).parameters.values()
        if each.default is not each.empty
    ]
    for each, number in numbers.items():
        if each not in known:
            raise InputError(f"{name} has no `{each}`: expected {', '.join(known)}")
        if each != "decay":
            numbers[each] = real(f"`{each}`", number)
        elif not isinstance(number, Sequence) or len(number) != 2:
            raise InputError(f"`decay`: expected two numbers, found {shown(number)}")
        else:
            numbers[each] = tuple(real("`decay`", part) for part in number)
    return Optimiser(method.start, partial(method.update, **numbers))


def _zeros(params: Arrays) -> Updated:
    return {name: np.zeros_like(value) for name, value in params.items()}
