"""No steps at all, no sequences at all, and sequences without a step among others.

Nothing is compiled: of nothing no compiled code runs, and `tests/commands/plain_kernels.py` holds
kernels with lengths of 0 to each sequence alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.support.resources import specs
from rollc.tools.verify.kernels import interpreted
from tests.helpers.shipped_specs import each_spec

Array = NDArray[Any]
SMALL = {"D": 3, "H": 5, "K": 4, "S": 4, "V": 6, "N": 5}
SPECS = specs()

TEXT = """
net small
dim D = 2, H = 3
input x: [D], w: index(4)
static input z: [H]
target y: [H]
param U: [H, D], W: [H, H], E: [4, H], start: [H] = 0.5
h = tanh(U @ x + W @ h[t-1] + embed(E, w) + z)
init h = start
b = tanh(x + b[t+1])
init b = 2
pick = argmax(h)
end = last(h)
early = first(b)
same = last(pick)
plain = last(W @ h)
total = sum(h, over t)
output h, b, pick, end, early, same, plain, total
loss sum(mse(h, y), over t) + dot(end, end)
"""


def network(text: str, **sets: int) -> Network:
    return interpreted(read_spec(text, "n.roll", sets)[0])


def small(name: str) -> Network:
    text = SPECS[name].read_text(encoding="utf-8")
    sizes = dict(read_spec(text, name)[0].dims)
    return interpreted(
        read_spec(text, name, {size: SMALL[size] for size in sizes if size in SMALL})[0]
    )


def arrays(net: Network, steps: dict[str, int], batch: int) -> dict[str, Array]:
    random = np.random.default_rng(0)
    found = {}
    for name, spec in {**net.inputs, **net.targets}.items():
        shape = (*(steps[axis] for axis in spec.time), batch, *spec.shape)
        if spec.kind == "index":
            found[name] = random.integers(0, spec.bound or 1, shape)
        else:
            found[name] = np.abs(random.normal(size=shape)) + 0.1
    return found


def is_zero(gradients: dict[str, Array], *but: str) -> None:
    for name, array in gradients.items():
        assert name in but or not array.any(), name


def test_no_steps() -> None:
    net = network(TEXT)
    params, data = net.init(0), arrays(net, {"t": 0}, 4)
    found = net.forward(params, data)
    assert {name: array.shape for name, array in found.items()} == {
        "h": (0, 4, 3),
        "b": (0, 4, 2),
        "pick": (0, 4),
        "end": (4, 3),
        "early": (4, 2),
        "same": (4,),
        "plain": (4, 3),
        "total": (4, 3),
    }
    assert found["pick"].dtype == np.int64
    assert (found["end"] == 0.5).all()
    assert (found["early"] == 2).all()
    assert not found["same"].any() and not found["plain"].any() and not found["total"].any()
    loss, gradients = net.value_and_grad(params, data)
    assert loss == net.loss(params, data) == pytest.approx(0.75)
    assert gradients.keys() == {*net.params, "x", "z"}
    np.testing.assert_allclose(gradients["start"], 1.0)
    assert gradients["x"].shape == (0, 4, 2)
    is_zero(gradients, "start")
    outputs, pullback = net.vjp(params, data)
    assert outputs["end"].shape == (4, 3)
    slopes = pullback({"end": np.ones((4, 3)), "h": np.ones((0, 4, 3))})
    np.testing.assert_allclose(slopes["start"], 4.0)
    is_zero(slopes, "start")
    found["h"][...] = 1  # the caller's own
    alone = net.forward(
        params, {name: a[0] if name == "z" else a[:, 0] for name, a in data.items()}
    )
    assert alone["h"].shape == (0, 3) and alone["end"].shape == (3,)


def test_no_steps_of_what_starts_from_several_rows() -> None:
    """What is read at its end is the row beside the sequence, whether it is read with a delay."""
    net = network(
        """net rows
