"""What runs on the CPU with the arrays of a call: results, gradients, products.

Under ``vmap`` several calls come at once.  Those of single sequences with the same parameters run
as one of a batch, where that gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from rollc.frameworks.runs import Pull
from rollc.ir.names import STATE
from rollc.jax import batches
from rollc.jax.callback import Host, Tree
from rollc.jax.plans import Plan
from rollc.jax.tapes import WORDS

TOKEN = jax.ShapeDtypeStruct((WORDS,), np.uint32)
Calls = Sequence[tuple[Any, ...]]


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

    def __call__(self, calls: Calls) -> list[Tree]:
        return batches.each(self.plan, calls, self._one, None if self.plan.loss else self._many)

    def _one(self, arrays: Any, extras: Any) -> Tree:
        return self.plan.run(arrays, extras).results

    def _many(self, calls: Calls) -> list[Tree]:
        return batches.outputs(self.plan, calls)


@dataclass(frozen=True)
class Recorded(_Host):
    """The results of outputs, and the token of their tape."""

    wrt: tuple[str, ...]
    keeps: bool = True

    def spared(self, used: Tree) -> Host:
        return replace(self, keeps=used[1])

    def __call__(self, calls: Calls) -> list[Tree]:
        return batches.each(self.plan, calls, self._one, self._many)

    def _one(self, arrays: Any, extras: Any) -> Tree:
        ran = self.plan.run(arrays, extras, self.wrt if self.keeps else ())
        if ran.pull is None:
            return ran.results, self.plan.tapes.token()
        return ran.results, self.plan.tapes.keep(ran.pull, ran.kept())

    def _many(self, calls: Calls) -> list[Tree]:
        """Their gradients take no tape (see :func:`rollc.jax.batches.gradients`)."""
        return [(each, self.plan.tapes.token()) for each in batches.outputs(self.plan, calls)]


@dataclass(frozen=True)
class Pulled(_Host):
    """The gradients of outputs, by their tapes; the calls of one tape use it together."""

    wrt: tuple[str, ...]

    def __call__(self, calls: Calls) -> list[Tree]:
        tapes: dict[bytes, Pull | None] = {}
        for token, *_ in calls:
            key = token.tobytes()
            if key not in tapes:
                tapes[key] = self.plan.tapes.take(token)

        def one(token: Any, arrays: Any, extras: Any, cotangents: Any) -> Tree:
            key = token.tobytes()
            pull = tapes[key] or self.plan.run(arrays, extras, self.wrt).pull
            assert pull is not None
            tapes[key] = pull
            return pull(cotangents, self.wrt, False)

        through_state = any(name.startswith(STATE) for name in calls[0][-1]) if calls else False
        many = None if any(tapes.values()) or through_state else self._many
        return batches.each(self.plan, calls, one, many)

    def _many(self, calls: Calls) -> list[Tree]:
        return batches.gradients(self.plan, calls, self.wrt)


@dataclass(frozen=True)
class Valued(_Host):
    """The results of the loss, and its gradients."""

    wrt: tuple[str, ...]
    keeps: bool = True

    def spared(self, used: Tree) -> Host:
        return replace(self, keeps=any(used[1].values()))

    def __call__(self, calls: Calls) -> list[Tree]:
        return batches.each(self.plan, calls, self._one, self._many if self.keeps else None)

    def _one(self, arrays: Any, extras: Any) -> Tree:
        ran = self.plan.run(arrays, extras, self.wrt if self.keeps else ())
        if ran.pull is None:
            return ran.results, {name: np.zeros_like(arrays[name]) for name in self.wrt}
        one = np.ones((), self.plan.dtype)
        return ran.results, ran.pull({"loss": one}, self.wrt, True)

    def _many(self, calls: Calls) -> list[Tree]:
        return batches.losses(self.plan, calls, self.wrt)


class Pushed(_Host):
    """The derivatives of results in the direction of vectors."""

    def __call__(self, calls: Calls) -> list[Tree]:
        return [self.plan.push(arrays, extras, vectors) for arrays, extras, vectors in calls]


@dataclass(frozen=True)
class Products(_Host):
    """The derivatives of gradients in the direction of vectors."""

    wrt: tuple[str, ...]

    @property
    def forward(self) -> str:
        return f"`{self.plan.name}` has no third derivatives"

    def __call__(self, calls: Calls) -> list[Tree]:
        found = []
        for arrays, extras, vectors, cotangents in calls:
            products = self.plan.products(arrays, extras, vectors, cotangents, self.wrt)
            found.append({name: products[name] for name in self.wrt})
        return found
