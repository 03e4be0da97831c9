"""Parameters with a matrix for each head: how they start, and their gradients, compiled."""

from __future__ import annotations

import numpy as np

from rollc.driver.build import build_source
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.network.parameters import initial_parameters


def test_each_matrix_starts_by_itself() -> None:
    text = """
        net starts
        dim H = 5, N = 30, M = 10
        input x: [M], c: [H, N]
        param A: [H, N, M], Q: [H, N, M] = orthogonal, I: [2, H, M, M] = identity
        o = sum(einsum("hnm,m->hn", A + Q, x) * c) + sum(I[0, 1] @ x)
        output o
        """
    graph = load_graph(Source("starts.roll", text)).graph
    assert graph is not None
    start = initial_parameters(graph, dtype=np.float64)
    limit = np.sqrt(6 / 40)  # as for a single matrix of these sizes
    assert 0.99 * limit < np.abs(start["A"]).max() < limit
    for head in range(5):
        for block in np.split(start["Q"][head], 3):
            np.testing.assert_allclose(block @ block.T, np.eye(10), atol=1e-12)
    assert not np.array_equal(start["Q"][0], start["Q"][1])
    np.testing.assert_array_equal(start["I"], np.broadcast_to(np.eye(10), (2, 5, 10, 10)))


def test_the_gradients_of_heads_are_sums_over_all_steps() -> None:
    """Each is a product of its own, into its part of the gradient; sizes that fill no tile."""
    net, _ = build_source(
        """
        net heads
        dim H = 3, N = 13, M = 21
        input x: [H, M], g: [H, N]
        param W: [H, N, M]
        o = einsum("hnm,hm->hn", W, x)
        output o
        loss mean(sum(o * g), over t)
        """,
        dtype="float64",
    )
    random = np.random.default_rng(0)
    weights = {"W": random.normal(size=(3, 13, 21))}
    inputs = {"x": random.normal(size=(40, 5, 3, 21)), "g": random.normal(size=(40, 5, 3, 13))}
    loss, gradients = net.value_and_grad(weights, inputs)
    expected = np.einsum("tbhn,tbhm->hnm", inputs["g"], inputs["x"]) / 200
    np.testing.assert_allclose(gradients["W"], expected, rtol=1e-10, atol=1e-12)
    outputs = np.einsum("hnm,tbhm->tbhn", weights["W"], inputs["x"])
    np.testing.assert_allclose(net.forward(weights, inputs)["o"], outputs, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(loss, (outputs * inputs["g"]).sum((2, 3)).mean(), rtol=1e-10)
