"""What a run is told: every option of the loop, as a run folder keeps them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from rollc.errors import InputError
from rollc.support.checks import positive, real, whole
from rollc.training.updates.optimizers import Optimizer, optimizer
from rollc.training.updates.schedules import Schedule


@dataclass(frozen=True)
class Settings:
    """How parameters are fitted.

    optimizer  -- the method, with its rate and numbers
    schedule   -- how the rate changes
    epochs     -- times through the data
    window     -- steps of a stateful window: the state goes on from one to the next, and the
                  gradient is cut between them (truncated backpropagation through time).  None:
                  whole sequences
    clip       -- the largest norm of all gradients together
    clip_value -- the largest size of an element of a gradient, before that
    decay      -- weight decay, of the parameters that ``no_decay`` does not name
    accumulate -- batches or windows whose mean gradient makes one update, as if they were one batch
    valid_every -- updates between validations, besides the one after each epoch
    patience   -- validations without a better loss after which it ends; None: never
    min_delta  -- how much lower a validation loss has to be to count as better
    seed       -- of initial values, the order of the data, dropout and sampling
    """

    optimizer: Optimizer = field(default_factory=optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    epochs: int = 100
    window: int | None = None
    clip: float | None = None
    clip_value: float | None = None
    decay: float = 0.0
    no_decay: tuple[str, ...] = ()
    accumulate: int = 1
    valid_every: int | None = None
    patience: int | None = None
    min_delta: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        taken: dict[str, Any] = {
            "epochs": whole("`epochs`", self.epochs, 0),
            "accumulate": whole("`accumulate`", self.accumulate, 1),
            "seed": whole("`seed`", self.seed, 0),
        }
        for name in ("window", "valid_every", "patience"):
            if (number := getattr(self, name)) is not None:
                taken[name] = whole(f"`{name}`", number, 1)
        for name in ("clip", "clip_value"):
            if (number := getattr(self, name)) is not None:
                taken[name] = positive(f"`{name}`", number)
        for name in ("decay", "min_delta"):
            taken[name] = real(f"`{name}`", getattr(self, name))
            if taken[name] < 0:
                raise InputError(f"`{name}`: expected no negative number, found {taken[name]}")
        for name, value in taken.items():  # as the one type that the rest knows
            object.__setattr__(self, name, value)

    def decay_of(
        self, names: Mapping[str, Any], frozen: Collection[str] = ()
    ) -> float | dict[str, float]:
        """The weight decay: one number, or one for each parameter; the frozen ones have none."""
        unknown = [name for name in self.no_decay if name not in names]
        if unknown:
            known = ", ".join(names)
            raise InputError(f"`no_decay`: no parameter `{unknown[0]}`; there are {known}")
        without = {*self.no_decay, *frozen}
        if not self.decay or not without:
            return self.decay
        return {name: 0.0 if name in without else self.decay for name in names}
