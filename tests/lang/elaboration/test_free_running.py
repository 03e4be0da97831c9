"""`feed`: taught by the target, or running free on what the network said itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rollc
from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.text import print_graph
from rollc.ir.verifier import verify
from rollc.kernel.passes import scheduled
from rollc.lang.elaboration.expressions import Feed
from rollc.network.network import Network
from rollc.runtime.kernel import Kernel
from rollc.support.resources import specs
from rollc.tools.verify.kernels import interpreted

TEXT = specs()["sequences/teacher"].read_text(encoding="utf-8")
SIZES = {"D": 3, "H": 4, "K": 3}


def loops(feed: str, kernel: str) -> list[str]:
    graph, _ = read_spec(TEXT, "teacher.roll", SIZES, "free" if feed == "free" else "taught")
    regions = scheduled(kernel_graphs(graph)[kernel]()).regions
    return [region.kind for region in regions if region.kind in ("forward", "backward")]


def test_taught_no_step_waits_for_another() -> None:
    assert loops("taught", "forward") == []
    assert loops("taught", "gradient") == []
    assert loops("free", "forward") == ["forward"]


@pytest.mark.long
def test_both_ways_to_run() -> None:
    """Free is taught by what it said itself; both against the equations, a step at a time."""
    random = np.random.default_rng(0)
    x = 3 * random.normal(size=(6, 3))
    free, _ = build_source(TEXT, sets=SIZES, dtype="float64", feed="free")
    taught, _ = build_source(TEXT, sets=SIZES, dtype="float64")
    params = {name: 2 * random.normal(size=spec.shape) for name, spec in free.params.items()}
    said, outputs = 0, []
    for t in range(6):
        seen = np.eye(3)[said]
        h = np.tanh(params["W"] @ seen + params["U"] @ x[t] + params["b"])
        outputs.append(params["V"] @ h + params["c"])
        said = int(outputs[-1].argmax())
    found = free.forward(params, {"x": x})["o"]
    np.testing.assert_allclose(found, outputs, atol=1e-12)
    own = found.argmax(axis=1)
    assert len(set(own)) > 1
    assert taught.fed == {"y"}
    assert free.fed == set()
    np.testing.assert_allclose(taught.forward(params, {"x": x, "y": own})["o"], found, atol=1e-12)
    with pytest.raises(rollc.InputError, match="missing target `y`"):
        taught.forward(params, {"x": x})


@pytest.mark.parametrize("feed", ["taught", "free"])
def test_what_runs_free_compiles_no_gradient_before_it_is_asked_for(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(Kernel, "compile", lambda self: made.append(self.source.stem.split("_")[0]))
    build_source(TEXT, sets=SIZES, feed=feed, cache=False)
    assert made == (["forward", "gradient"] if feed == "taught" else ["forward"])


def test_another_word_is_refused() -> None:
    with pytest.raises(rollc.InputError, match="expected feed taught or free"):
        build_source(TEXT, feed="both")  # type: ignore[arg-type]


WRITER = """
net writer
dim K = 4, H = 3
input hint: [2]
target y: index(K)
param E: [K, H] = normal(1.0), W: [H, H], V: [K, H] = normal(1.0), C: [H, 2]
lag = y[t-1]
said = feed(argmax(o[t-2]), lag)
seen = feed(1, C @ hint)
h = tanh(W @ h[t-1] + embed(E, said) + seen)
o = V @ h
output o
loss mean(cross_entropy(o, y), over t)
"""


def writer(feed: Feed) -> Network:
    return interpreted(read_spec(WRITER, "writer.roll", feed=feed)[0], feed)


def by_hand(params: dict[str, Any], state: dict[str, Any], steps: int) -> list[Any]:
    """The outputs of a network that goes on from a state, free."""
    h, before, found = state["h"][-1], list(state["o"]), []
    for _ in range(steps):
        said = before[-2].argmax(axis=-1)
        h = np.tanh(h @ params["W"].T + params["E"][said] + 1)
        found.append(h @ params["V"].T)
        before.append(found[-1])
    return found


@pytest.mark.parametrize("batch", [(), (3,)])
def test_free_goes_on_where_taught_has_stopped(batch: tuple[int, ...]) -> None:
    taught, free = writer("taught"), writer("free")
    assert free.states.keys() == {"o", "h"}
    assert taught.states.keys() == {"o", "h", "y"}
    random, params = np.random.default_rng(1), taught.init(0)
    known = {
        "hint": random.normal(size=(5, *batch, 2)),
        "y": random.integers(0, 4, (5, *batch)),
    }
    state = taught.initial_state(params, known)
    warm = taught.forward(params, known, state=state)
    state = {name.removeprefix("state."): warm[name] for name in warm if name.startswith("state.")}
    assert state["o"].shape == (2, *batch, 4)
    expected = by_hand(params, state, 6)
    found = free.forward(params, state=state, steps=6)
    np.testing.assert_allclose(found["o"], expected, atol=1e-12)
    assert found.keys() == {"o", "state.o", "state.h"}
    for row in expected:
        outputs, state = free.step(params, state)
        np.testing.assert_allclose(outputs["o"], row, atol=1e-12)
    # From the start it is one sequence where nothing tells how many.
    assert free.forward(params, steps=4)["o"].shape == (4, 4)
    assert free.initial_state(params)["h"].shape == (1, 3)


def test_each_sequence_that_runs_free_is_drawn_by_itself() -> None:
    text = specs()["text/genesis"].read_text(encoding="utf-8")
    free = interpreted(read_spec(text, "genesis.roll", {"V": 9, "D": 2, "H": 3}, "free")[0], "free")
    params = free.init(0)
    state = {
        "drawn": np.arange(8).reshape(1, 8) % 9,
        "h.h": np.zeros((1, 8, 3)),
        "h.c": np.zeros((1, 8, 3)),
    }
    drawn = free.forward(params, state=state, steps=20)["drawn"]
    assert drawn.shape == (20, 8)
    assert len({tuple(each) for each in drawn.T}) == 8
    assert free.forward(params, steps=20)["drawn"].shape == (20,)


def test_of_two_axes_too() -> None:
    text = specs()["sequences/translate"].read_text(encoding="utf-8")
    graphs = {feed: read_spec(text, "t.roll", feed=feed)[0] for feed in ("taught", "free")}
    taught, free = (interpreted(graphs[feed], feed) for feed in ("taught", "free"))
    random, params = np.random.default_rng(0), taught.init(0)
    src, tgt = random.integers(0, 10, (4, 2)), random.integers(0, 10, (3, 2))
    start = taught.initial_state(params, {"src": src})
    warm = taught.forward(params, {"tgt": tgt}, state=start)
    state = {name.removeprefix("state."): warm[name] for name in warm if name.startswith("state.")}
    assert state.keys() >= {"d", "o", "e", "tgt"}
    found = free.forward(params, state=state, steps=5)["o"]
    assert found.shape == (5, 2, 10)
    # Taught by what it said itself it says the same.
    said = np.concatenate([warm["o"][-1:], found[:-1]]).argmax(axis=-1)
    own = {**state, "tgt": said[:1]}
    again = taught.forward(params, {"tgt": np.concatenate([said[1:], said[:1]])}, state=own)
    np.testing.assert_allclose(again["o"], found, atol=1e-12)


@pytest.mark.long
def test_compiled_it_goes_on_too() -> None:
    nets = {
        feed: build_source(WRITER, "writer.roll", dtype="float64", feed=feed)[0]
        for feed in ("taught", "free")
    }
    params, random = nets["taught"].init(0), np.random.default_rng(1)
    known = {"hint": random.normal(size=(5, 2, 2)), "y": random.integers(0, 4, (5, 2))}
    start = nets["taught"].initial_state(params, known)
    warm = nets["taught"].forward(params, known, state=start)
    state = {name.removeprefix("state."): warm[name] for name in warm if name.startswith("state.")}
    found = nets["free"].forward(params, state=state, steps=6)["o"]
    np.testing.assert_allclose(found, by_hand(params, state, 6), atol=1e-12)


@pytest.mark.parametrize(
    "loss",
    ["feed(p, mean(y, over t))", "of_one(p, mean(y, over t))", "p * size(v)", "p"],
)
def test_a_loss_goes_over_the_batch_where_what_it_is_computed_from_does(loss: str) -> None:
    """And not where the text names an input that is not read."""
    text = f"net n\ninput v: [2]\ntarget y\nparam p = 2\nfn of_one(a, b) = a\nloss {loss}\n"
    graph, _ = read_spec(text, "n.roll", feed="free")
    assert not any(node.operation == "mean_over" for node in graph.nodes)
    assert read_spec(text.replace("loss ", "loss last(y) + "), "n.roll", feed="free")


@pytest.mark.parametrize(
    ("read", "sides", "found"),
    [
        ("s[t-1]", "s[t-3], y", [50.0, 25.0, 12.5]),
        ("s[t-1]", "y, s[t-3]", [50.0, 25.0, 12.5]),
        ("s[t+1]", "s[t+3], y", [0.125, 0.25, 0.5]),
        ("s[t+1]", "y, s[t+3]", [0.125, 0.25, 0.5]),
        ("x", "y, s[t-3]", [0.0, 0.0, 0.0]),
    ],
)
def test_rows_of_an_initial_value_go_by_the_reads_of_both_sides(
    read: str, sides: str, found: list[float]
) -> None:
    text = f"""
net n
input x
target y
param p: [3]
s: number = 0.5 * {read} + x
init s = p
o = feed({sides}) + s
output s, o
"""
    data = {"x": np.zeros(3), "y": np.zeros(3)}
    params = {"p": np.array([1.0, 10.0, 100.0])}
    for feed, side in zip(("free", "taught"), sides.split(", "), strict=True):
        graph, _ = read_spec(text, "n.roll", feed=feed)
        assert verify(graph) == verify(read_spec(print_graph(graph), "n.graph")[0]) == []
        outputs = interpreted(graph, "n").forward(params, data)
        np.testing.assert_allclose(outputs["s"], found)
        said = [0.0, 0.0, 0.0] if side == "y" else params["p"]
        np.testing.assert_allclose(outputs["o"] - outputs["s"], said)
