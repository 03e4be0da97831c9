"""What is missing, not taken, or behind the end is nobody's concern, however gradients are
computed: by the adjoint, for cotangents from outside, in windows, forward in time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.window_split import split
from rollc.driver.sources import read_spec
from rollc.entries.windows import window_kernels
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.network.derivatives.checkpointing import Windowed
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.compiled_networks import network_of
from tests.helpers.forward_gradients import Interpreted, uncompiled

Array = NDArray[Any]
STEPS, BATCH = 6, 3
SIZES = {"t": STEPS, "batch": BATCH}
NAN, INF = np.nan, np.inf


@dataclass(frozen=True)
class Missing:
    """A spec, and what may be anything where it does not count.

    That is where ``ok`` is 0, or what ``where`` names of the input.
    """

    text: str
    name: str
    bad: tuple[float, ...] = (NAN, INF, -INF)
    where: Any = None


HEAD = """
net missing
input x: [2], y, ok
param W: [3, 3], U: [3, 2], V: [3], k = 0.8
"""

CASES = {
    "observations": Missing(
        HEAD
        + """
h = tanh(W @ h[t-1] + U @ x)
e = where(y == y, (y - k * dot(V, h)) ** 2, 0)
output e
loss mean(e, over t)
""",
        "y",
        (NAN,),
    ),
    "held": Missing(
        HEAD
        + """
h = where(ok > 0, tanh(W @ h[t-1] + U @ x), h[t-1])
output h
loss mean(sum(h * h), over t)
""",
        "x",
    ),
    "divided": Missing(
        HEAD
        + """
r = where(ok > 0, tanh(k / y), 0)
h = sigmoid(W @ h[t-1] + U @ x) * r
output h
loss mean(sum(h * h), over t)
""",
        "y",
        (0.0, NAN),
    ),
    "norm": Missing(
        HEAD
        + """
n = sqrt(sum((k * x) * (k * x)))
h = W @ h[t-1] * 0.1 + where(ok > 0, V * n, 0) + ok * n
output h
loss mean(sum(h), over t)
""",
        "x",
        (0.0,),
    ),
    "logarithm": Missing(
        HEAD
        + """
u = where(ok > 0, tanh(log(k * y)) + log(k * y), 0)
h = tanh(W @ h[t-1] + V * u)
output h
loss sum(last(h))
""",
        "y",
        (0.0, -1.0, NAN),
    ),
    "clipped": Missing(
        HEAD
        + """
u = clip(k * y, -2, 2) + maximum(log(k * y * y), -3) + minimum(exp(k * y), 5)
h = tanh(W @ h[t-1] + V * where(ok > 0, u, 0) + U @ x)
output h
loss mean(sum(h), over t)
""",
        "y",
        (0.0, 1e200, NAN),
    ),
    "own": Missing(
        HEAD
        + """
fn root(v) = where(v > 0, sqrt(v), 0)
    grad 0.5 / sqrt(v)
h = tanh(W @ h[t-1] + V * where(ok > 0, root(k * y), 0) + U @ x)
output h
loss mean(sum(h), over t)
""",
        "y",
        (0.0, -1.0, NAN),
    ),
    "reset": Missing(
        HEAD
        + """
h = tanh(W @ h[t-1] + U @ x)
u = where(ok > 0, sum(log(k * y * h * h)), 0) + 0.5 * u[t-1]
reset u when y > 2
output u
loss mean(u, over t)
""",
        "y",
        (0.0, NAN),
    ),
    "border": Missing(
        HEAD
        + """
h = tanh(W @ h[t-1] + U @ x)
e = dot(V, h[t-1])
output e
loss mean(e, over t)
""",
        "x",
        where=np.s_[-1:],
    ),
    "ends": Missing(
        HEAD
        + """
u = tanh(U @ x) * y
l = last(u)
f = first(u)
output l, f
loss dot(l, f) * k
""",
        "x",
        where=np.s_[1:3],
    ),
    "elements": Missing(
        HEAD
        + """
z = sigmoid(x * k) ** 2 / x
h = tanh(W @ h[t-1] + V * z[0])
output h
loss mean(sum(h), over t)
""",
        "x",
        (0.0, NAN, INF),
        where=np.s_[:, :, 1],
    ),
    "extremes": Missing(
        HEAD
        + """
