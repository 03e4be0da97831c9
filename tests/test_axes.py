"""Two time axes: an encoder, a decoder of another length, and attention between them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rollc.graph.adjoint import adjoint
from rollc.graph.build import Builder
from rollc.graph.check import AlongTwoAxes, check
from rollc.graph.expression import call
from rollc.graph.graph import Edge, Graph, Node, Type
from rollc.graph.simplify import simplify
from rollc.graph.verify import verify
from rollc.interp import interpret
from rollc.kernel.compiled import Kernel
from rollc.kernel.emit import emit
from rollc.kernel.lower import lower
from rollc.kernel.plan import plan
from rollc.kernel.schedule import schedule
from rollc.kernel.text import parse_program, parse_schedule, print_program, print_schedule

SIZES = {"s": 5, "t": 4, "batch": 3}
HIDDEN, WORDS, CLASSES = 4, 5, 3


@cache
def attention() -> Graph:
    """Bahdanau, Cho and Bengio (2015), with a product as the score."""
    build = Builder()

    def weights(name: str, *shape: int) -> None:
        build.leaf(name, "param", Type("float", shape), initialiser="glorot")

    source = build.leaf("src", "input", Type("index", (), ("s", "batch"), WORDS))
    extra = build.leaf("x", "input", Type("float", (2,), ("s", "batch")))
    target = build.leaf("tgt", "target", Type("index", (), ("t", "batch"), CLASSES))
    weights("E", WORDS, HIDDEN)
    weights("X", HIDDEN, 2)
    for name in ("W", "A", "U", "C"):
        weights(name, HIDDEN, HIDDEN)
    weights("O", CLASSES, HIDDEN)
    read = build.read
    build.promise("e", Type("float", (HIDDEN,), ("s", "batch")))
    build.prefix = "e"
    before = call("matmul", read("W"), read("e", 1, "s")) + call("matmul", read("X"), extra)
    e = build.define("e", "tanh", (call("embed", read("E"), source) + before,))
    build.define("start", "last", (e,), axis="s")
    build.promise("d", Type("float", (HIDDEN,), ("t", "batch")))
    build.prefix = "d"
    score = call("dot", e, call("matmul", read("A"), read("d", 1, "t")))
    share = call("softmax_over", score, over=("s",))
    context = call("sum_over", share * e, over=("s",))
    inside = call("matmul", read("U"), read("d", 1, "t")) + call("matmul", read("C"), context)
    d = build.define("d", "tanh", (inside,))
    build.nodes["d"] = replace(build.nodes["d"], initial="start")
    o = build.define("o", "matmul", (read("O"), d))
    build.prefix = "loss"
    each = call("mean_over", call("cross_entropy", o, target), over=("t",))
    build.define("loss", "mean_over", (each,), over=("batch",))
    graph = Graph(
        "attention",
        "graph",
        tuple(build.nodes.values()),
        (("o", "o"), ("share", share.edge.source)),
        "loss",
        axes=("s", "t"),
    )
    assert verify(graph) == []
    checked = check(graph).graph
    assert checked is not None
    return checked


@cache
def leaves() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found = {}
    for node in attention().nodes:
        if node.operation in ("input", "target", "param"):
            shape = (*(SIZES[axis] for axis in node.type.axes), *node.type.shape)
            index = node.type.kind == "index"
            found[node.name] = (
                rng.integers(0, node.type.bound, shape) if index else rng.normal(size=shape)
            )
    return found


@pytest.mark.parametrize("name", ["x", "E", "W", "A", "U", "C", "O"])
def test_gradients_are_slopes(name: str) -> None:
    graph = attention()
    derived = adjoint(graph)
    gradient = interpret(derived, leaves(), SIZES)[dict(derived.gradients)[name]]
    direction = np.random.default_rng(1).normal(size=gradient.shape)

    def loss(step: float) -> float:
        moved = leaves()[name] + step * direction
        return float(interpret(graph, {**leaves(), name: moved}, SIZES)["loss"])

    slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_the_kernel_is_the_meaning(tmp_path: Path) -> None:
    derived = simplify(adjoint(simplify(attention())))
    scheduled = schedule(lower(derived))
    assert parse_schedule(print_schedule(scheduled)) == scheduled
    loops = [(region.kind, region.axis) for region in scheduled.regions if region.axis]
    assert loops == [("forward", "s"), ("forward", "t"), ("backward", "t"), ("backward", "s")]
    program = plan(scheduled)
    assert parse_program(print_program(program)) == program
    source = tmp_path / "kernel.py"
    source.write_text(emit(program, "float64"))
    kernel = Kernel(program, source, "float64")
    steps = {axis: SIZES[axis] for axis in ("s", "t")}
    expected = interpret(derived, leaves(), SIZES)
    names = {**dict(derived.outputs), **dict(derived.gradients), "loss": "loss"}
    for _ in range(2):
        found = kernel.run(leaves(), steps, SIZES["batch"], ("primal", "adjoint", "inputs"))
        assert {label for _, label in found} == set(names)
        for (_, label), array in found.items():
            value = expected[names[label]]
            assert array.shape == value.shape
            np.testing.assert_allclose(array, value, rtol=1e-9, atol=1e-12, err_msg=label)


def test_a_cycle_runs_along_one_axis() -> None:
    axes = Type("float", (), ("s", "t", "batch"))
    nodes = (
        Node("x", "input", (), Type("float", (), ("s", "t", "batch"))),
        Node("a", "add", (Edge("h", 1, "s"), Edge("x")), axes),
        Node("h", "add", (Edge("a"), Edge("g", 1, "t")), axes),
        Node("g", "tanh", (Edge("h"),), axes),
    )
    graph = Graph("grid", "graph", nodes, (("h", "h"),), axes=("s", "t"))
    findings = check(graph).findings
    assert findings
    assert all(isinstance(finding, AlongTwoAxes) for finding in findings)
