"""What is known of a call while JAX traces it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from rollc.frameworks import runs
from rollc.frameworks.networks import Networks
from rollc.frameworks.runs import Arrays, Ran
from rollc.jax.tapes import Tapes

Array = NDArray[Any]
Extras = Mapping[str, Any]
"""Lengths and the seed of a call, as far as it has them."""


@dataclass(frozen=True)
class Plan:
    """A call without its arrays.

    ``sort`` is "outputs" or "loss".  ``moving`` are the arrays that have derivatives (those of
    ``frozen`` parameters are zero), and ``sources`` the results; ``shapes`` are those of all
    results.  ``batches``, where calls of single sequences are the same in a batch, says where it
    is in arrays and results, by name.
    """

    networks: Networks
    dtype: str
    sort: str
    steps: tuple[tuple[str, int], ...] | int | None
    training: bool
    state: bool
    moving: frozenset[str]
    frozen: frozenset[str]
    sources: frozenset[str]
    shapes: tuple[tuple[str, jax.ShapeDtypeStruct], ...]
    batches: tuple[tuple[str, int | None], ...] | None
    tapes: Tapes

    @property
    def name(self) -> str:
        return self.networks.first.name

    @property
    def loss(self) -> bool:
        return self.sort == "loss"

    @property
    def results(self) -> dict[str, jax.ShapeDtypeStruct]:
        return dict(self.shapes)

    def options(self, extras: Extras) -> runs.Options:
        return runs.Options(
            extras.get("lengths"),
            dict(self.steps) if isinstance(self.steps, tuple) else self.steps,
            self.training,
            seed_number(extras["seed"]) if "seed" in extras else 0,
            self.state,
        )

    def run(self, arrays: Arrays, extras: Extras, wrt: tuple[str, ...] = ()) -> Ran:
        run = runs.SORTS[self.sort].run
        return run(self.networks.of(self.dtype), self.options(extras), arrays, wrt)

    def push(self, arrays: Arrays, extras: Extras, vectors: Arrays) -> Arrays:
        run = runs.SORTS[self.sort].slopes
        return run(self.networks.of(self.dtype), self.options(extras), arrays, vectors)

    def products(
        self,
        arrays: Arrays,
        extras: Extras,
        vectors: Arrays,
        cotangents: Arrays,
        wanted: tuple[str, ...],
    ) -> Arrays:
        run, network = runs.SORTS[self.sort].second, self.networks.of(self.dtype)
        return run(network, self.options(extras), arrays, vectors, cotangents, False, wanted)[1]


def seed_number(seed: Any) -> int:
    """A number from the words of a key, or from one number."""
    words = np.asarray(seed)
    return int(words) if not words.ndim else int.from_bytes(words.tobytes(), "little")
