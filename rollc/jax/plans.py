"""What is known of a call while JAX traces it, and what then runs with the arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from rollc.frameworks import runs
from rollc.frameworks.networks import Networks
from rollc.frameworks.runs import Arrays, Pull, Ran
from rollc.jax.callback import Host, Tree
from rollc.jax.tapes import WORDS, Tapes

Array = NDArray[Any]
Extras = Mapping[str, Any]
"""Lengths and the seed of a call, as far as it has them."""

TOKEN = jax.ShapeDtypeStruct((WORDS,), np.uint32)


@dataclass(frozen=True)
class Plan:
    """A call without its arrays.

    ``sort`` is "outputs" or "loss".  ``moving`` are the arrays that have derivatives, and
    ``sources`` the results; ``shapes`` are those of all results.
    """

    networks: Networks
    dtype: str
    sort: str
    steps: tuple[tuple[str, int], ...] | int | None
    training: bool
    state: bool
    moving: frozenset[str]
    sources: frozenset[str]
    shapes: tuple[tuple[str, jax.ShapeDtypeStruct], ...]
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
            lambda: self.networks.weighted.of(self.dtype),
        )

    def run(self, arrays: Arrays, extras: Extras, wrt: tuple[str, ...] = ()) -> Ran:
        run = runs.RUNS[self.sort]
        return run(self.networks.of(self.dtype), self.options(extras), arrays, wrt)

    def push(self, arrays: Arrays, extras: Extras, vectors: Arrays) -> Arrays:
        run = runs.SLOPES[self.sort]
        return run(self.networks.of(self.dtype), self.options(extras), arrays, vectors)


def seed_number(seed: Any) -> int:
    """A number from the words of a key, or from one number."""
    words = np.asarray(seed)
    return int(words) if not words.ndim else int.from_bytes(words.tobytes(), "little")


@dataclass(frozen=True)
class _Host(Host):
    """A function of the arrays of a plan (:class:`rollc.jax.callback.Host`)."""

    plan: Plan

    @property
    def forward(self) -> str:
        return (
            f"`{self.plan.name}` has no second derivatives that are both forward in time (jax.jvp"
            " of jax.jvp): take jax.hessian, or jax.jvp of jax.grad"
        )

    @property
    def backward(self) -> str:
        return (
            f"derivatives of `{self.plan.name}` forward in time have no gradients: take those of"
            " the function itself, not of its `forward_mode`; for second derivatives take"
            " jax.hessian, or jax.jvp of jax.grad, not jax.grad of jax.grad"
        )


class Results(_Host):
    """The results, and nothing for gradients."""

    def __call__(self, calls: Sequence[tuple[Any, ...]]) -> list[Tree]:
        return [self.plan.run(arrays, extras).results for arrays, extras in calls]


@dataclass(frozen=True)
class Recorded(_Host):
    """The results of outputs, and the token of their tape."""

    wrt: tuple[str, ...]
    keeps: bool = True

    def spared(self, used: Tree) -> Host:
        return replace(self, keeps=used[1])

    def __call__(self, calls: Sequence[tuple[Any, ...]]) -> list[Tree]:
        found = []
        for arrays, extras in calls:
            ran = self.plan.run(arrays, extras, self.wrt if self.keeps else ())
            token = np.zeros(WORDS, np.uint32)
            if ran.pull is not None:
                token = self.plan.tapes.keep(ran.pull, ran.kept())
            found.append((ran.results, token))
        return found


@dataclass(frozen=True)
class Pulled(_Host):
    """The gradients of outputs, by their tapes; the calls of one tape use it together."""

    wrt: tuple[str, ...]

    def __call__(self, calls: Sequence[tuple[Any, ...]]) -> list[Tree]:
        tapes: dict[bytes, Pull] = {}
        found = []
        for token, arrays, extras, cotangents in calls:
            key = token.tobytes()
            if key not in tapes:
                pull = self.plan.tapes.take(token)
                pull = self.plan.run(arrays, extras, self.wrt).pull if pull is None else pull
                assert pull is not None
                tapes[key] = pull
            found.append(tapes[key](cotangents, self.wrt, False))
        return found


@dataclass(frozen=True)
class Valued(_Host):
    """The results of the loss, and its gradients."""

    wrt: tuple[str, ...]
    keeps: bool = True

    def spared(self, used: Tree) -> Host:
        return replace(self, keeps=any(used[1].values()))

    def __call__(self, calls: Sequence[tuple[Any, ...]]) -> list[Tree]:
        found = []
        for arrays, extras in calls:
            ran = self.plan.run(arrays, extras, self.wrt if self.keeps else ())
            if ran.pull is None:
                gradients = {name: np.zeros_like(arrays[name]) for name in self.wrt}
            else:
                one = np.ones((), self.plan.dtype)
                gradients = dict(ran.pull({"loss": one}, self.wrt, True))
            found.append((ran.results, gradients))
        return found


class Pushed(_Host):
    """The derivatives of results in the direction of vectors."""

    def __call__(self, calls: Sequence[tuple[Any, ...]]) -> list[Tree]:
        return [self.plan.push(arrays, extras, vectors) for arrays, extras, vectors in calls]


@dataclass(frozen=True)
class Products(_Host):
    """The derivatives of gradients in the direction of vectors."""

    wrt: tuple[str, ...]

    @property
    def forward(self) -> str:
        return f"`{self.plan.name}` has no third derivatives"

    def __call__(self, calls: Sequence[tuple[Any, ...]]) -> list[Tree]:
        found = []
        for arrays, extras, vectors, cotangents in calls:
            second = self.plan.run(arrays, extras).second
            assert second is not None
            _, products = second(arrays, vectors, cotangents, False, self.wrt)
            found.append({name: products[name] for name in self.wrt})
        return found
