"""`net.hvp` and `net.gradient_vjp`: second derivatives, held to differences of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.entries.forward_mode import why_no_hessian
from rollc.errors import InputError, UndefinedError
from rollc.ir.time.same_steps import made_alike
from rollc.ir.traversal import needed_names
from rollc.network.network import Network
from rollc.support.resources import specs
from rollc.tools.verify.kernels import interpreted
from tests.helpers.compiled_networks import network_of

Array = NDArray[Any]
Arrays = dict[str, Array]
T, B = 6, 3
SMALL = {"D": 3, "H": 4, "K": 3, "S": 4, "V": 5, "N": 4}
SPECS = specs()

TEXT = """
net several
dim D = 2, H = 3
input x: [D], w: index(4)
static input z: [H]
target y: [H]
param U: [H, D], W: [H, H], E: [4, H], a: [H], start: [H] = 0.3
h = tanh(U @ (x + x[t-2]) + W @ h[t-1] + 0.3 * h[t-2] + embed(E, w) + z + dropout(a, rate=0.3))
init h = start
output h
loss mean(mse(h, y), over t) + sum(W ** 2)
"""
LENGTHS = [6, 0, 2]
WAYS = ["plain", "state", "lengths", "state and lengths", "training"]


def network(text: str = TEXT, **sets: int) -> Network:
    return interpreted(read_spec(text, "n.roll", sets)[0])


def steps_of(net: Network) -> dict[str, int]:
    """Other ones along each axis, where they are free."""
    return made_alike(net.graph, {axis: T + place for place, axis in enumerate(net.axes)})


def numbers(net: Network, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Parameters and inputs, of other steps along a second axis."""
    random, inputs = np.random.default_rng(seed), {}
    steps = steps_of(net)
    for name, spec in {**net.inputs, **net.targets}.items():
        shape = (*(steps[axis] for axis in spec.time), B, *spec.shape)
        drawn = random.integers(0, spec.bound or 1, shape)
        inputs[name] = drawn if spec.kind == "index" else np.abs(random.normal(size=shape)) + 0.1
    params = net.init(seed)
    return {name: a + 0.2 * random.normal(size=a.shape) for name, a in params.items()}, inputs


