"""Lengths in compiled networks: each sequence of a padded batch is as if it were alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc import build
from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.tools.verify.kernels import interpreted
from tests.helpers.paths import ROOT

pytestmark = [pytest.mark.usefixtures("each_backend"), pytest.mark.sampled(4, among="ragged")]

Array = NDArray[Any]
SPECS = ROOT / "specs"

TAGGER = """
net tagger
dim D = 3, H = 4, K = 3
input x: [D], w: index(5)
target y: index(K)
param E: [5, D], U: [H, D], W: [H, H], P: [H, H], f0: [H] = 0.3, V: [K, 2*H]
f = tanh(U @ (x + embed(E, w)) + W @ f[t-1])
b = tanh(U @ x + P @ b[t+1])
init f = f0
init b = f0
o = V @ concat(f, b)
e = mean(max(x), over t) + max(sum(o), over t)
v = last(f)
pick = argmax(o)
output o, v, pick
loss mean(cross_entropy(o, y), over t) + e + dot(v, v)
"""
LENGTHS = np.array([4, 1, 6, 3])
STEPS = 6


def tagger_data() -> dict[str, Array]:
    random = np.random.default_rng(3)
    return {
        "x": random.normal(size=(STEPS, 4, 3)),
        "w": random.integers(0, 5, (STEPS, 4)),
        "y": random.integers(0, 3, (STEPS, 4)),
    }


def spoilt(arrays: dict[str, Array]) -> dict[str, Array]:
    """The same sequences with padding that would do harm."""
    found = {}
    for name, array in arrays.items():
        array = array.copy()
        for sequence, length in enumerate(LENGTHS):
            array[length:, sequence] = np.nan if array.dtype.kind == "f" else -1
        found[name] = array
    return found


@pytest.fixture(scope="module")
def tagger(each_backend: str) -> Network:
    return build_source(TAGGER, dtype="float64")[0]


@pytest.mark.long
def test_each_sequence_is_as_if_alone(tagger: Network) -> None:
    params, data = tagger.init(1), tagger_data()
    outputs = tagger.forward(params, spoilt(data), lengths=LENGTHS)
    loss, _ = tagger.value_and_grad(params, spoilt(data), lengths=LENGTHS)
    assert tagger.loss(params, spoilt(data), lengths=LENGTHS) == loss
    for sequence, length in enumerate(LENGTHS):
        alone = tagger.forward(
            params, {name: array[:length, sequence] for name, array in data.items()}
        )
        for label in ("o", "pick"):
            np.testing.assert_allclose(outputs[label][:length, sequence], alone[label], rtol=1e-12)
            assert not outputs[label][length:, sequence].any()
        np.testing.assert_allclose(outputs["v"][sequence], alone["v"], rtol=1e-12)
    learns_as_if_alone(tagger, params, data)


def learns_as_if_alone(network: Network, params: dict[str, Any], data: dict[str, Any]) -> None:
    """Loss and gradients of a spoilt batch are the means over each sequence by itself."""
    loss, gradients = network.value_and_grad(params, spoilt(data), lengths=LENGTHS)
    total, sums = 0.0, {name: np.zeros_like(array) for name, array in params.items()}
    for sequence, length in enumerate(LENGTHS):
        own = {name: array[:length, sequence] for name, array in data.items()}
        value, slopes = network.value_and_grad(params, own)
        total += value / 4
        for name in sums:
            sums[name] += slopes[name] / 4
        mine = gradients["x"][:, sequence]
        np.testing.assert_allclose(mine[:length], slopes["x"] / 4, rtol=1e-10, atol=1e-14)
        assert (mine[length:] == 0).all()
    assert loss == pytest.approx(total, rel=1e-12)
    for name, expected in sums.items():
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-10, atol=1e-14)


def test_cotangents_in_the_padding_have_no_effect(tagger: Network) -> None:
    params, data = tagger.init(1), tagger_data()
    random = np.random.default_rng(4)
    cotangent = random.normal(size=(STEPS, 4, 3))
    _, pullback = tagger.vjp(params, spoilt(data), lengths=LENGTHS)
    found = pullback(spoilt({"o": cotangent}))
    sums = {name: np.zeros_like(array) for name, array in params.items()}
    for sequence, length in enumerate(LENGTHS):
        own = {name: array[:length, sequence] for name, array in data.items()}
        slopes = tagger.vjp(params, own)[1]({"o": cotangent[:length, sequence]})
        for name in sums:
            sums[name] += slopes[name]
    for name, expected in sums.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1, 2, 3], "expected integers [4], found int64 [3]"),
        ([1.0, 2.0, 3.0, 4.0], "expected integers [4], found float64 [4]"),
        ([1, 2, -1, 4], "expected 0 to 6, found -1"),
        ([1, 2, 7, 4], "expected 0 to 6, found 7"),
        ("abc", "expected numbers"),
    ],
)
def test_wrong_lengths_are_named(tagger: Network, lengths: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        tagger.forward(tagger.init(0), tagger_data(), lengths=lengths)
    assert "lengths" in str(error.value)
    assert message in str(error.value)


def test_an_index_is_still_checked_inside_the_sequences(tagger: Network) -> None:
    data = tagger_data()
    data["w"][2, 0] = 9
    with pytest.raises(InputError, match="expected 0 to 4, found 9"):
        tagger.forward(tagger.init(0), data, lengths=LENGTHS)
    data["w"][2, 0] = 0
    data["w"][5, 0] = 9
    tagger.forward(tagger.init(0), data, lengths=LENGTHS)


def test_one_sequence_without_a_batch(tagger: Network) -> None:
    params = tagger.init(1)
    own = {name: array[:, 0] for name, array in tagger_data().items()}
    short = {name: array[:4] for name, array in own.items()}
    found = tagger.forward(params, own, lengths=4)
    np.testing.assert_allclose(found["o"][:4], tagger.forward(params, short)["o"], rtol=1e-12)
    assert not found["o"][4:].any()


def test_what_all_sequences_share_runs_on() -> None:
    """The clocks of a clockwork network are no sequence's own, and tick in the padding too."""
    sizes = {"D": 2, "H": 2, "K": 3}
    path = SPECS / "delays" / "clockwork.roll"
    network = interpreted(read_spec(path.read_text(), str(path), sizes)[0])
    random = np.random.default_rng(6)
    data = {"x": random.normal(size=(STEPS, 4, 2)), "y": random.integers(0, 3, (STEPS, 4))}
    params = network.init(1)
    outputs = network.forward(params, spoilt(data), lengths=LENGTHS)
    for sequence, length in enumerate(LENGTHS):
        own = {name: array[:length, sequence] for name, array in data.items()}
        alone = network.forward(params, own)["o"]
        np.testing.assert_allclose(outputs["o"][:length, sequence], alone, rtol=1e-12)
        assert not outputs["o"][length:, sequence].any()
    learns_as_if_alone(network, params, data)
    state = network.initial_state(params, data)
    with pytest.raises(InputError, match=r"no lengths with a state: the state of `slow\.phase"):
        network.forward(params, data, state=state, lengths=LENGTHS)


