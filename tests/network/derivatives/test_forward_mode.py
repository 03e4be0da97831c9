"""Gradients forward in time: equal to the adjoint's, in memory that does not grow."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.segments import segments
from rollc.autodiff.window_split import CannotSplit
from rollc.driver.build import build_source
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.errors import InputError
from rollc.ir.builder import Builder
from rollc.ir.expressions import call
from rollc.ir.graph import Graph, Type, attributes
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph, print_graph
from rollc.network.derivatives import forward_mode
from rollc.network.derivatives.forward_mode import Sensitivities
from rollc.network.network import Network
from rollc.runtime.kernel import Kernel
from rollc.support import resources, threads
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.compiled_networks import network_of
from tests.helpers.forward_gradients import compare, uncompiled
from tests.helpers.shipped_specs import each_spec
from tests.network.test_two_axes import SIZES, attention
from tests.network.test_two_axes import leaves as leaves_of_attention

Array = NDArray[Any]
Arrays = dict[str, Array]


def spec_text(name: str) -> str:
    return (resources.folder("specs") / name).read_text(encoding="utf-8")


@cache
def labels(backend: str) -> Network:
    """A network with its kernels."""
    text = spec_text("sequences/labels.roll")
    return network_of(text, "float64", backend=backend)


@cache
def network(name: str, truncate: int | None = None) -> Network:
    return uncompiled(read_spec(spec_text(name), name)[0], truncate)


def arrays(net: Network, steps: int, batch: int = 3) -> Arrays:
    random = np.random.default_rng(0)
    found = {}
    for name, spec in {**net.inputs, **net.targets}.items():
        shape = (*[steps] * len(spec.time), batch, *spec.shape)
        index = spec.bound is not None
        found[name] = random.integers(0, spec.bound, shape) if index else random.normal(size=shape)
    return found


def same(found: Arrays, expected: Arrays) -> None:
    for name, array in found.items():
        scale = np.abs(expected[name]).max() + 1e-300
        np.testing.assert_allclose(array, expected[name], atol=1e-11 * scale, err_msg=name)


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("how", ["max", "min"])
def test_steps_with_an_equal_extreme_share_in_whichever_windows(how: str, every: int) -> None:
    text = f"net n\ninput x\nparam a, b\nv = where(x < 5, a * x, b * x)\nloss {how}(v, over t)\n"
    graph = canonicalize(read_spec(text, "n")[0])
    x = np.array([[5.0, 1.0], [5.0, 2.0], [4.0, 5.0], [5.0, 4.0], [5.0, 4.0], [4.0, 1.0]])
    leaves = {"a": np.array(1.25 if how == "max" else 1.0), "b": np.array(1.0), "x": x}
    compare(graph, leaves, {"t": 6, "batch": 2}, every)


def test_the_messages_of_the_textbook(backend: str) -> None:
    """System 4, with the messages in NumPy: alpha_t = da_t/dW + diag(1 - h^2) W alpha_(t-1)."""
    net = labels(backend)
    params, data = net.init(0), arrays(net, 9, batch=1)
    U, W, b, V, c = (params[name] for name in "UWbVc")  # noqa: N806
    hidden, inner = U.shape
    h, loss = np.zeros(hidden), 0.0
    alpha = {name: np.zeros((hidden, *params[name].shape)) for name in "UWb"}
    expected = {name: np.zeros_like(params[name]) for name in "UWbVc"}
    unit = np.eye(hidden)
    for x, y in zip(data["x"][:, 0], data["y"][:, 0], strict=True):
        direct = {"U": np.einsum("ki,j->kij", unit, x), "W": np.einsum("ki,j->kij", unit, h)}
        direct["b"] = unit
        h = np.tanh(b + W @ h + U @ x)
        for name, messages in alpha.items():
            pushed = np.tensordot(W, messages, 1) + direct[name]
            alpha[name] = (1 - h**2).reshape(-1, *[1] * params[name].ndim) * pushed
        scores = c + V @ h
        share = np.exp(scores - scores.max())
        share /= share.sum()
        loss -= np.log(share[y])
        slope = share - np.eye(len(c))[y]
        expected["V"] += np.outer(slope, h)
        expected["c"] += slope
        for name, messages in alpha.items():
            expected[name] += np.tensordot(V.T @ slope, messages, 1)
    assert inner == 8
    plan, run = net.forward_sensitivities(params, data)
    assert plan.directions == sum(array.size for array in params.values())
    found_loss, found = run()
    assert found_loss == pytest.approx(loss, rel=1e-12)
    assert list(found) == list(net.params)
    same(found, expected)


@pytest.mark.parametrize("name", each_spec(resources.specs(), sampled=8))
def test_specs_that_have_a_loss(name: str) -> None:
    net = network(f"{name}.roll")
    size = sum(prod(spec.shape) for spec in net.params.values())
    if net.graph.loss is None or size > 2000:  # without kernels, it would take long
        pytest.skip("it has no loss, or many parameters")
    params, data = net.init(0), arrays(net, 5)
    steps = dict.fromkeys(net.axes, 5)
    refused = None
    try:
        _, run = net.forward_sensitivities(params, data, steps)
    except InputError as error:
        refused = str(error)
    if refused is not None:
        assert name not in ("lstm", "delays/biquad", "dynamics/oscillator")
        assert re.search("is read from the future|needs all", refused)
        return
    loss, gradients = net.value_and_grad(params, data, steps)
    found_loss, found = run()
    assert found_loss == pytest.approx(loss, rel=1e-12, nan_ok=True)
    assert found.keys() == gradients.keys() & net.params.keys()  # what is frozen has none
    same(found, gradients)


def test_lengths_and_windows_that_cut_gradients() -> None:
    net = network("delays/narx.roll")
    params, data = net.init(0), arrays(net, 12)
    lengths = [5, 12, 1]
    padded = {name: array.copy() for name, array in data.items()}
    for name in padded:
        padded[name][5:, 0] = np.nan
    _, gradients = net.value_and_grad(params, data, lengths=lengths)
    same(net.forward_sensitivities(params, padded, lengths=lengths)[1]()[1], gradients)
    cut = network("delays/narx.roll", truncate=4)
    _, whole = net.value_and_grad(params, data)
    _, gradients = cut.value_and_grad(params, data)
    assert any(np.abs(gradients[name] - whole[name]).max() > 1e-6 for name in net.params)
    same(cut.forward_sensitivities(params, data)[1]()[1], gradients)


@pytest.mark.parametrize(
    "loss", ["mean(u, over t) + sum(mean(s, over t))", "mean(u * sum(s), over t)"]
)
def test_what_all_sequences_share_beside_what_is_of_each(loss: str) -> None:
    net = uncompiled(
        graph_of(
            f"""