def directions(net: Network, params: Arrays, inputs: Arrays, state: Any, seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    rows = {f"state.{name}": array for name, array in (state or {}).items()}
    learned = {name: a for name, a in params.items() if not net.params[name].frozen}
    given = {name: a for name, a in inputs.items() if name in net.inputs} | learned | rows
    return {name: random.normal(size=a.shape) for name, a in given.items() if a.dtype.kind == "f"}


def differences(
    net: Network,
    params: Arrays,
    inputs: Arrays,
    moved: Arrays,
    state: Any = None,
    cotangents: Any = None,
    **more: Any,
) -> Arrays:
    """Central differences of the gradients of the loss, or from cotangents; of fourth order."""

    def at(distance: float) -> Arrays:
        def there(arrays: Arrays, lead: str = "") -> Arrays:
            return {
                name: a + distance * moved[lead + name] if lead + name in moved else a
                for name, a in arrays.items()
            }

        given = (there(params), there(inputs))
        if cotangents is not None:
            own = None if state is None else there(state, "state.")
            return net.vjp(*given, state=own, **more)[1](cotangents)
        if state is None:
            return net.value_and_grad(*given, **more)[1]
        return net.value_and_grad(*given, state=there(state, "state."), **more)[1]

    step = 1e-4
    far_left, left, right, far_right = (at(place * step) for place in (-2, -1, 1, 2))
    return {
        name: (8 * (right[name] - left[name]) - (far_right[name] - far_left[name])) / (12 * step)
        for name in left
    }


def close(found: Arrays, expected: Arrays, most: float) -> None:
    assert found.keys() == expected.keys()
    largest = max((float(np.abs(array).max(initial=0)) for array in expected.values()), default=0)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        # Differences of what has no second derivative are rounding.
        scale = max(float(np.abs(array).max(initial=0)), 1e-3 * largest, 1e-6)
        assert np.abs(found[name] - array).max(initial=0) <= most * scale, name


def inner(one: Arrays, other: Arrays) -> float:
    assert one.keys() <= other.keys()
    return sum(float((array * other[name]).sum()) for name, array in one.items())


def is_symmetric(
    net: Network, params: Arrays, inputs: Arrays, state: Any = None, **more: Any
) -> None:
    """``<u, H v> == <v, H u>``."""
    u, v = (directions(net, params, inputs, state, seed) for seed in (3, 4))
    hu, hv = (net.hvp(params, inputs, each, state=state, **more) for each in (u, v))
    assert inner(u, hv) == pytest.approx(inner(v, hu), rel=1e-8, abs=1e-10)


# Against differences -----------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", SPECS)
def test_shipped_specs(name: str) -> None:
    text = SPECS[name].read_text()
    graph = read_spec(text, name)[0]
    if (reason := why_no_hessian(graph)) is not None:
        pytest.skip(reason)
    sizes = dict(graph.dims)
    net = network(text, **{size: SMALL[size] for size in sizes if size in SMALL})
    if net.graph.loss is None:
        pytest.skip("it has no loss")
    params, inputs = numbers(net)
    stops = [node.name for node in net.graph.nodes if node.operation == "stop"]
    held = needed_names(net.graph, stops)  # of which differences see a slope
    moved = directions(net, params, inputs, None, 5)
    moved = {name: array for name, array in moved.items() if name not in held}
    steps = steps_of(net)
    found = net.hvp(params, inputs, moved, steps)
    close(found, differences(net, params, inputs, moved, steps=steps), 1e-6)
    is_symmetric(net, params, inputs, steps=steps)


@pytest.mark.parametrize("way", WAYS)
def test_every_way(way: str) -> None:
    net = network()
    params, inputs = numbers(net)
    more: dict[str, Any] = {"training": True, "seed": 4} if way == "training" else {}
    if "lengths" in way:
        more["lengths"] = LENGTHS
    if "state" in way:
        state = net.initial_state(params, inputs)
        more["state"] = {name: array + 0.1 for name, array in state.items()}
    moved = directions(net, params, inputs, more.get("state"), 5)
    found = net.hvp(params, inputs, moved, **more)
    close(found, differences(net, params, inputs, moved, **more), 1e-7)
    is_symmetric(net, params, inputs, **more)
    alone = net.hvp(params, inputs, {"W": moved["W"]}, **more)
    close(alone, differences(net, params, inputs, {"W": moved["W"]}, **more), 1e-7)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.long)])
def test_compiled(dtype: str) -> None:
    net, meant = network_of(TEXT, dtype), network()
    params, inputs = numbers(meant)
    moved = directions(meant, params, inputs, None, 5)
    found = net.hvp(params, inputs, moved)
    assert {array.dtype.name for array in found.values()} == {dtype}
    close(found, meant.hvp(params, inputs, moved), 1e-4 if dtype == "float32" else 1e-12)


# Of gradients from cotangents --------------------------------------------------------------

OUTPUTS = """
net outputs
dim D = 2, H = 3
input x: [D], w: index(4)
static input z: [H]
param U: [H, D], W: [H, H], E: [4, H], a: [H], start: [H] = 0.3, k = 0.4
s = sin(k * s[t-1] + k)
h = tanh(U @ (x + x[t-2]) + W @ h[t-1] + 0.3 * h[t-2] + s * z + embed(E, w) + dropout(a, rate=0.3))
init h = start
m = max(h)
q = mean(h ** 2, over t)
also = h
output h, also, s, m, w, x, q, k
"""


def cotangents_of(outputs: Arrays, seed: int = 7) -> Arrays:
    random = np.random.default_rng(seed)
    return {
        name: random.normal(size=array.shape)
        for name, array in outputs.items()
        if array.dtype.kind == "f"
    }


