"""Two time axes: an encoder, a decoder of another length, and attention between them."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.backends.numba.codegen.module import emit
from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.ir.builder import Builder
from rollc.ir.expressions import call
from rollc.ir.graph import Graph, Type
from rollc.ir.interpreter import interpret
from rollc.ir.names import lengths_leaves
from rollc.ir.text import print_graph
from rollc.ir.time.causality import check
from rollc.ir.verifier import verify
from rollc.kernel.passes import planned
from rollc.kernel.schedule import schedule
from rollc.kernel.text import parse_program, parse_schedule, print_program, print_schedule
from rollc.network.network import Network
from rollc.runtime.kernel import Kernel
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.ragged import with_lengths
from tests.helpers.compiled_networks import network_of
from tests.helpers.lowering import lower

pytestmark = [pytest.mark.usefixtures("each_backend"), pytest.mark.sampled(4, among="axes")]

Array = NDArray[Any]
Arrays = dict[str, Array]

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


@pytest.mark.parametrize(("loop", "other"), [("t", "s"), ("s", "t")])
def test_gradients_of_attention_are_slopes_along_either_axis(loop: str, other: str) -> None:
    """Within a cycle the cotangents are spread over the axis that is not that of the cycle."""
    graph, _ = read_spec(
        f"""
net n
time s, t
input x[{other}]: [2]
param A: [2, 2], W: [2, 2]
share = softmax(dot(x, A @ d[{loop}-1]), over {other})
d = tanh(W @ sum(share * x, over {other}) + d[{loop}-2] + 1)
loss mean(sum(d), over {loop})
""",
        "n.roll",
    )
    sizes, random = {"s": 3, "t": 3, "batch": 3}, np.random.default_rng(2)
    given = {"x": random.normal(size=(3, 3, 2))}
    given |= {name: random.normal(size=(2, 2)) for name in ("A", "W")}
    derived = adjoint(graph)
    for name, node in derived.gradients:
        gradient = interpret(derived, given, sizes)[node]
        direction = random.normal(size=gradient.shape)
        up, down = (
            float(interpret(graph, {**given, name: given[name] + step * direction}, sizes)["loss"])
            for step in (1e-6, -1e-6)
        )
        slope = float((gradient * direction).sum())
        assert slope == pytest.approx((up - down) / 2e-6, rel=1e-6, abs=1e-8), name


def test_the_kernel_is_the_meaning(tmp_path: Path) -> None:
    derived = canonicalize(adjoint(canonicalize(attention())))
    scheduled = schedule(lower(derived))
    assert parse_schedule(print_schedule(scheduled)) == scheduled
    loops = [(region.kind, region.axis) for region in scheduled.regions if region.axis]
    assert loops == [("forward", "s"), ("forward", "t"), ("backward", "t"), ("backward", "s")]
    program = planned(scheduled)
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


# The network -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(each_backend: str) -> Network:
    return network_of(print_graph(attention()), "float64")


def params_and_data() -> tuple[Arrays, Arrays]:
    params = {node.name: leaves()[node.name] for node in attention().leaves("param")}
    return params, {name: array for name, array in leaves().items() if name not in params}


def inputs_alone(data: Arrays) -> Arrays:
    return {name: array for name, array in data.items() if name != "tgt"}


def test_a_network_over_two_axes(network: Network) -> None:
    params, data = params_and_data()
    expected = interpret(adjoint(attention()), leaves(), SIZES)
    gradients = dict(adjoint(attention()).gradients)
    outputs = network.forward(params, inputs_alone(data), steps={"t": SIZES["t"]})
    for label, name in attention().outputs:
        np.testing.assert_allclose(outputs[label], expected[name], rtol=1e-9, err_msg=label)
    loss, slopes = network.value_and_grad(params, data)
    assert loss == pytest.approx(expected["loss"], rel=1e-12)
    assert network.loss(params, data) == loss
    for label, array in slopes.items():
        np.testing.assert_allclose(array, expected[gradients[label]], rtol=1e-8, atol=1e-12)
    # One sequence without a batch is the first of a batch.
    one = {name: array.take(0, axis=1) for name, array in data.items()}
    alone = network.forward(params, inputs_alone(one), steps={"t": SIZES["t"]})
    assert alone["share"].shape == (SIZES["s"], SIZES["t"])
    np.testing.assert_allclose(alone["share"], outputs["share"][:, :, 0], rtol=1e-9)


def test_cotangents_over_two_axes(network: Network) -> None:
    params, data = params_and_data()
    outputs, pullback = network.vjp(params, inputs_alone(data), steps={"t": SIZES["t"]})
    random = np.random.default_rng(5)
    cotangents = {label: random.normal(size=array.shape) for label, array in outputs.items()}
    gradients = pullback(cotangents)
    for name in ("A", "x"):
        way = random.normal(size=leaves()[name].shape)

        def along(distance: float, name: str = name, way: Array = way) -> float:
            moved = {name: leaves()[name] + distance * way}
            found = network.forward(
                {**params, **(moved if name in params else {})},
                {**inputs_alone(data), **(moved if name not in params else {})},
                steps={"t": SIZES["t"]},
            )
            return sum(float((cotangents[label] * found[label]).sum()) for label in found)

        slope = (along(1e-5) - along(-1e-5)) / 2e-5
        assert float((gradients[name] * way).sum()) == pytest.approx(slope, rel=1e-6), name


LENGTHS = {"s": np.array([2, 5, 1]), "t": np.array([4, 1, 3])}


def spoilt(data: Arrays) -> Arrays:
    """The same pairs of sequences, with padding that would do harm."""
    found = {}
    for name, array in data.items():
        (axis,) = attention()[name].type.time
        array = array.copy()
        for pair, length in enumerate(LENGTHS[axis]):
            array[length:, pair] = np.nan if array.dtype.kind == "f" else -1
        found[name] = array
    return found


def alone(data: Arrays, pair: int) -> Arrays:
    found = {}
    for name, array in data.items():
        (axis,) = attention()[name].type.time
        found[name] = array[: LENGTHS[axis][pair], pair]
    return found


@pytest.mark.long
def test_each_pair_of_a_padded_batch_is_as_if_alone(network: Network) -> None:
    params, data = params_and_data()
    padded = spoilt(data)
    steps = {"t": SIZES["t"]}
    outputs = network.forward(params, inputs_alone(padded), steps=steps, lengths=LENGTHS)
    loss, gradients = network.value_and_grad(params, padded, lengths=LENGTHS)
    random = np.random.default_rng(6)
    cotangents = {label: random.normal(size=array.shape) for label, array in outputs.items()}
    vjp = network.vjp(params, inputs_alone(padded), steps, lengths=LENGTHS)[1]
    pulled = vjp(cotangents)
    losses, sums, pulls = [], dict.fromkeys(params, 0.0), dict.fromkeys(params, 0.0)
    for pair in range(SIZES["batch"]):
        s, t = LENGTHS["s"][pair], LENGTHS["t"][pair]
        own = alone(data, pair)
        single = network.forward(params, inputs_alone(own), steps={"t": int(t)})
        np.testing.assert_allclose(outputs["o"][:t, pair], single["o"], rtol=1e-12)
        np.testing.assert_allclose(outputs["share"][:s, :t, pair], single["share"], rtol=1e-12)
        assert not outputs["o"][t:, pair].any()
        assert not outputs["share"][s:, :, pair].any()
        assert not outputs["share"][:, t:, pair].any()
        value, slopes = network.value_and_grad(params, own)
        losses.append(value)
        mine = gradients["x"][:, pair]
        np.testing.assert_allclose(mine[:s], slopes["x"] / 3, rtol=1e-9, atol=1e-14)
        assert (mine[s:] == 0).all()
        _, back = network.vjp(params, inputs_alone(own), {"t": int(t)})
        pull = back({"o": cotangents["o"][:t, pair], "share": cotangents["share"][:s, :t, pair]})
        for name in params:
            sums[name] = sums[name] + slopes[name] / 3
            pulls[name] = pulls[name] + pull[name]
    assert loss == pytest.approx(np.mean(losses), rel=1e-12)
    for name in params:
        np.testing.assert_allclose(gradients[name], sums[name], rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(pulled[name], pulls[name], rtol=1e-9, atol=1e-13)


@pytest.mark.long
def test_lengths_of_one_axis_alone(network: Network) -> None:
    params, data = params_and_data()
    whole = np.full(3, SIZES["t"])
    both = network.loss(params, data, lengths={"s": LENGTHS["s"], "t": whole})
    assert network.loss(params, data, lengths={"s": LENGTHS["s"]}) == both
    assert network.loss(params, data) != both


def test_the_entropy_of_attention_has_a_slope_in_padding() -> None:
    """A share of zero in the padding would have an infinite one."""
    build = Builder()
    x = build.leaf("x", "input", Type("float", (), ("s", "batch")))
    q = build.leaf("q", "input", Type("float", (), ("t", "batch")))
    scale = build.leaf("scale", "param", Type("float"), initialiser="number", value=1.0)
    share = call("softmax_over", scale * x * q, over=("s",))
    entropy = call("sum_over", share * (scale * call("log", share)), over=("s",))
    each = call("mean_over", entropy, over=("t",))
    build.define("loss", "mean_over", (each,), over=("batch",))
    graph = Graph("entropy", "checked", tuple(build.nodes.values()), (), "loss", axes=("s", "t"))
    derived = adjoint(with_lengths(graph))
    random = np.random.default_rng(7)
    given = {"x": random.normal(size=(5, 3)), "q": random.normal(size=(4, 3)), "scale": 1.0}
    lengths = {name: LENGTHS[axis] for axis, name in lengths_leaves(graph.axes).items()}
    found = interpret(derived, {**given, **lengths}, SIZES)
    gradient = found[dict(derived.gradients)["scale"]]
    plain, expected = adjoint(graph), []
    for pair in range(3):
        s, t = LENGTHS["s"][pair], LENGTHS["t"][pair]
        own = {"x": given["x"][:s, pair, None], "q": given["q"][:t, pair, None], "scale": 1.0}
        values = interpret(plain, own, {"s": s, "t": t, "batch": 1})
        expected.append(values[dict(plain.gradients)["scale"]])
    np.testing.assert_allclose(gradient, np.mean(expected), rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((4, 3, 2))}, "`x` has 4 steps of s, but `src` has 5"),
        ({"steps": 4}, '`steps`: there are several time axes, so expected {"s": …, "t": …}'),
        ({"steps": {"u": 4}}, "unknown axis of `steps` `u`: expected `s`, `t`"),
        ({"steps": {"s": 4}}, "`src` has 5 steps of s, but `steps` has 4"),
        ({"steps": {"t": 2.5}}, "`steps` of t: expected a whole number from 0 on, found 2.5"),
        ({"steps": None}, "no input tells the number of steps of t: give `steps`"),
        ({"lengths": [1, 2, 3]}, "`lengths`: there are several time axes"),
        ({"lengths": {"s": [1, 2]}}, "`lengths` of s: expected integers [3], found int64 [2]"),
        ({"lengths": {"t": [1, 2, 5]}}, "`lengths` of t: expected 0 to 4, found 5"),
        ({"lengths": {"u": [1]}}, "unknown axis of `lengths` `u`"),
        ({"x": np.zeros(3)}, "`x`: expected float [S, B, 2], found [3]"),
        ({"state": {}}, "`src` does not run along t: it is for `initial_state`"),
    ],
)
def test_what_is_wrong_is_named_by_its_axis(
    network: Network, change: dict[str, Any], message: str
) -> None:
    params, data = params_and_data()
    options = {"steps": {"t": 4}, **change}
    inputs = inputs_alone(data)
    if "x" in options:
        inputs["x"] = options.pop("x")
    with pytest.raises(InputError, match=re.escape(message)):
        network.forward(params, inputs, **options)


def test_what_two_axes_cannot_do_is_said(network: Network) -> None:
    params, data = params_and_data()
    with pytest.raises(InputError, match=r"along s, .* needs the whole sequence at every step"):
        network.windows(params, data, checkpoint=2, axis="s")
    with pytest.raises(InputError, match="more than one time axis: it is built for any number"):
        build_source(print_graph(attention()), "attention.txt", steps=4)
