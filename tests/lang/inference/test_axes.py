"""Two time axes, from the text: what runs over which one, and what that means in NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.paths import GOOD_SPECS, ROOT

Array = NDArray[Any]
SIZES = {"s": 5, "source": 5, "t": 4, "batch": 3}


def graph_of(text: str, **feed: Any) -> Graph:
    read = load_graph(Source("test.roll", text), **feed)
    assert read.graph is not None, render(read.diagnostics, read.source)
    assert verify(read.graph) == []
    return read.graph


def net(*lines: str) -> str:
    return "\n".join(["net n", "time s, t", "input x[s]: [3], y[t]: [3]", *lines])


def leaves_of(graph: Graph, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for node in graph.nodes:
        if node.operation in ("input", "target", "param"):
            shape = (*(SIZES[axis] for axis in node.type.axes), *node.type.shape)
            index = node.type.kind == "index"
            found[node.name] = (
                rng.integers(0, node.type.bound or 1, shape) if index else rng.normal(size=shape)
            )
    return found


def outputs(graph: Graph) -> tuple[dict[str, Array], dict[str, Array]]:
    """The leaves of a graph, and its outputs for them."""
    leaves = leaves_of(graph)
    values = interpret(graph, leaves, SIZES)
    return leaves, {label: values[name] for label, name in graph.outputs}


def axes_of(*lines: str) -> dict[str, tuple[str, ...]]:
    graph = graph_of(net(*lines))
    return {label: graph[name].type.time for label, name in graph.outputs}


# What runs over which axis


def test_axes_are_found_through_cycles() -> None:
    lines = ["a = 0.5 * b[t-1]", "b = a + c", "c = tanh(c[s-1]) + k", "k = last(sum(x))"]
    found = axes_of(*lines, "alone = alone[t+2] + 1", "output a, b, c, k, alone")
    assert found == {"a": ("s", "t"), "b": ("s", "t"), "c": ("s",), "k": (), "alone": ("t",)}


def test_a_shape_that_needs_a_guess_behind_a_sum_over_an_axis() -> None:
    lines = ["param M: [3, 3]", "p = y * d[t-1]", "q = (M @ d[t-1]) * sum(x)", "w = p * q"]
    graph = graph_of(net(*lines, "d = sum(w, over s)", "output d"))
    assert graph["w"].type.time == ("s", "t")
    assert (graph["d"].type.shape, graph["d"].type.time) == ((3,), ("t",))


def test_one_axis_can_have_another_name() -> None:
    text = """
