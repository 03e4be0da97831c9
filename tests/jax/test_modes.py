"""The transformations of JAX: each of them is right for a function of `rollc.jax`, or raises."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

import rollc.jax
from tests.helpers.paths import ROOT
from tests.jax.cells import B, T, close, function_of, given, scanned
from tests.jax.conftest import enable_x64

Pieces = tuple[rollc.jax.Function, Any, Any, Any]


@pytest.fixture
def pieces() -> Pieces:
    function = function_of()
    slots = given(function)
    return function, function.init(0), slots["x"], slots["y"]


def energy(function: Any) -> Any:
    return lambda params, x: (function(params, x)["h"] ** 3).sum()


def stacked(trees: list[Any]) -> Any:
    return jax.tree_util.tree_map(lambda *each: jnp.stack(each), *trees)


def several(params: Any, x: Any) -> tuple[Any, Any]:
    """Three values of each, in the first dimension."""
    times = jnp.arange(1.0, 4.0)
    params = jax.tree_util.tree_map(lambda each: jnp.stack([each * time for time in times]), params)
    return params, jnp.stack([x * time for time in times])


# vmap ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("axes", [(None, 0), (0, None), (0, 0)])
def test_vmap(pieces: Pieces, axes: tuple[Any, Any], jit: bool) -> None:
    """It is each call by itself, and so are the gradients of each."""
    function, params, x, y = pieces
    many = several(params, x)
    own = [
        tuple(
            jax.tree_util.tree_map(lambda array, place=place: array[place], each)
            if axis == 0
            else single
            for each, single, axis in zip(many, (params, x), axes, strict=True)
        )
        for place in range(3)
    ]
    pairs = zip(many, (params, x), axes, strict=True)
    mapped = [each if axis == 0 else single for each, single, axis in pairs]
    for call in (
        function,
        jax.grad(energy(function), argnums=(0, 1)),
        lambda params, x: function.loss(params, x, y=y),
        jax.grad(lambda params, x: function.loss(params, x, y=y)),
    ):
        vmapped = jax.vmap(call, axes)
        found = (jax.jit(vmapped) if jit else vmapped)(*mapped)
        close(found, stacked([call(*each) for each in own]))
    assert len(function._tapes) == 0


def test_vmap_inside_of_a_gradient(pieces: Pieces) -> None:
    """Sequences by `vmap`, as one that writes for a single sequence has them."""
    function, params, x, y = pieces

    def apart(params: Any) -> Any:
        losses = jax.vmap(lambda x, y: function.loss(params, x, y=y), in_axes=(1, 1))(x, y)
        outputs = jax.vmap(function, (None, 1))(params, x)
        return losses.mean() + (outputs["h"] ** 3).sum()

    def together(params: Any) -> Any:
        return function.loss(params, x, y=y) + energy(function)(params, x)

    close(jax.jit(jax.grad(apart))(params), jax.grad(together)(params))


def test_vmap_of_vmap(pieces: Pieces) -> None:
    function, params, x, _ = pieces
    many, xs = several(params, x)
    found = jax.vmap(jax.vmap(energy(function), (None, 0)), (0, None))(many, xs)
    for i in range(3):
        for j in range(3):
            own = jax.tree_util.tree_map(lambda array, i=i: array[i], many)
            np.testing.assert_allclose(found[i, j], energy(function)(own, xs[j]))
    lengths = jnp.array([[T, 1, 2, 3], [0, T, T, 1]])
    found = jax.vmap(lambda own: function(params, x, lengths=own)["h"])(lengths)
    close(found, stacked([function(params, x, lengths=own)["h"] for own in lengths]))


# Derivatives ----------------------------------------------------------------------------------


def test_jacobians(pieces: Pieces) -> None:
    function, params, x, _ = pieces
    cut = x[:2, :1]
    expected = jax.jacrev(lambda x: scanned("lstm", params, x))(cut)
    close(jax.jacrev(lambda x: function(params, x)["h"])(cut), expected)
    forward = function.forward_mode
    close(jax.jacfwd(lambda x: forward(params, x)["h"])(cut), expected)
    close(jax.jit(jax.jacfwd(lambda x: forward(params, x)["h"]))(cut), expected)
    assert len(function._tapes) == 0


def test_forward_mode(pieces: Pieces) -> None:
    """Of outputs, state and loss: what `scan` gives, and the product of gradient and direction."""
    function, params, x, y = pieces
    forward = function.forward_mode
    moves = jax.tree_util.tree_map(jnp.sin, (params, x))
    found = jax.jvp(lambda params, x: forward(params, x)["h"], (params, x), moves)
    expected = jax.jvp(lambda params, x: scanned("lstm", params, x), (params, x), moves)
    close(found, expected)
    _, linear = jax.linearize(lambda params, x: forward(params, x)["h"], params, x)
    close(linear(*moves), expected[1])
    grads = jax.grad(lambda params, x: function.loss(params, x, y=y), argnums=(0, 1))(params, x)
    slope = sum(
        (one * two).sum()
        for one, two in zip(*map(jax.tree_util.tree_leaves, (grads, moves)), strict=True)
    )
    loss = jax.jit(lambda params, x: forward.loss(params, x, y=y))
    close(jax.jvp(loss, (params, x), moves), (function.loss(params, x, y=y), slope))
    state = {name: each + 0.5 for name, each in function.zero_state(B).items()}

    def after(function: Any) -> Any:
        return lambda state: function(params, x, state=state)[1]["c"].sum()

    slope = jax.jvp(after(forward), (state,), (state,))[1]
    grads = jax.grad(after(function))(state)
    np.testing.assert_allclose(slope, sum((grads[name] * state[name]).sum() for name in state))


def test_each_direction_has_a_function_of_its_own(pieces: Pieces) -> None:
    function, params, x, _ = pieces
    with pytest.raises(TypeError, match=r"forward-mode.*custom_vjp"):
        jax.jvp(energy(function), (params, x), (params, x))
    with pytest.raises(TypeError, match=r"forward-mode.*custom_vjp"):
        jax.jacfwd(energy(function))(params, x)
    for wrap in (jax.jit, lambda function: function):
        with pytest.raises(rollc.jax.DerivativeError, match="not of its `forward_mode`"):
            jax.grad(wrap(energy(function.forward_mode)))(params, x)


@pytest.mark.long
def test_second_derivatives(pieces: Pieces) -> None:
    """Forward in time of gradients: against `scan`, and under `jit` and `vmap`."""
    function, params, x, y = pieces
    own, cut = params["b"], x[:3]

    def loss(function: Any) -> Any:
        return lambda b: function({**params, "b": b})

    def ours(params: Any) -> Any:
        return function.loss(params, cut, y=y[:3])

    def theirs(params: Any) -> Any:
        outputs = scanned("lstm", params, cut) @ params["V"].T + params["d"]
        return ((outputs - y[:3]) ** 2).mean(axis=(1, 2)).mean()

    np.testing.assert_allclose(ours(params), theirs(params))
    expected = jax.hessian(loss(theirs))(own)
    close(jax.hessian(loss(ours))(own), expected, atol=1e-12)
    close(jax.jit(jax.hessian(loss(ours)))(own), expected, atol=1e-12)
    outputs = jax.hessian(lambda b: energy(function)({**params, "b": b}, cut))(own)
    known = jax.hessian(lambda b: (scanned("lstm", {**params, "b": b}, cut) ** 3).sum())(own)
    close(outputs, known, atol=1e-11)


def test_derivatives_that_are_not_there(pieces: Pieces) -> None:
    """They raise, and are never zero."""
    function, params, x, y = pieces
    loss = lambda params: function.loss(params, x, y=y)  # noqa: E731
    outputs = lambda params: energy(function)(params, x)  # noqa: E731
    forward = lambda params: energy(function.forward_mode)(params, x)  # noqa: E731

    def along(function: Any) -> Any:
        return lambda params: jax.jvp(function, (params,), (params,))[1]

    def through(state: Any) -> Any:
        return function(params, x, state=state)[1]["h"].sum()

    def total(function: Any) -> Any:
        return lambda params: sum(each.sum() for each in jax.grad(function)(params).values())

    state = {name: each + 0.5 for name, each in function.zero_state(B).items()}
    wrong = [
        (jax.grad(total(loss)), params, "not jax.grad of jax.grad"),
        (jax.grad(total(outputs)), params, "not jax.grad of jax.grad"),
        (along(along(forward)), params, "both forward in time"),
        (along(along(total(loss))), params, "no third derivatives|both forward in time"),
        (along(along(total(outputs))), params, "no third derivatives|both forward in time"),
    ]
    for call, argument, message in wrong:
        for own in (call, jax.jit(call)):
            with pytest.raises(rollc.jax.DerivativeError, match=message):
                own(argument)

    left, right = (
        jax.grad(through)({name: each * (1 + step) for name, each in state.items()})
        for step in (-1e-5, 1e-5)
    )
    slopes = jax.tree.map(lambda one, other: (other - one) / 2e-5, left, right)
    close(along(jax.grad(through))(state), slopes, 1e-6)


# Programs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("jit", [False, True])
def test_checkpoint(pieces: Pieces, jit: bool) -> None:
    function, params, x, _ = pieces
    grad = jax.grad(jax.checkpoint(energy(function)))
    found = (jax.jit(grad) if jit else grad)(params, x)
    close(found, jax.grad(energy(function))(params, x))
    if jit:  # the first pass keeps nothing: nobody reads its token
        assert len(function._tapes) == 0


def test_control_flow(pieces: Pieces) -> None:
    function, params, x, _ = pieces
    expected = jax.grad(energy(function))(params, x)

    def chosen(params: Any, which: Any) -> Any:
        return jax.lax.cond(which, energy(function), lambda params, x: 0.0, params, x)

    close(jax.jit(jax.grad(chosen))(params, True), expected)
    assert not jax.jit(jax.grad(chosen))(params, False)["W"].any()
    with jax.disable_jit():
        close(jax.grad(energy(function))(params, x), expected)
    steps = jax.lax.fori_loop(0, 3, lambda _, total: total + energy(function)(params, x), 0.0)
    np.testing.assert_allclose(steps, 3 * energy(function)(params, x))


def test_arguments_that_are_given_away(pieces: Pieces) -> None:
    function, params, x, _ = pieces
    expected = jax.grad(energy(function))(params, x)
    step = jax.jit(jax.grad(energy(function)), donate_argnums=(0, 1))
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what no result fits into is not used
            close(step(jax.tree_util.tree_map(jnp.copy, params), jnp.copy(x)), expected)


def test_shapes_without_a_run(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    function, params, x, y = pieces
    monkeypatch.setattr(function._networks.of("float64"), "forward", None)
    found = jax.eval_shape(function, params, x)
    assert {name: each.shape for name, each in found.items()} == {"p": (T, B, 2), "h": (T, B, 4)}
    assert jax.eval_shape(jax.grad(function.loss), params, x, y=y)["W"].shape == (16, 3)
    text = jax.jit(function).lower(params, x).as_text()
    assert "callback" in text


def test_export(pieces: Pieces) -> None:
    from jax import export

    function, params, x, _ = pieces
    with pytest.raises(NotImplementedError, match="callback"):
        export.export(jax.jit(function))(params, x).serialize()


# Processes with other devices -----------------------------------------------------------------


def run(code: str, **environment: str) -> str:
    own = {**os.environ, "ROLLC_BACKEND": "reference", **environment}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=own
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stdout


DEVICES = """
from functools import partial
import inspect
import jax, numpy as np, rollc.jax
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

