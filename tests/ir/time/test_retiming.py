"""Delays of both signs: shifted nodes compute what the equations say."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rollc
from rollc.autodiff.adjoint import adjoint
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.kernel.passes import scheduled
from rollc.kernel.schedule import Schedule
from rollc.kernel.text import parse_program, parse_schedule, print_program, print_schedule
from rollc.support.resources import specs
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.state import why_no_state

Array = NDArray[Any]

EQUATIONS = (
    "a = tanh(w * b[t+1] + x)",
    "b = sin(a[t-2]) + 0.3 * c",
    "c = 0.2 * c[t-1] + a[t-2] * x[t+1]",
    "e = a[t-1] - c[t+3]",
)
FRAME = "net mixed\ninput x\nparam w, p\ninit b = p\n{}\noutput a, e\nloss mean(a * a + e, over t)"


def graph_of(text: str) -> Graph:
    return read_spec(text, "test.roll")[0]


def shifts(plan: Schedule) -> dict[str, int]:
    return {item.node.name: item.shift for region in plan.regions for item in region.items}


def delayed(array: Array, delay: int, outside: Array | float = 0.0) -> Array:
    """An array over time, read with a delay."""
    steps = len(array)
    return np.stack(
        [
            array[t - delay] if 0 <= t - delay < steps else np.zeros_like(array[0]) + outside
            for t in range(steps)
        ]
    )


def iterated(x: Array, w: float, p: float) -> dict[str, Array]:
    """The equations applied until nothing changes, whatever their order in time."""
    a = b = c = np.zeros_like(x)
    for _ in range(3 * len(x) + 3):
        a = np.tanh(w * delayed(b, -1, p) + x)
        b = np.sin(delayed(a, 2)) + 0.3 * c
        c = 0.2 * delayed(c, 1) + delayed(a, 2) * delayed(x, -1)
    return {"a": a, "b": b, "c": c, "e": delayed(a, 1) - delayed(c, -3)}


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_values_are_the_fixed_point_of_the_equations(steps: int) -> None:
    x = np.random.default_rng(steps).normal(size=(steps, 2))
    leaves = {"x": x, "w": np.array(0.7), "p": np.array(-0.4)}
    found = interpret(
        graph_of(FRAME.format("\n".join(EQUATIONS))), leaves, {"t": steps, "batch": 2}
    )
    for name, array in iterated(x, 0.7, -0.4).items():
        np.testing.assert_allclose(found[name], array, atol=1e-14, err_msg=name)


def test_the_order_of_the_equations_changes_nothing() -> None:
    x = np.random.default_rng(5).normal(size=(6, 2))
    leaves = {"x": x, "w": np.array(0.7), "p": np.array(-0.4)}
    first: tuple[dict[str, int], dict[str, Array]] | None = None
    for order in permutations(EQUATIONS):
        graph = adjoint(graph_of(FRAME.format("\n".join(order))))
        found = interpret(graph, leaves, {"t": 6, "batch": 2})
        values = {name: found[name] for name in ("a", "b", "c", "e", "loss")}
        values |= {f"~{leaf}": found[name] for leaf, name in graph.gradients}
        every = shifts(scheduled(graph))
        moved = {name: every[name] for name in ("a", "b", "c", "e", "~a", "~b", "~c", "~e")}
        if first is None:
            first = moved, values
        assert moved == first[0]
        for name, array in values.items():
            np.testing.assert_allclose(array, first[1][name], rtol=1e-12, err_msg=name)


def test_the_schedule_shows_the_shifts() -> None:
    graph = graph_of(FRAME.format("\n".join(EQUATIONS)))
    plan = scheduled(canonicalize(graph))
    text = print_schedule(plan)
    assert parse_schedule(text) == plan
    moved = shifts(plan)
    assert (moved["b"], moved["a"], moved["c"], moved["e"]) == (0, 1, 0, 0)
    lines = {line.split(" = ")[0].strip(): line for line in text.splitlines()}
    assert lines["a"].endswith("  at t-1")
    assert "  at " not in lines["b"]
    program = compiled(graph, "float64").program
    assert parse_program(print_program(program)) == program
    assert "shifted shift=1" in print_program(program)


def test_the_adjoint_is_shifted_the_other_way() -> None:
    graph = adjoint(graph_of(FRAME.format("\n".join(EQUATIONS))))
    plan = scheduled(canonicalize(graph))
    backward = [region for region in plan.regions if region.kind == "backward"]
    assert len(backward) == 1
    assert min(item.shift for item in backward[0].items) < 0
    assert max(item.shift for item in backward[0].items) == 0


def test_a_network_with_shifts_has_no_steps_to_stream() -> None:
    assert why_no_state(graph_of(FRAME.format("\n".join(EQUATIONS)))) is not None


@pytest.fixture(scope="module")
def retimed() -> rollc.Network:
    return rollc.build(specs()["delays/retimed"], dtype="float64", sets={"H": 5})


def direct(x: Array, p: dict[str, Array]) -> Array:
    """The scores of specs/delays/retimed.roll, step by step and layer by layer."""
    steps, batch, _ = x.shape
    size = len(p["b"])
    early, late = np.zeros((2, steps, batch, size))

    def at(values: Array, t: int, outside: Array | float = 0.0) -> Array:
        return values[t] if 0 <= t < steps else np.zeros((batch, size)) + outside

    # `late` at t needs `early` three and two steps ago, and that needs `late` one step later.
    for t in range(steps):
        inner = np.zeros((batch, size))
        if t + 1 < steps:
            inner = np.tanh(at(early, t - 3) @ p["B"].T + x[t + 1, :, :1])
        deep = 1 / (1 + np.exp(-at(early, t - 2) @ p["C"].T))
        late[t] = inner * deep + 0.5 * at(late, t - 1, p["start"])
        if t >= 1:
            early[t - 1] = np.tanh(x[t - 1] @ p["U"].T + late[t] @ p["A"].T + p["b"])
    early[steps - 1] = np.tanh(x[-1] @ p["U"].T + p["start"] @ p["A"].T + p["b"])
    return np.asarray(late @ p["V"].T)


@pytest.mark.parametrize("steps", [1, 2, 4, 11])
@pytest.mark.long
@pytest.mark.sampled(1)
def test_the_kernel_of_a_shifted_ring_against_numpy(retimed: rollc.Network, steps: int) -> None:
    random = np.random.default_rng(steps)
    x = random.normal(size=(steps, 3, 3))
    parameters = retimed.init(0)
    found = retimed.forward(parameters, {"x": x})["o"]
    np.testing.assert_allclose(found, direct(x, parameters), atol=1e-12)
