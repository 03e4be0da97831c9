"""Systems whose equations have derivatives in them, these by hand here."""

from __future__ import annotations

from typing import Any

import numpy as np

from rollc.support.resources import specs
from tests.reference.systems.complex_step import Leaves, held, interpreted


def shipped(name: str) -> str:
    return specs()[name].read_text(encoding="utf-8")


def test_an_extended_kalman_filter() -> None:
    """The Jacobians of a pendulum as the textbooks print them."""

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        dt, mean, P = 0.1, p["start"], np.eye(2)
        Q, R = p["F_Q"] @ p["F_Q"].T, p["r"] ** 2
        means, covariances, losses = [], [], []
        for y in p["y"]:
            angle, speed = mean
            F = np.array([[1, dt], [-dt * p["pull"] * np.cos(angle), 1 - dt * p["friction"]]])
            mean = np.array(
                [
                    angle + dt * speed,
                    speed - dt * (p["pull"] * np.sin(angle) + p["friction"] * speed),
                ]
            )
            P = F @ P @ F.T + Q
            H = np.array([p["length"] * np.cos(mean[0]), 0])
            E = H @ P @ H + R
            gain, e = P @ H / E, y - p["length"] * np.sin(mean[0])
            losses.append((e * e / E + np.log(6.283185307179586 * E)) / 2)
            mean, P = mean + gain * e, P - np.outer(gain, H) @ P
            means.append(mean)
            covariances.append(P)
        return {"mean": np.array(means), "P": np.array(covariances)}, np.mean(losses)

    held(interpreted(shipped("state_space/extended_kalman")), direct)


def test_a_hamiltonian_network() -> None:
    """The slope of the network that is the potential, layer by layer."""

    def force(p: Leaves, q: Any) -> Any:
        hidden = np.tanh(p["A"] @ q + p["b"])
        return -p["A"].T @ (p["v"] * (1 - hidden**2))

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        dt, q, momentum = 0.1, p["place"], p["push"]
        places, pushes, losses = [], [], []
        for y in p["y"]:
            half = momentum + dt / 2 * force(p, q)
            q = q + dt * p["M"].T @ p["M"] @ half
            momentum = half + dt / 2 * force(p, q)
            places.append(q)
            pushes.append(momentum)
            losses.append(np.mean((q - y) ** 2))
        return {"q": np.array(places), "p": np.array(pushes)}, np.mean(losses)

    held(interpreted(shipped("dynamics/hamiltonian"), {"H": 4}), direct)


def test_a_learned_optimiser() -> None:
    """The same cell for each element of what is optimised; its gradient is differentiated too."""

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        z, h, found, losses = p["start"], [np.zeros(2)] * 3, [], []
        for _ in range(6):
            slope = 2 * p["A"].T @ (p["A"] @ z - p["b"])
            h = [
                np.tanh(p["see"] * one + p["keep"].T @ own + p["bias"])
                for one, own in zip(slope, h, strict=True)
            ]
            z = z + np.array([p["pace"] @ own for own in h])
            found.append(z)
            losses.append(np.sum((p["A"] @ z - p["b"]) ** 2))
        return {"z": np.array(found)}, np.mean(losses)

    held(interpreted(shipped("learning/learned_optimiser"), {"N": 3, "H": 2}), direct)


def test_a_network_that_is_to_solve_an_equation() -> None:
    """u'' + x u' + u = 0 in the loss: Raissi et al., Physics-informed neural networks (2019)."""
    text = """
    net physics_informed
    dim H = 4
    input x
    param w: [H] = normal(1.0), b: [H], v: [H] = normal(1.0)
    u = dot(v, tanh(w * x + b))
    slope = grad(u, x)
    bend = grad(slope, x)
    output u, slope
    loss mean((bend + x * slope + u) ** 2, over t)
    """

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        hidden = np.tanh(np.multiply.outer(p["x"], p["w"]) + p["b"])
        around = 1 - hidden**2
        u, slope = hidden @ p["v"], around @ (p["v"] * p["w"])
        bend = (-2 * hidden * around) @ (p["v"] * p["w"] ** 2)
        return {"u": u, "slope": slope}, np.mean((bend + p["x"] * slope + u) ** 2)

    held(interpreted(text), direct)


def test_a_lagrangian_network() -> None:
    """The slopes of a layer of tanh by hand: of its first and second order."""

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        q, v, found = p["start"], p["push"], []
        for _ in range(5):
            hidden = np.tanh(p["A"] @ q + p["B"] @ v + p["b"])
            first = p["w"] * (1 - hidden**2)
            second = -2 * hidden * first
            mass = np.eye(2) + p["B"].T @ (second[:, None] * p["B"])
            mixed = p["B"].T @ (second[:, None] * p["A"])
            v = v + 0.1 * np.linalg.solve(mass, p["A"].T @ first - mixed @ v)
            q = q + 0.1 * v
            found.append(q)
        return {"place": np.array(found)}, np.mean((np.array(found) - p["y"]) ** 2)

    held(interpreted(shipped("dynamics/lagrangian"), {"H": 3}), direct, steps=5)