def test_lengths_tell_the_batch_where_no_input_does() -> None:
    text = "net n\nparam a = 0.7\ns = a * s[t-1]\ninit s = 1\ne = last(s)\noutput s, e\n"
    network = interpreted(read_spec(text + "loss e ** 2\n", "n.roll")[0])
    params = {"a": 0.7}
    found = network.forward(params, steps=3, lengths=[3, 1])
    np.testing.assert_allclose(found["s"], [[0.7, 0.7], [0.49, 0], [0.343, 0]])
    np.testing.assert_allclose(found["e"], [0.343, 0.7])
    loss, gradients = network.value_and_grad(params, {}, 3, lengths=[3, 1])
    assert loss == pytest.approx((0.7**6 + 0.7**2) / 2)
    assert gradients["a"] == pytest.approx((6 * 0.7**5 + 2 * 0.7) / 2)
    _, pullback = network.vjp(params, steps=3, lengths=[3, 1])
    assert pullback({"s": np.ones((3, 2))})["a"] == pytest.approx(1 + 2 * 0.7 + 3 * 0.49 + 1)
    one = network.forward(params, steps=3, lengths=2)
    np.testing.assert_allclose(one["s"], [0.7, 0.49, 0])
    assert one["e"] == pytest.approx(0.49)


def test_singular_where_others_are_shared() -> None:
    """Of what is shared, too, the padding sees the first step: `x > level` holds there."""
    text = "net n\ninput x\nparam a = 1.0\nlevel = level[t-1] + a\nlate = level > 2.5\n"
    text += "h = where(late, h[t-1] / 2, x)\ns = log(x - level) + 1 / h\n"
    network = interpreted(read_spec(text + "output s\nloss sum(s, over t)\n", "n.roll")[0])
    x = np.arange(2.0, 6.0)[:, None].repeat(2, axis=1)
    x[1:, 1] = np.nan
    _, gradients = network.value_and_grad({"a": 1.0}, {"x": x}, lengths=[4, 1])
    own = [network.value_and_grad({"a": 1.0}, {"x": x[:n, i]})[1] for i, n in enumerate([4, 1])]
    assert gradients["a"] == pytest.approx((own[0]["a"] + own[1]["a"]) / 2)
    assert (gradients["x"][1:, 1] == 0).all()


def test_singular_at_zero() -> None:
    """Padding of zeros would give an infinite slope, and NaN as a gradient."""
    text = "net n\ninput x\nparam a = 1.0\ns = sqrt(a * x) + 0.5 * s[t-1]\noutput s\n"
    text += "loss sum(log(s), over t)\n"
    network = build_source(text, dtype="float64")[0]
    x = np.array([[1.0, 2.0], [3.0, np.nan], [2.0, np.nan]])
    _, gradients = network.value_and_grad(network.init(0), {"x": x}, lengths=[3, 1])
    assert np.isfinite(gradients["a"])
    assert (gradients["x"][1:, 1] == 0).all()