input x: [2]
param p: [3, 2], q: [3, 2]
h: [2] = tanh(x + h[t-1] + h[t-3])
init h = p
b: [2] = tanh(x + b[t+1] + b[t+3])
init b = q
end = last(h)
early = last(h[t-1])
begin = first(b)
late = first(b[t+1])
output end, early, begin, late
"""
    )
    params = {"p": np.arange(6.0).reshape(3, 2), "q": np.arange(6.0, 12.0).reshape(3, 2)}
    found = net.forward(params, {"x": np.zeros((0, 1, 2))})
    for name, row in {"end": 2, "early": 1}.items():
        np.testing.assert_array_equal(found[name][0], params["p"][row], err_msg=name)
    for name, row in {"begin": 0, "late": 0}.items():
        np.testing.assert_array_equal(found[name][0], params["q"][row], err_msg=name)


def test_no_sequences() -> None:
    net = network(TEXT)
    params, data = net.init(0), arrays(net, {"t": 3}, 0)
    found = net.forward(params, data)
    assert found["h"].shape == (3, 0, 3) and found["end"].shape == (0, 3)
    _, pullback = net.vjp(params, data)
    is_zero(pullback({"h": np.ones((3, 0, 3))}))
    ragged = net.forward(params, {**data, "w": data["w"] * 1.0}, lengths=[])
    assert ragged["h"].shape == (3, 0, 3)
    with pytest.raises(InputError, match="a mean over nothing: there are no sequences"):
        net.value_and_grad(params, data, lengths=[])
    with pytest.raises(InputError, match="a mean over nothing: there are no sequences"):
        net.value_and_grad(params, data)
    with pytest.raises(InputError, match="a mean over nothing: there are no sequences"):
        net.forward_sensitivities(params, data)


def test_lengths_tell_that_there_are_no_sequences() -> None:
    net = network(
        "net n\nparam a = 0.7\ns = a * s[t-1]\ninit s = 1\noutput s\nloss sum(s, over t)\n"
    )
    assert net.forward(net.init(), steps=3, lengths=[])["s"].shape == (3, 0)
    with pytest.raises(InputError, match="a mean over nothing: there are no sequences"):
        net.value_and_grad(net.init(), {}, 3, lengths=[])


@pytest.mark.parametrize("how", ["mean", "max", "min"])
def test_what_is_of_something_is_not_of_nothing(how: str) -> None:
    net = network(f"net n\ninput x\nm = {how}(x, over t)\ns = x + 1\noutput s\nloss m\n")
    assert net.forward({}, {"x": np.zeros((0, 2))})["s"].shape == (0, 2)
    for call in (net.loss, net.value_and_grad):
        with pytest.raises(InputError, match=f"a {how} over nothing: there are no steps .line 3"):
            call({}, {"x": np.zeros((0, 2))})
    # In a batch it is not to spoil the others.
    x = np.array([[1.0, np.nan], [2.0, np.nan]])
    loss, gradients = net.value_and_grad({}, {"x": x}, lengths=[2, 0])
    expected, slopes = net.value_and_grad({}, {"x": x[:, 0]})
    assert loss == expected / 2
    np.testing.assert_array_equal(gradients["x"][:, 0], slopes["x"] / 2)
    assert not gradients["x"][:, 1].any()


def test_the_state_of_no_steps_is_the_state() -> None:
    net = network("net n\ninput x\nh = 0.5 * h[t-1] + h[t-3] + x\noutput h\nloss sum(h, over t)\n")
    state = {"h": np.arange(6.0).reshape(3, 2)}
    found = net.forward({}, {"x": np.zeros((0, 2))}, state=state)
    np.testing.assert_array_equal(found["state.h"], state["h"])
    loss, gradients, after = net.value_and_grad({}, {"x": np.zeros((0, 2))}, state=state)
    assert loss == 0
    np.testing.assert_array_equal(after["h"], state["h"])
    assert not gradients["state.h"].any()
    _, pullback = net.vjp({}, {"x": np.zeros((0, 2))}, state=state)
    np.testing.assert_array_equal(pullback({"state.h": state["h"]})["state.h"], state["h"])
    start = net.initial_state({}, {"x": np.zeros((0, 2))})
    assert start["h"].shape == (3, 2) and not start["h"].any()
    assert net.initial_state({}, {"x": np.zeros((4, 0))})["h"].shape == (3, 0)
    outputs, after = net.step({}, {"h": np.zeros((3, 0))}, {"x": np.zeros(0)})
    assert outputs["h"].shape == (0,) and after["h"].shape == (3, 0)


def test_a_state_with_lengths_stays_where_there_is_no_step() -> None:
    net = network("net n\ninput x\nh = 0.5 * h[t-1] + x\ne = last(h)\noutput h, e\n")
    x = np.array([[1.0, np.nan, 2.0], [np.nan, np.nan, 3.0]])
    state = {"h": np.array([[4.0, 5.0, 6.0]])}
    found = net.forward({}, {"x": x}, state=state, lengths=[1, 0, 2])
    np.testing.assert_allclose(found["state.h"], [[3.0, 5.0, 5.5]])
    np.testing.assert_allclose(found["e"], [3.0, 5.0, 5.5])
    _, pullback = net.vjp({}, {"x": x}, state=state, lengths=[1, 0, 2])
    slopes = pullback({"e": [1.0, 1.0, 1.0]})
    np.testing.assert_allclose(slopes["state.h"], [[0.5, 1.0, 0.25]])
    np.testing.assert_allclose(slopes["x"], [[1, 0, 0.5], [0, 0, 1]])


def test_all_sequences_without_a_step() -> None:
    net = network(TEXT)
    params, data = net.init(0), arrays(net, {"t": 3}, 2)
    data["x"][...], data["w"][...] = np.nan, -1
    found = net.forward(params, data, lengths=[0, 0])
    assert (found["end"] == 0.5).all() and (found["early"] == 2).all()
    assert not found["h"].any()
    loss, gradients = net.value_and_grad(params, data, lengths=[0, 0])
    assert loss == pytest.approx(0.75)
    is_zero(gradients, "start")
    _, compute = net.vjp(params, data, lengths=[0, 0])
    is_zero(compute({"h": np.full((3, 2, 3), np.nan)}))


def test_windows_and_forward_sensitivities_of_no_steps() -> None:
    text = "net n\ninput x\nparam a = 0.5\nh = a * h[t-1] + x\noutput h\nloss sum(h, over t)\n"
    net = network(text)
    data = {"x": np.zeros((0, 2))}
    for plan, run in (
        net.windows(net.init(), data, checkpoint=2),
        net.windows(net.init(), data, memory=10_000_000),
        net.forward_sensitivities(net.init(), data),
    ):
        assert plan.bytes == 0
        loss, gradients = run()
        assert loss == 0
        assert gradients["a"] == 0


def test_forward_sensitivities_with_empty_sequences() -> None:
    text = "net n\ninput x\nparam a = 0.5, b = 2.0\nh = a * h[t-1] + x\ninit h = b\noutput h\n"
    net = network(text + "loss sum(h, over t) + last(h) ** 2\n")
    x = np.array([[1.0, np.nan, 2.0], [np.nan, np.nan, 3.0]])
    loss, gradients = net.value_and_grad(net.init(), {"x": x}, lengths=[1, 0, 2])
    _, run = net.forward_sensitivities(net.init(), {"x": x}, lengths=[1, 0, 2])
    again, slopes = run()
    assert again == pytest.approx(loss)
    for name in ("a", "b"):
        assert slopes[name] == pytest.approx(gradients[name])


@pytest.mark.parametrize("name", each_spec(SPECS))
def test_every_spec_of_nothing(name: str) -> None:
    """Results of the right shapes, or an error that says what has no meaning."""
    net = small(name)
    params = net.init(0)
    for steps, batch in ((0, 3), (4, 0)):
        counts = dict.fromkeys(net.axes, steps)
        data = arrays(net, counts, batch)
        if found := defined(net.vjp, params, data, counts):
            outputs, pullback = found
            for label, array in outputs.items():
                spec = net.outputs[label]
                lead = [*(counts[axis] for axis in spec.time), *([batch] if spec.batch else [])]
                assert array.shape == (*lead, *spec.shape), label
            is_finite(outputs)
            is_finite(pullback({n: a for n, a in outputs.items() if a.dtype.kind == "f"}))
        if found := defined(net.value_and_grad, params, data, counts):
            assert np.isfinite(found[0])
            is_finite(found[1])


def defined(call: Any, *arguments: Any) -> Any:
    """What a call gives; None where that is a mean or an extreme of nothing, and it says so."""
    try:
        return call(*arguments)
    except InputError as error:
        if "over nothing: there are no" not in str(error):
            raise
        return None


def is_finite(gradients: dict[str, Array]) -> None:
    for name, array in gradients.items():
        assert np.isfinite(array).all(), name


@pytest.mark.parametrize("steps", [{"s": 0, "t": 3}, {"s": 3, "t": 0}, {"s": 0, "t": 0}])
def test_an_encoder_or_a_decoder_without_steps(steps: dict[str, int]) -> None:
    text = """
