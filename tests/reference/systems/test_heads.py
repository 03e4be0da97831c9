"""Networks with heads, as their papers have them, held to NumPy written on its own.

A parameter has a matrix for each head; sums of products are written as sums over letters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.driver.build import build_source
from rollc.network.network import Network
from tests.reference.systems.complex_step import Leaves, held


def network(text: str) -> Network:
    return build_source(text, dtype="float64")[0]


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
