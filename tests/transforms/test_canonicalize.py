"""Simplifying: each rewrite gives what it promises, with equal values and equal gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.driver.build import FEEDS
from rollc.driver.sources import read_spec
from rollc.ir.builder import Builder
from rollc.ir.expressions import call
from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.verifier import verify
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.unroll import unroll
from tests.helpers.growth import assert_linear
from tests.helpers.paths import GOLDEN
from tests.helpers.stage_texts import stages

Array = NDArray[Any]
SIZES = {"t": 4, "batch": 3}

OVER = ": float[2] over t, batch"
ONE = ": float over t, batch"
LEAVES = """\
x = input() : float[2] over t, batch
y = input() : float[2] over t, batch
z = input() : float[4] over t, batch
u = input() : float over t, batch
v = input() : float[2] over batch
W = param() {initialiser=zeros} : float[2, 2]
M = param() {initialiser=zeros} : float[2, 4]
zero = constant() {value=0.0} : float
one = constant() {value=1.0} : float
two = constant() {value=2.0} : float
five = constant() {value=5.0} : float
six = constant() {value=6.0} : float
half = constant() {value=0.5} : float
minus = constant() {value=-1.0} : float
"""


def network(lines: str) -> Graph:
    return parse_graph(
        f"rollc graph 1  stage checked\nnet small\naxis t\n{LEAVES}{lines}\noutput o\n"
    )


def with_loss(graph: Graph) -> Graph:
    """The graph with a loss that every element of its output matters to."""
    build = Builder(graph.nodes)
    build.prefix = "loss"
    value = call("sin", build.read("o"))
    value = call("sum", value) if value.type.shape else value
    build.define("loss", "sum_over", (value,), over=value.type.axes)
    return replace(graph, nodes=tuple(build.nodes.values()), loss="loss")


def given(graph: Graph) -> dict[str, Array]:
    random = np.random.default_rng(1)
    return {
        node.name: random.normal(
            size=tuple(SIZES[axis] for axis in node.type.axes) + node.type.shape
        )
        for node in graph.nodes
        if node.operation in ("input", "param")
    }


def values_and_gradients(graph: Graph, leaves: dict[str, Array]) -> dict[str, Array]:
    derived = adjoint(graph)
    arrays = interpret(derived, leaves, SIZES)
    found = {"o": arrays[dict(graph.outputs)["o"]]}
    return found | {leaf: arrays[name] for leaf, name in derived.gradients}


def body(graph: Graph) -> list[str]:
    """The nodes that are no leaves, as text without types."""
    lines = print_graph(graph).splitlines()
    parts = [line.split("  :")[0] for line in lines if " = " in line and "  :" in line]
    written = [" ".join(part.split()) for part in parts]
    return [line for line in written if "input()" not in line and "param()" not in line]


# The lines of a graph, and what is left of them beside the inputs and parameters.
CASES: dict[str, tuple[str, list[str]]] = {
    "plus zero": (f"a = add(x, zero) {OVER}\no = tanh(a) {OVER}", ["o = tanh(x)"]),
    "zero plus": (f"a = add(zero, x) {OVER}\no = tanh(a) {OVER}", ["o = tanh(x)"]),
    "minus zero": (f"a = subtract(x, zero) {OVER}\no = tanh(a) {OVER}", ["o = tanh(x)"]),
    "times one": (f"a = multiply(one, x) {OVER}\no = tanh(a) {OVER}", ["o = tanh(x)"]),
    "over one": (f"a = divide(x, one) {OVER}\no = tanh(a) {OVER}", ["o = tanh(x)"]),
    "power one": (f"a = power(x, one) {OVER}\no = tanh(a) {OVER}", ["o = tanh(x)"]),
    "square": (f"o = power(x, two) {OVER}", ["o = multiply(x, x)"]),
    "fifth power": (
        f"o = power(x, five) {OVER}",
        ["o'4 = multiply(x, x)", "o'2 = multiply(o'4, o'4)", "o = multiply(x, o'2)"],
    ),
    "sixth power": (
        f"o = power(x, six) {OVER}",
        ["o'4 = multiply(x, x)", "o'2 = multiply(x, o'4)", "o = multiply(o'2, o'2)"],
    ),
    "two negations": (
        f"a = negate(x) {OVER}\nb = negate(a) {OVER}\no = tanh(b) {OVER}",
        ["o = tanh(x)"],
    ),
    "zero minus": (f"o = subtract(zero, x) {OVER}", ["o = negate(x)"]),
    "times minus one": (f"o = multiply(x, minus) {OVER}", ["o = negate(x)"]),
    "plus a negation": (f"a = negate(y) {OVER}\no = add(x, a) {OVER}", ["o = subtract(x, y)"]),
    "minus a negation": (f"a = negate(y) {OVER}\no = subtract(x, a) {OVER}", ["o = add(x, y)"]),
    "product of negations": (
        f"a = negate(x) {OVER}\nb = negate(y) {OVER}\no = multiply(a, b) {OVER}",
        ["o = multiply(x, y)"],
    ),
    "negated difference": (
        f"a = subtract(x, y) {OVER}\no = negate(a) {OVER}",
        ["o = subtract(y, x)"],
    ),
    "sign of a product": (
        f"a = tanh(x) {OVER}\nn = negate(a) {OVER}\nm = multiply(n, y) {OVER}\n"
        f"o = add(m, a) {OVER}",
        ["a = tanh(x)", "m'1 = multiply(a, y)", "o = subtract(a, m'1)"],
    ),
    "sign of what nobody else reads": (
        f"a = tanh(x) {OVER}\nn = negate(a) {OVER}\no = multiply(n, y) {OVER}",
        ["a = tanh(x)", "n = negate(a)", "o = multiply(n, y)"],
    ),
    "sign of an earlier step": (
        f"a = tanh(x) {OVER}\nn = negate(a[t-1]) {OVER}\nm = multiply(n, y) {OVER}\n"
        f"o = add(m, a) {OVER}",
        ["a = tanh(x)", "n = negate(a[t-1])", "m = multiply(n, y)", "o = add(m, a)"],
    ),
    "sign of a matrix product": (
        f"a = tanh(x) {OVER}\nn = negate(a) {OVER}\nm = matmul(W, n) {OVER}\no = add(m, a) {OVER}",
        ["a = tanh(x)", "m'1 = matmul(W, a)", "o = subtract(a, m'1)"],
    ),
    "sign of a dot product": (
        f"a = tanh(x) {OVER}\nn = negate(a) {OVER}\nm = dot(y, n) {ONE}\no = add(a, m) {OVER}",
        ["a = tanh(x)", "m'1 = dot(y, a)", "o = subtract(a, m'1)"],
    ),
    "sign of an outer product": (
        f"a = tanh(x) {OVER}\nn = negate(a) {OVER}\nm = outer(n, y) : float[2, 2] over t, batch\n"
        f"o = matmul(m, a) {OVER}",
        ["a = tanh(x)", "m'1 = outer(a, y)", "m = negate(m'1)", "o = matmul(m, a)"],
    ),
    "sign of a sum": (
        f"n = negate(x) {OVER}\ns = sum(n) {ONE}\no = add(y, s) {OVER}",
        ["s'1 = sum(x)", "o = subtract(y, s'1)"],
    ),
    "sign of a sum over time": (
        f"n = negate(x) {OVER}\ns = sum_over(n) {{over=[t]}} : float[2] over batch\n"
        f"o = add(y, s) {OVER}",
        ["s'1 = sum_over(x) {over=[t]}", "o = subtract(y, s'1)"],
    ),
    "folded": (
        f"a = add(two, half) : float\nb = exp(a) : float\no = multiply(x, b) {OVER}",
        ["b = constant() {value=12.182493960703473}", "o = multiply(x, b)"],
    ),
    "not folded to infinity": (
        f"a = divide(one, zero) : float\no = multiply(x, a) {OVER}",
        [
            "zero = constant() {value=0.0}",
            "one = constant() {value=1.0}",
            "a = divide(one, zero)",
            "o = multiply(x, a)",
        ],
    ),
    "where on a known condition": (
        f"a = less(one, two) : bool\no = where(a, x, y) {OVER}",
        ["o = identity(x)"],
    ),
    "where with one outcome": (
        f"a = less(x, y) : bool[2] over t, batch\nb = where(a, x, x) {OVER}\no = tanh(b) {OVER}",
        ["o = tanh(x)"],
    ),
    "equal terms": (
        f"a = add(x, y) {OVER}\nb = add(a, x) {OVER}\no = add(x, b) {OVER}",
        ["o'1 = constant() {value=3.0}", "o'2 = multiply(o'1, x)", "o = add(o'2, y)"],
    ),
    "twice": (
        f"o = add(x, x) {OVER}",
        ["two = constant() {value=2.0}", "o = multiply(two, x)"],
    ),
    "stop stays": (f"a = stop(x) {OVER}\no = add(a, zero) {OVER}", ["o = stop(x)"]),
    "equal nodes": (
        f"a = tanh(x) {OVER}\nb = tanh(x) {OVER}\no = multiply(a, b) {OVER}",
        ["a = tanh(x)", "o = multiply(a, a)"],
    ),
    "equal up to order": (
        f"a = add(x, y) {OVER}\nb = add(y, x) {OVER}\no = divide(a, b) {OVER}",
        ["a = add(x, y)", "o = divide(a, a)"],
    ),
    "a name of a person wins": (
        f"o'1 = tanh(x) {OVER}\nc = tanh(x) {OVER}\no = multiply(o'1, c) {OVER}",
        ["c = tanh(x)", "o = multiply(c, c)"],
    ),
    "unused": (f"a = tanh(x) {OVER}\no = sin(x) {OVER}", ["o = sin(x)"]),
    "number instead of its fill": (
        f"a = fill(u) {{shape=[2]}} {OVER}\no = multiply(x, a) {OVER}",
        ["o = multiply(x, u)"],
    ),
    "fill that sets the shape": (
        f"a = fill(u) {{shape=[2]}} {OVER}\no = tanh(a) {OVER}",
        ["a = fill(u) {shape=[2]}", "o = tanh(a)"],
    ),
    "sum of a fill": (
        f"a = fill(u) {{shape=[2]}} {OVER}\no = sum(a) {ONE}",
        ["two = constant() {value=2.0}", "o = multiply(u, two)"],
    ),
    "mean of a fill": (
        f"a = fill(u) {{shape=[2]}} {OVER}\nb = mean(a) {ONE}\no = tanh(b) {ONE}",
        ["o = tanh(u)"],
    ),
    "matmul by zeros": (
        "a = fill(zero) {shape=[2]} : float[2]\n"
        f"b = matmul(W, a) : float[2]\no = add(x, b) {OVER}",
        ["o = identity(x)"],
    ),
    "slice of a slice": (
        "a = slice(z) {start=1, stop=4} : float[3] over t, batch\n"
        f"o = slice(a) {{start=1, stop=3}} {OVER}",
        ["o = slice(z) {axis=0, start=2, stop=4}"],
    ),
    "slice of everything": (
        f"a = slice(x) {{start=0, stop=2}} {OVER}\no = tanh(a) {OVER}",
        ["o = tanh(x)"],
    ),
    "slice of a concat": (
        "a = concat(x, u, y) {axis=0} : float[5] over t, batch\n"
        f"b = slice(a) {{start=3, stop=5}} {OVER}\no = tanh(b) {OVER}",
        ["o = tanh(y)"],
    ),
    "slice inside a part": (
        f"a = concat(u, z) : float[5] over t, batch\no = slice(a) {{start=2, stop=4}} {OVER}",
        ["o = slice(z) {axis=0, start=1, stop=3}"],
    ),
    "slice of several parts": (
        "a = concat(x, y, u) : float[5] over t, batch\n"
        "o = slice(a) {start=2, stop=5} : float[3] over t, batch",
        ["o = concat(y, u) {axis=0}"],
    ),
    "neighbouring slices": (
        f"a = slice(x) {{start=0, stop=1}} : float[1] over t, batch\n"
        f"b = slice(x) {{start=1, stop=2}} : float[1] over t, batch\n"
        f"c = concat(a, b) {OVER}\no = tanh(c) {OVER}",
        ["o = tanh(x)"],
    ),
    "concat of a concat": (
        "a = concat(x, u) : float[3] over t, batch\no = concat(a, y) : float[5] over t, batch",
        ["o = concat(x, u, y)"],
    ),
    "slice of a pad": (
        "a = pad(x) {size=4, start=1} : float[4] over t, batch\n"
        f"b = slice(a) {{start=1, stop=3}} {OVER}\no = tanh(b) {OVER}",
        ["o = tanh(x)"],
    ),
    "pad of a pad": (
        "a = pad(x) {size=4, start=1} : float[4] over t, batch\n"
        "o = pad(a) {size=6, start=2} : float[6] over t, batch",
        ["o = pad(x) {axis=0, size=6, start=3}"],
    ),
    "pads that tile": (
        "a = pad(y) {size=5, start=3} : float[5] over t, batch\n"
        "b = pad(x) {size=5, start=0} : float[5] over t, batch\n"
        "c = slice(x) {start=0, stop=1} : float[1] over t, batch\n"
        "d = pad(c) {size=5, start=2} : float[5] over t, batch\n"
        "e = add(a, b) : float[5] over t, batch\n"
        "o = add(e, d) : float[5] over t, batch",
        ["c = slice(x) {start=0, stop=1}", "o = concat(x, c, y) {axis=0}"],
    ),
    "pads that do not tile": (
        "a = pad(y) {size=5, start=3} : float[5] over t, batch\n"
        "b = pad(x) {size=5, start=0} : float[5] over t, batch\n"
        "o = add(a, b) : float[5] over t, batch",
        [
            "a = pad(y) {size=5, start=3}",
            "b = pad(x) {size=5, start=0}",
            "o = add(a, b)",
        ],
    ),
    "row of a stack": (
        "a = stack(x, y) : float[2, 2] over t, batch\n"
        "b = slice(a) {start=1, stop=2} : float[1, 2] over t, batch\n"
        f"c = sum(b) {{axis=0}} {OVER}\no = tanh(c) {OVER}",
        ["o = tanh(y)"],
    ),
    "sum of a stack": (
        "a = stack(x, y, x[t-1]) : float[3, 2] over t, batch\n"
        f"b = sum(a) {{axis=0}} {OVER}\no = tanh(b) {OVER}",
        ["b'1 = add(x, y)", "b = add(b'1, x[t-1])", "o = tanh(b)"],
    ),
    "mean of a stack": (
        "a = stack(x, y) : float[2, 2] over t, batch\n"
        f"b = mean(a) {{axis=0}} {OVER}\no = tanh(b) {OVER}",
        ["two = constant() {value=2.0}", "b'1 = add(x, y)", "b = divide(b'1, two)", "o = tanh(b)"],
    ),
    "sum of a stack that has another reader": (
        "a = stack(x, y) : float[2, 2] over t, batch\n"
        f"b = sum(a) {{axis=0}} {OVER}\nc = tanh(a) : float[2, 2] over t, batch\n"
        f"d = max(c) {{axis=0}} {OVER}\no = add(b, d) {OVER}",
        [
            "a = stack(x, y)",
            "b = sum(a) {axis=0}",
            "c = tanh(a)",
            "d = max(c) {axis=0}",
            "o = add(b, d)",
        ],
    ),
    "max along one element": (
        "a = slice(W) {axis=0, start=1, stop=2} : float[1, 2]\n"
        f"b = max(a) {{axis=0}} : float[2]\no = add(b, x) {OVER}",
        ["a = slice(W) {axis=0, start=1, stop=2}", "b = reshape(a) {shape=[2]}", "o = add(b, x)"],
    ),
    "sum of an expand": (
        "a = expand(x) {axis=0, size=2} : float[2, 2] over t, batch\n"
        f"o = sum(a) {{axis=0}} {OVER}",
        ["two = constant() {value=2.0}", "o = multiply(x, two)"],
    ),
    "transposed twice": (
        f"A = transpose(W) : float[2, 2]\nB = transpose(A) : float[2, 2]\no = matmul(B, x) {OVER}",
        ["o = matmul(W, x)"],
    ),
    "transpose in a matmul": (
        f"A = transpose(W) : float[2, 2]\no = matmul(A, x) {OVER}",
        ["o = matmul(W, x) {transpose_a=true}"],
    ),
    "sum over steps of one value": (
        "a = spread(v) {axis=t} : float[2] over t, batch\n"
        "o = sum_over(a) {over=[t, batch]} : float[2]",
        [
            "o'1 = extent() {axis=t}",
            "o'2 = multiply(v, o'1)",
            "o = sum_over(o'2) {over=[batch]}",
        ],
    ),
    "mean over steps of one value": (
        "a = spread(v) {axis=t} : float[2] over t, batch\n"
        "b = mean_over(a) {over=[t]} : float[2] over batch\no = tanh(b) : float[2] over batch",
        ["o = tanh(v)"],
    ),
    "last of one value": (
        "a = spread(v) {axis=t} : float[2] over t, batch\n"
        "b = last(a) {axis=t} : float[2] over batch\no = tanh(b) : float[2] over batch",
        ["o = tanh(v)"],
    ),
    "first of what stands there": (
        "a = impulse(v) {at=first, axis=t} : float[2] over t, batch\n"
        "b = first(a) {axis=t} : float[2] over batch\no = tanh(b) : float[2] over batch",
        ["o = tanh(v)"],
    ),
    "sum of what stands at one step": (
        "a = impulse(v) {at=last, axis=t} : float[2] over t, batch\n"
        "b = sum_over(a) {over=[t]} : float[2] over batch\no = tanh(b) : float[2] over batch",
        ["o = tanh(v)"],
    ),
    "zeros in a combination": (
        f"a = fill(zero) {{shape=[2]}} : float[2]\nb = sum_of(x, a) {OVER}\no = tanh(b) {OVER}",
        ["o = tanh(x)"],
    ),
    "initial value zero": (
        f"s = add(x, s[t-1]) init b {OVER}\nb = fill(zero) {{shape=[2]}} : float[2]\n"
        f"o = tanh(s) {OVER}",
        ["s = add(x, s[t-1])", "o = tanh(s)"],
    ),
    "delayed reads keep their initial value": (
        f"a = identity(x) init v {OVER}\no = add(a[t-1], x[t-1]) {OVER}",
        ["a = identity(x) init v", "o = add(a[t-1], x[t-1])"],
    ),
    "nodes with other initial values": (
        f"a = tanh(x) init v {OVER}\nb = tanh(x) {OVER}\no = add(a[t-1], b[t-1]) {OVER}",
        ["a = tanh(x) init v", "b = tanh(x)", "o = add(a[t-1], b[t-1])"],
    ),
    "a delayed copy": (
        f"a = identity(x[t-1]) {OVER}\no = add(a, y[t-1]) {OVER}",
        ["o = add(x[t-1], y[t-1])"],
    ),
    "the part of a matmul that is on no cycle": (
        "c = concat(s[t-1], x) : float[4] over t, batch\n"
        f"d = matmul(M, c) {OVER}\ns = tanh(d) {OVER}\no = sin(s) {OVER}",
        [
            "d'1 = slice(M) {axis=1, start=0, stop=2}",
            "d'2 = matmul(d'1, s[t-1])",
            "d'3 = slice(M) {axis=1, start=2, stop=4}",
            "d'4 = matmul(d'3, x)",
            "d = add(d'2, d'4)",
            "s = tanh(d)",
            "o = sin(s)",
        ],
    ),
    "a matmul on no cycle": (
        f"c = concat(x, y) : float[4] over t, batch\no = matmul(M, c) {OVER}",
        ["c = concat(x, y)", "o = matmul(M, c)"],
    ),
    "an index by what is known": (
        "i = constant() {value=0.0} : index(2)\nj = constant() {value=1.0} : index(2)\n"
        "c = less(two, one) : bool\nk = where(c, i, j) : index(2)\n"
        f"e = embed(W, k) : float[2]\no = add(e, x) {OVER}",
        ["j = constant() {value=1.0}", "e = embed(W, j)", "o = add(e, x)"],
    ),
    "the part of a matmul that is zero": (
        "a = fill(zero) {shape=[2]} : float[2]\n"
        f"c = concat(a, x) : float[4] over t, batch\no = matmul(M, c) {OVER}",
        ["o'1 = slice(M) {axis=1, start=2, stop=4}", "o = matmul(o'1, x)"],
    ),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
def test_rewrites(case: str) -> None:
    lines, expected = CASES[case]
    graph = network(lines)
    simple = canonicalize(graph)
    assert simple.stage == "simplified"
    assert body(simple) == expected
    assert verify(simple) == []
    assert canonicalize(simple) == simple


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
def test_rewrites_keep_values_and_gradients(case: str) -> None:
    graph = with_loss(network(CASES[case][0]))
    leaves = given(graph)
    expected = values_and_gradients(graph, leaves)
    found = values_and_gradients(canonicalize(graph), leaves)
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-12, atol=1e-14, err_msg=name)


def test_results_keep_their_names() -> None:
    graph = network(f"o = tanh(x) {OVER}\np = tanh(x) {OVER}\nq = identity(x) {OVER}")
    graph = replace(graph, outputs=(("o", "o"), ("p", "p"), ("q", "q")))
    simple = canonicalize(graph)
    assert simple.outputs == graph.outputs
    assert body(simple) == ["o = tanh(x)", "p = tanh(x)", "q = identity(x)"]


def test_leaves_stay_and_constants_go() -> None:
    simple = canonicalize(network(f"o = tanh(x) {OVER}"))
    assert [node.name for node in simple.nodes] == ["x", "y", "z", "u", "v", "W", "M", "o"]


def test_the_adjoint_of_a_split_is_one_concat() -> None:
    graph = stages(GOLDEN / "both_ways.roll")["adjoint"]
    assert not any(node.operation == "pad" for node in graph.nodes)
    assert graph["~z'2"].operation == "concat"
    assert graph["~W"].operation == "concat"


def test_the_first_step_of_an_unrolled_network_has_no_matmul_with_zeros() -> None:
    graph = stages(GOLDEN / "vanilla.roll")["simplified"]
    dag = unroll(graph, 3)
    count = sum(node.operation == "matmul" for node in dag.nodes)
    assert sum(node.operation == "matmul" for node in canonicalize(dag).nodes) == count - 1


def test_stages_other_than_checked_stay_what_they_are() -> None:
    found = stages(GOLDEN / "vanilla.roll")
    assert canonicalize(found["adjoint"]).stage == "adjoint"
    assert canonicalize(found["dag"]).stage == "dag"
    assert canonicalize(found["dag"], stage="simplified").stage == "simplified"


def test_a_cycle_without_a_delay_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle without a delay"):
        canonicalize(network(f"a = tanh(o) {OVER}\no = add(a, x) {OVER}"))


def test_long_sums_take_linear_time() -> None:
    small = network(f"o = add(x, y) {OVER}")
    type_ = small["o"].type

    def long_sum(terms: int) -> None:
        chain = [
            Node(f"s{place}", "add", (Edge(f"s{place - 1}" if place else "x"), Edge("y")), type_)
            for place in range(terms)
        ]
        last = Node("o", "add", (Edge(f"s{terms - 1}"), Edge("x")), type_)
        others = (node for node in small.nodes if node.name != "o")
        assert len(body(canonicalize(small.with_nodes((*others, *chain, last))))) == 5

    assert_linear(long_sum, 500)


def test_a_long_unrolled_network_takes_linear_time() -> None:
    graph = stages(GOLDEN / "vanilla.roll")["adjoint"]
    dags = {steps: unroll(graph, steps) for steps in (20, 80)}
    assert_linear(lambda steps: canonicalize(dags[steps]), 20)
    assert len(canonicalize(dags[80]).nodes) < len(dags[80].nodes)


def test_a_delayed_read_of_what_is_rewritten_later() -> None:
    graph = parse_graph("""rollc graph 1  stage simplified
