"""Delays of several steps; the linear ones against SciPy's filters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from tests.helpers.agreement import agree
from tests.reference.systems.complex_step import Leaves, built, cross_entropy, held, sigmoid

SIZES = {"D": 3, "H": 3, "K": 3}


@pytest.mark.long
def test_a_clockwork() -> None:
    """As the paper has it: one block matrix, of whose rows a step takes those that are due."""

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        of = ("slow", "middle", "fast")
        recurrent = np.zeros((9, 9), dtype=np.result_type(*p.values()))
        for k, name in enumerate(of):
            recurrent[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = p[f"{name}.U"]
            if k > 0:
                recurrent[3 * k : 3 * k + 3, : 3 * k] = p[f"{name}.V"]
        W = np.vstack([p[f"{name}.W"] for name in of])
        b = np.concatenate([p[f"{name}.b"] for name in of])
        h, o = np.zeros(9), []
        for t, x in enumerate(p["x"]):
            due = np.repeat([t % period == 0 for period in (4, 2, 1)], 3)
            h = np.where(due, np.tanh(W @ x + recurrent @ h + b), h)
            o.append(p["V"] @ h + p["c"])
        return {"o": np.array(o)}, cross_entropy(np.array(o), p["y"])

    held(built("delays/clockwork", SIZES), direct, steps=9)


def test_dilated_layers() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        below = p["x"]
        for layer in (1, 2, 3):
            back = 2 ** (layer - 1)
            states = [np.zeros(3)] * back
            for x in below:
                h = p[f"U{layer}"] @ x + p[f"W{layer}"] @ states[-back] + p[f"b{layer}"]
                states.append(np.tanh(h))
            below = np.array(states[back:])
        o = below @ p["V"].T + p["c"]
        return {"o": o}, cross_entropy(o, p["y"])

    held(built("delays/dilated", SIZES), direct, steps=9)


def test_higher_order() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        h = [p["before"]] * 4
        for x in p["x"]:
            past = p["W1"] @ h[-1] + p["W2"] @ h[-2] + p["W4"] @ h[-4]
            h.append(np.tanh(p["U"] @ x + past + p["b"]))
        o = np.array(h[4:]) @ p["V"].T + p["c"]
        return {"o": o}, cross_entropy(o, p["y"])

    held(built("delays/higher_order", SIZES), direct, steps=7)


def test_narx() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        u, y = [0.0, 0.0, *p["u"]], [0.0, 0.0, 0.0]
        for t in range(len(p["u"])):
            taps = np.array([u[t + 2], u[t + 1], u[t], y[-1], y[-2], y[-3]])
            y.append(p["v"] @ np.tanh(p["W"] @ taps + p["b"]) + p["c"])
        found = np.array(y[3:])
        return {"y": found}, np.mean((found - p["seen"]) ** 2)

    held(built("delays/narx", {"H": 4}), direct, steps=8)


# Filters ---------------------------------------------------------------------------------------


def test_a_biquad() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        a2 = np.tanh(p["q"])
        above = [p["b0"], p["b1"], p["b2"]]
        below = [1.0, (1 + a2) * np.tanh(p["p"]), a2]
        y = lfilter(np.array(above), np.array(below), p["x"])
        return {"y": y}, np.mean((y - p["heard"]) ** 2)

    held(built("delays/biquad"), direct, steps=40)


def test_a_string() -> None:
    """Its transfer function has one long polynomial below."""

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        g, s = sigmoid(p["loss_score"]), sigmoid(p["stretch_score"])
        below = np.array([1.0, *[0.0] * 19, -g * (1 - s), -g * s])
        y = lfilter([1.0], below, p["x"])
        return {"y": y}, np.mean((y - p["heard"]) ** 2)

    held(built("delays/string", {"N": 20}), direct, steps=90)


def test_a_feedback_delay_network() -> None:
    """Every line as a row of all that it has been fed."""
    sizes = {"M1": 2, "M2": 3, "M3": 5, "M4": 7}

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        v, y = p["v"], []
        mirror = sigmoid(p["fade"]) * (np.eye(4) - 2 * np.outer(v, v) / (v @ v))
        lines = [[0.0] * length for length in sizes.values()]
        for x in p["x"]:
            z = np.array([line.pop(0) for line in lines])
            for line, fed in zip(lines, p["b"] * x + mirror @ z, strict=True):
                line.append(fed)
            y.append(p["c"] @ z + p["d"] * x)
        return {"y": np.array(y)}, np.mean((np.array(y) - p["heard"]) ** 2)

    held(built("delays/feedback_delay_network", sizes), direct, steps=12)


def test_an_all_pole_filter() -> None:
    """As one triangular system of all samples; where nothing changes, SciPy's filter."""

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        T = len(p["x"])
        system = np.eye(T, dtype=np.result_type(*p.values()))
        for t in range(T):
            for k in range(min(t, 4)):
                system[t, t - k - 1] = p["a"][t, k]
        y = np.linalg.solve(system, p["gain"] * p["x"])
        return {"y": y}, np.mean((y - p["heard"]) ** 2)

    network = built("delays/all_pole")
    params, inputs = held(network, direct, steps=9)
    a = np.array([-0.9, 0.5, -0.2, 0.1])
    found = network.forward(params, {"x": inputs["x"], "a": np.tile(a, (9, 2, 1))})["y"]
    agree("values", found, lfilter([params["gain"]], [1, *a], inputs["x"], axis=0))
