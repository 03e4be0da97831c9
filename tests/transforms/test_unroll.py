"""Unrolling: a DAG in topological order that covers the graph and means the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.driver.sources import read_spec
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.verifier import verify
from rollc.transforms.covering import covering, step_leaves
from rollc.transforms.unroll import UnrollError, unroll
from tests.helpers.growth import assert_linear
from tests.helpers.paths import GOLDEN
from tests.helpers.stage_texts import stages

Array = NDArray[Any]
SIZES = {"t": 5, "batch": 2}


def network(lines: str, output: str = "o", axes: str = "t") -> Graph:
    """A graph with inputs x (a vector) and u (a number), and a matrix W."""
    return parse_graph(
        f"""\
rollc graph 1  stage checked
net small
axis {axes}
x = input() : float[2] over t, batch
u = input() : float over t, batch
w = input() : index(3) over t, batch
W = param() : float[2, 2]
k = constant() {{value=0.5}} : float
zero = constant() {{value=0.0}} : float
{lines}
output {output}
"""
    )


def given(graph: Graph, seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    leaves: dict[str, Array] = {}
    for node in graph.nodes:
        if node.operation in ("input", "param"):
            shape = tuple(SIZES[axis] for axis in node.type.axes) + node.type.shape
            whole = node.type.kind == "index"
            leaves[node.name] = random.integers(0, 3, shape) if whole else random.normal(size=shape)
    return leaves


def unrolled_output(graph: Graph, leaves: dict[str, Array], steps: int = SIZES["t"]) -> Array:
    """The output of the unrolled graph, stacked over the steps if it has any."""
    dag = unroll(graph, steps)
    values = interpret(dag, step_leaves(dag, leaves), SIZES)
    return np.stack([values[name] for _, name in dag.outputs])


@pytest.mark.parametrize("spec", ["vanilla", "both_ways"])
@pytest.mark.parametrize("stage", ["checked", "adjoint"])
def test_topological_order_and_no_delays(spec: str, stage: str) -> None:
    dag = unroll(stages(GOLDEN / f"{spec}.roll")[stage], 4)
    assert (dag.stage, dag.steps, dag.axes) == ("dag", 4, ())
    seen: set[str] = set()
    for node in dag.nodes:
        assert node.initial is None
        assert "t" not in node.type.axes
        assert all(edge.delay == 0 and edge.source in seen for edge in node.operands), node.name
        seen.add(node.name)
    assert len(seen) == len(dag.nodes)


@pytest.mark.parametrize("spec", ["vanilla", "both_ways"])
@pytest.mark.parametrize("stage", ["checked", "adjoint"])
def test_covering(spec: str, stage: str) -> None:
    """Every node has one copy a step, with the in-edges of the node that it is a copy of."""
    steps = 9
    graph = stages(GOLDEN / f"{spec}.roll")[stage]
    dag = unroll(graph, steps)
    cover = covering(dag)
    assert list(cover) == [node.name for node in dag.nodes]
    compared = 0
    for node in graph.nodes:
        if "t" not in node.type.axes or node.operation == "spread":
            continue
        for step in range(steps):
            copy = dag[f"{node.name}.{step}"]
            assert cover[copy.name] == (node.name, (step,))
            assert copy.operation == node.operation
            reads = [(edge.source, step - edge.delay) for edge in node.operands]
            if all(0 <= at < steps for _, at in reads):
                expected = [
                    (source, (at,)) if "t" in graph[source].type.axes else source
                    for source, at in reads
                ]
                assert [cover[e.source] or e.source for e in copy.operands] == expected
                compared += 1
    assert compared > steps


def test_the_only_axis_has_any_name() -> None:
    text = "net n\ntime s\ninput x\nh = tanh(x + 0.5 * h[s-1])\noutput h\nloss sum(h * h, over s)\n"
    graph, _ = read_spec(text, "n.roll")
    x = np.random.default_rng(0).normal(size=(4, 3))
    expected = interpret(graph, {"x": x}, {"s": 4, "batch": 3})
    dag = unroll(graph, 4)
    found = interpret(dag, step_leaves(dag, {"x": x}), {"batch": 3})
    np.testing.assert_allclose(np.stack([found[name] for _, name in dag.outputs]), expected["h"])
    np.testing.assert_allclose(found[dag.loss or ""], expected[graph.loss or ""])


# What a row knows of all columns of the row before, borders of all kinds, delays of both signs.
GRID = """\
net grid
time s, t
input x[s]: [2], y[t]: [2]
param U: [2, 2], V: [2, 2], left: [2], rows: [3, 2]
h = tanh(x * y + U @ h[s-1] + V @ h[t+2] + 0.5 * h[s-1, t+1] + m[s-1] + softmax(y, over t))
init h over s = 0.1 * y
init h over t = left
init h over s, t = 0.3
m = mean(h, over t)
g = g[t-3] + x[s+1] + first(h, over t)
init g = rows
output h, m, g
loss sum(sum(sum(h * g, over s), over t)) + sum(max(m, over s)) + sum(last(last(h, over t), over s))
"""


@pytest.fixture(scope="module")
def grid() -> tuple[Graph, dict[str, Array], dict[str, int]]:
    graph, _ = read_spec(GRID, "grid.roll")
    sizes = {"s": 3, "t": 4, "batch": 2}
    random = np.random.default_rng(0)
    leaves = {
        node.name: random.normal(size=(*(sizes[axis] for axis in node.type.axes), *node.type.shape))
        for node in graph.nodes
        if node.operation in ("input", "param")
    }
    return graph, leaves, sizes


def test_two_axes_are_a_grid(grid: tuple[Graph, dict[str, Array], dict[str, int]]) -> None:
    """Every copy has the value that its node has at its steps, and none reads what comes later."""
    graph, leaves, sizes = grid
    derived = adjoint(graph)
    dag = unroll(derived, sizes)
    assert (dag.stage, dag.grid, dag.axes) == ("dag", (("s", 3), ("t", 4)), ())
    assert verify(dag) == []
    assert parse_graph(print_graph(dag)) == dag
    seen: set[str] = set()
    for node in dag.nodes:
        assert node.initial is None
        assert all(edge.delay == 0 and edge.source in seen for edge in node.operands), node.name
        seen.add(node.name)
    expected = interpret(derived, leaves, sizes)
    found = interpret(dag, step_leaves(dag, leaves), sizes)
    compared = set()
    for name, copy in covering(dag).items():
        if copy is not None and copy[0] in expected:
            base, place = copy
            axes = [axis for axis, step in zip("st", place, strict=True) if step is not None]
            if [*derived[base].type.time] != axes:
                continue  # a part of a sum over both
            value = expected[base][tuple(step for step in place if step is not None)]
            np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=1e-15, err_msg=name)
            compared.add(base)
        elif copy is None and name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-15)
            compared.add(name)
    assert {"h", "~h", "m", "~m", "g", "x", "~x", "~y", "~U", "~left", "~rows"} <= compared


def test_unroll_and_adjoint_commute_along_two_axes(
    grid: tuple[Graph, dict[str, Array], dict[str, int]],
) -> None:
    graph, leaves, sizes = grid
    dag, other = unroll(adjoint(graph), sizes), adjoint(unroll(graph, sizes))
    given = step_leaves(dag, leaves)
    one, two = interpret(dag, given, sizes), interpret(other, given, sizes)
    assert [label for label, _ in dag.gradients][:4] == ["x.s0", "x.s1", "x.s2", "y.t0"]
    for (label, name), (same, twin) in zip(dag.gradients, other.gradients, strict=True):
        assert label == same
        np.testing.assert_allclose(one[name], two[twin], rtol=1e-9, atol=1e-12, err_msg=label)


def test_what_is_read_along_another_axis_is_the_copy_of_that_step() -> None:
    text = """\
