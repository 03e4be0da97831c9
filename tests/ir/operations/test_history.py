"""The last rows of a sequence: what they are at every stage, and how many nodes they take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.builder import Builder
from rollc.ir.graph import BATCH, Edge, Graph, Node, Type, attributes
from rollc.ir.interpreter import interpret
from rollc.ir.names import LENGTHS
from rollc.ir.text import IRTextError, parse_graph, print_graph
from rollc.ir.time.causality import NeedsWhole, check
from rollc.ir.verifier import verify
from rollc.tools.verify.kernels import interpreted
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.covering import step_leaves
from rollc.transforms.ragged import why_no_lengths, with_lengths
from rollc.transforms.state import expose_state
from rollc.transforms.unroll import unroll
from tests.helpers.paths import ROOT

Array = NDArray[Any]
SPECS = ROOT / "specs"
ROWS, BATCHES = 3, 4


def tails(length: bool, start_axes: tuple[str, ...] = (BATCH,)) -> Graph:
    """A tail of vectors, and what is adjoint to it."""
    build = Builder()
    y = build.leaf("y", "input", Type("float", (2,), ("t", BATCH)))
    start = build.leaf("start", "state", Type("float", (ROWS, 2), start_axes))
    g = build.leaf("g", "input", Type("float", (ROWS, 2), (BATCH,)))
    index = Type("index", (), (BATCH,), 99)
    ends = [build.leaf("end", "input", index)] if length else []
    build.define("tail", "tail", (y, start, *ends), axis="t")
    build.define("steps", "tail_steps", (g, *ends), axis="t")
    build.define("rows", "tail_start", (g, *ends), axis="t")
    outputs = tuple((name, name) for name in ("tail", "steps", "rows"))
    return Graph("tails", "checked", tuple(build.nodes.values()), outputs)


def values(steps: int) -> dict[str, Array]:
    random = np.random.default_rng(steps)
    return {
        "y": random.normal(size=(steps, BATCHES, 2)),
        "start": random.normal(size=(BATCHES, ROWS, 2)),
        "g": random.normal(size=(BATCHES, ROWS, 2)),
        "end": np.array([steps, 0, steps // 2, steps + 2]),
    }


@pytest.mark.parametrize("length", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
def test_rows_of_the_start_then_of_the_steps(steps: int, length: bool) -> None:
    leaves = values(steps)
    found = interpret(tails(length), leaves, {"t": steps, BATCH: BATCHES})
    for sequence in range(BATCHES):
        end = leaves["end"][sequence] if length else steps
        behind = np.zeros((ROWS, 2))
        whole = [leaves["start"][sequence], leaves["y"][:, sequence], behind]
        expected = np.concatenate(whole)[end : end + ROWS]
        np.testing.assert_array_equal(found["tail"][sequence], expected)
        # The adjoint puts each row where it came from.
        back = np.zeros((ROWS + steps + ROWS, 2))
        back[end : end + ROWS] = leaves["g"][sequence]
        np.testing.assert_array_equal(found["rows"][sequence], back[:ROWS])
        np.testing.assert_array_equal(found["steps"][:, sequence], back[ROWS : ROWS + steps])


@pytest.mark.parametrize("length", [False, True])
@pytest.mark.parametrize("steps", [1, 3, 5])
@pytest.mark.parametrize("start_axes", [(BATCH,), ()])
def test_unrolled_rows_are_picked(steps: int, length: bool, start_axes: tuple[str, ...]) -> None:
    graph = tails(length, start_axes)
    leaves, sizes = values(steps), {"t": steps, BATCH: BATCHES}
    if not start_axes:
        leaves["start"] = leaves["start"][0]
    dag = unroll(graph, steps)
    assert verify(graph) == verify(dag) == verify(canonicalize(dag)) == []
    assert parse_graph(print_graph(dag)) == dag
    rolled = interpret(graph, leaves, sizes)
    for stage in (dag, canonicalize(dag)):
        found = interpret(stage, step_leaves(stage, leaves), sizes)
        for label, name in stage.outputs:
            whole, _, step = label.partition(".")
            expected = rolled[whole][int(step)] if step else rolled[whole]
            np.testing.assert_array_equal(found[name], expected, err_msg=label)


# In networks ---------------------------------------------------------------------------

KINDS = """
net kinds
input x: [3]
param E: [3, 2] = normal(1.0), V: [3, 2] = normal(1.0), p: [2] = 0.3
o = x + V @ (embed(E, k[t-2]) + where(c[t-4], p, 0.5) + 0.5 * h[t-5])
k = argmax(o)
c = sum(o) > 0.25
h = tanh(embed(E, k) * sum(o))
output o
"""


def test_a_state_of_any_kind_goes_from_window_to_window() -> None:
    graph, _ = read_spec(KINDS, "kinds")
    network = interpreted(graph)
    params, steps = network.init(2), 9
    x = np.random.default_rng(1).normal(size=(steps, BATCHES, 3))
    state = network.initial_state(params, {"x": x})
    whole = network.forward(params, {"x": x}, state=state)
    for window in (1, 3, 4, 6):
        following, parts = state, []
        for first in range(0, steps, window):
            part = network.forward(params, {"x": x[first : first + window]}, state=following)
            following = {name: part[f"state.{name}"] for name in network.states}
            parts.append(part["o"])
        np.testing.assert_allclose(np.concatenate(parts), whole["o"], rtol=1e-12)
        for name, array in following.items():
            np.testing.assert_allclose(array, whole[f"state.{name}"], rtol=1e-12)
    assert {name: array.shape[0] for name, array in state.items()} == {"k": 2, "c": 4, "h": 5}


@pytest.mark.parametrize("lengths", [None, [3, 1, 2]])
def test_a_state_of_any_kind_unrolled(lengths: list[int] | None) -> None:
    graph = expose_state(read_spec(KINDS, "kinds")[0])
    graph = graph if lengths is None else with_lengths(graph)
    assert [node.type.kind for node in graph.nodes if node.operation == "tail"] == [
        *("index", "bool", "float")
    ]
    random = np.random.default_rng(4)
    leaves: dict[str, Array] = {
        "x": random.normal(size=(3, 3, 3)),
        "E": random.normal(size=(3, 2)),
        "V": random.normal(size=(3, 2)),
        "p": random.normal(size=2),
        "state.k": random.integers(0, 3, (3, 2)),
        "state.c": random.random((3, 4)) < 0.5,
        "state.h": random.normal(size=(3, 5, 2)),
        LENGTHS: np.array(lengths),
    }
    dag = unroll(graph, 3)
    assert verify(dag) == []
    rolled = interpret(graph, leaves, {"t": 3, BATCH: 3})
    found = interpret(dag, step_leaves(dag, leaves), {BATCH: 3})
    for name in ("state.k'final", "state.c'final", "state.h'final"):
        np.testing.assert_array_equal(found[name], rolled[name], err_msg=name)


ROWS_BEFORE = """
net rows
dim N = 3
input  x: [2]
target y: [2]
param  v0: [N+1, 2] = zeros, u0: [2] = 0.3, f0: [N, 2] = zeros
v = tanh(x + v[t-N] + v[t-N-1])
init v = v0
u = tanh(x + u[t-N] + u[t-N-1])
init u = u0
f = tanh(x + f[t+N])
init f = f0
output v
loss mean(mse(v + u + f, y), over t)
"""


STRING = """
net string
dim N = 4
input  x: [2]
target heard: [2]
param a = 0.4, b = 0.3
y = tanh(x + a * y[t-N] + b * y[t-N-1])
output y
loss mean(mse(y, heard), over t)
"""


@pytest.mark.parametrize("steps", [2, 3, 6])
@pytest.mark.parametrize("state", [False, True])
def test_gradients_of_initial_values_are_those_of_the_dag(steps: int, state: bool) -> None:
    graph, _ = read_spec(ROWS_BEFORE if not state else STRING, "rows")
    graph = expose_state(graph) if state else graph
    random, sizes = np.random.default_rng(steps), {"t": steps, BATCH: 2}
    leaves: dict[str, Array] = {
        node.name: random.normal(size=(*(sizes[axis] for axis in node.type.axes), *node.type.shape))
        for node in graph.nodes
        if node.operation in ("input", "target", "param", "state")
    }
    derived, plain = adjoint(graph), adjoint(unroll(graph, steps))
    found = interpret(derived, leaves, sizes)
    expected = interpret(plain, step_leaves(plain, leaves), sizes)
    of = dict(plain.gradients)
    for label, name in derived.gradients:
        if not derived[name].type.time:
            assert np.abs(found[name]).max() > 0
            np.testing.assert_allclose(found[name], expected[of[label]], 1e-9, err_msg=label)


ROWS_BEHIND = """
net behind
input x: [2]
param f0: [4, 2] = normal(1.0)
f = tanh(x + 0.5 * f[t+2] - f[t+4] + f[t+1])
init f = f0
output f
loss mean(sum(f), over t)
"""


def test_rows_behind_the_own_end_of_each_sequence() -> None:
    network = interpreted(read_spec(ROWS_BEHIND, "behind")[0])
    params, lengths = network.init(1), [6, 1, 3, 4, 2]
    x = np.random.default_rng(1).normal(size=(6, 5, 2))
    found = network.forward(params, {"x": x}, lengths=lengths)
    _, gradients = network.value_and_grad(params, {"x": x}, lengths=lengths)
    rows = np.zeros((4, 2))
    for sequence, length in enumerate(lengths):
        own = {"x": x[:length, sequence]}
        alone = network.forward(params, own)["f"]
        np.testing.assert_allclose(found["f"][:length, sequence], alone, rtol=1e-12)
        rows += network.value_and_grad(params, own)[1]["f0"] / 5
    np.testing.assert_allclose(gradients["f0"], rows, rtol=1e-10)


@pytest.mark.parametrize("text", [ROWS_BEFORE, (SPECS / "delays" / "string.roll").read_text()])
def test_the_graphs_do_not_grow_with_the_delay(text: str) -> None:
    short, long = (kernel_graphs(read_spec(text, "n", {"N": n})[0]) for n in (3, 400))
    assert short.keys() == long.keys()
    for entry, make in short.items():
        assert len(long[entry]().nodes) == len(make().nodes), entry


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_kernels_of_fewer_and_more_steps_than_rows(dtype: str, tolerance: float) -> None:
    network = build_source(STRING, dtype=dtype)[0]
    meant = interpreted(read_spec(STRING, "string")[0])
    params, random = network.init(0), np.random.default_rng(5)
    for steps in (2, 5, 8):
        data = {name: random.normal(size=(steps, 3, 2)) for name in ("x", "heard")}
        state = {"y": random.normal(size=(5, 3, 2))}
        loss, gradients, after = network.value_and_grad(params, data, state=state)
        expected = meant.value_and_grad(params, data, state=state)
        assert loss == pytest.approx(expected[0], rel=tolerance)
        for name, array in expected[1].items():
            np.testing.assert_allclose(gradients[name], array, tolerance, tolerance, err_msg=name)
        np.testing.assert_allclose(after["y"], expected[2]["y"], tolerance, tolerance)


# What is refused -----------------------------------------------------------------------


def test_a_tail_needs_the_whole_sequence() -> None:
    start = Node("start", "state", (), Type("float", (2,), (BATCH,)))
    over = Type("float", (), ("t", BATCH))
    tail = Node(
        "tail",
        "tail",
        (Edge("y"), Edge("start")),
        Type("float", (2,), (BATCH,)),
        attributes(axis="t"),
    )
    y = Node("y", "sum", (Edge("tail"),), over)
    (finding,) = check(Graph("n", "graph", (start, tail, y))).findings
    assert isinstance(finding, NeedsWhole)
    assert finding.node == "tail"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("tail(z, s) {axis=t} : float[3] over batch", "takes a value that changes over `t`"),
        ("tail(y, y) {axis=t} : float[3] over batch", "takes what is the same at every step"),
        ("tail(y, z) {axis=t} : float[3] over batch", "takes rows that each hold a value"),
        ("tail(y, k) {axis=t} : float[3] over batch", "takes rows that each hold a value"),
        ("tail(y, s, z) {axis=t} : float[3] over batch", "takes an index"),
        ("tail(y, s, w) {axis=t} : float[3] over batch", "takes what is the same at every step"),
        ("tail(y, s) {axis=batch} : float[3] over t", "`batch` is no time axis"),
        ("tail_steps(z) {axis=t} : float over t, batch", "takes rows"),
        ("tail_start(s) {axis=u} : float[3] over batch", "`u` is no time axis"),
        ("tail_start(y) {axis=t} : float over t, batch", "takes rows"),
        ("row(s) {at=3} : float over batch", "takes at least 4 rows"),
        ("row(z) {at=0} : float over batch", "takes at least 1 rows"),
    ],
)
def test_wrong_operands_are_named(line: str, problem: str) -> None:
    graph = parse_graph(f"""rollc graph 1  stage checked
net wrong
axis t

y = input() : float over t, batch
w = input() : index(9) over t, batch
z = input() : float over batch
s = input() : float[3] over batch
k = input() : index(2)[3] over batch
o = {line}

output o
""")
    assert problem in "\n".join(map(str, verify(graph)))


def test_a_tail_has_two_or_three_operands() -> None:
    text = print_graph(tails(True))
    with pytest.raises(IRTextError, match="`tail` takes 2 to 3 operands, found 1"):
        parse_graph(text.replace("tail(y, start, end)", "tail(y)"))


def test_lengths_do_not_replace_a_length() -> None:
    assert why_no_lengths(tails(False)) is None
    assert why_no_lengths(tails(True)) == "`tail` has a length of its own"


def test_a_zero_cotangent_of_a_state_makes_no_work() -> None:
    graph = expose_state(read_spec(STRING, "string")[0])
    operations = {node.operation for node in canonicalize(adjoint(graph)).nodes}
    assert "tail" in operations
    assert not operations & {"tail_steps", "tail_start"}
