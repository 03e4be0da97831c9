"""Systems whose equations have constant matrices, rows and columns that broadcast, and neighbours.

Each stands as its paper has it, and is held to NumPy written on its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rollc.driver.build import build_source
from rollc.network.network import Network
from tests.reference.systems.complex_step import Leaves, held


def network(text: str) -> Network:
    return build_source(text, dtype="float64")[0]


def test_oscillators_that_pull_at_each_other() -> None:
    """Kuramoto (1984), Chemical oscillations, waves, and turbulence, equation 5.4.1."""
    net = network("""
        net kuramoto
        dim N = 4
        const dt = 0.1
        input push: [N]
        static input start: [N]
        param pace: [N] = 1.0, K = 0.8
        gap = expand(phase[t-1], axis=0) - expand(phase[t-1], axis=1)
        phase = phase[t-1] + dt * (pace + K * mean(sin(gap), axis=1)) + push
        init phase = start
        order = mean(cos(phase)) ** 2 + mean(sin(phase)) ** 2
        output phase, order
        loss mean(order, over t)
        """)

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        phase, phases = p["start"], []
        for push in p["push"]:
            pull = np.array([np.sin(phase - one).mean() for one in phase])
            phase = phase + 0.1 * (p["pace"] + p["K"] * pull) + push
            phases.append(phase)
        order = [np.cos(one).mean() ** 2 + np.sin(one).mean() ** 2 for one in phases]
        return {"phase": np.array(phases), "order": np.array(order)}, np.mean(order)

    held(net, direct)


def test_two_chemicals_on_a_ring() -> None:
    """Gray and Scott (1984); Pearson, Complex patterns in a simple system (1993), equation 2."""
    net = network("""
        net gray_scott
        dim N = 5
        const F = 0.04, k = 0.06
        input drop: [N]
        param rate: [2] = 0.1
        near = roll(c[t-1], 1, axis=1) + roll(c[t-1], -1, axis=1) - 2 * c[t-1]
        u = sum(c[t-1][0:1], axis=0)
        v = sum(c[t-1][1:2], axis=0)
        made = u * v ** 2
        c = c[t-1] + expand(rate, axis=1) * near + [F * (1 - u) - made + drop, made - (F + k) * v]
        init c = expand([1, 0.2], axis=1, size=N)
        output c
        loss mean(sum(c * c), over t)
        """)

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        u, v, states = np.ones(5), np.full(5, 0.2), []
        for drop in p["drop"]:
            near = [np.roll(one, 1) + np.roll(one, -1) - 2 * one for one in (u, v)]
            made = u * v * v
            u, v = (
                u + p["rate"][0] * near[0] + 0.04 * (1 - u) - made + drop,
                v + p["rate"][1] * near[1] + made - 0.1 * v,
            )
            states.append(np.array([u, v]))
        return {"c": np.array(states)}, np.mean([(state**2).sum() for state in states])

    held(net, direct)