z = concat(y, 30) * sqrt(concat(k * x[0], k * x[1]))
h = tanh(W @ h[t-1] + V * max(z))
output h
loss mean(sum(h), over t) + max(y * sqrt(k * x[1]) , over t) + min(-sqrt(k * x[1]), over t)
""",
        "x",
        (0.0,),
        where=np.s_[:, :, 0],
    ),
}


def leaves_of(graph: Graph) -> tuple[dict[str, Array], dict[str, Array]]:
    random = np.random.default_rng(5)
    params = {
        leaf.name: random.normal(0, 0.7, leaf.type.shape) if leaf.type.shape else np.array(0.8)
        for leaf in graph.leaves("param")
    }
    shapes = {"x": (STEPS, BATCH, 2), "y": (STEPS, BATCH), "ok": (STEPS, BATCH)}
    inputs = {
        leaf.name: np.abs(random.normal(size=shapes[leaf.name])) + 0.3
        for leaf in graph.leaves("input")
    }
    ok = random.random((STEPS, BATCH)) < 0.5
    ok[-1] = [True, False, False]
    inputs["ok"] = ok * 1.0
    return params, inputs


def spoilt(missing: Missing, inputs: dict[str, Array], bad: float) -> dict[str, Array]:
    array = inputs[missing.name].copy()
    array[inputs["ok"] == 0 if missing.where is None else missing.where] = bad
    return {**inputs, missing.name: array}


def windows(graph: Graph, leaves: dict[str, Array], every: int) -> tuple[float, dict[str, Array]]:
    simple = canonicalize(graph)
    parts = split(simple)
    makers = window_kernels(parts)
    kernel: Any = cache(lambda entry: Interpreted(makers[entry]()))
    return Windowed(simple, parts, kernel, "float64", SIZES).value_and_grad(leaves, every)


def pulled_back(graph: Graph, leaves: dict[str, Array]) -> dict[str, Array]:
    """The gradients for cotangents from outside."""
    derived = canonicalize(adjoint(canonicalize(replace(graph, loss=None)), "outputs"))
    random = np.random.default_rng(6)
    seeds = {
        leaf.name: random.normal(size=(*(SIZES[axis] for axis in leaf.type.axes), *leaf.type.shape))
        for leaf in derived.leaves("cotangent")
    }
    found = interpret(derived, {**leaves, **seeds}, SIZES)
    return {label: found[name] for label, name in derived.gradients}


def ways(graph: Graph, params: Any, inputs: Any) -> dict[str, Any]:
    """The gradients of the parameters and of the other inputs, in all ways that there are."""
    found: dict[str, Any] = {}
    net, mean, cut = (
        uncompiled(graph),
        uncompiled(graph, combine="mean"),
        uncompiled(graph, truncate=2),
    )
    with np.errstate(all="ignore"):
        for what, each in (("adjoint", net), ("mean", mean), ("truncated", cut)):
            found[what] = each.value_and_grad(params, inputs)
        found["lengths"] = net.value_and_grad(params, inputs, lengths=[4, 6, 5])
        found["windows"] = windows(graph, {**params, **inputs}, 2)
        found["forward"] = net.forward_sensitivities(params, inputs)[1]()
        found["cotangents"] = 0.0, pulled_back(graph, {**params, **inputs})
    return found


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        pytest.param(name, bad, marks=pytest.mark.long if number else ())
        for name, missing in CASES.items()
        for number, bad in enumerate(missing.bad)
    ],
)
def test_a_gradient_does_not_know_what_was_not_taken(name: str, bad: float) -> None:
    missing = CASES[name]
    graph, _ = read_spec(missing.text, f"{name}.roll")
    params, inputs = leaves_of(graph)
    if name == "observations":
        harmless = spoilt(missing, inputs, NAN)  # a NaN is what says that it is missing
        for what, (loss, grads) in ways(graph, params, harmless).items():
            assert np.isfinite(loss), what
            for label, array in grads.items():
                assert np.isfinite(array).all(), (what, label)
        return
    expected = ways(graph, params, inputs)
    found = ways(graph, params, spoilt(missing, inputs, bad))
    for what, (loss, grads) in expected.items():
        assert np.isclose(found[what][0], loss), what
        for label, array in grads.items():
            assert np.isfinite(found[what][1][label]).all(), (what, label)
            if label == "ok":  # its own slope may be what is spoilt
                continue
            np.testing.assert_allclose(
                found[what][1][label], array, 1e-9, 1e-12, err_msg=f"{what} {label}"
            )


def test_a_logarithm_that_is_not_taken() -> None:
    text = """
