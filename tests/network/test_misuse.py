"""Whatever a user gives from Python is taken, or refused by an error of rollc's own.

Every argument of every public call gets every hostile value of its sort: each is taken or raises
:class:`RollcError`, and what is refused is named.  Kernels are interpreted.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import rollc
from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.errors import InputError, RollcError
from rollc.lang.diagnostics.spec_error import SpecError
from rollc.network.network import Network
from rollc.support import threads
from rollc.tools.verify.kernels import interpreted
from rollc.training.data import batches
from rollc.training.updates import optimizers

TEXT = """
net small
dim D = 2, H = 3
input x: [D], w: index(4)
static input z: [H]
target y: [H]
param U: [H, D], W: [H, H], E: [4, H]
h = tanh(U @ x + W @ h[t-1] + embed(E, w) + dropout(z))
output h
loss mean(mse(h, y), over t)
"""
PAIRS = """
net pairs
time s, t
input a[s], b[t]
param k = 0.5
e = tanh(a + k * e[s-1])
d = tanh(b + d[t-1] + sum(e * b, over s))
output d
loss sum(d, over t)
"""
T, B = 5, 3


class Raises:
    """An object that is an array by its own account, and is none."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array today")


class Own(np.ndarray[Any, Any]):
    """A subclass of arrays."""


THINGS: list[Any] = [
    *(None, True, False, 0, 1, -1, 2.5, float("nan"), float("inf"), 10**30, 1j, "x", "", b"x"),
    *([], [1], [[1], [1, 2]], {}, {"x": 1}, {3: 1}, set(), object(), Raises(), len, Raises),
    *(np.int64(2), np.bool_(True), np.float64(0.5), np.nan, np.datetime64("2020"), np.array(2)),
    *(np.zeros(0), np.zeros((0, 0)), np.array(["a"]), np.array([None]), np.array([1 + 2j])),
    np.ma.array([1.0, 2.0], mask=[True, False]),
    np.zeros(2, [("a", float)]),
    Path("nowhere"),
    np.random.default_rng(0),
]


@pytest.fixture(scope="module")
def net() -> Network:
    return interpreted(read_spec(TEXT, "small.roll")[0])


@pytest.fixture(scope="module")
def compiled() -> Network:
    return build_source(TEXT, "small.roll", dtype="float64")[0]


@pytest.fixture(scope="module")
def pairs() -> Network:
    return interpreted(read_spec(PAIRS, "pairs.roll")[0])


def data(steps: int = T, batch: int = B) -> dict[str, Any]:
    random = np.random.default_rng(1)
    return {
        "x": random.normal(size=(steps, batch, 2)),
        "w": random.integers(0, 4, (steps, batch)),
        "z": random.normal(size=(batch, 3)),
        "y": random.normal(size=(steps, batch, 3)),
    }


def settled(call: Callable[..., Any], given: Mapping[str, Any], but: str) -> None:
    """Every hostile value in the place of one argument; and inside it, where it is arrays."""
    for thing in THINGS:
        refused(call, {**given, but: thing})
    own = given[but]
    if isinstance(own, Mapping):
        for name in own:
            for thing in THINGS:
                refused(call, {**given, but: {**own, name: thing}})
            refused(call, {**given, but: {key: value for key, value in own.items() if key != name}})
        refused(call, {**given, but: {**own, "other": 1}})
        refused(call, {**given, but: {**own, 7: 1}})


def refused(call: Callable[..., Any], given: Mapping[str, Any]) -> None:
    try:
        call(**given)
    except RollcError as error:
        text = str(error)
    except Exception as error:
        shown = {name: repr(value)[:60] for name, value in given.items()}
        raise AssertionError(f"{call.__name__}({shown}): {error!r}") from error
    else:
        text = "taken"
    assert text


