"""`reset`: a sequence with marks is its pieces, one after the other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.ir.interpreter import interpret
from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.transforms.canonicalize import canonicalize

Array = NDArray[Any]

FORWARD = "h = tanh(W @ x + U @ h[t-1] + V @ h[t-3])"
BACKWARD = "h = tanh(W @ x + U @ h[t+1] + V @ h[t+3])"
STARTS = {"nothing": "", "one": "init h = one", "a row a step": "init h = rows"}


def run(text: str, x: Array, r: Array, weights: dict[str, Array]) -> dict[str, Array]:
    """The output and the gradients."""
    read = load_graph(Source("test.roll", text))
    assert read.graph is not None, render(read.diagnostics, read.source)
    graph = adjoint(canonicalize(read.graph))
    leaves = {"x": x, "r": r, **weights}
    values = interpret(graph, leaves, {"t": len(x), "batch": x.shape[1]})
    found = {f"~{leaf}": values[name] for leaf, name in graph.gradients}
    return {**found, "h": values[dict(graph.outputs)["h"]]}


@pytest.mark.parametrize("ahead", [False, True], ids=["past", "future"])
@pytest.mark.parametrize("start", STARTS)
def test_a_reset_divides_a_sequence(start: str, ahead: bool) -> None:
    random = np.random.default_rng(0)
    shapes = {"W": (3, 2), "U": (3, 3), "V": (3, 3), "one": (3,), "rows": (3, 3)}
    weights = {name: random.normal(size=shape) for name, shape in shapes.items()}
    x, steps = random.normal(size=(9, 1, 2)), 9
    marks = [4, 6] if not ahead else [1, 3]
    r = np.zeros((steps, 1))
    r[marks] = 1
    lines = [
        "net n\ninput x: [2], r",
        "param W: [3, 2], U: [3, 3], V: [3, 3], one: [3], rows: [3, 3]",
        BACKWARD if ahead else FORWARD,
        STARTS[start],
        "output h",
        "loss sum(sum(h * h), over t) + 0 * (sum(one) + sum(rows) + sum(r, over t))",
    ]
    plain = "\n".join(lines)
    found = run(f"{plain}\nreset h when r > 0.5", x, r, weights)
    # A chain from the end starts anew at a mark too: its pieces end there.
    bounds = [0, *(mark + ahead for mark in marks), steps]
    pieces = [run(plain, x[a:b], r[a:b], weights) for a, b in pairwise(bounds)]
    for name in ("h", "~x"):
        whole = np.concatenate([piece[name] for piece in pieces])
        np.testing.assert_allclose(found[name], whole, atol=1e-12, err_msg=name)
    for name in weights:
        total = sum(piece[f"~{name}"] for piece in pieces)
        np.testing.assert_allclose(found[f"~{name}"], total, atol=1e-12, err_msg=name)


def test_a_mark_is_a_number_or_a_condition_and_works_in_cells() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(6, 2, 3))
    r = (random.random((6, 2)) < 0.4).astype(float)
    head, tail = "net n\ninput x: [3], r\n", "\noutput h"
    body = "h = 0.5 * h[t-1] + x"
    expected = np.zeros_like(x)
    state = np.zeros((2, 3))
    for t in range(6):
        state = 0.5 * np.where(r[t][:, None] > 0, 0, state) + x[t]
        expected[t] = state
    for text in (
        f"{head}{body}\nreset h when r{tail}",
        f"{head}{body}\nreset h when 2 * r == 2{tail}",
        f"{head}cell own(x, r) -> h {{\n{body}\nreset h when r\n}}\nh = own(x, r){tail}",
        f"{head}cell own(x) -> h {{\n{body}\n}}\nh = own(x)\nreset h when r{tail}",
    ):
        np.testing.assert_allclose(run(text, x, r, {})["h"], expected)


@pytest.mark.parametrize("ahead", [False, True], ids=["past", "future"])
def test_a_condition_that_is_the_same_at_every_step(ahead: bool) -> None:
    """Where it holds the past is the start at every step; elsewhere nothing is reset."""
    lines = ["net n", "input x: [2], q", "static input r", "param one: [3], rows: [3, 3]"]
    lines += ["param W: [3, 2], U: [3, 3], V: [3, 3]", BACKWARD if ahead else FORWARD]
    plain = "\n".join([*lines, "init h = rows", "output h", "loss sum(sum(h * h), over t) + r"])
    random = np.random.default_rng(1)
    shapes = {"W": (3, 2), "U": (3, 3), "V": (3, 3), "one": (3,), "rows": (3, 3)}
    weights = {name: random.normal(size=shape) for name, shape in shapes.items()}
    x, r = random.normal(size=(5, 2, 2)), np.array([1.0, 0.0])
    weights["q"] = np.zeros((5, 2))
    found = run(f"{plain}\nreset h when r > 0.5", x, r, weights)
    every = run(f"{plain}\nreset h when q + r > 0.5", x, r, weights)
    for name, array in found.items():
        np.testing.assert_allclose(array, every[name], atol=1e-12, err_msg=name)
    near, far = weights["rows"][[0, 2] if ahead else [2, 0]]
    alone = np.tanh(x[:, 0] @ weights["W"].T + weights["U"] @ near + weights["V"] @ far)
    np.testing.assert_allclose(found["h"][:, 0], alone, atol=1e-12)
    assert np.abs(found["h"][1:, 1] - np.tanh(x[1:, 1] @ weights["W"].T)).max() > 0.1


@pytest.mark.parametrize("ahead", [False, True], ids=["past", "future"])
@pytest.mark.parametrize("far", [1, 3])
def test_an_index_starts_from_0(far: int, ahead: bool) -> None:
    """As it does at the first step, where nothing says what else."""
    delay = f"t+{far}" if ahead else f"t-{far}"
    head = "net n\ninput x: [3], r\nparam E: [4, 2], U: [3, 3]\n"
    rule = f"k = argmax(concat(U @ x, 0) + E @ e)\ne = embed(E, k[{delay}])\n"
    tail = "h = dot(e, e) * x\noutput h\nloss sum(sum(h), over t)\n"
    random = np.random.default_rng(3)
    weights = {"E": random.normal(size=(4, 2)), "U": random.normal(size=(3, 3))}
    x, r = random.normal(size=(9, 2, 3)), np.zeros((9, 2))
    r[[3, 5]] = 1
    plain = head + rule + tail
    found = run(f"{plain}reset k when r\n", x, r, weights)
    bounds = [0, 3 + ahead, 5 + ahead, 9]
    pieces = [run(plain, x[a:b], r[a:b], weights) for a, b in pairwise(bounds)]
    for name in ("h", "~x"):
        whole = np.concatenate([piece[name] for piece in pieces])
        np.testing.assert_allclose(found[name], whole, atol=1e-12, err_msg=name)
    for name in weights:
        total = sum(piece[f"~{name}"] for piece in pieces)
        np.testing.assert_allclose(found[f"~{name}"], total, atol=1e-12, err_msg=name)