net renamed
time s, t
input x[t]: [2], z[s]: [2]
k = tanh(x)
q = z[s-1] * along(k, s)
h = tanh(along(k, s) * k + 0.5 * h[s-1, t-1] + along(z[s-1], t))
a = along(q, t)
g = h + q[s+1] + a[t-1]
output g
loss sum(sum(sum(g, over s), over t))
"""
    graph = adjoint(read_spec(text, "renamed.roll")[0])
    random, sizes = np.random.default_rng(0), {"s": 3, "t": 3, "batch": 2}
    leaves = {name: random.normal(size=(3, 2, 2)) for name in "xz"}
    dag = unroll(graph, sizes)
    assert verify(dag) == []
    expected = interpret(graph, leaves, sizes)
    found = interpret(dag, step_leaves(dag, leaves), sizes)
    for step in range(3):
        np.testing.assert_allclose(found[f"~x.t{step}"], expected["~x"][step], atol=1e-14)
        np.testing.assert_allclose(found[f"~z.s{step}"], expected["~z"][step], atol=1e-14)
    with pytest.raises(UnrollError, match="have the same steps, not 2 along `s` and 3 along `t`"):
        unroll(graph, {"s": 2, "t": 3})


def test_parameters_are_not_copied() -> None:
    dag = unroll(stages(GOLDEN / "vanilla.roll")["checked"], 6)
    assert [node.name for node in dag.leaves("param")] == ["U", "W", "b", "V", "c"]
    inputs = [(node.name, node.options) for node in dag.leaves("input")]
    assert inputs == [(f"x.{step}", {"of": "x", "step": step}) for step in range(6)]


def test_reading_order_follows_time() -> None:
    """A chain into the past runs forward, one into the future backward, its reader last."""
    graph = network(
        """\
