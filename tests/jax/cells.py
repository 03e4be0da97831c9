"""Functions that tests call, arrays for them, and the same cells by `lax.scan`."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

import rollc.jax
from tests.helpers.shipped_specs import LSTM as LSTM
from tests.helpers.shipped_specs import OF_EVERY_KIND as SPECS

T, B = 6, 4


def function_of(spec: str = "lstm", **options: Any) -> rollc.jax.Function:
    return rollc.jax.function(spec, sizes=SPECS.get(spec, {}), **options)


def given(function: rollc.jax.Function, targets: bool = True) -> dict[str, Any]:
    """Random inputs, and targets: those that outputs read, or all."""
    network, random = function._first, np.random.default_rng(1)
    wanted = {**network.inputs, **(network.targets if targets else {})}
    wanted |= {name: network.targets[name] for name in network.fed}
    found = {}
    for name, spec in wanted.items():
        times = [T + place for place, axis in enumerate(network.axes) if axis in spec.time]
        shape = (*times, *([B] if spec.batch else []), *spec.shape)
        if spec.kind == "index":
            found[name] = jnp.asarray(random.integers(spec.bound, size=shape))
        else:
            found[name] = jnp.asarray(random.standard_normal(shape))
    return found


def arrays(tree: Any) -> Any:
    return jax.tree_util.tree_map(np.asarray, tree)


def close(found: Any, expected: Any, rtol: float = 1e-10, atol: float = 1e-13) -> None:
    """Trees of the same numbers, to rounding."""
    jax.tree_util.tree_map(
        lambda one, two: np.testing.assert_allclose(one, two, rtol=rtol, atol=atol),
        found,
        expected,
    )


def scanned(spec: str, params: Any, x: Any) -> Any:
    """The states `h` of a cell, written anew as JAX would have it."""
    zero = jnp.zeros((*x.shape[1:-1], params["U"].shape[1]), x.dtype)

    def lstm(carry: Any, x: Any) -> Any:
        h, c = carry
        gates = x @ params["W"].T + h @ params["U"].T + params["b"]
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(h: Any, x: Any) -> Any:
        wr, wz, wn = jnp.split(x @ params["W"].T + params["b"], 3, axis=-1)
        ur, uz, un = jnp.split(h @ params["U"].T, 3, axis=-1)
        r, z = jax.nn.sigmoid(wr + ur), jax.nn.sigmoid(wz + uz)
        n = jnp.tanh(wn + r * (un + params["d"]))
        h = (1 - z) * n + z * h
        return h, h

    def skip(carry: Any, x: Any) -> Any:
        old, h = carry
        new = jnp.tanh(x @ params["W"].T + h @ params["U"].T + params["a"] * old)
        return (h, new), new

    cells: dict[str, tuple[Any, Any]] = {
        "lstm": (lstm, (zero, zero)),
        "gru": (gru, zero),
        "skip": (skip, (zero, zero)),
    }
    step, first = cells[spec]
    return jax.lax.scan(step, first, x)[1]


SKIP = """
net skip
dim D = 3, H = 4
input x: [D]
param W: [H, D], U: [H, H], a: [H]
h = tanh(W @ x + U @ h[t-1] + a * h[t-2])
output h
loss mean(sum(h * h), over t)
"""