def test_what_would_overflow_in_the_padding() -> None:
    """The recurrence does not run on behind the own end."""
    text = "net n\ninput x\nparam a = 1.0\ns = x + exp(a * s[t-1])\noutput s\n"
    network = build_source(text + "loss mean(s, over t)\n", dtype="float64")[0]
    x = np.ones((9, 2))
    loss, gradients = network.value_and_grad(network.init(0), {"x": x}, lengths=[2, 1])
    short = network.value_and_grad(network.init(0), {"x": x[:2]}, lengths=[2, 1])
    assert loss == short[0]
    assert gradients["a"] == short[1]["a"]


def test_rows_behind_each_own_end_and_extremes() -> None:
    """A chain from the end starts with a row for each step behind the own end."""
    text = """
net n
input x: [2]
param rows: [3, 2] = uniform(-1.0, 1.0)
b = tanh(x + 0.5 * b[t+1] - 0.3 * b[t+3])
init b = rows
low = max(-exp(x), over t)
high = min(exp(x), over t)
output b, low, high
loss sum(sum(b, over t)) + sum(low + high)
"""
    network = build_source(text, dtype="float64")[0]
    params, x = network.init(1), np.random.default_rng(2).normal(size=(6, 4, 2))
    found = network.forward(params, spoilt({"x": x}), lengths=LENGTHS)
    _, gradients = network.value_and_grad(params, spoilt({"x": x}), lengths=LENGTHS)
    rows = np.zeros((3, 2))
    for sequence, length in enumerate(LENGTHS):
        own = {"x": x[:length, sequence]}
        alone = network.forward(params, own)
        np.testing.assert_allclose(found["b"][:length, sequence], alone["b"], rtol=1e-12)
        for label in ("low", "high"):
            np.testing.assert_allclose(found[label][sequence], alone[label], rtol=1e-12)
        slopes = network.value_and_grad(params, own)[1]
        rows += slopes["rows"] / 4
        np.testing.assert_allclose(
            gradients["x"][:length, sequence], slopes["x"] / 4, rtol=1e-10, atol=1e-14
        )
    np.testing.assert_allclose(gradients["rows"], rows, rtol=1e-10, atol=1e-14)


def test_the_state_after_each_own_end() -> None:
    text = "net n\ninput x: [2]\nh = tanh(x + h[t-1] - 0.5 * h[t-3])\noutput h\n"
    network = build_source(text, dtype="float64")[0]
    x = np.random.default_rng(0).normal(size=(5, 3, 2))
    state = network.initial_state({}, {"x": x})
    state = {"h": state["h"] + 0.25}
    found = network.forward({}, {"x": x}, state=state, lengths=[5, 2, 3])
    for sequence, length in enumerate([5, 2, 3]):
        own = {"h": state["h"][:, sequence]}
        alone = network.forward({}, {"x": x[:length, sequence]}, state=own)
        np.testing.assert_allclose(found["state.h"][:, sequence], alone["state.h"], rtol=1e-12)


def test_lstm_of_packed_sequences_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    sizes = {"D": 5, "H": 6, "K": 4}
    network = build(SPECS / "lstm.roll", sets=sizes, dtype="float64")
    params = network.init(2)
    random = np.random.default_rng(5)
    x, y = random.normal(size=(STEPS, 4, 5)), random.normal(size=(STEPS, 4, 4))
    given = spoilt({"x": x, "y": y})
    loss, gradients = network.value_and_grad(params, given, lengths=LENGTHS)

    theirs = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    lstm = torch.nn.LSTM(5, 6, dtype=torch.float64)
    weights = {
        "weight_ih_l0": theirs["W"],
        "weight_hh_l0": theirs["U"],
        "bias_ih_l0": theirs["b"],
        "bias_hh_l0": torch.zeros(24, dtype=torch.float64),
    }
    inputs = torch.tensor(x, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        inputs, torch.tensor(LENGTHS), enforce_sorted=False
    )
    hidden, _ = torch.func.functional_call(lstm, weights, (packed,))
    h, _ = torch.nn.utils.rnn.pad_packed_sequence(hidden)
    errors = ((h @ theirs["V"].T + theirs["d"] - torch.tensor(y)) ** 2).mean(-1)
    inside = torch.arange(STEPS)[:, None] < torch.tensor(LENGTHS)
    expected = (torch.where(inside, errors, 0.0).sum(0) / torch.tensor(LENGTHS)).mean()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    for name, tensor in theirs.items():
        np.testing.assert_allclose(gradients[name], tensor.grad.numpy(), rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(gradients["x"], inputs.grad.numpy(), rtol=1e-9, atol=1e-13)