net n
input x
static input z
param p: [2], k
a = tanh(k * z)
s = tanh(p * s[t-1] + 1)
u = 0.5 * u[t-1] + a * x
loss {loss}
"""
        )
    )
    params, data = {"p": np.array([0.3, -0.7]), "k": np.array(0.4)}, arrays(net, 5)
    expected_loss, expected = net.value_and_grad(params, data)
    found_loss, found = net.forward_sensitivities(params, data)[1]()
    assert found_loss == pytest.approx(expected_loss, rel=1e-12)
    same(found, expected)


def graph_of(text: str) -> Graph:
    return canonicalize(read_spec(text, "spec.roll")[0])


def leaves(graph: Graph, sizes: dict[str, int]) -> Arrays:
    random = np.random.default_rng(1)
    found: Arrays = {}
    for sort in ("input", "target", "param"):
        for node in graph.leaves(sort):
            shape = (*(sizes[axis] for axis in node.type.axes), *node.type.shape)
            index = node.type.bound
            found[node.name] = (
                random.integers(0, index, shape) if index else random.normal(size=shape)
            )
    return found


STATIC_TANGENTS = """\
net deep
static input z: [3]
input x: [2]
target y: [2]
param A: [2, 3], B: [2, 2] = orthogonal, start: [2, 2], k = 0.5
fn spike(v) = where(v > 0, 1, 0)
    grad 1 / (1 + abs(v)) ** 2
v = 0.9 * v[t-1] + transpose(B) @ x - s[t-1] + stop(B) @ h[t-2] + tanh(A @ z)
s = spike(v - k)
h = tanh(B @ h[t-2] + exp(B) @ s + h[t-1] * k)
init h = start
r = 0.5 * r[t-1] + h
init r = A @ z
reset r when sum(x) > 0.5
m = max(h, over t)
late = 0.3 * late[t-1] + sum(m * h) * r
output h
loss mean(mse(late, y), over t) + mse(last(r), m) + sum(A * A) + sum(min(v, over t))
"""


@pytest.mark.parametrize("every", [1, 3, 64])
def test_forms(every: int) -> None:
    """Derivatives of one's own, stop, initial values, reset, and two segments of one axis."""
    graph = graph_of(STATIC_TANGENTS)
    assert len(segments(graph).segments) == 2
    sizes = {"t": 7, "batch": 3}
    compare(graph, leaves(graph, sizes), sizes, every)


