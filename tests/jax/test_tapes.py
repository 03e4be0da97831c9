"""Tapes of `rollc.jax`: they are used once, are few, and may be gone."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import jax
import numpy as np
import pytest

import rollc.jax
from rollc.jax.tapes import WORDS, Tapes
from tests.jax.cells import arrays, close, function_of, given


def energy(function: Any) -> Any:
    return lambda params, x: (function(params, x)["h"] ** 3).sum()


def counted(function: rollc.jax.Function, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many forward passes run that keep a tape: a number that grows."""
    network, calls = function._networks.of("float64"), [0]
    vjp = network.vjp

    def noted(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        return vjp(*arguments, **named)

    monkeypatch.setattr(network, "vjp", noted)
    return calls


@pytest.mark.parametrize("jit", [False, True])
def test_the_forward_pass_runs_once(monkeypatch: pytest.MonkeyPatch, jit: bool) -> None:
    function = function_of()
    params, x = function.init(0), given(function)["x"]
    calls = counted(function, monkeypatch)
    grad = jax.grad(energy(function))
    (jax.jit(grad) if jit else grad)(params, x)
    assert calls == [1]
    assert (len(function._tapes), function._tapes.bytes) == (0, 0)


def test_without_memory_it_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    function, none = function_of(), function_of(memory=0)
    params, x = function.init(0), given(function)["x"]
    calls = counted(none, monkeypatch)
    close(jax.grad(energy(none))(params, x), jax.grad(energy(function))(params, x))
    assert calls[0] >= 2
    assert len(none._tapes) == 0


def test_tapes_whose_gradients_nobody_takes_are_few() -> None:
    """The oldest go, and who comes for one computes it again."""
    function = function_of()
    params, x = function.init(0), given(function)["x"]
    jax.vjp(energy(function), params, x)
    size = function._tapes.bytes
    assert size > 0
    few = function_of(memory=3 * size)
    pulls = [jax.vjp(energy(few), params, scale * x)[1] for scale in range(1, 8)]
    assert (len(few._tapes), few._tapes.bytes) == (3, 3 * size)
    for scale, pull in enumerate(pulls, 1):
        expected = jax.grad(energy(function), argnums=(0, 1))(params, scale * x)
        found = pull(np.ones(()))
        close(found[0], expected[0])
        close(found[1], expected[1])
        close(pull(2 * np.ones(()))[1], 2 * expected[1])  # the tape is gone by now
    assert (len(few._tapes), few._tapes.bytes) == (0, 0)


def test_one_tape_has_many_cotangents(monkeypatch: pytest.MonkeyPatch) -> None:
    function = function_of()
    params, x = function.init(0), given(function)["x"][:2, :1]
    calls = counted(function, monkeypatch)
    jax.jacrev(lambda x: function(params, x)["h"])(x)
    assert calls == [1]


def test_a_program_without_a_gradient_keeps_nothing() -> None:
    function = function_of()
    params, x = function.init(0), given(function)["x"]
    jax.jit(lambda params: jax.vjp(lambda own: function(own, x), params)[0])(params)
    jax.jit(lambda params: jax.value_and_grad(lambda own: energy(function)(own, x))(params)[0])(
        params
    )
    assert len(function._tapes) == 0


def test_they_go_with_their_function() -> None:
    def tapes() -> Any:
        function = function_of()
        params, x = function.init(0), given(function)["x"]
        jax.jit(jax.grad(energy(function)))(params, x)
        jax.vjp(energy(function), params, x)
        assert len(function._tapes) == 1
        return weakref.ref(function._tapes)

    found = tapes()
    gc.collect()
    assert found() is None


def test_a_token_is_of_one_store() -> None:
    """Another process, or a copy, has none by that token."""

    def pull(*_: Any) -> Any:
        return {}

    first, second = Tapes(100), Tapes(100)
    token = first.keep(pull, 60)
    second.keep(pull, 60)
    assert token.shape == (WORDS,)
    assert second.take(token) is None
    assert pickle.loads(pickle.dumps(first)).take(token) is None
    assert copy.deepcopy(first).most == 100
    assert first.take(token) is pull
    assert first.take(token) is None
    first.keep(pull, 101)
    assert (len(first), first.bytes) == (0, 0)


def test_changes_after_the_forward_pass_are_not_seen() -> None:
    """Gradients are of the arrays that the outputs were computed from."""
    function = function_of()
    params, x = function.init(0), np.array(given(function)["x"])
    _, pull = jax.vjp(lambda params: energy(function)(params, x), params)
    expected = pull(np.ones(()))[0]
    _, pull = jax.vjp(lambda params: energy(function)(params, x), params)
    x[...] = 7
    close(arrays(pull(np.ones(()))[0]), arrays(expected))