@pytest.mark.parametrize("way", [*WAYS, "without a batch"])
def test_gradients_from_cotangents(way: str) -> None:
    text = OUTPUTS
    if way == "state and lengths":  # a state that sequences share takes none
        text = OUTPUTS.replace("s[t-1] + k", "s[t-1] + max(x)")
    net = network(text)
    params, inputs = numbers(net)
    if way == "without a batch":
        inputs = {name: a.take(0, axis=0 if name == "z" else 1) for name, a in inputs.items()}
    more: dict[str, Any] = {"training": True, "seed": 4} if way == "training" else {}
    if "lengths" in way:
        more["lengths"] = LENGTHS
    if "state" in way:
        state = net.initial_state(params, inputs)
        more["state"] = {name: array + 0.1 for name, array in state.items()}
    outputs, pullback = net.vjp(params, inputs, **more)
    cotangents = cotangents_of(outputs)
    assert ("state.h" in cotangents) == ("state" in way)
    moved = directions(net, params, inputs, more.get("state"), 5)
    found, slopes = net.gradient_vjp(params, inputs, cotangents, moved, **more)
    close(found, differences(net, params, inputs, moved, cotangents=cotangents, **more), 1e-7)
    expected = net.jvp(params, inputs, moved, **more)[1]
    assert slopes.keys() == expected.keys() == cotangents.keys()
    # Both are what comes back: <v, G(W + e u, c + e d)> moves by <u, products> + <d, slopes>.
    other = cotangents_of(outputs, 8)
    np.testing.assert_allclose(inner(other, slopes), inner(pullback(other), moved), rtol=1e-9)
    for name, array in expected.items():
        np.testing.assert_array_equal(slopes[name], array)
    some = {name: moved[name] for name in ("W", "x")}
    own, none = net.gradient_vjp(params, inputs, {"h": cotangents["h"]}, some, wrt="W", **more)
    expected = differences(net, params, inputs, some, cotangents={"h": cotangents["h"]}, **more)
    close(own, {"W": expected["W"]}, 1e-7)
    assert none == {}


def test_of_the_cotangents_alone() -> None:
    net = network(OUTPUTS)
    params, inputs = numbers(net)
    found, slopes = net.gradient_vjp(params, inputs, {}, {"k": 1.0}, wrt="cotangents")
    assert found == {} and slopes["k"] == 1 and np.abs(slopes["s"]).max() > 0.1


@pytest.mark.long
def test_compiled_for_cotangents() -> None:
    net, meant = network_of(OUTPUTS, "float32"), network(OUTPUTS)
    params, inputs = numbers(meant)
    cotangents = cotangents_of(meant.forward(params, inputs))
    moved = directions(meant, params, inputs, None, 5)
    found = net.gradient_vjp(params, inputs, cotangents, moved)
    expected = meant.gradient_vjp(params, inputs, cotangents, moved)
    for own, right in zip(found, expected, strict=True):
        assert {array.dtype.name for array in own.values()} == {"float32"}
        close(own, right, 1e-4)


def test_what_is_refused_of_cotangents() -> None:
    net = network(OUTPUTS)
    params, inputs = numbers(net)

    def call(cotangents: Any, vectors: Any, **more: Any) -> Any:
        return net.gradient_vjp(params, inputs, cotangents, vectors, **more)

    with pytest.raises(InputError, match="unknown cotangent `z`: expected `h`, `also`"):
        call({"z": 1.0}, {})
    with pytest.raises(InputError, match="cotangent `w`: the output is of kind index"):
        call({"w": np.zeros((T, B))}, {})
    with pytest.raises(InputError, match="vector `h`: no state is given"):
        call({}, {"h": 1.0})
    with pytest.raises(InputError, match="`wrt`: unknown name `Q`"):
        call({}, {}, wrt=("cotangents", "Q"))
    text = (
        "net n\ninput x\nfn spike(v) = where(v > 0, 1, 0)\n    grad v: 1 / (1 + v ** 2)\n"
        "param a\ns = spike(a * x)\noutput s\nloss sum((a * x) ** 2, over t)\n"
    )
    x = np.ones((2, 1))
    with pytest.raises(InputError, match=r"`n` has no second derivative: `s` .line 6. has a deriv"):
        network(text).gradient_vjp({"a": np.array(1.0)}, {"x": x}, {"s": x}, {"a": 1.0})
    options: dict[str, Any] = {"dtype": "float64", "backend": "reference", "combine": "mean"}
    mean = build_source("net n\nparam a\ny = a * y[t-1] + 1\noutput y\n", "n.roll", **options)[0]
    with pytest.raises(InputError, match="it was built to combine gradients by their mean"):
        mean.gradient_vjp({"a": 1.0}, {}, {}, {}, steps=2)
    of_index = network("net n\ninput w: index(3)\noutput w\n")
    with pytest.raises(InputError, match="no output of `n` has a gradient"):
        of_index.gradient_vjp({}, {"w": np.zeros((2, 1), int)}, {}, {})


