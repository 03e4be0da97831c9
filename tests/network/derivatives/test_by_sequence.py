"""The loss and the gradients of each sequence are those of the sequence alone."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.by_sequence import why_not_by_sequence
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.errors import InputError
from rollc.ir.graph import Edge, Node, Type
from rollc.ir.time.same_steps import made_alike
from rollc.ir.verifier import verify
from rollc.network.network import Network
from rollc.support.resources import specs
from rollc.tools.verify.kernels import interpreted
from tests.helpers.compiled_networks import network_of
from tests.helpers.shipped_specs import each_spec

Array = NDArray[Any]
Arrays = dict[str, Array]
T, B = 5, 3
SMALL = {"D": 3, "H": 4, "K": 3, "S": 4, "V": 5, "N": 4}
SPECS = specs()

TEXT = """
net several
dim D = 2, H = 3
input x: [D], w: index(4)
static input z: [H]
target y: [H]
param U: [H, D], W: [H, H], E: [4, H], a: [H], start: [H] = 0.3, unread
clock = tanh(a + 0.5 * clock[t-1])
init clock = start
h = tanh(U @ (x + x[t-2]) + exp(W) @ h[t-1] + 0.3 * h[t-2] + embed(E, w) + z + clock)
init h = start
output h, clock
loss mean(mse(h, y), over t) + sum(W ** 2) + sum(last(clock))
"""
WITHOUT_CLOCK = (
    TEXT.replace("+ clock)", ")")
    .replace(" + sum(last(clock))", "")
    .replace("clock = tanh(a + 0.5 * clock[t-1])\ninit clock = start\n", "")
    .replace("h, clock", "h")
)
LENGTHS = [5, 0, 2]


def network(text: str = TEXT, **sets: int) -> Network:
    return interpreted(read_spec(text, "n.roll", sets)[0])


def steps_of(net: Network) -> dict[str, int]:
    """Other ones along each axis, where they are free."""
    return made_alike(net.graph, {axis: T + place for place, axis in enumerate(net.axes)})


def numbers(net: Network) -> tuple[Arrays, Arrays]:
    random, inputs = np.random.default_rng(0), {}
    steps = steps_of(net)
    for name, spec in {**net.inputs, **net.targets}.items():
        shape = (*(steps[axis] for axis in spec.time), B, *spec.shape)
        drawn = random.integers(0, spec.bound or 1, shape)
        inputs[name] = drawn if spec.kind == "index" else np.abs(random.normal(size=shape)) + 0.1
    params = net.init(0)
    return {name: a + 0.2 * random.normal(size=a.shape) for name, a in params.items()}, inputs


def agrees(net: Network, params: Arrays, inputs: Arrays, most: float = 1e-10, **more: Any) -> None:
    """Each sequence in a batch, and alone without one."""
    specs, lengths, state = {**net.inputs, **net.targets}, more.get("lengths"), more.get("state")
    losses, gradients, *after = net.value_and_grad(params, inputs, per_sequence=True, **more)
    whole = net.value_and_grad(params, inputs, **more)
    assert losses.shape == (B,)
    assert losses.mean() == pytest.approx(whole[0], rel=1e-5 if most > 1e-9 else 1e-12)
    assert gradients.keys() == whole[1].keys()
    for name, row in whole[2].items() if state is not None else ():
        np.testing.assert_allclose(after[0][name], row, rtol=most)
    for place in range(B):
        alone = {
            name: np.take(array, place, axis=len(specs[name].time))
            for name, array in inputs.items()
        }
        own = dict(more)
        if lengths is not None:
            by_axis = isinstance(lengths, dict)
            own["lengths"] = (
                {axis: each[place] for axis, each in lengths.items()} if by_axis else lengths[place]
            )
        if state is not None:
            own["state"] = {name: array[:, place] for name, array in state.items()}
        loss, expected, *_ = net.value_and_grad(params, alone, **own)
        assert losses[place] == pytest.approx(loss, rel=most, abs=most)
        for name, array in expected.items():
            if name in params:
                found = gradients[name][place]
            elif name.startswith("state."):
                found = gradients[name][:, place]
            else:
                found = np.take(gradients[name], place, axis=len(specs[name].time))
            scale = max(1.0, float(np.abs(array).max(initial=0)))
            np.testing.assert_allclose(found, array, rtol=0, atol=most * scale, err_msg=name)


@pytest.mark.parametrize("way", ["plain", "state", "lengths", "state and lengths"])
def test_every_way(way: str) -> None:
    net = network(WITHOUT_CLOCK if "state" in way else TEXT)
    params, inputs = numbers(net)
    more: dict[str, Any] = {"lengths": LENGTHS} if "lengths" in way else {}
    if "state" in way:
        state = net.initial_state(params, inputs)
        more["state"] = {name: array + 0.1 for name, array in state.items()}
    agrees(net, params, inputs, **more)


@pytest.mark.parametrize("name", each_spec(SPECS))
def test_shipped_specs(name: str) -> None:
    text = SPECS[name].read_text()
    graph = read_spec(text, name)[0]
    if why_not_by_sequence(graph) is not None or graph.leaves("noise"):
        pytest.skip("its loss is no mean of sequences, or it draws")
    sizes = dict(graph.dims)
    net = network(text, **{size: SMALL[size] for size in sizes if size in SMALL})
    for entry, make in kernel_graphs(net.graph).items():
        assert not entry.startswith("by_sequence") or verify(make()) == [], entry
    params, inputs = numbers(net)
    if not inputs:
        pytest.skip("nothing tells the batch")
    agrees(net, params, inputs, steps=steps_of(net))


def test_some_gradients_and_no_batch() -> None:
    net = network()
    params, inputs = numbers(net)
    losses, gradients = net.value_and_grad(params, inputs, wrt=("W", "x"), per_sequence=True)
    assert {name: array.shape for name, array in gradients.items()} == {
        "W": (B, 3, 3),
        "x": (T, B, 2),
    }
    alone = {name: a[0] if name == "z" else a[:, 0] for name, a in inputs.items()}
    loss, gradients = net.value_and_grad(params, alone, per_sequence=True)
    assert loss == pytest.approx(losses[0]) and gradients["W"].shape == (3, 3)
    assert not gradients["unread"].any()


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled(dtype: str) -> None:
    net = network_of(TEXT, dtype)
    params, inputs = numbers(network())
    agrees(net, params, inputs, 1e-4 if dtype == "float32" else 1e-12)


def test_it_takes_the_memory_of_the_gradients() -> None:
    """Besides what the gradient of their mean takes, and what each keeps of its own loss."""
    net = network_of(SPECS["lstm"].read_text(), "float32")
    params = 4 * sum(int(np.prod(spec.shape)) for spec in net.params.values())
    for steps in (50, 400):
        sizes = {"t": steps, "batch": 16}
        summed, each = (net._kernel(name).bytes(sizes) for name in ("gradient", "by_sequence"))
        assert each - summed <= 16 * params + 0.25 * summed


@pytest.mark.compiled
@pytest.mark.parametrize("each", [False, True])
def test_the_memory_is_said_beforehand(each: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLC_THREADS", "1")
    net = network_of(SPECS["lstm"].read_text(), "float32")
    params, ones = net.init(), np.ones((100, 16, 16), "float32")
    inputs = {"x": ones, "y": np.ascontiguousarray(ones[..., :8])}
    few = {name: np.ascontiguousarray(array[:1]) for name, array in inputs.items()}
    net.value_and_grad(params, few, per_sequence=each)  # compiles
    said = net.gradient_bytes(params, inputs, per_sequence=each)
    tracemalloc.start()
    found = net.value_and_grad(params, inputs, per_sequence=each)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.9 * peak <= said <= 1.2 * peak, (said, peak)
    assert said > sum(array.nbytes for array in found[1].values())
    with pytest.raises(InputError, match="`per_sequence`: expected True or False"):
        net.gradient_bytes(params, inputs, per_sequence=1)  # type: ignore[arg-type]


@pytest.mark.compiled
@pytest.mark.parametrize("steps", [1, 2, 70])
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.long), "float64"])
def test_sums_over_the_steps_are_products_of_matrices(dtype: str, steps: int) -> None:
    """In one call for each sequence, not in one for each step too."""
    text = """net wide