POOLED = """\
net pooled
input x: [2]
target y: index(3)
param A: [4, 2], W: [4, 4] = orthogonal, q: [4], O: [3, 4], R: [4, 4]
h = tanh(A @ x + W @ h[t-1])
share = identity(dot(q, h))
pooled = sum(share * h, over t)
late = tanh(R @ late[t-1] + W @ pooled + h)
output share
loss mean(cross_entropy(O @ late, y), over t) + sum(last(late) * pooled)
"""


@pytest.mark.parametrize("every", [1, 3])
def test_attention_over_the_steps_of_one_axis(every: int) -> None:
    """Shares of all steps, and a chain that reads what they give: segments in a row."""
    checked = read_spec(POOLED, "pooled.roll")[0]
    share = replace(checked["share"], operation="softmax_over", attributes=attributes(over=("t",)))
    nodes = (share if node.name == "share" else node for node in checked.nodes)
    graph = canonicalize(checked.with_nodes(nodes))
    assert [segment.axis for segment in segments(graph).segments] == ["t"] * 4
    sizes = {"t": 7, "batch": 2}
    compare(graph, leaves(graph, sizes), sizes, every)


@cache
def translate() -> Graph:
    """An encoder, and a decoder that starts where it ended."""
    build = Builder()

    def weights(name: str, *shape: int) -> None:
        build.leaf(name, "param", Type("float", shape), initialiser="normal", scale=0.5)

    source = build.leaf("src", "input", Type("index", (), ("s", "batch"), 5))
    target = build.leaf("tgt", "target", Type("index", (), ("t", "batch"), 3))
    for name, *shape in (("E", 5, 4), ("W", 4, 4), ("A", 3, 4), ("R", 3, 3), ("O", 3, 3), ("c", 3)):
        weights(str(name), *map(int, shape))
    read = build.read
    build.promise("e", Type("float", (4,), ("s", "batch")))
    build.prefix = "e"
    inside = call("embed", read("E"), source) + call("matmul", read("W"), read("e", 1, "s"))
    e = build.define("e", "tanh", (inside,))
    end = build.define("end", "last", (e,), axis="s")
    build.prefix = "start"
    build.define("start", "tanh", (call("matmul", read("A"), end),))
    build.promise("d", Type("float", (3,), ("t", "batch")))
    build.prefix = "d"
    said = call("embed", read("R"), read("tgt", 1, "t"))
    build.define("d", "tanh", (call("matmul", read("R"), read("d", 1, "t")) + said + read("c"),))
    build.nodes["d"] = replace(build.nodes["d"], initial="start")
    o = build.define("o", "matmul", (read("O"), read("d")))
    build.prefix = "loss"
    each = call("mean_over", call("cross_entropy", o, target), over=("t",))
    total = call("mean_over", each, over=("batch",))
    share = call("sum", read("W") * read("W")) * 0.01
    build.define("loss", "add", (total, share))
    nodes = tuple(build.nodes.values())
    return Graph("translate", "checked", nodes, (("o", "o"),), "loss", axes=("s", "t"))


def test_through_an_encoder_into_a_decoder() -> None:
    checked = translate()
    graph = canonicalize(checked)
    found = segments(graph)
    assert [segment.axis for segment in found.segments] == ["s", "t"]
    encoder, decoder = (set(segment.cuts) for segment in found.segments)
    assert encoder == {"E", "W"}
    (start,) = decoder - {"R", "O", "c"}  # of the encoder, only where the decoder starts
    assert start == graph["d"].initial
    sizes = {"s": 6, "t": 4, "batch": 3}
    given = leaves(graph, sizes)
    compare(graph, given, sizes, 2)
    net = uncompiled(checked)
    params = {name: given[name] for name in net.params}
    data = {name: given[name] for name in ("src", "tgt")}
    derived = adjoint(graph)
    expected = interpret(derived, given, sizes)
    loss, gradients = net.forward_sensitivities(params, data)[1]()
    assert loss == pytest.approx(expected["loss"], rel=1e-12)
    same(gradients, {label: expected[name] for label, name in derived.gradients})
    lengths = {"s": [6, 2, 1], "t": [4, 1, 3]}
    _, ragged = net.value_and_grad(params, data, lengths=lengths)
    same(net.forward_sensitivities(params, data, lengths=lengths)[1]()[1], ragged)


