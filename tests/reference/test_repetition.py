"""Systems with repetition in a step, held to loops in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.reference.systems.complex_step import (
    Leaves,
    cross_entropy,
    held,
    interpreted,
    text_of,
)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_a_liquid_time_constant_network() -> None:
    """Hasani et al., Liquid time-constant networks (2021), algorithm 1: six fused solver steps."""
    text = """
    net ltc
    dim N = 3, D = 2, K = 6
    input x: [D]
    target y: [N]
    param W: [N, N], U: [N, D], b: [N] = 0.1, tau: [N] = 1.2, A: [N] = 0.7
    v = v[t-1]
    repeat K {
        f = sigmoid(W @ v + U @ x + b)
        v = (v + f * A / K) / (1 + (1 / tau + f) / K)
    }
    output v
    loss mean(mse(v, y), over t)
    """

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        v, found, losses = np.zeros(3), [], []
        for x, y in zip(p["x"], p["y"], strict=True):
            for _ in range(6):
                f = sigmoid(p["W"] @ v + p["U"] @ x + p["b"])
                v = (v + f * p["A"] / 6) / (1 + (1 / p["tau"] + f) / 6)
            found.append(v)
            losses.append(np.mean((v - y) ** 2))
        return {"v": np.array(found)}, np.mean(losses)

    tau = np.array([1.2, 0.8, 1.5])
    held(interpreted(text), direct, tau=tau)


def test_a_closed_form_continuous_network_with_a_backbone_of_layers() -> None:
    """Hasani et al., Closed-form continuous-time neural networks (2022), equation 10."""
    text = """
    net cfc
    dim H = 3, D = 2, L = 2
    input x: [D], span
    target y: [H]
    cell layer(x; H) -> z {
        param W: [H, size(x)], b: [H]
        z = 1.7159 * tanh(0.666 * (W @ x + b))
    }
    z[k] = layer(concat(x, h[t-1]); H=4) for k in range(1)
    z[k] = layer(z[k-1]; H=4) for k in range(1, L)
    param F: [H, 4], G: [H, 4], A: [H, 4], B: [H, 4]
    gate = sigmoid(-(A @ z[L-1]) * span + B @ z[L-1])
    h = tanh(F @ z[L-1]) * (1 - gate) + gate * tanh(G @ z[L-1])
    output h
    loss mean(mse(h, y), over t)
    """

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        h, found, losses = np.zeros(3), [], []
        for x, span, y in zip(p["x"], p["span"], p["y"], strict=True):
            z = np.concatenate([x, h])
            for k in range(2):
                z = 1.7159 * np.tanh(0.666 * (p[f"z.{k}.W"] @ z + p[f"z.{k}.b"]))
            gate = sigmoid(-(p["A"] @ z) * span + p["B"] @ z)
            h = np.tanh(p["F"] @ z) * (1 - gate) + gate * np.tanh(p["G"] @ z)
            found.append(h)
            losses.append(np.mean((h - y) ** 2))
        return {"h": np.array(found)}, np.mean(losses)

    held(interpreted(text), direct)


def test_a_clockwork_of_modules() -> None:
    """Koutník et al., A clockwork RNN (2014): module k moves at every 2**k-th step alone."""
    text = """
    net clockwork
    dim H = 2, K = 3, D = 2
    input x: [D]
    target y: [H]
    count = count[t-1] + 1
    init count = -1
    cell module(x, all, count; H, period) -> h {
        param W: [H, size(all)], U: [H, size(x)]
        h = where(mod(count, period) == 0, tanh(W @ all[t-1] + U @ x), h[t-1])
    }
    h[k] = module(x, all, count; H=H, period=2**k) for k in range(K)
    all = concat(h[0], h[1], h[2])
    s = mean(h, axis=0)
    output s
    loss mean(mse(s, y), over t)
    """

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        h, found, losses = [np.zeros(2)] * 3, [], []
        for step, (x, y) in enumerate(zip(p["x"], p["y"], strict=True)):
            before = np.concatenate(h)
            for k in range(3):
                if step % 2**k == 0:
                    h[k] = np.tanh(p[f"h.{k}.W"] @ before + p[f"h.{k}.U"] @ x)
            found.append(sum(h) / 3)
            losses.append(np.mean((found[-1] - y) ** 2))
        return {"s": np.array(found)}, np.mean(losses)

    held(interpreted(text), direct)


def test_heads_of_a_matrix_memory() -> None:
    """Beck et al., xLSTM (2024), equations 19 to 27: the heads of an mLSTM, stabilised."""
    text = """
    net heads
    dim D = 3, K = 2, N = 2
    input x: [D]
    target y: [N]
    cell head(x; N) -> h {
        param Q: [N, size(x)], K: [N, size(x)], V: [N, size(x)]
        param wi: [size(x)] = normal(0.3), wf: [size(x)] = normal(0.3), bf = 1.0
        k = K @ x / sqrt(N)
        low = dot(wi, x)
        keep = log_sigmoid(dot(wf, x) + bf)
        m = maximum(keep + m[t-1], low)
        i = exp(low - m)
        f = exp(keep + m[t-1] - m)
        C = f * C[t-1] + i * outer(V @ x, k)
        n = f * n[t-1] + i * k
        q = Q @ x
        h = C @ q / maximum(abs(dot(n, q)), exp(-m))
    }
    h[k] = head(x; N=N) for k in range(K)
    s = sum(h, axis=0)
    output s
    loss mean(mse(s, y), over t)
    """

    def largest(a: Any, b: Any) -> Any:
        return a if a.real > b.real else b

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        state = [(np.zeros((2, 2)), np.zeros(2), np.float64(0)) for _ in range(2)]
        found, losses = [], []
        for x, y in zip(p["x"], p["y"], strict=True):
            total = 0
            for head in range(2):
                Q, K, V, wi, wf, bf = (
                    p[f"h.{head}.{name}"] for name in ("Q", "K", "V", "wi", "wf", "bf")
                )
                C, n, before = state[head]
                k, low, keep = K @ x / np.sqrt(2), wi @ x, -np.log(1 + np.exp(-(wf @ x + bf)))
                m = largest(keep + before, low)
                i, f = np.exp(low - m), np.exp(keep + before - m)
                C, n, q = f * C + i * np.outer(V @ x, k), f * n + i * k, Q @ x
                state[head] = C, n, m
                size = n @ q if (n @ q).real > 0 else -(n @ q)
                total = total + C @ q / largest(size, np.exp(-m))
            found.append(total)
            losses.append(np.mean((total - y) ** 2))
        return {"s": np.array(found)}, np.mean(losses)

    held(interpreted(text), direct)


def test_a_fixed_point_of_the_step() -> None:
    """Bai, Kolter and Koltun, Deep equilibrium models (2019): a layer until nothing moves."""

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        z, found, gaps = np.zeros(4), [], []
        for x in p["x"]:
            for _ in range(8):
                last, z = z, 0.5 * np.tanh(p["W"] @ z + p["U"] @ x + p["b"])
            found.append(p["V"] @ z + p["c"])
            gaps.append(np.mean((z - last) ** 2))
        scores = np.array(found)
        return {"o": scores, "gap": np.array(gaps)}, cross_entropy(scores, p["y"])

    held(interpreted(text_of("learning/equilibrium"), {"D": 2, "N": 4}), direct)
