"""How the rate changes from update to update: a factor of the rate that was given."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rollc.errors import InputError
from rollc.support.checks import choice

KINDS = ("constant", "cosine", "step", "plateau")


@dataclass(frozen=True)
class Schedule:
    """A factor of the learning rate for each update.

    Parameters
    ----------
    kind : str
        ``constant``; ``cosine``: half a cosine, from 1 to 0 at the last update; ``step``: times
        ``factor`` after each ``every`` epochs; ``plateau``: times ``factor`` where the validation
        loss has not improved ``patience`` times.
    warmup : int
        Updates in which the factor rises from 0 in equal parts, whatever the kind.
    every : int
        Epochs.
    factor : float
        What a ``step`` or a ``plateau`` multiplies with, between 0 and 1.
    patience : int
        Validations without a better loss before a ``plateau`` multiplies.

    References
    ----------
    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts (2017), equation 5
    without restarts.
    Goyal et al., Accurate, large minibatch SGD (2017), section 2.2.

    Examples
    --------
    >>> from rollc.training.updates.schedules import Schedule
    >>> schedule = Schedule("cosine", warmup=2)
    >>> [round(schedule.at(update, total=6, epoch=0), 3) for update in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """

    kind: str = "constant"
    warmup: int = 0
    every: int = 10
    factor: float = 0.1
    patience: int = 5

    def __post_init__(self) -> None:
        choice("`schedule`", self.kind, KINDS)
        if not 0 < self.factor < 1:
            raise InputError(f"`factor`: expected a number between 0 and 1, found {self.factor}")

    def at(self, update: int, total: int, epoch: int) -> float:
        """The factor of an update.  That of a ``plateau`` comes on top.

        Parameters
        ----------
        update : int
            The first is number 0.
        total : int
            The number of all updates.
        epoch : int
            The epoch that the update is in.

        Returns
        -------
        float
        """
        rising = min(1.0, (update + 1) / self.warmup) if self.warmup else 1.0
        if self.kind == "cosine":
            through = max(update - self.warmup, 0) / max(total - self.warmup, 1)
            return rising * 0.5 * (1 + math.cos(math.pi * min(through, 1.0)))
        if self.kind == "step":
            return rising * self.factor ** (epoch // self.every)
        return rising


@dataclass
class Plateau:
    """The best validation loss so far, the validations since then, and the factor."""

    best: float = math.inf
    since: int = 0
    factor: float = 1.0

    def see(self, loss: float, schedule: Schedule) -> None:
        """Take a validation loss in; the factor falls where it is one too many without a better,
        if that is what the schedule says."""
        if schedule.kind != "plateau":
            return
        if loss < self.best:
            self.best, self.since = loss, 0
            return
        self.since += 1
        if self.since > schedule.patience:
            self.factor, self.since = self.factor * schedule.factor, 0