class Sized:
    """A kernel of which nothing is known but the bytes that it takes."""

    def bytes(self, sizes: dict[str, int]) -> int:
        return 10_000 + 20 * sizes["t"]


def test_windows_are_long_where_that_takes_little(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel: Any = lambda entry: Sized()  # noqa: E731
    graph = canonicalize(read_spec(spec_text("sequences/labels.roll"), "labels")[0])
    (run,) = Sensitivities(graph, kernel, "float64", longest=100_000).runs
    sizes = {"t": 5000, "batch": 1}
    assert run.every(sizes) == 5000
    monkeypatch.setattr(forward_mode, "_ROOMY", 0)
    every = run.every(sizes)
    assert 1 < every < 5000
    assert 4 * run.bytes(every, sizes) <= 5 * run.bytes(1, sizes) < 4 * run.bytes(2 * every, sizes)


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 2])
def test_the_peak_is_what_the_plan_says_at_any_length(count: int) -> None:
    plans, peaks = [], []
    threads.use(count)
    try:
        for steps in (300, 3000):
            net = labels("numba")
            params = net.init(0)
            # Compiled before it is measured, and no buffers of that size are there yet.
            net.forward_sensitivities(params, arrays(net, 3))[1]()
            plan, run = net.forward_sensitivities(params, arrays(net, steps, batch=8))
            tracemalloc.start()
            run()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            plans.append(plan)
    finally:
        threads.use(None)
    assert plans[0] == plans[1]
    assert peaks[1] <= 1.1 * plans[1].bytes
    if count == 1:  # on a busy machine one thread may be through before another begins
        assert peaks[1] <= 1.02 * peaks[0]
        assert peaks[1] >= 0.9 * plans[1].bytes


def test_no_node_has_the_size_of_a_matrix_times_the_directions() -> None:
    for name in ("lstm.roll", "gru.roll", "sequences/labels.roll"):
        graph = kernel_graphs(read_spec(spec_text(name), name)[0])["tangent"]()
        assert parse_graph(print_graph(graph)) == graph
        over = [node for node in graph.nodes if "~direction" in node.type.axes]
        assert over
        assert all(len(node.type.shape) < 2 or node.name.startswith("state.") for node in over)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("input x\nh = tanh(a * x + h[t+1])\n", "`h` is read from the future"),
        ("input x\nh = tanh(a * x[t+1])\n", "`x` is read from the future"),
    ],
)
def test_what_has_no_forward_sensitivities_says_why(body: str, reason: str) -> None:
    text = f"net n\nparam a\n{body}output h\nloss mean(h ** 2, over t)\n"
    net = uncompiled(read_spec(text, "n")[0])
    wanted = f"`n` has no forward sensitivities: {reason}"
    with pytest.raises(InputError, match=re.escape(wanted)):
        net.forward_sensitivities({"a": 1.0}, {"x": np.ones(3)})


@pytest.mark.parametrize("every", [1, 3])
def test_attention_between_two_axes(every: int) -> None:
    graph = canonicalize(attention())
    assert [segment.axis for segment in segments(graph).segments] == ["s", "t"]
    compare(graph, leaves_of_attention(), SIZES, every)


GRID = """
net grid
time s, t
input x[s, t]: [2], w[s]: [2]
param V: [2, 2], W: [2, 2], p: [2]
e = tanh(V @ e[s-1] + w)
h = tanh(x + V @ h[s-2] + W @ h[t-1] + e * h[s-1, t-2])
init h over s = p
init h over s, t = 0.5 * p
c = sum(softmax(sum(h), over s) * e, over s)
d = tanh(W @ d[t-1] + c)
init d = last(e)
loss sum(max(d, over t)) + mean(sum(last(h, over s)), over t)
"""


