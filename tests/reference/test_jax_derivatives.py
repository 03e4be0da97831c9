"""Derivatives in one direction and products with the Hessian, against JAX's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rollc.driver.sources import read_spec
from rollc.tools.verify.kernels import interpreted

T, B, D, H, K = 7, 3, 2, 4, 3

LSTM = """
net lstm
dim D = 2, H = 4, K = 3
input x: [D]
target y: index(K)
param W: [4 * H, D], U: [4 * H, H], b: [4 * H], V: [K, H]
g = W @ x + U @ h[t-1] + b
i, f, o, u = split(g, 4)
c = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(u)
h = sigmoid(o) * tanh(c)
s = V @ h
output s, h
loss mean(cross_entropy(s, y), over t)
"""


@pytest.fixture(scope="module")
def jax() -> Iterator[Any]:
    found = pytest.importorskip("jax", reason="held to JAX")
    found.config.update("jax_enable_x64", True)
    yield found
    found.config.update("jax_enable_x64", False)


def network_in(jax: Any) -> tuple[Any, Any]:
    """The outputs and the loss of the spec, as functions of parameters and of the input."""
    sigmoid, jnp = jax.nn.sigmoid, jax.numpy

    def outputs(params: Any, x: Any) -> Any:
        def step(carry: Any, now: Any) -> Any:
            h, c = carry
            i, f, o, u = jnp.split(
                now @ params["W"].T + h @ params["U"].T + params["b"], 4, axis=-1
            )
            c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(u)
            h = sigmoid(o) * jnp.tanh(c)
            return (h, c), (h @ params["V"].T, h)

        zeros = jnp.zeros((B, H))
        s, h = jax.lax.scan(step, (zeros, zeros), x)[1]
        return {"s": s, "h": h}

    def loss(params: Any, x: Any, y: Any) -> Any:
        scores = jax.nn.log_softmax(outputs(params, x)["s"])
        return -jnp.take_along_axis(scores, y[..., None], axis=-1).mean()

    return outputs, loss


@pytest.mark.long
def test_an_lstm(jax: Any) -> None:
    net = interpreted(read_spec(LSTM, "lstm.roll")[0])
    random = np.random.default_rng(0)
    params = {name: random.normal(size=spec.shape) for name, spec in net.params.items()}
    data = {"x": random.normal(size=(T, B, D)), "y": random.integers(0, K, (T, B))}
    moved = {name: random.normal(size=array.shape) for name, array in params.items()}
    moved["x"] = random.normal(size=(T, B, D))
    along = ({name: moved[name] for name in params}, moved["x"])
    outputs, loss = network_in(jax)

    values, slopes = net.jvp(params, {"x": data["x"]}, moved)
    expected = jax.jvp(outputs, (params, data["x"]), along)
    for found, right in zip((values, slopes), expected, strict=True):
        for label in ("s", "h"):
            np.testing.assert_allclose(found[label], right[label], rtol=1e-10, atol=1e-12)

    gradient = jax.grad(lambda params, x: loss(params, x, data["y"]), argnums=(0, 1))
    _, (of_params, of_x) = jax.jvp(gradient, (params, data["x"]), along)
    products = net.hvp(params, data, moved)
    for name, right in {**of_params, "x": of_x}.items():
        np.testing.assert_allclose(products[name], right, rtol=1e-9, atol=1e-12, err_msg=name)
    (of_params, of_x) = jax.vjp(gradient, params, data["x"])[1](along)
    for name, right in {**of_params, "x": of_x}.items():
        np.testing.assert_allclose(products[name], right, rtol=1e-9, atol=1e-12, err_msg=name)

    def gradients(params: Any, x: Any, cotangents: Any) -> Any:
        return jax.vjp(outputs, params, x)[1](cotangents)

    cotangents = {label: random.normal(size=array.shape) for label, array in values.items()}
    _, pull = jax.vjp(gradients, params, data["x"], cotangents)
    of_params, of_x, of_cotangents = pull(along)
    products, slopes = net.gradient_vjp(params, {"x": data["x"]}, cotangents, moved)
    for found, expected in ((products, {**of_params, "x": of_x}), (slopes, of_cotangents)):
        assert found.keys() == expected.keys()
        for name, right in expected.items():
            np.testing.assert_allclose(found[name], right, rtol=1e-9, atol=1e-12, err_msg=name)
