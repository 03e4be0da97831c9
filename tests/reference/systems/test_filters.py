"""Filters of sounds and of signals, against linear algebra and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import bilinear, lfilter

from tests.helpers.agreement import agree
from tests.reference.systems.complex_step import Leaves, built, held, sigmoid


def test_a_state_variable_filter() -> None:
    """The trapezoidal rule as a linear system of all that a step computes at once."""
    rate = 48000

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        began, found = np.zeros(2), []  # the two integrals, and half of what came in last
        for x, cutoff in zip(p["x"], p["cutoff"], strict=True):
            g = np.tan(np.pi * cutoff / rate)
            A = np.array([[1, 2 * p["damping"], 1], [-g, 1, 0], [0, -g, 1]])
            high, band, low = np.linalg.solve(A, [x, *began])
            found.append((low, band, high))
            began = np.array([band + g * high, low + g * band])
        low, band, high = np.array(found).T
        return {"low": low, "band": band, "high": high}, np.mean((low - p["heard"]) ** 2)

    cutoff = np.random.default_rng(2).uniform(100, 20000, size=(6, 2))
    network = built("filters/state_variable")
    params, inputs = held(network, direct, cutoff=cutoff)
    steady = inputs["x"][:, 0], np.full(6, 3000.0), inputs["heard"][:, 0]
    one = dict(zip(("x", "cutoff", "heard"), steady, strict=True))
    w = 2 * rate * np.tan(np.pi * 3000 / rate)  # where the rule bends the frequencies to
    for name, above in (("low", [1]), ("band", [1 / w, 0]), ("high", [1 / w**2, 0, 0])):
        below = [1 / w**2, 2 * params["damping"] / w, 1]
        expected = lfilter(*bilinear(above, below, rate), one["x"])
        agree("values", network.forward(params, one)[name], expected, name)


def test_a_compressor() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        held_, less, found, gains = np.array(0.0), 0, [], []
        for x in p["x"]:
            level = 20 * np.log10(np.where(abs(x) > 1e-6, x * np.sign(x.real), 1e-6))
            over, half = level - p["threshold"], p["knee"] / 2
            # The line below, the line above, and between them a curve that meets both.
            if over.real <= -half.real:
                wanted = 0
            elif over.real >= half.real:
                wanted = over * (1 - 1 / p["ratio"])
            else:
                wanted = (1 - 1 / p["ratio"]) * (over + half) ** 2 / (4 * half)
            slow = p["release"] * held_ + (1 - p["release"]) * wanted
            held_ = wanted if np.real(wanted) > slow.real else slow
            less = p["attack"] * less + (1 - p["attack"]) * held_
            gains.append(less)
            found.append(x * 10 ** ((p["makeup"] - less) / 20))
        y = np.array(found)
        return {"y": y, "less": np.array(gains)}, np.mean((y - p["heard"]) ** 2)

    random = np.random.default_rng(3)
    x = 10 ** random.uniform(-2, 0, size=(9, 2)) * random.choice([-1, 1], size=(9, 2))
    held(built("filters/compressor"), direct, steps=9, x=x)


@pytest.mark.parametrize("forgetting", [3.0, -1.0])
def test_recursive_least_squares(forgetting: float) -> None:
    """Weights that at each step are found anew, of all that was seen until then."""

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        λ, w, weights, errors = sigmoid(p["forgetting"]), np.zeros(3), [], []
        for t in range(6):
            errors.append(p["d"][t] - w @ p["u"][t])
            share, u, d = λ ** np.arange(t, -1, -1), p["u"][: t + 1], p["d"][: t + 1]
            pull = np.exp(p["log_delta"]) * λ ** (t + 1) * np.eye(3)
            w = np.linalg.solve(u.T @ (share[:, None] * u) + pull, u.T @ (share * d))
            weights.append(w)
        e = np.array(errors)
        return {"w": np.array(weights), "error": e}, np.mean(e**2)

    held(built("filters/least_squares"), direct, forgetting=np.array(forgetting))