s'1 = add(u, s[t-1]) : float over t, batch
s = tanh(s'1) : float over t, batch
b'1 = add(s, b[t+1]) : float over t, batch
b = sin(b'1) : float over t, batch
o = multiply(b, s) : float over t, batch"""
    )
    names = [node.name for node in unroll(graph, 3).nodes if node.name[0] in "sbo"]
    chain = ["s'1.0", "s.0", "s'1.1", "s.1", "s'1.2", "s.2"]
    back = ["b'1.2", "b.2", "o.2", "b'1.1", "b.1", "o.1", "b'1.0", "b.0", "o.0"]
    assert names == chain + back


def test_zero_before_the_first_and_after_the_last_step() -> None:
    graph = network("o = add(x[t-2], x[t+1]) : float[2] over t, batch")
    leaves = given(graph)
    x = np.pad(leaves["x"], [(2, 1), (0, 0), (0, 0)])
    np.testing.assert_array_equal(unrolled_output(graph, leaves), x[:-3] + x[3:])


def test_initial_value_of_one_shape_is_read_at_every_depth() -> None:
    graph = network(
        """\
v = identity(u) init k : float over t, batch
o = identity(v[t-3]) : float over t, batch"""
    )
    leaves = given(graph)
    expected = np.concatenate([np.full((3, 2), 0.5), leaves["u"][:2]])
    np.testing.assert_array_equal(unrolled_output(graph, leaves), expected)


@pytest.mark.parametrize(("delay", "sign"), [(3, "-"), (3, "+")])
def test_rows_of_an_initial_value_are_the_steps_outside_oldest_first(delay: int, sign: str) -> None:
    graph = network(
        f"""\
h0 = param() : float[3, 2]
v = identity(x) init h0 : float[2] over t, batch
o = identity(v[t{sign}{delay}]) : float[2] over t, batch"""
    )
    leaves = given(graph)
    rows = np.repeat(leaves["h0"][:, None], 2, axis=1)
    both = [rows, leaves["x"]] if sign == "-" else [leaves["x"], rows]
    expected = np.concatenate(both)[:5] if sign == "-" else np.concatenate(both)[3:]
    np.testing.assert_array_equal(unrolled_output(graph, leaves), expected)


def test_delays_longer_than_the_sequence() -> None:
    graph = network(
        """\
h0 = param() : float[4, 2]
v = identity(x) init h0 : float[2] over t, batch
o = identity(v[t-4]) : float[2] over t, batch"""
    )
    leaves = {"h0": np.arange(8.0).reshape(4, 2), "W": np.eye(2)}
    leaves |= {"x": np.ones((2, 2, 2)), "u": np.ones((2, 2)), "w": np.zeros((2, 2), dtype=int)}
    found = unrolled_output(graph, leaves, steps=2)
    np.testing.assert_array_equal(found[:, 0], [[0, 1], [2, 3]])


def test_an_index_outside_the_sequence_is_the_first_one() -> None:
    graph = network(
        """\
E = param() : float[3, 2]
o = embed(E, w[t-1]) : float[2] over t, batch"""
    )
    leaves = given(graph)
    found = unrolled_output(graph, leaves)
    np.testing.assert_array_equal(found[0], np.repeat(leaves["E"][:1], 2, axis=0))
    np.testing.assert_array_equal(found[1:], leaves["E"][leaves["w"][:-1]])


def test_a_condition_outside_the_sequence_is_false() -> None:
    graph = network(
        """\
c = equal(x, x) : bool[2] over t, batch
o = where(c[t-1], x, zero) : float[2] over t, batch"""
    )
    leaves = given(graph)
    found = unrolled_output(graph, leaves)
    np.testing.assert_array_equal(found[0], np.zeros((2, 2)))
    np.testing.assert_array_equal(found[1:], leaves["x"][1:])


REDUCTIONS = {
    "o = sum_over(x[t-1]) {over=[t]} : float[2] over batch": lambda x: x[:-1].sum(0),
    "o = sum_over(x) {over=[t, batch]} : float[2]": lambda x: x.sum((0, 1)),
    "o = mean_over(x) {over=[t]} : float[2] over batch": lambda x: x.mean(0),
    "o = mean_over(x[t+1]) {over=[t, batch]} : float[2]": lambda x: x[1:].sum((0, 1)) / 10,
    "o = mean_over(x) {over=[batch]} : float[2] over t": lambda x: x.mean(1),
    "o = max_over(x) {over=[t]} : float[2] over batch": lambda x: x.max(0),
    "o = max_over(x) {over=[t, batch]} : float[2]": lambda x: x.max((0, 1)),
    "o = min_over(x) {over=[t]} : float[2] over batch": lambda x: x.min(0),
    "o = first(x[t+2]) {axis=t} : float[2] over batch": lambda x: x[2],
    "o = last(x[t-1]) {axis=t} : float[2] over batch": lambda x: x[-2],
    "o = last(x[t+1]) {axis=t} : float[2] over batch": lambda x: x[-1] * 0,
    "o = extent() {axis=t} : float": lambda x: np.asarray(5.0),
    "o = outer(x, x) {over=[t, batch]} : float[2, 2]": lambda x: np.einsum("tbi,tbj->ij", x, x),
    "o = outer(x, x) {over=[t]} : float[2, 2] over batch": lambda x: np.einsum(
        "tbi,tbj->bij", x, x
    ),
}


@pytest.mark.parametrize("line", REDUCTIONS)
def test_reductions_over_time(line: str) -> None:
    graph = network(line)
    leaves = given(graph)
    expected = REDUCTIONS[line](leaves["x"])
    found = unrolled_output(graph, leaves)
    np.testing.assert_allclose(found if "over t" in line else found[0], expected, rtol=1e-12)


def test_embedding_gradients_summed_over_the_steps() -> None:
    graph = network("o = embed_adjoint(x, w) {over=[t, batch], rows=3} : float[3, 2]")
    leaves = given(graph)
    expected = np.zeros((3, 2))
    np.add.at(expected, leaves["w"], leaves["x"])
    np.testing.assert_allclose(unrolled_output(graph, leaves)[0], expected, rtol=1e-12)


def test_values_that_stand_at_one_step_or_at_all() -> None:
    graph = network(
        """\
v = last(x) {axis=t} : float[2] over batch
a = impulse(v) {at=first, axis=t} : float[2] over t, batch
b = spread(v) {axis=t} : float[2] over t, batch
c = multiply(b[t-1], k) : float[2] over t, batch
o = add(a, c) : float[2] over t, batch"""
    )
    leaves = given(graph)
    last = leaves["x"][-1]
    expected = np.stack([last] + [last / 2] * 4)
    np.testing.assert_array_equal(unrolled_output(graph, leaves), expected)


def test_labels_of_outputs_and_gradients() -> None:
    graph = stages(GOLDEN / "both_ways.roll")["adjoint"]
    dag = unroll(graph, 2)
    assert dag.outputs == (("b.0", "b.0"), ("b.1", "b.1"))
    labels = [label for label, _ in dag.gradients]
    assert labels == ["x.0", "x.1", "W", "b0"]
    again = adjoint(unroll(stages(GOLDEN / "both_ways.roll")["simplified"], 2))
    assert labels == [label for label, _ in again.gradients]


@pytest.mark.parametrize("over", ["t", "t, batch"])
def test_softmax_over_the_steps(over: str) -> None:
    """As exponentials and their sum over the steps: a softmax goes over no list of nodes."""
    graph = network(
        f"""\
h = matmul(W, x) : float[2] over t, batch
o = softmax_over(h) {{over=[{over}]}} : float[2] over t, batch
p = multiply(o, x) : float[2] over t, batch
loss'1 = sum_over(p) {{over=[t, batch]}} : float[2]
loss = sum(loss'1) : float
loss loss"""
    )
    leaves = given(graph)
    h = leaves["x"] @ leaves["W"].T
    places = (0, 1) if "batch" in over else 0
    expected = np.exp(h) / np.exp(h).sum(axis=places, keepdims=True)
    np.testing.assert_allclose(unrolled_output(graph, leaves), expected)
    derived = adjoint(graph)
    dag = unroll(derived, SIZES["t"])
    slopes = interpret(derived, leaves, SIZES)
    found = interpret(dag, step_leaves(dag, leaves), SIZES)
    for name in ("~W", "loss"):
        np.testing.assert_allclose(found[name], slopes[name], atol=1e-12)


WRONG = {
    "three axes": ("o = identity(x) : float[2] over t, batch", "s, t, u", "than two time axes"),
    "no delay": ("o = add(o, u) : float over t, batch", "t", "the cycle through `o` has no delay"),
    "cycle without a delay": (
        "a = tanh(o) : float over t, batch\no = add(a, u) : float over t, batch",
        "t",
        "has no delay",
    ),
    "both ways": (
        "o = add(o[t-1], o[t+1]) : float over t, batch",
        "t",
        "no direction of time",
    ),
    "through the whole": (
        """\
m = sum_over(o[t-1]) {over=[t]} : float over batch
o = add(m, u) : float over t, batch""",
        "t",
        "no direction of time",
    ),
    "too few rows": (
        """\
h0 = param() : float[1, 2]
o = add(x, o[t-2]) init h0 : float[2] over t, batch""",
        "t",
        "is read 2 steps outside the sequence",
    ),
    "too few rows behind the end": (
        """\
h0 = param() : float[1, 2]
o = add(x, o[t+2]) init h0 : float[2] over t, batch""",
        "t",
        "is read 2 steps outside the sequence",
    ),
}


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.replace(" ", "-"))
def test_what_cannot_be_unrolled(case: str) -> None:
    lines, axes, message = WRONG[case]
    with pytest.raises(UnrollError, match=message):
        unroll(network(lines, axes=axes), 3)


def test_a_sequence_has_a_step() -> None:
    with pytest.raises(UnrollError, match="`t` has at least one step, not 0"):
        unroll(network("o = tanh(x) : float[2] over t, batch"), 0)


def test_too_many_steps_are_refused_before_they_fill_the_memory() -> None:
    with pytest.raises(UnrollError, match="1000000000 steps of `small` would be 4000000000 nodes"):
        unroll(network("o = tanh(x) : float[2] over t, batch"), 10**9)
    with pytest.raises(UnrollError, match=r"1000 times 1000 steps of `grid` would be \d+ nodes"):
        unroll(read_spec(GRID, "grid.roll")[0], 1000)


def test_many_steps_take_linear_time() -> None:
    graph = stages(GOLDEN / "both_ways.roll")["adjoint"]
    assert_linear(lambda steps: unroll(graph, steps), 25)


def test_a_value_called_zero() -> None:
    """What lies outside the sequence has names that no part of a value has."""
    text = "net n\ninput x: [2]\nparam p: [2]\nzero = tanh(sigmoid(p) * 3 + sin(p))\n"
    text += "h = tanh(h[t-1] + x + zero)\noutput h\n"
    assert verify(unroll(read_spec(text, "n.roll")[0], 2)) == []


STATIC = """
net n
input x: [2]
param w: [2]
z = z[t-1]
gap: number = 1
repeat 2 {
z = 0.5 * tanh(z + gap * x)
gap = sum(z)
}
v = w
repeat 2 {
v = 0.5 * tanh(v)
}
a[k] = [1, 2] for k in range(1)
a[k] = x for k in range(1, 2)
o = sum(a, axis=0) * v + gap * z
output o, gap, a, v
loss mean(sum(o), over t)
"""


def test_a_pass_or_an_element_that_never_changes() -> None:
    """It has the name that a step of the whole would have, and so has its gradient."""
    graph = adjoint(read_spec(STATIC, "n.roll")[0])
    leaves = given(graph)
    dag = unroll(graph, SIZES["t"])
    assert verify(dag) == []
    found, whole = interpret(dag, step_leaves(dag, leaves), SIZES), interpret(graph, leaves, SIZES)
    for pairs, copies in ((graph.outputs, dag.outputs), (graph.gradients, dag.gradients)):
        for label, name in pairs:
            own = [source for copy, source in copies if copy in (label, *steps_of_label(label))]
            rows = np.array([found[source] for source in own])
            np.testing.assert_allclose(rows.reshape(whole[name].shape), whole[name], rtol=1e-12)


def steps_of_label(label: str) -> list[str]:
    return [f"{label}.{step}" for step in range(SIZES["t"])]
