"""A small network and data, for tests of training."""

from __future__ import annotations

from typing import Any

import numpy as np

from rollc.driver.build import build_text
from rollc.network.network import Network

SPEC = """net tiny
dim H = 3
input x
target y
static input z
param U: [H] = normal(0.5), W: [H, H] = orthogonal, v: [H] = normal(0.5)
h = tanh(U * x + W @ h[t-1] + z)
o = dot(v, h)
output o
loss mean(mse(o, y), over t)
"""


def tiny_network(text: str = SPEC, backend: str = "reference") -> Network:
    return build_text(text, dtype="float64", backend=backend)[0]


def arrays(steps: int = 10, batch: int = 4) -> dict[str, Any]:
    random = np.random.default_rng(0)
    x = random.normal(size=(steps, batch))
    return {"x": x, "y": np.sin(x), "z": random.normal(size=batch)}