net late
axis t

x = input()           : float over t, batch
n = negate(h[t-1])    : float over t, batch
k = tanh(n)           : float over t, batch
m = multiply(k, x)    : float over t, batch
h = identity(m)       : float over t, batch
y = add(h, n)         : float over t, batch

output y
""")
    after = canonicalize(graph)
    assert [str(edge) for edge in after["y"].operands] == ["m", "m[t-1]"]
    leaves = {"x": np.random.default_rng(0).normal(size=(4, 3))}
    expected, found = interpret(graph, leaves, SIZES), interpret(after, leaves, SIZES)
    np.testing.assert_allclose(found["y"], expected["y"])


def test_what_operands_fold_to_changes_no_type() -> None:
    text = """net folded
input x: [3]
param p
fn product(a, b) = a * b
    grad a: b
h = product(p * 0, x)
output h
loss mean(sum(h), over t)
"""
    graph, _ = read_spec(text, "folded.roll")
    simple = canonicalize(graph)
    assert verify(simple) == []
    assert simple["h"].type == graph["h"].type
    assert verify(canonicalize(adjoint(simple))) == []


def test_a_leaf_that_nothing_reads_has_no_initial_value() -> None:
    """What it would start from is gone, and nothing may look for it."""
    text = "net n\ninput x: [2, 2], u\ninit x = 2\nh = u + 0.5 * h[t-1]\noutput h\n"
    for feed in FEEDS:
        graph = canonicalize(read_spec(text, "n.roll", feed=feed)[0])
        assert verify(graph) == []
        leaves = {"x": np.zeros((3, 1, 2, 2)), "u": np.ones((3, 1))}
        found = interpret(graph, leaves, {"t": 3, "batch": 1})
        np.testing.assert_allclose(found["h"][:, 0], [1, 1.5, 1.75])


def test_an_initial_value_that_is_read_with_a_delay_keeps_it() -> None:
    header = "rollc graph 1  stage checked\nnet grid\naxis s, t\n\n"
    graph = parse_graph(
        header
        + "x = input() : float over s, t, batch\n"
        + "e = input() : float over s, batch\n"
        + "i = identity(e[s-1]) : float over s, batch\n"
        + "g = add(x, g[t-1]) init i : float over s, t, batch\n\noutput g\n"
    )
    short, random = canonicalize(graph), np.random.default_rng(0)
    leaves = {"x": random.normal(size=(3, 2, 4)), "e": random.normal(size=(3, 4))}
    sizes = {"s": 3, "t": 2, "batch": 4}
    expected, found = (interpret(one, leaves, sizes)["g"] for one in (graph, short))
    np.testing.assert_array_equal(found, expected)
