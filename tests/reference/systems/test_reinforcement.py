"""Returns and advantages, which run back in time, by their definitions as sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.reference.systems.complex_step import Leaves, built, held, log_softmax


def test_generalised_advantages() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        """Each advantage as the sum over all later errors; none behind the end of an episode."""
        h, states = np.zeros(3), []
        for x in p["x"]:
            h = np.tanh(p["U"] @ x + p["W"] @ h + p["b"])
            states.append(h)
        found = np.array(states)
        scores, V = found @ p["P"].T + p["p"], found @ p["v"] + p["c"]
        T = len(V)
        error = p["r"] + 0.99 * p["goes"] * np.append(V[1:], 0) - V
        A = np.array(
            [
                sum(
                    error[k] * (0.99 * 0.95) ** (k - t) * np.prod(p["goes"][t:k])
                    for k in range(t, T)
                )
                for t in range(T)
            ]
        )
        held_fast, wanted = np.real(A), np.real(A + V)  # no gradient passes
        said = [log_softmax(row)[int(k)] for row, k in zip(scores, p["action"].real, strict=True)]
        loss = np.mean(-np.array(said) * held_fast + 0.5 * (V - wanted) ** 2)
        return {"scores": scores, "V": V, "A": A}, loss

    goes = np.array([[1, 1], [1, 0], [0, 1], [1, 1], [1, 1], [0, 1.0]])
    held(built("reinforcement/gae", {"D": 2, "H": 3, "K": 3}), direct, goes=goes)


def test_lambda_returns() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        """As the mean of the returns of one step, of two, and so on: equations 12.1 to 12.3."""
        V = np.tanh(p["x"] @ p["U"].T + p["b"]) @ p["v"] + p["c"]
        T, gamma, keep = len(V), 0.99, 0.9

        def of(t: int, n: int) -> Any:
            rewards = sum(gamma**k * p["r"][t + k] for k in range(n))
            return rewards + (gamma**n * V[t + n] if t + n < T else 0)

        G = []
        for t in range(T):
            some = sum(keep ** (n - 1) * of(t, n) for n in range(1, T - t))
            G.append((1 - keep) * some + keep ** (T - t - 1) * of(t, T - t))
        return {"V": V, "G": np.array(G)}, np.mean((V - np.real(G)) ** 2)

    held(built("reinforcement/td_lambda", {"D": 2, "H": 3}), direct)