net n
time s, t
input a[s], b[t]
param k = 0.5
e = tanh(a + k * e[s-1])
init e = k
d = tanh(b + d[t-1] + sum(e * b, over s))
init d = last(e)
output d
loss sum(d, over t) + last(e)
"""
    net = network(text)
    params, data = net.init(), arrays(net, steps, 2)
    found = net.forward(params, data)["d"]
    assert found.shape == (steps["t"], 2)
    alike = {**data, "a": np.zeros((0, 2))}
    state = net.initial_state(params, {"a": data["a"]})
    streamed = net.forward(params, {"b": data["b"]}, state=state)
    np.testing.assert_allclose(streamed["d"], found)
    loss, gradients = net.value_and_grad(params, data)
    is_finite(gradients)
    if steps["t"]:
        d, expected = np.full(2, 0.5), []
        for now in data["b"]:
            d = np.tanh(now + d)
            expected.append(d)
        np.testing.assert_allclose(found, expected)
        padded = {**data, "a": np.full((4, 2), np.nan)}
        lengths = {"s": [0, 0]}
        np.testing.assert_allclose(net.forward(params, padded, lengths=lengths)["d"], found)
        again = net.value_and_grad(params, padded, lengths=lengths)
        assert again[0] == pytest.approx(loss)
        assert again[1]["k"] == pytest.approx(gradients["k"])
        state = net.initial_state(params, {"a": padded["a"]}, lengths=lengths)
        for now, row in zip(data["b"], found, strict=True):
            outputs, state = net.step(params, state, {"b": now})
            np.testing.assert_allclose(outputs["d"], row)
    assert alike


@pytest.mark.parametrize("start", ["0.5 * mean(a, over s)", "last(a)"])
def test_no_state_is_begun_with_a_mean_over_nothing(start: str) -> None:
    text = f"net n\ntime s, t\ninput a[s], b[t]\nd = tanh(b + d[t-1])\ninit d = {start}\n"
    net = network(f"{text}o = d * mean(a, over s)\noutput o\n")
    with pytest.raises(InputError, match="a mean over nothing: there are no steps"):
        net.initial_state(net.init(), {"a": np.zeros((0, 2))})


@pytest.mark.long
def test_compiled_code_is_not_asked() -> None:
    """It has at least one step of one sequence; what it would read otherwise is no one's."""
    net = build_source(TEXT, "small.roll", dtype="float32")[0]
    params, data = net.init(0), arrays(net, {"t": 0}, 2)
    found = net.forward(params, data)
    assert found["end"].dtype == np.float32 and (found["end"] == 0.5).all()
    whole = arrays(net, {"t": 5}, 3)
    whole["x"][:, 1], whole["w"][:, 1] = np.nan, -1
    found = net.forward(params, whole, lengths=[5, 0, 2])
    np.testing.assert_array_equal(found["end"][1], [0.5] * 3)
    assert not found["h"][:, 1].any()
    loss, gradients = net.value_and_grad(params, whole, lengths=[5, 0, 2])
    is_finite(gradients)
    assert not gradients["x"][:, 1].any()
    others = {n: a[[0, 2]] if n == "z" else a[:, [0, 2]] for n, a in whole.items()}
    without, slopes = net.value_and_grad(params, others, lengths=[5, 2])
    assert loss == pytest.approx((2 * without + 0.75) / 3, rel=1e-5)
    np.testing.assert_allclose(gradients["U"], slopes["U"] * 2 / 3, rtol=1e-4, atol=1e-6)


