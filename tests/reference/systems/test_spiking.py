"""A net of spiking neurons, forward by a loop, and backward by hand with the surrogate slope."""

from __future__ import annotations

import numpy as np

from tests.helpers.agreement import agree
from tests.reference.systems.complex_step import BATCH, Leaves, built, leaves_of

KEEP, DECAY, THRESHOLD = 0.8, 0.9, 1.0


def by_hand(p: Leaves) -> tuple[Leaves, float, Leaves]:
    """Neftci, Mostafa and Zenke, Surrogate gradient learning in spiking neural networks (2019)."""
    T, H, K = len(p["x"]), p["s.U"].shape[0], p["V"].shape[0]
    W, U, b, V = p["s.W"], p["s.U"], p["s.b"], p["V"]
    v, s, m = np.zeros((T + 1, H)), np.zeros((T + 1, H)), np.zeros((T + 1, K))
    for t in range(T):  # row t + 1 is step t
        drive = W @ p["x"][t] + U @ s[t] + b
        v[t + 1] = DECAY * v[t] + drive - THRESHOLD * s[t]
        s[t + 1] = v[t + 1] > THRESHOLD
        m[t + 1] = KEEP * m[t] + V @ s[t + 1]
    o = m[1:].mean(axis=0)
    share = np.exp(o) / np.exp(o).sum()
    loss = -np.log(share[p["y"]])

    slope = {name: np.zeros(p[name].shape) for name in ("s.W", "s.U", "s.b", "V", "x")}
    slope_o = share - (np.arange(K) == p["y"])
    slope_m, slope_v = np.zeros(K), np.zeros(H)
    for t in reversed(range(T)):
        slope_m = KEEP * slope_m + slope_o / T
        # A spike is read by the readout, and at the next step by all neurons and its own.
        slope_s = V.T @ slope_m + U.T @ slope_v - THRESHOLD * slope_v
        surrogate = 1 / (1 + np.abs(v[t + 1] - THRESHOLD)) ** 2
        slope_v = DECAY * slope_v + surrogate * slope_s
        slope["V"] += np.outer(slope_m, s[t + 1])
        slope["s.W"] += np.outer(slope_v, p["x"][t])
        slope["s.U"] += np.outer(slope_v, s[t])
        slope["s.b"] += slope_v
        slope["x"][t] = W.T @ slope_v
    return {"o": o, "s": s[1:]}, float(loss), slope


def test_spikes_by_hand() -> None:
    network = built("spiking/spikes", {"D": 3, "H": 5, "K": 3})
    params, inputs = leaves_of(network, steps=12, seed=3)
    inputs["x"] = 2 * inputs["x"]
    sequences = [{**params, "x": inputs["x"][:, n], "y": inputs["y"][n]} for n in range(BATCH)]
    expected = [by_hand(p) for p in sequences]
    outputs = network.forward(params, inputs)
    spikes = np.stack([each[0]["s"] for each in expected], axis=1)
    assert 0.05 < spikes.mean() < 0.95
    np.testing.assert_array_equal(outputs["s"], spikes)
    agree("values", outputs["o"], [each[0]["o"] for each in expected], "o")
    loss, gradients = network.value_and_grad(params, inputs)
    agree("values", loss, np.mean([each[1] for each in expected]), "the loss")
    for name in params:
        slope = np.mean([each[2][name] for each in expected], axis=0)
        assert np.abs(slope).max() > 1e-3
        agree("gradients", gradients[name], slope, name)
    of_inputs = np.stack([each[2]["x"] for each in expected], axis=1) / BATCH
    agree("gradients", gradients["x"], of_inputs, "x")