CALLS: dict[str, dict[str, Any]] = {
    "init": {"seed": 0},
    "forward": {"params": 0, "inputs": 0, "steps": T, "lengths": [5, 0, 2]},
    "loss": {"params": 0, "inputs": 0, "steps": T, "lengths": None, "training": True, "seed": 1},
    "value_and_grad": {"params": 0, "inputs": 0, "state": 0, "wrt": "params", "seed": 0},
    "vjp": {"params": 0, "inputs": 0, "state": 0, "wrt": ("x", "W"), "lengths": [5, 0, 2]},
    "windows": {"params": 0, "inputs": 0, "checkpoint": 2, "memory": None, "training": False},
    "forward_sensitivities": {"params": 0, "inputs": 0, "memory": 10**8, "lengths": [5, 0, 2]},
    "initial_state": {"params": 0, "inputs": 0, "steps": None, "axis": "t", "seed": 0},
    "step": {"params": 0, "state": 0, "inputs": 0, "axis": None, "training": False, "seed": 0},
    "axis_of_steps": {"axis": "t"},
}


@pytest.mark.parametrize(
    ("name", "argument"), [(name, each) for name, given in CALLS.items() for each in given]
)
def test_calls_of_a_network(net: Network, compiled: Network, name: str, argument: str) -> None:
    now = {key: array if key == "z" else array[0] for key, array in data().items()}
    good = {"params": net.init(), "inputs": now if name == "step" else data()}
    good["state"] = net.initial_state(net.init(), data())
    given = {key: good.get(key, value) for key, value in CALLS[name].items()}
    call = getattr(compiled if name == "windows" else net, name)
    call(**given)
    settled(call, given, argument)


@pytest.mark.parametrize("name", ["forward", "vjp", "value_and_grad", "initial_state", "step"])
def test_calls_of_two_axes(pairs: Network, name: str) -> None:
    a, b = np.ones((4, 2)), np.ones((3, 2))
    state = pairs.initial_state(pairs.init(), {"a": a})
    both = {"a": a, "b": b}
    given = {
        "forward": {
            "inputs": both,
            "steps": {"s": 4, "t": 3},
            "lengths": {"s": [4, 0]},
        },
        "vjp": {"inputs": both, "steps": {"t": 3}, "lengths": {"s": [4, 0]}},
        "value_and_grad": {"inputs": both, "lengths": {"s": [4, 1], "t": [0, 3]}},
        "initial_state": {"inputs": {"a": a}, "steps": {"s": 4}, "lengths": {"s": [4, 0]}},
        "step": {"inputs": {"b": b[0]}, "state": state, "axis": "t"},
    }[name]
    call = getattr(pairs, name)
    call(pairs.init(), **given)
    for argument in given:
        settled(call, {"params": pairs.init(), **given}, argument)
    for thing in THINGS:
        refused(pairs.forward, {"params": pairs.init(), "inputs": {"b": b}, "state": thing})


def test_cotangents(net: Network) -> None:
    """And names of what is to have a gradient."""
    outputs, pullback = net.vjp(net.init(), data())
    given = {"cotangents": {"h": outputs["h"]}, "wrt": "params"}
    pullback(**given)
    for argument in given:
        settled(pullback.__call__, given, argument)