def test_an_index_of_one_value_where_no_sequence_has_a_step() -> None:
    net = network("net n\ninput w: index(1)\nparam E: [1, 2]\nh = embed(E, w)\noutput h\n")
    found = net.forward(net.init(0), {"w": np.zeros((3, 2), np.int64)}, lengths=[0, 0])
    np.testing.assert_array_equal(found["h"], np.zeros((3, 2, 2)))


CORNER = """
net corner
time s, t
input x[s], y[t]
d = min(concat(d[s-1] + 1, d[t-1] + 1)) + x * y
init d over s = columns
init d over t = rows
rows = rows[s-1] + 1
columns = columns[t-1] + 1
bottom = last(d, over s)
init bottom = last(rows)
named = last(bottom, over t)
unnamed = last(last(d, over s), over t)
output named, unnamed
"""


def test_the_last_step_along_an_axis_without_any_is_the_initial_value_of_a_name() -> None:
    """What has no name has no initial value: outside, it is zero."""
    net = network(CORNER)

    def corner(rows: int, columns: int) -> tuple[float, float]:
        inputs = {"x": np.zeros((rows, 1)), "y": np.zeros((columns, 1))}
        found = net.forward({}, inputs)
        return float(found["named"][0]), float(found["unnamed"][0])

    assert corner(0, 4) == (4, 4)  # of `d` along s: the columns, of which the last is read
    assert corner(3, 0) == (3, 0)
    assert corner(0, 0) == (0, 0)
    lengths = {"s": [0, 3, 2], "t": [4, 0, 2]}
    padded = {"x": np.zeros((3, 3)), "y": np.zeros((4, 3))}
    found = net.forward({}, padded, lengths=lengths)
    assert found["named"].tolist() == [4, 3, corner(2, 2)[0]]
    assert found["unnamed"].tolist() == [4, 0, corner(2, 2)[1]]