def test_cotangents_of_no_steps() -> None:
    net = network("net n\ninput x\nparam a\ny = a ** 2 * x\nz = a ** 3\noutput y, z\n")
    x, y = np.zeros((0, 2)), np.zeros((0, 2))
    found, slopes = net.gradient_vjp({"a": 3.0}, {"x": x}, {"y": y, "z": 2.0}, {"a": 1.0})
    assert found["a"] == 36 and found["x"].shape == (0, 2)
    assert slopes["z"] == 27 and slopes["y"].shape == (0, 2)


# Where cotangents are zero ------------------------------------------------------------------

ZERO = """
net zero
input x: [2]
target y: [2]
param a: [2]
b = {}
output b
loss mean(sum((b - y) ** 2), over t)
"""


@pytest.mark.parametrize(
    "value",
    [
        "log(a * x)",
        "exp(a * x)",
        "a / x",
        "relu(a * x)",
        "maximum(a * x, 0.1) * (a + x)",
        "max(a * x) / (a + x)",
        "softmax(max(a) * x)",
        "dot(a, x) * last(a * x)",
        "last(sqrt(dot(a, x)) * x)",
        "where(x > 0, log(a * x), 7)",
        "max(softmax(a * x), over t)",
        "a * x + tanh(a * b[t-1])",
    ],
)
def test_a_cotangent_that_is_zero_may_move(value: str) -> None:
    """At a minimum no cotangent arrives, and all of the Hessian is there."""
    net = network(ZERO.format(value))
    random = np.random.default_rng(0)
    params, x = {"a": random.uniform(0.5, 1.5, 2)}, random.uniform(0.5, 1.5, (3, 1, 2))
    y = net.forward(params, {"x": x})["b"]
    y = y if y.ndim == 3 else np.broadcast_to(y, (3, 1, 2))
    inputs = {"x": x, "y": y}
    loss, gradients = net.value_and_grad(params, inputs)
    assert loss == 0 and not gradients["a"].any()
    moved = {"a": np.array([0.7, 0.3]), "x": random.normal(size=x.shape)}
    found = net.hvp(params, inputs, moved)
    expected = differences(net, params, inputs, moved)
    assert np.abs(expected["a"]).max() > 0.01
    close(found, expected, 1e-6)


def test_what_is_not_taken_spoils_nothing() -> None:
    net = network(
        "net n\ninput x\nparam a\ny = where(x > 0, sqrt(a * x), 0) + where(x == x, a * x, 0) ** 3\n"
        "loss sum(y, over t)\n"
    )
    x = np.array([[4.0], [-1.0], [0.0]])
    found = net.hvp({"a": np.array(1.5)}, {"x": x}, {"a": 1.0})
    assert found["a"] == pytest.approx(-0.25 * 2 * 1.5**-1.5 + 6 * 1.5 * (64 - 1))


# What a spec says of its derivatives -------------------------------------------------------