net small
input x
param k = 1.0
h = where(x > 0, log(k * x), 0) + 0.5 * h[t-1]
output h
loss last(h)
"""
    net = uncompiled(read_spec(text, "small.roll")[0])
    with np.errstate(all="ignore"):
        _, grads = net.value_and_grad({"k": np.array(1.0)}, {"x": np.array([0.0, 2.0])})
    assert grads["k"] == 1.0
    assert grads["x"].tolist() == [0.0, 0.5]


# Compiled -----------------------------------------------------------------------------------

CLOCK = """
net clock
input x: [5], ok
param W: [4, 4], U: [4, 5], V: [4, 4], b: [4], k = 0.8
phase = where(phase[t-1] + 1.5 < 3, phase[t-1] + 1, 0)
init phase = 2
h = where(phase < 0.5, tanh(W @ h[t-1] + U @ x + b), h[t-1])
g = where(ok > 0, k * relu(V @ g[t-1] + U @ x) + log(sum(exp(x))), h)
output g
loss mean(sum(g * h), over t)
"""


@pytest.mark.long
def test_kernels_do_not_see_it_either() -> None:
    """At steps at which a clock holds back products, and at those of each sequence's own."""
    net = network_of(CLOCK, "float32")
    steps, batch = 11, 8
    random = np.random.default_rng(7)
    params = {name: random.normal(0, 0.5, array.shape) for name, array in net.init(0).items()}
    ok = (random.random((steps, batch)) < 0.5) * 1.0
    ok[::3] = 1
    x = random.normal(size=(steps, batch, 5))
    away = (ok == 0) & (np.arange(steps) % 3 != 0)[:, None]
    seeds = random.normal(size=(steps, batch, 4))
    expected = net.value_and_grad(params, {"x": x, "ok": ok})
    _, pullback = net.vjp(params, {"x": x, "ok": ok})
    pulled = pullback({"g": seeds})
    for bad in (NAN, INF, -INF):
        given = {"x": np.where(away[..., None], bad, x), "ok": ok}
        loss, grads = net.value_and_grad(params, given)
        np.testing.assert_allclose(loss, expected[0], rtol=1e-6)
        for label, array in expected[1].items():
            np.testing.assert_allclose(grads[label], array, 1e-4, 1e-6, err_msg=label)
        _, pullback = net.vjp(params, given)
        for label, array in pullback({"g": seeds}).items():
            np.testing.assert_allclose(array, pulled[label], 1e-4, 1e-5, err_msg=label)


def test_a_softmax_over_steps_passes_on_to_all_of_them() -> None:
    """What arrives at one step goes to all, also where another branch was taken."""
    text = (
        "net n\ninput x, y\nparam k = 0.7\nh = k * x + 0.5 * h[t-1]\n"
        "p = where(y > 0, h, softmax(h * x, over t))\n"
        "q = where(y > 0, h, sin(softmax(tanh(h * x), over t)))\n"
        "output p\nloss sum(p * y + q * y, over t)\n"
    )
    graph = read_spec(text, "test.roll")[0]
    leaves = {
        "x": np.array([[0.3], [1.2], [-0.7]]),
        "y": np.array([[0.5], [-1.5], [-0.25]]),
        "k": np.array(0.7),
    }
    sizes = {"t": 3, "batch": 1}

    def loss(k: float) -> float:
        return float(interpret(graph, {**leaves, "k": np.array(k)}, sizes)[str(graph.loss)])

    slope = (loss(0.7 + 1e-5) - loss(0.7 - 1e-5)) / 2e-5
    derived = adjoint(graph)
    found = interpret(derived, leaves, sizes)[dict(derived.gradients)["k"]]
    np.testing.assert_allclose(found, slope, rtol=1e-8)
