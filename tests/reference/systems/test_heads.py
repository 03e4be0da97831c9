"""Networks with heads, as their papers have them, held to NumPy written on its own.

A parameter has a matrix for each head; sums of products are written as sums over letters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.driver.build import build_source
from rollc.network.network import Network
from tests.reference.systems.complex_step import Leaves, held, sigmoid


def network(text: str) -> Network:
    return build_source(text, dtype="float64")[0]


def larger(a: Any, b: Any) -> Any:
    return np.where(np.real(a) >= np.real(b), a, b)


@pytest.mark.long
def test_mlstm_with_heads() -> None:
    """Beck et al., xLSTM: Extended long short-term memory (2024), equations 19 to 27 with the
    stabilizer state of equation 15."""
    net = network("""
        net mlstm
        dim D = 3, N = 2, K = 2, V = 3
        input x: [D]
        target y: [N*V]
        param Q: [N, K, D], P: [N, K, D], W: [N, V, D], O: [N*V, D], b: [N*V]
        param I: [N, D], F: [N, D], i0: [N], f0: [N] = 1.0
        q = einsum("nkd,d->nk", Q, x)
        k = einsum("nkd,d->nk", P, x) / sqrt(K)
        v = einsum("nvd,d->nv", W, x)
        i = I @ x + i0
        f = log_sigmoid(F @ x + f0)
        m = maximum(f + m[t-1], i)
        kept = expand(exp(f + m[t-1] - m), axis=-1)
        new = exp(i - m)
        C = expand(kept, axis=-1) * C[t-1] + einsum("n,nv,nk->nvk", new, v, k)
        z = kept * z[t-1] + expand(new, axis=-1) * k
        size = maximum(abs(einsum("nk,nk->n", z, q)), exp(-m))
        h = einsum("nvk,nk->nv", C, q) / expand(size, axis=-1)
        o = sigmoid(O @ x + b) * reshape(h, N*V)
        output o, C
        loss mean(mse(o, y), over t)
        """)

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        C, z, m = [np.zeros((3, 2))] * 2, [np.zeros(2)] * 2, np.zeros(2)
        memories, seen = [], []
        for x in p["x"]:
            i, f = p["I"] @ x + p["i0"], np.log(sigmoid(p["F"] @ x + p["f0"]))
            last, m = m, larger(f + m, i)
            C, z, heads = [*C], [*z], []
            for n in range(2):
                q, k, v = p["Q"][n] @ x, p["P"][n] @ x / np.sqrt(2), p["W"][n] @ x
                kept, new = np.exp(f[n] + last[n] - m[n]), np.exp(i[n] - m[n])
                C[n] = kept * C[n] + new * np.outer(v, k)
                z[n] = kept * z[n] + new * k
                total = z[n] @ q
                heads.append(C[n] @ q / larger(larger(total, -total), np.exp(-m[n])))
            memories.append(np.array(C))
            seen.append(sigmoid(p["O"] @ x + p["b"]) * np.concatenate(heads))
        loss = np.mean((np.array(seen) - p["y"]) ** 2)
        return {"o": np.array(seen), "C": np.array(memories)}, loss

    held(net, direct, steps=3)


@pytest.mark.long
def test_gated_delta_net_with_heads() -> None:
    """Yang, Kautz and Hatamizadeh, Gated delta networks (2024), equation 10."""
    net = network("""
        net gated_delta
        dim D = 3, N = 2, K = 3, V = 2
        input x: [D]
        target y: [N, V]
        param Q: [N, K, D], P: [N, K, D], W: [N, V, D], A: [N, D], B: [N, D]
        p = einsum("nkd,d->nk", P, x)
        k = p / expand(sqrt(sum(p * p, axis=-1)), axis=-1)
        v = einsum("nvd,d->nv", W, x)
        a = sigmoid(A @ x)
        b = sigmoid(B @ x)
        S = einsum("n,nvk->nvk", a, S[t-1] - einsum("n,nv,nk->nvk", b, u, k)) + new
        u = einsum("nvk,nk->nv", S[t-1], k)
        new = einsum("n,nv,nk->nvk", b, v, k)
        o = layer_norm(einsum("nvk,nkd,d->nv", S, Q, x), 1, 0, axis=-1, epsilon=0.1)
        output o, S
        loss mean(mse(o, y), over t)
        """)

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        S, memories, seen = [np.zeros((2, 3))] * 2, [], []
        for x in p["x"]:
            a, b = sigmoid(p["A"] @ x), sigmoid(p["B"] @ x)
            outputs = []
            for n in range(2):
                k = p["P"][n] @ x
                k = k / np.sqrt((k * k).sum())
                S = [*S]
                S[n] = a[n] * S[n] @ (np.eye(3) - b[n] * np.outer(k, k))
                S[n] = S[n] + b[n] * np.outer(p["W"][n] @ x, k)
                o = S[n] @ (p["Q"][n] @ x)
                outputs.append((o - o.mean()) / np.sqrt(((o - o.mean()) ** 2).mean() + 0.1))
            memories.append(np.array(S))
            seen.append(outputs)
        loss = np.mean((np.array(seen) - p["y"]) ** 2)
        return {"o": np.array(seen), "S": np.array(memories)}, loss

    held(net, direct, steps=3)


def test_state_space_duality_with_heads() -> None:
    """Dao and Gu, Transformers are SSMs (2024), listing 1: Mamba-2, its steps as they stand."""
    net = network("""
        net mamba2
        dim D = 3, H = 2, P = 3, N = 4
        input u: [D]
        target y: [H*P]
        param W: [H, P, D], B: [N, D], C: [N, D], T: [H, D], t0: [H], A: [H] = -0.5, G: [H] = 1.0
        x = einsum("hpd,d->hp", W, u)
        dt = softplus(T @ u + t0)
        S = einsum("h,hpn->hpn", exp(dt * A), S[t-1]) + einsum("h,hp,n->hpn", dt, x, B @ u)
        o = S @ (C @ u) + expand(G, axis=-1) * x
        r = reshape(o, H*P)
        output r, S
        loss mean(mse(r, y), over t)
        """)

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        S, states, seen = [np.zeros((3, 4))] * 2, [], []
        for u in p["u"]:
            outputs = []
            dt = np.log(1 + np.exp(p["T"] @ u + p["t0"]))
            S = [*S]
            for h in range(2):
                x = p["W"][h] @ u
                S[h] = np.exp(dt[h] * p["A"][h]) * S[h] + dt[h] * np.outer(x, p["B"] @ u)
                outputs.append(S[h] @ p["C"] @ u + p["G"][h] * x)
            states.append(np.array(S))
            seen.append(np.concatenate(outputs))
        loss = np.mean((np.array(seen) - p["y"]) ** 2)
        return {"r": np.array(seen), "S": np.array(states)}, loss

    held(net, direct, steps=3)


@pytest.mark.long
def test_attention_with_heads_to_the_last_steps() -> None:
    """Vaswani et al., Attention is all you need (2017), section 3.2.2, from each step to the last
    three, as in Beltagy, Peters and Cohan, Longformer (2020), section 3.1."""
    net = network("""
        net attention
        dim D = 4, H = 2, K = 2
        input x: [D]
        target y: [D]
        param Q: [H, K, D], P: [H, K, D], V: [H, K, D], O: [D, H*K]
        k = einsum("hkd,d->hk", P, x)
        v = einsum("hkd,d->hk", V, x)
        score = einsum("hkd,d,shk->hs", Q, x, stack(k, k[t-1], k[t-2])) / sqrt(K)
        heads = einsum("hs,shk->hk", softmax(score, axis=-1), stack(v, v[t-1], v[t-2]))
        o = O @ reshape(heads, H*K)
        output o
        loss mean(mse(o, y), over t)
        """)

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        seen = []
        rows = np.concatenate([np.zeros((2, 4)), p["x"]])
        for t, x in enumerate(p["x"]):
            heads = []
            for h in range(2):
                near = rows[t : t + 3]
                share = np.exp((near @ p["P"][h].T) @ (p["Q"][h] @ x) / np.sqrt(2))
                heads.append(share / share.sum() @ near @ p["V"][h].T)
            seen.append(p["O"] @ np.concatenate(heads))
        return {"o": np.array(seen)}, np.mean((np.array(seen) - p["y"]) ** 2)

    held(net, direct, steps=3)