net n
time n
use "cells/clockwork.roll"
input x: [3]
h = clockwork(x; H=2, P=2)
m = last(h) + h[n-1] - mean(h, over n)
output m
"""
    graph = graph_of(text)
    assert graph.axes == ("n",)
    assert graph["m"].type.axes == ("n", "batch")


def test_a_cell_that_names_an_axis_runs_along_the_other_one() -> None:
    cell = "cell grid(x) -> h { h = tanh(x + h[s-1] + 0.5 * h[t-1]) }"
    uses = ["a = grid(x + y)", "b = grid(x)", "c = grid(y; over t)", "d = grid(a; over t, reverse)"]
    assert set(axes_of(cell, *uses, "output a, b, c, d").values()) == {("s", "t")}
    here, back = (
        graph_of(net(cell, use, "output a"))
        for use in ("a = grid(x + y)", uses[3].replace("d = grid(a", "a = grid(x + y"))
    )
    for graph, delays in ((here, {("s", 1), ("t", 1)}), (back, {("s", 1), ("t", -1)})):
        reads = (edge for node in graph.nodes for edge in node.operands)
        assert {(edge.axis, edge.delay) for edge in reads if edge.delay} == delays


def test_a_use_runs_along_what_its_arguments_do() -> None:
    cells = [
        "cell sum_up(a) -> h { h = h[t-1] + a }",
        "cell inner(a) -> h {",
        "    h = sum_up(a) + sum_up(1) + sum_up(a; over s) + q[t-1]",
        "    q = mean(a, over t) + 0 * h",
        "}",
    ]
    found = axes_of(
        *cells,
        "p = sum_up(x)",
        "q = sum_up(y + p; over s)",
        "r = sum_up(3; over t)",
        "u = inner(y)",
        "fed = sum_up(back)",
        "back = 0.5 * fed[t-1]",
        "output p, q, r, u, fed",
    )
    assert found == {
        "p": ("s",),
        "q": ("s", "t"),
        "r": ("t",),
        "u": ("s", "t"),
        "fed": ("t",),
    }


def test_the_order_of_declaration_is_none_of_the_axes() -> None:
    text = "net n\ntime {}\ninput x[s], y[t]\no = x * y\noutput o"
    one, other = (graph_of(text.format(axes)) for axes in ("s, t", "t, s"))
    assert one == other
    assert one.axes == ("s", "t")
    assert one["o"].type.axes == ("s", "t", "batch")


# What it means


def translated(leaves: dict[str, Array], free: bool) -> tuple[Array, Array]:
    """The outputs of `translate.roll`, step by step."""
    steps_s, batch = leaves["src"].shape
    steps_t = len(leaves["tgt"])
    e = np.zeros((steps_s + 1, batch, 4))
    for s in range(steps_s):
        e[s + 1] = np.tanh(leaves["E"][leaves["src"][s]] + e[s] @ leaves["W"].T)
    taught = np.concatenate([np.zeros((1, batch), int), leaves["tgt"]])
    d, o = e[-1], np.zeros((steps_t + 1, batch, 3))
    shares = np.zeros((steps_s, steps_t, batch))
    for t in range(steps_t):
        score = np.einsum("sbh,hk,bk->sb", e[1:], leaves["A"], d)
        shares[:, t] = np.exp(score) / np.exp(score).sum(axis=0)
        context = np.einsum("sb,sbh->bh", shares[:, t], e[1:])
        said = o[t].argmax(axis=1) if free else taught[t]
        before = d @ leaves["R"].T + context @ leaves["C"].T
        d = np.tanh(before + leaves["U"].T[said])
        o[t + 1] = d @ leaves["O"].T
    return o[1:], shares


@pytest.mark.parametrize("feed", ["taught", "free"])
def test_attention(feed: str) -> None:
    graph = graph_of((GOOD_SPECS / "translate.roll").read_text(), feed=feed)
    leaves, found = outputs(graph)
    o, shares = translated(leaves, feed == "free")
    np.testing.assert_allclose(found["o"], o, rtol=1e-10)
    np.testing.assert_allclose(found["a"], shares, rtol=1e-10)


def gru(w: Callable[[str], Array], inputs: list[Array], h: Array) -> list[Array]:
    """PyTorch's GRU, as `cells/gru.roll` stacks it."""
    states = []
    for x in inputs:
        wr, wz, wn = np.split(x @ w("W").T + w("b"), 3, axis=-1)
        ur, uz, un = np.split(h @ w("U").T, 3, axis=-1)
        r, z = 1 / (1 + np.exp(-wr - ur)), 1 / (1 + np.exp(-wz - uz))
        h = (1 - z) * np.tanh(wn + r * (un + w("d"))) + z * h
        states.append(h)
    return states


def test_a_cell_of_the_library_in_both_an_encoder_and_a_decoder() -> None:
    lines = ['use "cells/gru.roll"', "e = gru(x; H=4)", "d = gru(y; H=4)", "init d = last(e)"]
    leaves, found = outputs(graph_of(net(*lines, "output d, e")))
    e = gru(lambda name: leaves[f"e.{name}"], list(leaves["x"]), np.zeros((3, 4)))
    d = gru(lambda name: leaves[f"d.{name}"], list(leaves["y"]), e[-1])
    np.testing.assert_allclose(found["e"], e, rtol=1e-10)
    np.testing.assert_allclose(found["d"], d, rtol=1e-10)


