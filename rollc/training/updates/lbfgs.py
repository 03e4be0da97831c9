"""L-BFGS, as SciPy carries it out: for small problems, on all the data at each step.

Its step follows from the gradients of steps before, which SciPy keeps for itself.  So a fit that is
taken up again begins with none of them at the parameters of its checkpoint: it reaches a minimum,
but not the bits of a fit that nobody disturbed.

Source: Byrd, Lu, Nocedal and Zhu, A limited memory algorithm for bound constrained optimization
(1995); here there are no bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.network.network import Network
from rollc.training.data.batches import Batches
from rollc.training.loop import Diverged, Trainer, Update
from rollc.training.runs.settings import Settings

Array = NDArray[Any]

_WITHOUT_EFFECT = ("window", "clip", "clip_value", "accumulate", "valid_every", "schedule")
_NO_LIMIT = 2**31 - 1


def trainer_of(
    network: Network, data: Batches, settings: Settings | None = None, **more: Any
) -> Trainer:
    """The trainer that carries the optimiser of the settings out."""
    whole = settings is not None and settings.optimizer.whole
    return (Minimizer if whole else Trainer)(network, data, settings, **more)


class Minimizer(Trainer):
    """A trainer whose update is an iteration of L-BFGS, which is an epoch too.

    The loss of an update is that after it.  Where a loss or a gradient is no number, the search
    along a line finds a wall, and takes a shorter step.  ``why`` says why it ended by itself.
    """

    def __init__(
        self, network: Network, data: Batches, settings: Settings | None = None, **more: Any
    ) -> None:
        super().__init__(network, data, settings, **more)
        self._minimize, self.why = _scipy(), ""
        self._lowest: float | None = None
        plain = Settings()
        for name in _WITHOUT_EFFECT:
            if getattr(self.settings, name) != getattr(plain, name):
                raise InputError(f"`{name}` has no effect with lbfgs")
        if len(data) > 1:
            raise InputError("lbfgs reads all the data at each step: leave out `batch`")
        if self._draws:
            raise InputError(
                "lbfgs needs the same loss for the same parameters, and what is drawn at random"
                " changes it: take another optimiser, or leave out the dropout"
            )

    def drive(self, see: Callable[[Update], bool]) -> None:
        progress, numbers = self.progress, self.settings.optimizer.numbers
        is_stopped = False

        def accepted(intermediate_result: Any) -> None:  # SciPy looks at this name
            nonlocal is_stopped
            progress.values[...] = intermediate_result.x
            self._lowest = float(intermediate_result.fun)
            loss = self._lowest - self._penalty(intermediate_result.x)
            progress.update, progress.part = progress.update + 1, self.parts
            progress.total, progress.weight = loss, 1.0
            is_stopped = see(self._updated(loss, self.settings.optimizer.rate))
            if is_stopped or self.done:
                raise StopIteration

        if self.done:
            return
        self._lowest = None
        result = self._minimize(
            self._value_and_slope,
            progress.values.astype(np.float64),
            method="L-BFGS-B",
            jac=True,
            callback=accepted,
            options={
                "maxiter": self.settings.epochs - progress.epoch,
                "maxfun": _NO_LIMIT,
                "maxcor": int(numbers["history"]),
                "ftol": numbers["change"],
                "gtol": numbers["slope"],
            },
        )
        if not (is_stopped or self.done):
            progress.converged, self.why = True, str(result.message)

    def step(self) -> Update:
        raise InputError("lbfgs makes its steps by itself: `drive` it")

    def _value_and_slope(self, x: Array) -> tuple[float, Array]:
        """What is minimised, and its gradient, at any parameters; those of now stay."""
        progress = self.progress
        now = progress.values.copy()
        progress.values[...] = x
        try:
            value = self._read(self._gradient) + self._penalty(x)
        except Diverged:
            if self._lowest is None:  # where it begins
                raise
            return self._lowest + abs(self._lowest) + 1, np.zeros_like(x)
        finally:
            progress.values[...] = now
            progress.part, progress.total, progress.weight = 0, 0.0, 0.0
        self._lowest = value if self._lowest is None else self._lowest
        return value, self._gradient.astype(np.float64) + self._decay * x

    def _penalty(self, x: Array) -> float:
        """What weight decay adds to the loss."""
        return 0.5 * float(np.sum(self._decay * x * x))


def _scipy() -> Callable[..., Any]:
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise InputError("lbfgs is SciPy's: `pip install 'rollc[lbfgs]'`") from None
    found: Callable[..., Any] = minimize
    return found