def test_building() -> None:
    """What is wrong is found before anything is built."""
    flawed = "net flawed\noutput nothing\n"
    given = {
        "text": flawed,
        "name": "flawed.roll",
        "sets": {"H": 2},
        "dtype": "float64",
        "steps": 3,
        "truncate": 2,
        "combine": "mean",
        "feed": "free",
        "cache": False,
    }
    with pytest.raises(SpecError):
        build_source(**given)
    for argument in given:
        settled(build_source, given, argument)
    for thing in THINGS:
        refused(rollc.build, {"source": thing})
        refused(rollc.load, {"directory": thing})
        refused(threads.use, {"number": thing})
    threads.use(None)
    for directory in (3, b"x", "a\0b", ["x"], True):
        with pytest.raises(InputError, match="directory"):
            build_source("net n\ninput x\ny = x\noutput y\n", directory=directory)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("sets", {"H": 2.5}, "`sets`, `H`: expected a whole number, found 2.5"),
        ("sets", {"H": True}, "`sets`, `H`: expected a whole number, found True"),
        ("sets", ["H"], "`sets`: expected sizes by name"),
        ("truncate", 2.5, "`truncate`: expected a whole number from 1 to 10000000, found 2.5"),
        ("steps", True, "`steps`: expected a whole number from 1 to 10000000, found True"),
        ("steps", 0, "`steps`: expected a whole number from 1 to 10000000, found 0"),
        ("dtype", np.float16, "expected dtype float32 or float64, found `float16`"),
        ("dtype", None, "expected dtype float32 or float64, found None"),
        ("combine", "max", "expected combine sum or mean, found `max`"),
        ("cache", "no", "`cache`: expected True or False, found `no`"),
    ],
)
def test_what_is_wrong_of_a_build_is_named(argument: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        build_source(TEXT, **{argument: value})


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    text = "net n\ndim H = 2\ninput x: [H]\nh = x + h[t-1]\noutput h\nloss sum(sum(h, over t))\n"
    network, _ = build_source(
        text, sets={"H": np.int64(3)}, dtype=np.float64, steps=np.int32(4), truncate=np.uint8(2)
    )  # type: ignore[arg-type]
    assert network.inputs["x"].shape == (3,)
    assert network.dtype == "float64"
    assert network.steps == 4
    assert network.truncate == 2
    assert network.forward({}, {"x": np.ones((4, 3))}, steps=np.int64(4))["h"].shape == (4, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n, p: n.init(seed=-1), "`seed`: expected a whole number from 0 on, found -1"),
        (lambda n, p: n.init(seed=True), "`seed`: expected a whole number from 0 on, found True"),
        (lambda n, p: n.forward(p, [data()["x"]]), "`inputs`: expected arrays by name"),
        (lambda n, p: n.forward(None, data()), "`params`: expected arrays by name"),
        (lambda n, p: n.forward(p, data(), state=[1]), "`state`: expected arrays by name"),
        (lambda n, p: n.forward(p, data(), training="no"), "`training`: expected True or False"),
        (lambda n, p: n.forward(p, data(), steps=2.0), "`steps`: expected a whole number"),
        (lambda n, p: n.forward(p, data(), lengths=[1.0, 2, np.nan]), "`lengths`: expected inte"),
        (lambda n, p: n.step(p, None, data()), "`state`: expected arrays by name"),
        (lambda n, p: n.windows(p, data(), checkpoint=2.5), "`checkpoint`: expected a whole num"),
        (lambda n, p: n.windows(p, data(), memory=True), "`memory`: expected a whole number"),
        (lambda n, p: n.forward_sensitivities(p, data(), memory="1"), "`memory`: expected a who"),
        (lambda n, p: n.axis_of_steps(3), "axis"),
    ],
)
def test_what_is_wrong_is_named(net: Network, call: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        call(net, net.init())


def test_arrays_of_all_sorts(net: Network) -> None:
    params, given = net.init(), data()
    expected = net.forward(params, given)["h"]
    x = given["x"]
    frozen = x.copy()
    frozen.flags.writeable = False
    for same in (
        *(x.tolist(), np.asfortranarray(x), x.astype(">f8"), x[::-1][::-1], x.view(Own), frozen),
        *(x.astype(np.longdouble), [list(map(tuple, step)) for step in x], memoryview(x.copy())),
    ):
        np.testing.assert_array_equal(net.forward(params, {**given, "x": same})["h"], expected)
    for w in (given["w"].astype(">i2"), given["w"].astype(np.uint64), given["w"].tolist()):
        np.testing.assert_array_equal(net.forward(params, {**given, "w": w})["h"], expected)
    for mapping in (OrderedDict, MappingProxyType):
        np.testing.assert_array_equal(net.forward(mapping(params), mapping(given))["h"], expected)
    half = net.forward(params, {**given, "x": x.astype(np.float16)})["h"]
    np.testing.assert_allclose(half, expected, atol=1e-2)
    matrix = {name: np.matrix(a) if a.ndim == 2 else a for name, a in params.items()}
    np.testing.assert_array_equal(net.forward(matrix, given)["h"], expected)


@pytest.mark.parametrize("wrap", [lambda array: array, lambda array: list(array)])
def test_a_mask_is_not_dropped(net: Network, wrap: Callable[[Any], Any]) -> None:
    masked = np.ma.array(data()["x"], mask=data()["x"] > 1)
    with pytest.raises(InputError, match=r"input `x`: expected an array without a mask"):
        net.forward(net.init(), {**data(), "x": wrap(masked)})


def test_no_number_becomes_infinite() -> None:
    network, _ = build_source("net n\ninput x\ny = x + y[t-1]\noutput y\n")
    x = np.array([[1.0, 2.0], [1e39, 1.0]])
    with pytest.raises(InputError, match=r"input `x`: 1e.39 is too large for float32"):
        network.forward({}, {"x": x})
    assert network.forward({}, {"x": x}, lengths=[1, 2])["y"].tolist() == [[1, 2], [0, 3]]
    x[1, 0] = np.inf
    assert np.isinf(network.forward({}, {"x": x})["y"][1, 0])
    with pytest.raises(InputError, match=r"state `y`: -1e.300 is too large"):
        network.forward({}, {"x": x}, state={"y": np.full((1, 2), -1e300)})


def test_tensors_and_tables(net: Network) -> None:
    torch = pytest.importorskip("torch")
    params, given = net.init(), data()
    expected = net.forward(params, given)["h"]
    x = torch.tensor(given["x"])
    np.testing.assert_array_equal(net.forward(params, {**given, "x": x})["h"], expected)
    with pytest.raises(InputError, match=r"input `x`: not an array .*requires grad"):
        net.forward(params, {**given, "x": x.requires_grad_()})
    with pytest.raises(InputError, match="input `x`: not an array"):
        net.forward(params, {**given, "x": x.detach().to(torch.bfloat16)})


def test_fitting(net: Network) -> None:
    """The loop of training and the parts of data that it reads."""
    arrays = data()

    def all_of(**given: Any) -> Any:
        found = batches.Batches(net, **given)
        return [found.at(1, number) for number in range(len(found))]

    def cut(**given: Any) -> Any:
        found = batches.Windows(net, **given)
        return [found.at(number) for number in range(len(found))]

    fit = {
        "data": arrays,
        "lengths": None,
        "valid": arrays,
        "valid_lengths": None,
        "params": net.init(),
        "optimiser": "sgd",
        "rate": 0.1,
        "schedule": "constant",
        "epochs": 1,
        "batch": 2,
        "window": 2,
        "clip": 1.0,
        "clip_value": 1.0,
        "decay": 0.1,
        "no_decay": ("U",),
        "accumulate": 1,
        "patience": 1,
        "min_delta": 0.0,
        "seed": 0,
        "callbacks": (),
    }

    def fitted(**given: Any) -> Any:
        return rollc.fit(net, **given)

    for call, given in (
        (fitted, fit),
        (all_of, {"arrays": arrays, "size": 2, "lengths": np.array([5, 0, 2]), "seed": 0}),
        (cut, {"arrays": arrays, "steps": 2}),
        (batches.streams, {"sequence": np.arange(10), "count": 3}),
        (optimizers.optimizer, {"name": "adam", "rate": 0.1, "beta1": 0.9, "epsilon": 1e-8}),
    ):
        call(**given)
        for argument in given:
            settled(call, given, argument)