def test_an_encoder_that_runs_both_ways() -> None:
    lines = [
        "f = tanh(x + 0.5 * f[s-1])",
        "b = tanh(x - 0.5 * b[s+1])",
        "d = 0.9 * d[t-1] + y",
        "init d = concat(last(f)[:2], first(b)[2])",
    ]
    leaves, found = outputs(graph_of(net(*lines, "output d")))
    x, y = leaves["x"], leaves["y"]
    f, b = np.zeros((2, 3, 3))
    for s in range(5):
        f = np.tanh(x[s] + 0.5 * f)
        b = np.tanh(x[4 - s] - 0.5 * b)
    d = np.concatenate([f[:, :2], b[:, 2:]], axis=1)
    for t in range(4):
        d = 0.9 * d + y[t]
        np.testing.assert_allclose(found["d"][t], d, rtol=1e-10)


def test_a_reset_along_each_axis() -> None:
    lines = ["h = h[s-2] + x", "init h = 7", "reset h when x[0] > 1", "g = g[t-1] + y"]
    more = ["reset g when y[1] > 0", "output h, g"]
    leaves, found = outputs(graph_of(net(*lines, *more)))
    x, y = leaves["x"], leaves["y"]
    for n in range(3):
        h = [np.full(3, 7.0)] * 2
        for s in range(5):
            if x[s, n, 0] > 1:
                h = [np.full(3, 7.0)] * 2
            h = [h[1], h[0] + x[s, n]]
            np.testing.assert_allclose(found["h"][s, n], h[1])
        g = np.zeros(3)
        for t in range(4):
            g = (g if y[t, n, 1] <= 0 else 0) + y[t, n]
            np.testing.assert_allclose(found["g"][t, n], g)


def test_a_function_goes_over_the_axis_of_its_arguments() -> None:
    lines = ["fn centred(a) = a - mean(a, over t)", "p = centred(x)", "q = centred(x * y, over t)"]
    leaves, found = outputs(graph_of(net(*lines, "output p, q")))
    x = leaves["x"]
    both = x[:, None] * leaves["y"][None]
    np.testing.assert_allclose(found["p"], x - x.mean(axis=0))
    np.testing.assert_allclose(found["q"], both - both.mean(axis=1, keepdims=True))


def test_over_one_axis_of_two() -> None:
    lines = [
        "z = sum(x) * y",
        *(f"{name} = {name[:-1]}(z, over {name[-1]})" for name in ("lasts", "firstt", "maxs")),
        "soft = softmax(z, over t)",
        "output lasts, firstt, maxs, soft",
    ]
    leaves, found = outputs(graph_of(net(*lines)))
    z = leaves["x"].sum(axis=-1)[:, None, :, None] * leaves["y"][None]
    np.testing.assert_allclose(found["lasts"], z[-1])
    np.testing.assert_allclose(found["firstt"], z[:, 0])
    np.testing.assert_allclose(found["maxs"], z.max(axis=0))
    np.testing.assert_allclose(found["soft"], np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("name", ["translate", "two_axes"])
def test_gradients_are_slopes(name: str) -> None:
    graph = graph_of((GOOD_SPECS / f"{name}.roll").read_text())
    leaves = leaves_of(graph)
    derived = canonicalize(adjoint(canonicalize(graph)))
    values = interpret(derived, leaves, SIZES)
    rng = np.random.default_rng(1)
    for leaf, gradient in derived.gradients:
        direction = rng.normal(size=leaves[leaf].shape)
        loss = [
            float(interpret(graph, {**leaves, leaf: leaves[leaf] + step}, SIZES)["loss"])
            for step in (1e-6 * direction, -1e-6 * direction)
        ]
        slope = (loss[0] - loss[1]) / 2e-6
        found = float((values[gradient] * direction).sum())
        assert found == pytest.approx(slope, rel=1e-5, abs=1e-7), leaf


@pytest.mark.long
@pytest.mark.parametrize("name", ["translate", "two_axes"])
def test_every_kernel_is_the_meaning(name: str) -> None:
    """As plain Python: to compile all of them would take a minute."""
    program = (
        "import sys; from pathlib import Path; from tests.commands.fuzz_specs import run_on\n"
        "from rollc.lang.load import load_graph\n"
        "from rollc.lang.diagnostics.source import Source\n"
        "run_on(load_graph(Source('spec', Path(sys.argv[1]).read_text())).graph)\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(GOOD_SPECS / f"{name}.roll")],
        check=True,
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
