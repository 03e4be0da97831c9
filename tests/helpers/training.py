"""A small network and data, for tests of training."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from rollc.driver.build import build_source
from rollc.network.network import Network
from rollc.tools.cli import main

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
    return build_source(text, dtype="float64", backend=backend)[0]


def arrays(steps: int = 10, batch: int = 4) -> dict[str, Any]:
    random = np.random.default_rng(0)
    x = random.normal(size=(steps, batch))
    return {"x": x, "y": np.sin(x), "z": random.normal(size=batch)}


@dataclass
class Done:
    stdout: str
    stderr: str


def command(*words: str, status: int = 0) -> Done:
    """A command in this process: what it says where."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        found = main(list(words))
    assert found == status, err.getvalue()
    return Done(out.getvalue(), err.getvalue())


def weather(missing: tuple[int, ...] = (), days: int = 60) -> str:
    """A table whose sales follow from the pressure; some temperatures are missing."""
    random = np.random.default_rng(0)
    lines = ["when,pressure,temperature,sales"]
    for day in range(days):
        temperature = "" if day in missing else f"{100 + random.random():.3f}"
        pressure, sales = 20 + 5 * np.sin(day / 3), 500 + 30 * np.sin((day + 1) / 3)
        lines.append(f"day {day},{pressure:.3f},{temperature},{sales:.2f}")
    return "\n".join(lines) + "\n"
