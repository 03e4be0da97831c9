"""Parameters that are frozen: given and kept with the others, and not learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.source import Source
from rollc.lang.syntax.formatter import format_spec
from rollc.lang.syntax.parser import parse_spec
from rollc.network.network import Network
from rollc.tools.verify.case import finite_case
from rollc.training.data.batches import Batches
from rollc.training.loop import Trainer
from rollc.training.runs.settings import Settings
from rollc.training.updates.optimizers import METHODS, optimizer
from tests.helpers.compiled_networks import network_of

SPEC = """
net reservoir
input x: [2]
target y
param W: [3, 2] = normal(1.0) frozen, U: [3, 3] = orthogonal frozen
param v: [3] = 1.0, start: [3] = 0.5 frozen
h = tanh(W @ x + 0.9 * (U @ h[t-1]))
init h = start
output h
loss mean((dot(v, h) - y) ** 2, over t)
"""
LEARNED = SPEC.replace(" frozen", "")


@pytest.fixture(scope="module")
def network() -> Network:
    return network_of(SPEC, "float64", backend="reference")


@pytest.fixture(scope="module")
def learned() -> Network:
    return network_of(LEARNED, "float64", backend="reference")


def data() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {"x": random.normal(size=(5, 4, 2)), "y": random.normal(size=(5, 4))}


def test_the_word_is_a_name_elsewhere() -> None:
    lines = "param frozen: [2] = 1.0 frozen, W: [2] frozen, c frozen, k = (1 + 2) frozen, s = 2\n"
    spec, problems = parse_spec(Source("s", lines))
    assert spec is not None and not problems
    printed = format_spec(spec)
    assert [line.endswith(" frozen") for line in printed.split("\n")[:-1]] == [True] * 4 + [False]
    assert parse_spec(Source("s", printed))[0] == spec
    graph, _ = read_spec("net n\nparam frozen\ninput x\no = frozen * x\noutput o", "n.roll")
    assert not graph["frozen"].options.get("frozen")


def test_the_graph_says_it() -> None:
    graph, _ = read_spec(SPEC, "s.roll")
    assert parse_graph(print_graph(graph)) == graph
    assert [node.name for node in graph.nodes if node.options.get("frozen")] == ["W", "U", "start"]


def test_gradients_are_those_of_the_others(network: Network, learned: Network) -> None:
    params, given = network.init(1), data()
    for name, array in learned.init(1).items():
        np.testing.assert_array_equal(params[name], array)
    loss, found = network.value_and_grad(params, given)
    expected, slopes = learned.value_and_grad(params, given)
    assert loss == expected and found.keys() == {"v", "x"}
    np.testing.assert_array_equal(found["v"], slopes["v"])
    assert network.value_and_grad(params, given, wrt="params")[1].keys() == {"v"}
    _, pullback = network.vjp(params, given)
    assert pullback({"h": np.ones((5, 4, 3))}).keys() == {"v", "x"}
    assert network.hvp(params, given, {"v": np.ones(3)}).keys() == {"v", "x"}
    assert network.jvp(params, given, {"x": given["x"]})[1].keys() == {"h"}
    _, run = network.forward_sensitivities(params, given)
    assert run()[1].keys() == {"v"}
    np.testing.assert_allclose(run()[1]["v"], found["v"], rtol=1e-12)


def test_what_asks_for_its_gradient_is_told(network: Network) -> None:
    params, given = network.init(1), data()
    with pytest.raises(InputError, match="`W` is frozen, and has no gradient; expected `params`"):
        network.value_and_grad(params, given, wrt="W")
    with pytest.raises(InputError, match="tangent `W`: it is frozen, and has no derivative"):
        network.jvp(params, given, {"W": params["W"]})
    with pytest.raises(InputError, match="missing parameter `W`"):
        network.loss({"v": params["v"]}, given)


def test_a_text_with_its_gradient_has_a_flaw() -> None:
    graph = adjoint(read_spec(LEARNED, "s.roll")[0])
    text = print_graph(graph).replace("normal, scale", "normal, frozen=true, scale")
    assert [flaw.problem for flaw in verify(parse_graph(text))] == [
        "gradient `W`: the parameter is frozen"
    ]


@pytest.mark.parametrize("name", METHODS)
def test_training_leaves_it_where_it_is(network: Network, name: str) -> None:
    chosen = Settings(optimizer(name), epochs=2, decay=0.1, clip=1.0)
    trainer = Trainer(network, Batches(network, data(), 2), chosen)
    start = {name: array.copy() for name, array in trainer.params.items()}
    for _ in trainer:
        pass
    for name, array in trainer.params.items():
        assert np.array_equal(array, start[name]) == (name != "v")


def test_where_all_are_frozen_there_is_nothing_to_fit() -> None:
    text = SPEC.replace("v: [3] = 1.0", "v: [3] = 1.0 frozen")
    network = network_of(text, "float32", backend="reference")
    with pytest.raises(InputError, match="all parameters of `reservoir` are frozen"):
        Trainer(network, Batches(network, data(), 2), Settings())
    assert network.value_and_grad(network.init(0), data(), wrt="params")[1] == {}


def test_checks_of_gradients_do_not_move_it() -> None:
    case = finite_case(read_spec(SPEC, "s.roll")[0], np.random.default_rng(0))
    assert case is not None
    np.testing.assert_array_equal(case.leaves["start"], np.full(3, 0.5))
    assert not np.array_equal(case.leaves["v"], np.ones(3))
