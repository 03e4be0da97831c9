"""Gated cells against their papers' equations, gate by gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.reference.systems.complex_step import Array, Leaves, built, cross_entropy, held, sigmoid

H = 4
# From the parameters, the input and the state, the new state; its first part is the output.
Step = Callable[[Leaves, Array, list[Array]], list[Array]]


def rows(p: Leaves, name: str, gate: int) -> Array:
    """The part of a stacked matrix or bias that belongs to one gate."""
    return p[f"h.{name}"][gate * H : (gate + 1) * H]


def score(p: Leaves, gate: int, x: Array, h: Array) -> Array:
    return rows(p, "W", gate) @ x + rows(p, "U", gate) @ h + rows(p, "b", gate)


def lstm(p: Leaves, x: Array, state: list[Array]) -> list[Array]:
    h, c = state
    memory = sigmoid(score(p, 1, x, h)) * c + sigmoid(score(p, 0, x, h)) * np.tanh(
        score(p, 2, x, h)
    )
    return [sigmoid(score(p, 3, x, h)) * np.tanh(memory), memory]


def peephole(p: Leaves, x: Array, state: list[Array]) -> list[Array]:
    h, c = state
    enter = sigmoid(score(p, 0, x, h) + p["h.p_i"] * c)
    forget = sigmoid(score(p, 1, x, h) + p["h.p_f"] * c)
    memory = forget * c + enter * np.tanh(score(p, 2, x, h))
    leave = sigmoid(score(p, 3, x, h) + p["h.p_o"] * memory)
    return [leave * np.tanh(memory), memory]


def gru(p: Leaves, x: Array, state: list[Array]) -> list[Array]:
    (h,) = state
    r, z = (sigmoid(score(p, gate, x, h)) for gate in (0, 1))
    seen = rows(p, "W", 2) @ x + rows(p, "b", 2)
    n = np.tanh(seen + r * (rows(p, "U", 2) @ h + p["h.d"]))
    return [n + z * (h - n)]


def gru_before(p: Leaves, x: Array, state: list[Array]) -> list[Array]:
    (h,) = state
    r, z = (sigmoid(score(p, gate, x, h)) for gate in (0, 1))
    n = np.tanh(rows(p, "W", 2) @ x + rows(p, "b", 2) + p["h.V"] @ (r * h))
    return [n + z * (h - n)]


def minimal(p: Leaves, x: Array, state: list[Array]) -> list[Array]:
    (h,) = state
    f = sigmoid(rows(p, "W", 0) @ x + p["h.U"] @ h + rows(p, "b", 0))
    n = np.tanh(rows(p, "W", 1) @ x + p["h.V"] @ (f * h) + rows(p, "b", 1))
    return [h + f * (n - h)]


CELLS: dict[str, Step] = {
    "lstm": lstm,
    "peephole": peephole,
    "gru": gru,
    "gru_before": gru_before,
    "minimal": minimal,
}


@pytest.mark.long
@pytest.mark.parametrize("cell", CELLS)
def test_a_gated_cell(cell: str) -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        state, o = [np.zeros(H)] * (2 if cell in ("lstm", "peephole") else 1), []
        for x in p["x"]:
            state = CELLS[cell](p, x, state)
            o.append(p["V"] @ state[0] + p["c"])
        return {"o": np.array(o)}, cross_entropy(np.array(o), p["y"])

    held(built(f"gated/{cell}", {"D": 3, "H": H, "K": 3}), direct)