input x: [7]
target y: [19]
param U: [19, 7], W: [19, 19]
h = tanh(U @ x + W @ h[t-2])
loss mean(mse(h, y), over t)
"""
    net, meant = network_of(text, dtype), network(text)
    source = compiled(kernel_graphs(net.graph)["by_sequence"](), dtype).source
    assert source.count("lib.sum_outer_products_strided(") == 2
    assert "lib.outer(" not in source
    random, params = np.random.default_rng(0), meant.init(0)
    inputs = {"x": random.normal(size=(steps, 3, 7)), "y": random.normal(size=(steps, 3, 19))}
    found = net.value_and_grad(params, inputs, per_sequence=True)[1]
    expected = meant.value_and_grad(params, inputs, per_sequence=True)[1]
    for name, array in expected.items():
        most = 1e-4 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(found[name], array, rtol=most, atol=most, err_msg=name)


def test_what_has_no_losses_of_its_sequences() -> None:
    one = network("net n\ninput x\nparam a\nh = tanh(x * a)\noutput h\nloss a ** 2\n")
    with pytest.raises(InputError, match="own: its loss is not a mean over the sequences"):
        one.value_and_grad({"a": np.ones(())}, {"x": np.ones((2, 2))}, per_sequence=True)
    graph = network().graph
    mean = next(node for node in graph.nodes if node.name == graph.loss)
    largest = replace(mean, name="meet", operation="max_over")
    again = replace(mean, operands=(Edge("meets"),))
    meets = Node("meets", "spread", (Edge("meet"),), Type("float", (), ("batch",)))
    others = [node for node in graph.nodes if node.name != graph.loss]
    meeting = graph.with_nodes(
        [*others, largest, replace(meets, attributes=(("axis", "batch"),)), again]
    )
    assert verify(meeting) == []
    assert why_not_by_sequence(meeting) == "`meet` mixes the sequences"
    assert not any(entry.startswith("by_sequence") for entry in kernel_graphs(meeting))


def test_what_is_refused() -> None:
    net = network()
    params, inputs = numbers(net)
    state = net.initial_state(params, inputs)
    with pytest.raises(
        InputError, match="no losses of their own: the state of `clock` is the same"
    ):
        net.value_and_grad(params, inputs, state=state, per_sequence=True)
    with pytest.raises(InputError, match="`per_sequence`: expected True or False"):
        net.value_and_grad(params, inputs, per_sequence=2)  # type: ignore[call-overload]
    none = network("net n\ninput x\ny = x\noutput y\n")
    with pytest.raises(InputError, match="`n` has no loss"):
        none.value_and_grad({}, {"x": np.ones((1, 1))}, per_sequence=True)
