"""Calls of single sequences under `vmap`, which run as one of a batch."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

import rollc.jax
from rollc.network.network import Network
from tests.jax.cells import LSTM, SPECS, B, T, close, function_of, given


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The calls of networks that run: their names, and whether they are by sequence."""
    calls: list[tuple[str, Any]] = []
    for name in ("forward", "loss", "vjp", "value_and_grad"):
        method = getattr(Network, name)

        def own(
            self: Any, *given: Any, _name: str = name, _method: Any = method, **named: Any
        ) -> Any:
            calls.append((_name, named.get("per_sequence", False)))
            return _method(self, *given, **named)

        monkeypatch.setattr(Network, name, own)
    return calls


def batch_axes(function: rollc.jax.Function, slots: dict[str, Any]) -> dict[str, int]:
    known = {**function._first.inputs, **function._first.targets}
    return {name: len(known[name].time) for name in slots}


def mine(outputs: Any) -> Any:
    leaves = jax.tree_util.tree_leaves(outputs)
    real = [each for each in leaves if jnp.issubdtype(each.dtype, np.floating)]
    return sum((jnp.sin(each) * (1 + each)).sum() for each in real)


def alike(call: Any, params: Any, slots: dict[str, Any], axes: dict[str, int], *more: Any) -> None:
    """`vmap` over the sequences is each of them by itself."""
    where = (None, axes, *(0 for _ in more))
    found = jax.jit(jax.vmap(call, where))(params, slots, *more)
    for place in range(B):
        one = {name: jnp.take(each, place, axis=axes[name]) for name, each in slots.items()}
        expected = call(params, one, *(each[place] for each in more))
        close(jax.tree_util.tree_map(lambda each, place=place: each[place], found), expected)


def calls_of(function: rollc.jax.Function, floats: list[str], **options: Any) -> list[Any]:
    """Outputs, loss, and the gradients of both: of parameters and inputs."""

    def apart(call: Any) -> Any:
        def own(params: Any, slots: Any, *more: Any) -> Any:
            rest = {name: each for name, each in slots.items() if name not in floats}
            moved = {name: slots[name] for name in floats if name in slots}
            grad = jax.grad(lambda params, moved: call(params, rest | moved, *more), (0, 1))
            return grad(params, moved)

        return own

    def outputs(params: Any, slots: Any, *more: Any) -> Any:
        own = function._first
        read = {name: each for name, each in slots.items() if name in own.inputs or name in own.fed}
        return function(params, read, **dict(zip(options, more, strict=False)))

    def loss(params: Any, slots: Any, *more: Any) -> Any:
        return function.loss(params, slots, **dict(zip(options, more, strict=False)))

    return [outputs, loss, apart(lambda *given: mine(outputs(*given))), apart(loss)]


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize("spec", SPECS)
def test_sequences_by_vmap(spec: str) -> None:
    function = function_of(spec)
    params, slots = function.init(0), given(function)
    inputs = function._first.inputs
    floats = [name for name in slots if name in inputs and inputs[name].kind == "float"]
    for call in calls_of(function, floats):
        alike(call, params, slots, batch_axes(function, slots))


def test_they_are_one_call(noted: list[tuple[str, Any]]) -> None:
    function = function_of()
    params, slots = function.init(0), given(function)
    axes = batch_axes(function, slots)
    expected = [
        [("forward", False)],
        [("loss", False)] * B,  # there is no kernel for the loss of each alone
        [("forward", False), ("value_and_grad", True)],
        [("value_and_grad", True)],
    ]
    for call, calls in zip(calls_of(function, ["x"]), expected, strict=True):
        noted.clear()
        jax.block_until_ready(jax.jit(jax.vmap(call, (None, axes)))(params, slots))
        assert noted == calls
    assert len(function._tapes) == 0


@pytest.mark.sampled(1)
@pytest.mark.long
@pytest.mark.parametrize("option", [{"truncate": 2}, {"combine": "mean"}])
def test_with_gradients_of_another_kind(option: dict[str, Any]) -> None:
    function = rollc.jax.function("lstm", **LSTM, **option)
    params, slots = function.init(0), given(function)
    for call in calls_of(function, ["x"]):
        alike(call, params, slots, batch_axes(function, slots))


@pytest.mark.long
@pytest.mark.parametrize("spec", ["sequences/tagger", "lstm"])
def test_with_lengths(spec: str) -> None:
    function = function_of(spec)
    params, slots = function.init(0), given(function)
    floats = [name for name in slots if slots[name].dtype == np.float64 and name != "y"]
    lengths = jnp.array([T, 2, 1, 3])
    for call in calls_of(function, floats, lengths=lengths):
        alike(call, params, slots, batch_axes(function, slots), lengths)


def test_with_a_state() -> None:
    """Gradients through the state after the steps are each call's by itself."""
    function = function_of()
    params, slots = function.init(0), given(function)
    state = {name: jnp.stack([each + place for place in range(B)])
             for name, each in function.zero_state().items()}  # fmt: skip

    def after(params: Any, slots: Any, h: Any, c: Any) -> Any:
        outputs, state = function(params, slots["x"], state={"h": h, "c": c})
        return mine(outputs) + (state["c"] ** 2).sum()

    def only(params: Any, slots: Any, h: Any, c: Any) -> Any:
        return mine(function(params, slots["x"], state={"h": h, "c": c})[0])

    def loss(params: Any, slots: Any, h: Any, c: Any) -> Any:
        return function.loss(params, slots, state={"h": h, "c": c})[0]

    for call in (after, only, loss):
        for own in (call, jax.grad(call, argnums=(0, 2, 3))):
            alike(own, params, slots, batch_axes(function, slots), state["h"], state["c"])


@pytest.mark.long
def test_random_numbers_are_of_each_call() -> None:
    function = function_of("sequences/stacked")
    params, slots = function.init(0), given(function, targets=False)

    def call(params: Any, slots: Any) -> Any:
        return function(params, slots, training=True, seed=3)

    alike(call, params, slots, batch_axes(function, slots))


def test_parameters_of_their_own() -> None:
    """Over both: the sequences of each set of parameters are a batch."""
    function = function_of()
    params, slots = function.init(0), given(function)
    many = jax.tree_util.tree_map(lambda each: jnp.stack([each, 2 * each]), params)
    axes = batch_axes(function, slots)
    call = jax.grad(lambda params, slots: function.loss(params, slots))
    found = jax.vmap(jax.vmap(call, (None, axes)), (0, None))(many, slots)
    for place in range(2):
        own = jax.tree_util.tree_map(lambda each, place=place: each[place], many)
        expected = jax.vmap(call, (None, axes))(own, slots)
        close(jax.tree_util.tree_map(lambda each, place=place: each[place], found), expected)