def grid_leaves(graph: Graph) -> Arrays:
    random = np.random.default_rng(3)
    nodes = [*graph.leaves("param"), *graph.leaves("input")]
    shapes = {n.name: (*(SIZES[axis] for axis in n.type.axes), *n.type.shape) for n in nodes}
    return {name: random.normal(size=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_recurrences_along_two_axes(every: int, turned: bool) -> None:
    """Along the axis over which is reduced last, whichever that is."""
    last = "sum(mean(sum(h), over t), over s)"
    text = GRID.replace("mean(sum(last(h, over s)), over t)", last) if turned else GRID
    graph = canonicalize(read_spec(text, "grid.roll")[0])
    assert {segment.axis for segment in segments(graph).segments} == {"s", "t"}
    compare(graph, grid_leaves(graph), SIZES, every)


@pytest.mark.parametrize(("reads", "axis"), [("s-1, t+1", "s"), ("s+1, t-1", "t")])
def test_a_reduction_over_both_axes_goes_along_that_without_a_future(reads: str, axis: str) -> None:
    first, second = reads.split(", ")
    text = (
        "net ahead\ntime s, t\ninput x[s, t]: [2]\nparam V: [2, 2], W: [2, 2]\n"
        f"h = tanh(x + V @ h[{first}] + W @ h[{second}])\nloss mean(mean(sum(h), over s), over t)\n"
    )
    graph = canonicalize(read_spec(text, "ahead.roll")[0])
    inner, outer = (next(n for n in graph.nodes if n.options.get("over") == (x,)) for x in "st")
    both = replace(outer, operands=inner.operands, attributes=attributes(over=("s", "t")))
    graph = graph.with_nodes(both if n is outer else n for n in graph.nodes if n is not inner)
    assert [segment.axis for segment in segments(graph).segments] == [axis]
    compare(graph, grid_leaves(graph), SIZES, 2)


def test_a_step_of_two_axes_that_needs_all_along_one_is_refused() -> None:
    text = GRID.replace("W @ h[t-1]", "W @ m[s-1]") + "m = mean(h, over t)\n"
    with pytest.raises(CannotSplit, match="`m` needs all steps of t at every step of s"):
        segments(canonicalize(read_spec(text, "grid.roll")[0]))


def test_products_of_a_diagonal_are_of_all_directions() -> None:
    """What follows each other at a cell of one: directions, and in each the sequences."""
    graph = read_spec(GRID, "grid.roll")[0]
    made = kernel_graphs(graph)["tangent.2"]()
    source = compiled(made, "float64", backend="numba").source
    assert {*re.findall(r"matmul_apart\([^)]*?rows=([^,]*),", source)} == {"B", "T_2 * B"}


def test_a_size_that_makes_it_absurd_is_refused_with_the_bytes() -> None:
    name = "lstm.roll"
    graph = read_spec(spec_text(name), name, {"H": 256})[0]
    program = compiled(kernel_graphs(graph)["tangent"](), "float32").program
    net = Network(graph, lambda entry: Kernel(program, Path(entry), "float32"))
    with pytest.raises(InputError, match=r"[\d,]{13,} bytes for the sensitivities of [\d,]{7,} "):
        net.forward_sensitivities(net.init(0), arrays(net, 5))
    net = labels("reference")
    with pytest.raises(InputError, match="more than 1,000"):
        net.forward_sensitivities(net.init(0), arrays(net, 5), memory=1000)


def test_other_refusals() -> None:
    text = "net n\ninput x\nparam a\nh = tanh(a * x + h[t-1])\noutput h\n"
    given = ({"a": 1.0}, {"x": np.ones(3)})
    with pytest.raises(InputError, match="has no loss"):
        uncompiled(read_spec(text, "n")[0]).forward_sensitivities(*given)
    text += "loss mean(h ** 2, over t)\n"
    net = uncompiled(read_spec(text, "n")[0])
    net.steps = 3
    with pytest.raises(InputError, match="a network for any number of steps"):
        net.forward_sensitivities(*given)
    with pytest.raises(InputError, match="no tangent kernel: it was built to combine"):
        build_source(text, "n", combine="mean")[0].forward_sensitivities(*given)


def test_windows_with_equal_extremes_share() -> None:
    text = (
        "net n\ninput x, z\nparam a, b\nv = a * x + b * z\nloss max(v, over t) - min(v, over t)\n"
    )
    graph = graph_of(text)
    x, z = [1.0, 2.0, 0.0, -2.0, -1.0], [2.0, 1.0, 0.0, -1.0, -2.0]
    data = {"x": np.array(x)[:, None], "z": np.array(z)[:, None]}
    given = {"a": np.array(1.0), "b": np.array(1.0), **data}
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        moved = {name: array[order] if array.ndim else array for name, array in given.items()}
        compare(graph, moved, {"t": 5, "batch": 1}, 1)
