"""How parameters follow their gradients: SGD, AdaGrad, RMSProp, Adam and AdamW, on one vector;
and L-BFGS, which :mod:`rollc.training.updates.lbfgs` carries out.

An :class:`Optimizer` is a method with its numbers.  Its state is arrays by name, of the vector's
length, and the number of updates so far: what a checkpoint keeps.  An update changes the vector and
the state in place.  ``decay`` is the weight decay, a number or one for each element; it is added to
the gradient (L2), but for AdamW, which takes it from the parameters themselves.

Every method is PyTorch's, number by number, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.support.checks import positive, real, shown

Array = NDArray[Any]
Decay = float | Array


@dataclass
class State:
    """The updates so far, and what an optimiser keeps of them: arrays of the vector's length."""

    count: int
    arrays: dict[str, Array]


# The vector, its gradient, the state, the rate, and the method's own numbers.
Update = Callable[..., None]


@dataclass(frozen=True)
class Optimizer:
    """A method with its numbers; :func:`optimizer` makes it.

    Attributes
    ----------
    name : str
        The method.
    rate : float
        The learning rate.
    numbers : mapping of str to float
        The other numbers of the method.
    slots : tuple of str
        The arrays that it keeps, of the size of the parameters.
    decoupled : bool
        Whether weight decay is apart from the gradient.
    whole : bool
        Whether it reads all data at each step, and finds its size itself: it has no rate then.
    """

    name: str
    rate: float
    numbers: Mapping[str, float]
    slots: tuple[str, ...]
    rule: Update = field(repr=False)
    decoupled: bool = False
    whole: bool = False

    def at(self, rate: float) -> Optimizer:
        """The same method with another rate.

        Parameters
        ----------
        rate : float
            More than 0.

        Returns
        -------
        Optimizer

        Raises
        ------
        InputError
            Where the method has none.
        """
        if self.whole:
            raise InputError(f"{self.name} has no rate: it finds the size of each step")
        return replace(self, rate=positive("`rate`", rate))

    def start(self, size: int, dtype: Any) -> State:
        """The state before the first update.

        Parameters
        ----------
        size : int
            The number of all parameters' elements.
        dtype : str or type
            That of the parameters.

        Returns
        -------
        State
        """
        return State(0, {name: np.zeros(size, dtype) for name in self.slots})

    def update(
        self, values: Array, gradient: Array, state: State, rate: float, decay: Decay = 0.0
    ) -> None:
        """One update, in place.

        Parameters
        ----------
        values : ndarray
            The parameters, as one vector.
        gradient : ndarray
            Of its shape; it stays as it is.
        state : State
            That of :meth:`start`, or what the update before has left.
        rate : float
            The rate of this update.
        decay : float or ndarray
            Weight decay, of all or of each element.
        """
        state.count += 1
        if isinstance(decay, float) and not decay:
            pass
        elif self.decoupled:
            values *= 1 - rate * decay
        else:
            gradient = gradient + decay * values
        self.rule(values, gradient, state, rate, **self.numbers)


def _sgd(
    values: Array, gradient: Array, state: State, rate: float, momentum: float, nesterov: float
) -> None:
    """v = momentum v + g, then w = w - rate v; or, Nesterov's, w = w - rate (g + momentum v).

    Source: Polyak, Some methods of speeding up the convergence of iteration methods (1964);
    Sutskever et al., On the importance of initialization and momentum in deep learning (2013).
    """
    if momentum:
        velocity = state.arrays["velocity"]
        velocity *= momentum
        velocity += gradient
        gradient = gradient + momentum * velocity if nesterov else velocity
    values -= rate * gradient


def _adagrad(values: Array, gradient: Array, state: State, rate: float, epsilon: float) -> None:
    """Each element's step is scaled by all the gradients that it has had.

    Source: Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and
    stochastic optimization (2011), figure 1 with diagonal matrices.
    """
    square = state.arrays["square"]
    square += gradient * gradient
    values -= rate * gradient / (np.sqrt(square) + epsilon)


def _rmsprop(
    values: Array,
    gradient: Array,
    state: State,
    rate: float,
    alpha: float,
    epsilon: float,
    momentum: float,
) -> None:
    """Each element's step is scaled by the running mean of its squares.

    Source: Tieleman and Hinton, Neural networks for machine learning, lecture 6.5 (2012).
    """
    square = state.arrays["square"]
    square *= alpha
    square += (1 - alpha) * gradient * gradient
    step = gradient / (np.sqrt(square) + epsilon)
    if momentum:
        velocity = state.arrays["velocity"]
        velocity *= momentum
        velocity += step
        step = velocity
    values -= rate * step


