"""The derivatives of calls, as rules that JAX knows.

JAX takes one rule of a function: :func:`reverse` has gradients, and :func:`forward` derivatives
forward in time.  What the former is made of has derivatives forward in time in turn, so JAX finds
those of gradients.  What is not here raises, and is never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.custom_derivatives import SymbolicZero

from rollc.errors import DerivativeError, InputError
from rollc.jax.callback import Tree, called
from rollc.jax.hosts import TOKEN, Products, Pulled, Pushed, Recorded, Results, Valued
from rollc.jax.plans import Extras, Plan

Arrays = Mapping[str, Any]
Wrt = tuple[str, ...]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def forward(plan: Plan, arrays: Arrays, extras: Extras) -> Tree:
    """The results, with derivatives forward in time."""
    return called(Results(plan), plan.results, arrays, extras)


def _forward_jvp(plan: Plan, primals: Any, tangents: Any) -> Any:
    arrays, extras = primals
    results = forward(plan, arrays, extras)
    return results, _slopes(plan, arrays, extras, results, _moved(plan, tangents[0]))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def reverse(plan: Plan, arrays: Arrays, extras: Extras) -> Tree:
    """The results, with gradients."""
    return forward(plan, arrays, extras)


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class _Kept:
    """What the gradients of ``wrt`` are computed from; ``own`` is a token, or are gradients."""

    wrt: Wrt
    arrays: Arrays
    extras: Extras
    own: Any

    def tree_flatten(self) -> tuple[tuple[Any, ...], Wrt]:
        return (self.arrays, self.extras, self.own), self.wrt

    @classmethod
    def tree_unflatten(cls, wrt: Wrt, children: tuple[Any, ...]) -> _Kept:
        return cls(wrt, *children)


def _reverse_first(plan: Plan, arrays: Arrays, extras: Extras) -> tuple[Tree, _Kept]:
    wrt = tuple(
        name
        for name, primal in arrays.items()
        if primal.perturbed
        and jax.numpy.issubdtype(primal.value.dtype, np.floating)
        and name not in plan.frozen
    )
    _check_moving(plan, wrt)
    arrays, extras = jax.custom_derivatives.custom_vjp_primal_tree_values((arrays, extras))
    results, own = (valued if plan.loss else recorded)(plan, wrt, arrays, extras)
    return results, _Kept(wrt, arrays, extras, own)


def _reverse_second(plan: Plan, kept: _Kept, cotangents: Mapping[str, Any]) -> Any:
    given = {name: each for name, each in cotangents.items() if type(each) is not SymbolicZero}
    floats = {name: each for name, each in given.items() if each.dtype != jax.dtypes.float0}
    for name in floats.keys() - plan.sources:
        raise DerivativeError(
            f"no gradient comes back through `{name}`, the state after the loss of `{plan.name}`:"
            " cut it by jax.lax.stop_gradient, or compute a loss of the outputs"
        )
    found: Arrays = {}
    if floats and kept.wrt and plan.loss:
        found = {name: gradient * floats["loss"] for name, gradient in kept.own.items()}
    elif floats and kept.wrt:
        found = pulled(plan, kept.wrt, kept.own, kept.arrays, kept.extras, floats)
    return {name: found.get(name) for name in kept.arrays}, None


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def recorded(plan: Plan, wrt: Wrt, arrays: Arrays, extras: Extras) -> Tree:
    """The results of outputs, and a token of what their gradients are computed from."""
    return called(Recorded(plan, wrt), (plan.results, TOKEN), arrays, extras)


def _recorded_jvp(plan: Plan, wrt: Wrt, primals: Any, tangents: Any) -> Any:
    arrays, extras = primals
    results, token = recorded(plan, wrt, arrays, extras)
    slopes = _slopes(plan, arrays, extras, results, _moved(plan, tangents[0]))
    return (results, token), (slopes, _nothing(token))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def pulled(
    plan: Plan, wrt: Wrt, token: Any, arrays: Arrays, extras: Extras, cotangents: Arrays
) -> Tree:
    """The gradients of outputs from their cotangents, which they are linear in."""
    shapes = {name: _shape(arrays[name]) for name in wrt}
    return called(Pulled(plan, wrt), shapes, token, arrays, extras, cotangents)


def _pulled_jvp(plan: Plan, wrt: Wrt, primals: Any, tangents: Any) -> Any:
    token, arrays, extras, cotangents = primals
    found = pulled(plan, wrt, *primals)
    parts = []
    slopes = {name: each for name, each in tangents[3].items() if type(each) is not SymbolicZero}
    if slopes:
        parts.append(pulled(plan, wrt, token, arrays, extras, slopes))
    vectors = _moved(plan, tangents[1])
    if vectors:
        parts.append(_products(plan, wrt, arrays, extras, vectors, cotangents))
    zeros = {name: _nothing(each) for name, each in found.items()}
    return found, {name: sum((part[name] for part in parts), zeros[name]) for name in wrt}


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def valued(plan: Plan, wrt: Wrt, arrays: Arrays, extras: Extras) -> Tree:
    """The results of the loss, and its gradients."""
    shapes = {name: _shape(arrays[name]) for name in wrt}
    return called(Valued(plan, wrt), (plan.results, shapes), arrays, extras)


def _valued_jvp(plan: Plan, wrt: Wrt, primals: Any, tangents: Any) -> Any:
    arrays, extras = primals
    results, gradients = valued(plan, wrt, arrays, extras)
    vectors = _moved(plan, tangents[0])
    slopes = _slopes(plan, arrays, extras, results, vectors)
    products = {name: _nothing(each) for name, each in gradients.items()}
    if vectors and wrt:
        one = {"loss": jax.numpy.ones((), plan.dtype)}
        products = _products(plan, wrt, arrays, extras, vectors, one)
    return (results, gradients), (slopes, products)


def _slopes(
    plan: Plan, arrays: Arrays, extras: Extras, results: Arrays, vectors: Arrays
) -> dict[str, Any]:
    """A tangent for each result; whole numbers have none."""
    if not vectors:
        return {name: _nothing(each) for name, each in results.items()}
    if plan.loss and plan.state:
        raise DerivativeError(
            f"the loss of `{plan.name}` with a state has no derivative forward in time: compute"
            " a loss of the outputs"
        )
    shapes = {name: each for name, each in plan.results.items() if name in plan.sources}
    found = called(Pushed(plan), shapes, arrays, extras, vectors)
    return {name: found[name] if name in found else _nothing(results[name]) for name in results}


def _products(
    plan: Plan, wrt: Wrt, arrays: Arrays, extras: Extras, vectors: Arrays, cotangents: Arrays
) -> Tree:
    shapes = {name: _shape(arrays[name]) for name in wrt}
    return called(Products(plan, wrt), shapes, arrays, extras, vectors, cotangents)


def _moved(plan: Plan, tangents: Mapping[str, Any]) -> dict[str, Any]:
    """The tangents of arrays that move."""
    found = {
        name: each
        for name, each in tangents.items()
        if type(each) is not SymbolicZero
        and each.dtype != jax.dtypes.float0
        and name not in plan.frozen
    }
    _check_moving(plan, tuple(found))
    return found


def _check_moving(plan: Plan, names: Wrt) -> None:
    for name in names:
        if name not in plan.moving:
            raise InputError(
                f"`{name}` is a target, and has no derivative: pass it by jax.lax.stop_gradient"
            )


def _nothing(array: Any) -> Any:
    if jax.numpy.issubdtype(array.dtype, np.floating):
        return jax.numpy.zeros_like(array)
    return np.zeros(array.shape, jax.dtypes.float0)


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


forward.defjvp(_forward_jvp, symbolic_zeros=True)
reverse.defvjp(_reverse_first, _reverse_second, symbolic_zeros=True)
recorded.defjvp(_recorded_jvp, symbolic_zeros=True)
pulled.defjvp(_pulled_jvp, symbolic_zeros=True)
valued.defjvp(_valued_jvp, symbolic_zeros=True)
