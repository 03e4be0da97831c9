"""Complex parameters, inputs, outputs and states of a function are complex arrays."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

import rollc.jax  # noqa: E402
from rollc.errors import InputError  # noqa: E402
from tests.helpers.complex_network import SPEC  # noqa: E402


@pytest.fixture
def function(tmp_path: Path) -> Any:
    path = tmp_path / "own.roll"
    path.write_text(SPEC, encoding="utf-8")
    return rollc.jax.function(path)


def by_hand(params: Any, x: Any, z: Any) -> dict[str, Any]:
    pole = jnp.exp(-0.3 + 1j * params["pace"])
    h, found = jnp.zeros(z.shape[1:], complex), []
    for now, add in zip(x, z, strict=True):
        h = pole * h + now @ params["B"].T + add
        found.append(h)
    states = jnp.stack(found)
    return {"o": (states @ params["C"].T).real, "h": states}


def arrays() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    z = random.normal(size=(4, 2, 3)) + 1j * random.normal(size=(4, 2, 3))
    return jnp.asarray(random.normal(size=(4, 2, 2))), jnp.asarray(z)


def test_values_and_gradients_are_jaxs(function: Any) -> None:
    params, (x, z) = function.init(0), arrays()
    assert params["B"].dtype == jnp.complex128

    def total(net: Any, params: Any, z: Any) -> Any:
        found = net(params, x, z)
        return jnp.sum(jnp.abs(found["h"]) ** 2 * jnp.arange(3)) + jnp.sum(found["o"])

    expected = jax.grad(total, (1, 2))(by_hand, params, z)
    found = jax.grad(total, (1, 2))(function, params, z)
    same = partial(np.testing.assert_allclose, rtol=1e-12)
    jax.tree.map(same, found, expected)
    jax.tree.map(same, jax.jit(function)(params, x, z), by_hand(params, x, z))


def test_states_and_names_are_whole(function: Any) -> None:
    params, (x, z) = function.init(0), arrays()
    _, after = function(params, x, z, state=function.zero_state(2))
    assert after["h"].dtype == function.initial_state(params, x, z)["h"].dtype == jnp.complex128
    np.testing.assert_allclose(after["h"][0], by_hand(params, x, z)["h"][-1], 1e-12)
    assert "z [T, B, 3]" in repr(function) and "'re" not in repr(function)


@pytest.mark.parametrize("z", ["q", np.zeros((4, 2, 2)), np.zeros((4, 2, 3), np.complex64)])
def test_messages_name_the_complex_value(function: Any, z: Any) -> None:
    params, (x, _) = function.init(0), arrays()
    with pytest.raises(InputError, match="`z`"):
        function(params, x, z)