def _adam(
    values: Array,
    gradient: Array,
    state: State,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> None:
    """Running means of the gradients and of their squares, both corrected for their start at zero.

    Source: Kingma and Ba, Adam: a method for stochastic optimization (2015), algorithm 1.
    """
    mean, square = state.arrays["mean"], state.arrays["square"]
    mean += (1 - beta1) * (gradient - mean)
    square *= beta2
    square += (1 - beta2) * gradient * gradient
    size = np.sqrt(square)
    size *= 1 / (1 - beta2**state.count) ** 0.5
    size += epsilon
    values -= (rate / (1 - beta1**state.count)) * mean / size


METHODS: Mapping[str, Optimizer] = {
    method.name: method
    for method in (
        Optimizer("sgd", 1e-2, {"momentum": 0.0, "nesterov": 0.0}, ("velocity",), _sgd),
        Optimizer("adagrad", 1e-2, {"epsilon": 1e-10}, ("square",), _adagrad),
        Optimizer(
            "rmsprop",
            1e-2,
            {"alpha": 0.99, "epsilon": 1e-8, "momentum": 0.0},
            ("square", "velocity"),
            _rmsprop,
        ),
        Optimizer(
            "adam", 1e-3, {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}, ("mean", "square"), _adam
        ),
        # Source: Loshchilov and Hutter, Decoupled weight decay regularization (2019).
        Optimizer(
            "adamw",
            1e-3,
            {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
            ("mean", "square"),
            _adam,
            decoupled=True,
        ),
    )
}


def _no_rule(*_: Any, **__: Any) -> None:
    raise InputError("lbfgs makes its steps by itself: rollc.training.updates.lbfgs.Minimizer")


# Its numbers are those of SciPy: the gradients that are kept, and the least relative change of the
# loss and the least slope, at which it ends.
LBFGS = Optimizer(
    "lbfgs", 1.0, {"history": 10, "change": 2.2e-9, "slope": 1e-5}, (), _no_rule, whole=True
)
ALL: Mapping[str, Optimizer] = {**METHODS, LBFGS.name: LBFGS}


_WEIGHTS = ("momentum", "alpha", "beta1", "beta2")


def optimizer(name: str = "adam", **numbers: Any) -> Optimizer:
    """An optimiser by its name, with its numbers where they are not the usual.

    Parameters
    ----------
    name : str
        ``sgd``, ``adagrad``, ``rmsprop``, ``adam``, ``adamw`` or ``lbfgs``.
    **numbers : float
        ``rate``, and for ``sgd`` ``momentum`` and ``nesterov``; for ``adagrad`` ``epsilon``; for
        ``rmsprop`` ``alpha``, ``epsilon`` and ``momentum``; for ``adam`` and ``adamw`` ``beta1``,
        ``beta2`` and ``epsilon``; for ``lbfgs``, which has no rate, ``history``, ``change`` and
        ``slope``.

    Returns
    -------
    Optimizer

    Raises
    ------
    InputError
        For an unknown name or number.

    References
    ----------
    Sutskever et al., On the importance of initialization and momentum in deep learning (2013).
    Duchi, Hazan and Singer, Adaptive subgradient methods (2011).
    Tieleman and Hinton, Neural networks for machine learning, lecture 6.5 (2012).
    Kingma and Ba, Adam: a method for stochastic optimization (2015).
    Loshchilov and Hutter, Decoupled weight decay regularization (2019).

    Examples
    --------
    >>> from rollc.training.updates.optimizers import optimizer
    >>> method = optimizer("sgd", rate=0.1, momentum=0.9, nesterov=True)
    >>> method.rate, method.numbers
    (0.1, {'momentum': 0.9, 'nesterov': 1.0})
    """
    if not isinstance(name, str) or name not in ALL:
        raise InputError(f"unknown optimiser {shown(name)}: expected {', '.join(ALL)}")
    method = ALL[name]
    found = dict(method.numbers)
    rate = method.rate
    for each, number in numbers.items():
        if each == "rate":
            rate = method.at(number).rate
        elif each == "nesterov" and each in found:
            found[each] = float(bool(number))
        elif each in found:
            found[each] = _number(each, number)
        else:
            raise InputError(f"{name} has no `{each}`: expected {', '.join(['rate', *found])}")
    if found.get("nesterov") and not found["momentum"]:
        raise InputError("`nesterov` needs a `momentum` of more than 0")
    return replace(method, rate=rate, numbers=found)


def _number(name: str, value: Any) -> float:
    """One of a method's numbers: what weighs the past is less than 1."""
    number = real(f"`{name}`", value)
    if number < 0 or (number >= 1 and name in _WEIGHTS):
        words = "from 0 on, and less than 1" if name in _WEIGHTS else "from 0 on"
        raise InputError(f"`{name}`: expected a number {words}, found {shown(value)}")
    return number


def clip_norm(gradient: Array, most: float) -> Array:
    """The gradient, scaled down so that its norm is ``most`` or less.

    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural
    networks (2013), algorithm 1.
    """
    norm = float(np.sqrt(np.sum(np.square(gradient, dtype=np.float64))))
    return gradient * (most / norm) if norm > most else gradient


def clip_value(gradient: Array, most: float) -> Array:
    """The gradient, with every element between ``-most`` and ``most``."""
    return np.clip(gradient, -most, most)