assert jax.device_count() == 2
function = rollc.jax.function("lstm", D=3, H=4, K=2)
params, x = function.init(0), jax.random.normal(jax.random.key(0), (5, 4, 3))
energy = lambda params, x: (function(params, x)["h"] ** 2).mean()
expected = jax.value_and_grad(energy)(params, x)

def close(found):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), found, expected)

mesh = Mesh(np.array(jax.devices()), ("d",))
apart = jax.device_put(x, NamedSharding(mesh, P(None, "d")))
close(jax.jit(jax.value_and_grad(energy))(params, apart))
close(jax.value_and_grad(energy)(params, apart))
second = jax.device_put((params, x), jax.devices()[1])
found = jax.jit(jax.value_and_grad(energy))(*second)
close(found)
assert found[0].devices() == {jax.devices()[1]} == function(*second)["h"].devices()

mean = partial(jax.tree.map, lambda each: each.mean(0))
close(mean(jax.pmap(jax.value_and_grad(energy), in_axes=(None, 0))(
    params, jnp.stack([x[:, :2], x[:, 2:]]))))

if hasattr(jax, "shard_map"):
    def part(params, x):
        found = jax.value_and_grad(energy)(params, x)
        return jax.tree.map(lambda each: jax.lax.pmean(each, "d"), found)
    sharded = jax.shard_map(part, mesh=mesh, in_specs=(P(), P(None, "d")), out_specs=P(),
                            check_vma=False)
    close(jax.jit(sharded)(params, apart))
print("right")
"""


@pytest.mark.long
def test_several_devices() -> None:
    """Sharded arguments, another device, `pmap` and `shard_map`."""
    flags = "--xla_force_host_platform_device_count=2"
    assert run(DEVICES, XLA_FLAGS=flags) == "right\n"


def test_threads(pieces: Pieces) -> None:
    """They may share a function, and each has the gradients of its own call."""
    function, params, x, _ = pieces
    step = jax.jit(jax.grad(energy(function)))
    expected = [step(params, scale * x) for scale in range(3)]
    found: dict[int, Any] = {}

    def work(scale: int) -> None:
        with enable_x64(True):  # a thread has its own
            found[scale] = [step(params, scale * x) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(scale,)) for scale in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for scale, grads in found.items():
        for each in grads:
            close(each, expected[scale], rtol=0)
    assert len(found) == 3