def test_a_derivative_of_its_own_has_no_second_one() -> None:
    text = (
        "net n\ninput x\nfn spike(v) = where(v > 0, 1, 0)\n    grad v: 1 / (1 + v ** 2)\n"
        "param a\ns = spike(a * x)\noutput s\nloss sum({}, over t)\n"
    )
    net, x = network(text.format("s")), np.ones((2, 1))
    why = (
        "the loss of `n` has no second derivative: `s` .line 6. has a derivative of its own, `grad`"
    )
    with pytest.raises(InputError, match=why):
        net.hvp({"a": np.array(1.0)}, {"x": x}, {"a": 1.0})
    other = network(text.format("(a * x) ** 2"))  # of which the loss is not
    assert other.hvp({"a": np.array(1.0)}, {"x": x}, {"a": 1.0})["a"] == pytest.approx(4)


def test_what_stop_gives_is_constant() -> None:
    net = network("net n\nparam a, b\ny = stop(a) * b ** 2 + a ** 3\nloss y\n")
    params = {"a": np.array(2.0), "b": np.array(3.0)}
    found = net.hvp(params, {}, {"a": 1.0, "b": 1.0}, steps=1)
    assert (found["a"], found["b"]) == (12, 4)


def test_borders_cut_both_derivatives() -> None:
    text = "net n\ninput x\nh = x * h[t-1] + x ** 2\nloss sum(h, over t)\n"
    options: dict[str, Any] = {"dtype": "float64", "backend": "reference"}
    cut = build_source(text, "n.roll", truncate=1, **options)[0]
    x = np.array([[2.0], [3.0]])
    assert cut.hvp({}, {"x": x}, {"x": np.ones((2, 1))})["x"].tolist() == [[2], [2]]
    mean = build_source(text, "n.roll", combine="mean", **options)[0]
    with pytest.raises(InputError, match="it was built to combine gradients by their mean"):
        mean.hvp({}, {"x": x}, {})


# What is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({"q": 1.0}, r"unknown vector `q`: expected `U`, `W`, `E`, `a`, `start`, `x`, `z`$"),
        ({"w": np.zeros((T, B))}, "vector `w`: it is an index, and has no derivative"),
        ({"y": np.zeros((T, B, 3))}, "vector `y`: it is a target, and has no derivative"),
        ({"W": np.zeros((2, 3))}, r"vector `W`: expected .* with shape \[3, 3\], found \[2, 3\]"),
    ],
)
def test_what_is_no_vector(vectors: Any, message: str) -> None:
    net = network()
    params, inputs = numbers(net)
    with pytest.raises(InputError, match=message):
        net.hvp(params, inputs, vectors)


def test_no_loss_and_no_steps() -> None:
    with pytest.raises(InputError, match="`n` has no loss"):
        network("net n\ninput x\ny = x\noutput y\n").hvp({}, {"x": np.zeros((1, 1))}, {})
    net = network()
    params, inputs = numbers(net)
    short = {name: a if name == "z" else a[:0] for name, a in inputs.items()}
    with pytest.raises(UndefinedError, match="mean"):
        net.hvp(params, short, {})
    summed = network("net n\ninput x\nparam a\ny = a * x\nloss sum(y, over t) + a ** 2\n")
    found = summed.hvp({"a": np.array(3.0)}, {"x": np.zeros((0, 2))}, {"a": 1.0})
    assert found["a"] == 2 and found["x"].shape == (0, 2)


def test_some_products_alone() -> None:
    net = network()
    params, inputs = numbers(net)
    vectors = directions(net, params, inputs, None, 1)
    every = net.hvp(params, inputs, vectors)
    some = net.hvp(params, inputs, vectors, wrt=("W", "x"))
    assert some.keys() == {"W", "x"}
    assert net.hvp(params, inputs, vectors, wrt="params").keys() == net.params.keys()
    for name, array in some.items():
        np.testing.assert_array_equal(array, every[name])
    with pytest.raises(InputError, match="`wrt`: unknown name `Q`"):
        net.hvp(params, inputs, vectors, wrt="Q")
