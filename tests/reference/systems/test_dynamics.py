"""Dynamical systems: against NumPy, and where they stand for differential equations, against
SciPy's integrator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.integrate import odeint

from rollc.network.network import Network
from tests.reference.systems.complex_step import Array, Leaves, built, held, leaves_of


def test_three_layers() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        # The weights of the input and of the context by themselves: one matrix for the circle.
        into, back = p["M_A"][:, :2], p["M_A"][:, 2:]
        circle, c, out = p["M_C"] @ p["M_B"], np.zeros(3), []
        for step in p["in"]:
            c = circle @ (into @ step + back @ c)
            out.append(p["M_o"] @ c)
        return {"out": np.array(out)}, np.mean((np.array(out) - p["y"]) ** 2)

    held(built("dynamics/three_layers", {"I": 2, "A": 4, "B": 3, "C": 3}), direct)


def test_a_system_that_runs_by_itself() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        s, states = p["start"], []
        for _ in p["y"]:
            s = np.tanh(p["W"] @ s + p["b"])
            states.append(s)
        seen = np.array(states) @ p["C"].T
        return {"p": seen, "s": np.array(states)}, np.mean((seen - p["y"]) ** 2)

    held(built("dynamics/autonomous", {"S": 4}), direct)


def test_a_system_that_is_driven() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        s, seen = np.zeros(4), []
        for x in p["x"]:
            s = 0.8 * s + 0.2 * np.tanh(p["W"] @ s + p["U"] @ x + p["b"])  # 0.2 = dt / tau
            seen.append(p["C"] @ s)
        return {"p": np.array(seen)}, np.mean((np.array(seen) - p["y"]) ** 2)

    held(built("dynamics/driven", {"S": 4}), direct)


# Differential equations --------------------------------------------------------------------


def runge_kutta(field: Callable[[Array], Array], state: Array, dt: float) -> Array:
    k1 = field(state)
    k2 = field(state + dt / 2 * k1)
    k3 = field(state + dt / 2 * k2)
    k4 = field(state + dt * k3)
    return np.asarray(state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4))


def of_fourth_order(whole: float, half: float) -> bool:
    """Half the step, a sixteenth of the error."""
    return half < 1e-3 and 13 < whole / half < 19


@pytest.fixture(scope="module")
def oscillator() -> Network:
    return built("dynamics/oscillator", {"N": 8})


@pytest.mark.long
def test_the_oscillator_is_the_method(oscillator: Network) -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        stiffness, damping = np.exp(p["log_stiffness"]), np.exp(p["log_damping"])
        state, states = np.array([p["q0"], p["v0"]]), []
        for force in p["force"]:

            def field(now: Array, force: Any = force) -> Array:
                return np.array([now[1], force - stiffness * now[0] - damping * now[1]])

            state = runge_kutta(field, state, 1 / 8)
            states.append(state)
        q, v = np.array(states).T
        return {"q": q, "v": v}, np.mean((q - p["seen"]) ** 2)

    held(oscillator, direct)


def test_the_oscillator_is_the_equation(oscillator: Network) -> None:
    """The force changes once in a unit of time.  In slow motion, a step is a shorter time."""
    forces, stiffness, damping = np.array([0.5, -1.0, 2.0, 0.0]), 4.0, 0.5
    expected, state = [], np.array([1.0, -0.5])
    for force in forces:

        def field(now: Array, time: float, force: float = force) -> list[float]:
            return [now[1], force - stiffness * now[0] - damping * now[1]]

        state = odeint(field, state, [0.0, 1.0], rtol=1e-11, atol=1e-12)[-1]
        expected.append(state)
    errors = []
    for slow in (1, 2):
        params = {
            "log_stiffness": np.log(stiffness / slow**2),
            "log_damping": np.log(damping / slow),
        }
        inputs = {
            "q0": np.array(1.0),
            "v0": np.array(-0.5 / slow),
            "force": np.repeat(forces / slow**2, 8 * slow),
        }
        found = oscillator.forward(params, inputs)
        ends = np.stack([found["q"], slow * found["v"]], axis=1)[8 * slow - 1 :: 8 * slow]
        errors.append(float(np.abs(ends - expected).max()))
    assert of_fourth_order(*errors)


@pytest.fixture(scope="module")
def predator_prey() -> Network:
    return built("dynamics/predator_prey", {"N": 10})


def hunt(rates: Array) -> Callable[[Array], Array]:
    birth, hunted, gain, death = rates

    def field(now: Array) -> Array:
        hares, foxes = now
        return np.array([birth * hares - hunted * hares * foxes, (gain * hares - death) * foxes])

    return field


@pytest.mark.long
def test_hares_and_foxes_are_the_method(predator_prey: Network) -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        state, states = np.exp(p["start"]), []
        for _ in p["seen"]:
            state = runge_kutta(hunt(np.exp(p["rates"])), state, 0.1)
            states.append(state)
        hares, foxes = np.array(states).T
        return {"hares": hares, "foxes": foxes}, np.mean((np.log(states) - p["seen"]) ** 2)

    held(predator_prey, direct)


def test_hares_and_foxes_are_the_equation(predator_prey: Network) -> None:
    """Eight years, through a peak of both; as they are and in slow motion."""
    rates, start = np.array([1.1, 0.4, 0.2, 0.5]), np.array([4.0, 1.0])
    years = np.arange(9)
    exact = odeint(lambda now, time: hunt(rates)(now), start, years, rtol=1e-11, atol=1e-12)
    errors = []
    for slow in (1, 2):
        params = {"rates": np.log(rates / slow), "start": np.log(start)}
        found = predator_prey.forward(params, steps=80 * slow)
        ends = np.stack([found["hares"], found["foxes"]], axis=1)[10 * slow - 1 :: 10 * slow]
        errors.append(float(np.abs(ends - exact[1:]).max()))
    assert of_fourth_order(*errors)


# Many that act on each other -----------------------------------------------------------------


def test_oscillators_that_pull_at_each_other() -> None:
    """Kuramoto (1984), Chemical oscillations, waves, and turbulence, equation 5.4.1."""
    net = built("dynamics/kuramoto", {"N": 4})

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        phase, phases = p["start"], []
        for push in p["push"]:
            pull = np.array([np.sin(phase - one).mean() for one in phase])
            phase = phase + 0.1 * (p["pace"] + p["K"] * pull) + push
            phases.append(phase)
        order = [np.cos(one).mean() ** 2 + np.sin(one).mean() ** 2 for one in phases]
        return {"phase": np.array(phases), "order": np.array(order)}, -np.mean(order)

    held(net, direct)


def test_two_chemicals_on_a_ring() -> None:
    """Gray and Scott (1984); Pearson, Complex patterns in a simple system (1993), equation 2."""
    ring = -2 * np.eye(5) + np.roll(np.eye(5), 1, 0) + np.roll(np.eye(5), -1, 0)

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        u, v, states = p["u0"], p["v0"], []
        of_u, of_v, pace, decay = (1 / (1 + np.exp(-p[name])) for name in ("d_u", "d_v", "f", "c"))
        for _ in range(6):
            made = u * v * v
            u, v = (
                u + of_u / 4 * ring @ u + pace - pace * u - made,
                v + of_v / 4 * ring @ v - (pace + decay) * v + made,
            )
            states.append((u, v))
        found = np.array(states)
        loss = np.mean((found[:, 1] - p["seen"]) ** 2)
        return {"u": found[:, 0], "v": found[:, 1]}, loss

    random = np.random.default_rng(0)
    start = {"u0": random.uniform(0.5, 1, (2, 5)), "v0": random.uniform(0, 0.5, (2, 5))}
    held(built("dynamics/gray_scott", {"N": 5}), direct, **start)


# A reservoir -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reservoir() -> Network:
    return built("dynamics/reservoir", {"H": 6, "K": 2})


def echoes(p: Leaves) -> Array:
    h, states = np.zeros(6), []
    for x in p["x"]:
        h = 0.3 * h + 0.7 * np.tanh(p["h.W"] @ x + 0.95 * (p["h.U"] @ h))
        states.append(h)
    return np.array(states)


def test_of_a_reservoir_only_the_readout_is_trained(reservoir: Network) -> None:
    """The input has a derivative too."""

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        h = echoes(p)
        o = h @ p["V"].T + p["c"]
        return {"o": o, "h": h}, np.mean((o - p["y"]) ** 2)

    params, inputs = held(reservoir, direct)
    _, gradients = reservoir.value_and_grad(params, inputs)
    assert gradients.keys() == {"V", "c", "x"}
    assert gradients["x"].any()


def test_the_readout_of_a_reservoir_is_least_squares(reservoir: Network) -> None:
    """Its gradient is nothing at the solution, and at a ridge regression what the ridge adds."""
    params, inputs = leaves_of(reservoir, 30, seed=1)
    sequence = {name: array[:, 0] for name, array in inputs.items()}
    states = np.column_stack([echoes({**params, **sequence}), np.ones(30)])
    for ridge in (0.0, 0.5):
        normal = states.T @ states + ridge * np.eye(7)
        weights = np.linalg.solve(normal, states.T @ sequence["y"]).T
        fitted = {**params, "V": weights[:, :6], "c": weights[:, 6]}
        _, gradients = reservoir.value_and_grad(fitted, sequence)
        slope = np.column_stack([gradients["V"], gradients["c"]])
        # The loss is the mean over 30 steps and 2 elements.
        np.testing.assert_allclose(slope, -2 * ridge / 60 * weights, atol=1e-12)
