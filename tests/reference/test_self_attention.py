"""All pairs of steps of one sequence, held to PyTorch: self-attention, and what else reads a value
along another axis.

The sequences of a batch have lengths of their own, and PyTorch sees each alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.network.network import Network
from rollc.support.resources import specs
from tests.helpers.agreement import agree
from tests.helpers.compiled_networks import network_of

torch = pytest.importorskip("torch", reason="values and gradients are held to PyTorch's")

Array = NDArray[Any]
Arrays = dict[str, Array]

STEPS, BATCH, D, H, K = 5, 3, 4, 2, 3
LENGTHS = [5, 3, 1]
WITH_AND_WITHOUT = [
    pytest.param(None, marks=[pytest.mark.long, pytest.mark.sampled(2)], id="whole"),
    pytest.param(LENGTHS, id="lengths"),
]

HEAD = """
net attend
time s, t
dim D = 4, H = 2, K = 3
input x[t]: [D]
target y[t]: [{size}]
"""
LOSS = """
output o
loss mean(mse(o, y), over t)
"""
PRODUCTS = "param Wq: [{size}, D], Wk: [{size}, D], Wv: [{size}, D]\n"
ONE_HEAD = """
q = Wq @ x
k = along(Wk @ x, s)
v = along(Wv @ x, s)
score = dot(q, k) / sqrt(K)
o = sum(a * v, over s)
"""
HEADS = """
q = reshape(Wq @ x, H, K)
k = along(reshape(Wk @ x, H, K), s)
v = along(reshape(Wv @ x, H, K), s)
score = einsum("hk,hk->h", q, k) / sqrt(K)
o = reshape(sum(expand(a, axis=1) * v, over s), H * K)
"""
ALL_PAIRS = "a = softmax(score, over s)\n"
EARLIER_ONES = """
n = n[t-1] + 1
a = softmax(where(along(n, s) <= n, score, -1e30), over s)
"""


@cache
def network(body: str, size: int, backend: str = "reference") -> Network:
    text = HEAD + PRODUCTS + body + LOSS
    if "along" not in body:
        text = text.replace("time s, t\n", "")
    return network_of(text.replace("{size}", str(size)), "float64", backend=backend)


def drawn(network: Network, seed: int = 0, steps: int = STEPS) -> tuple[Arrays, Arrays]:
    random = np.random.default_rng(seed)
    params = {name: random.normal(size=spec.shape) for name, spec in network.params.items()}
    slots = {**network.inputs, **network.targets}
    given = {
        name: random.integers(0, spec.bound, (steps, BATCH))
        if spec.kind == "index"
        else random.normal(size=(steps, BATCH, *spec.shape))
        for name, spec in slots.items()
    }
    return params, given


def held_to(
    network: Network, alone: Callable[[Any, Any], Any], lengths: list[int] | None, output: str = "o"
) -> None:
    """The output, the loss and all gradients are those of ``alone``, for a sequence of a batch.

    It takes the parameters and the inputs as tensors, and gives the output.
    """
    params, given = drawn(network)
    loss, gradients = network.value_and_grad(params, given, lengths=lengths)
    found = network.forward(params, given, lengths=lengths)[output]
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    inputs = {
        name: torch.tensor(value, requires_grad=value.dtype == np.float64)
        for name, value in given.items()
    }
    total = torch.zeros((), dtype=torch.float64)
    for at in range(BATCH):
        steps = STEPS if lengths is None else lengths[at]
        own = {name: value[:steps, at] for name, value in inputs.items()}
        result = alone(tensors, own)
        agree("values", found[:steps, at], result.detach().numpy(), output)
        if own["y"].dtype == torch.int64:
            total = total + torch.nn.functional.cross_entropy(result, own["y"])
        else:
            total = total + ((result - own["y"]) ** 2).mean()
    (total / BATCH).backward()
    assert loss == pytest.approx(total.item() / BATCH, abs=1e-12)
    for name, leaf in {**tensors, **inputs}.items():
        if name in gradients:
            agree("gradients", gradients[name], leaf.grad.numpy(), name)


def attend(p: Any, x: Any, heads: int, causal: bool) -> Any:
    """Attention by PyTorch."""
    q, k, v = (
        (x["x"] @ p[name].T).reshape(len(x["x"]), heads, -1).transpose(0, 1)
        for name in ("Wq", "Wk", "Wv")
    )
    o = torch.nn.functional.scaled_dot_product_attention(
        q[None], k[None], v[None], is_causal=causal
    )
    return o[0].transpose(0, 1).reshape(len(x["x"]), -1)


@pytest.mark.parametrize("lengths", WITH_AND_WITHOUT)
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("heads", [1, H])
@pytest.mark.parametrize(
    "backend",
    ["reference", pytest.param("numba", marks=[pytest.mark.long, pytest.mark.sampled(2)])],
)
def test_attention_is_that_of_pytorch(
    backend: str, heads: int, causal: bool, lengths: list[int] | None
) -> None:
    size = K if heads == 1 else H * K
    body = (ONE_HEAD if heads == 1 else HEADS) + (EARLIER_ONES if causal else ALL_PAIRS)
    held_to(network(body, size, backend), lambda p, x: attend(p, x, heads, causal), lengths)


def test_a_bias_by_the_distance_of_two_steps() -> None:
    """Raffel et al. (2020): the place in a table is the difference, as far as the table goes."""
    body = (
        "param table: [4]\n"
        + ONE_HEAD.replace("/ sqrt(K)", "/ sqrt(K) + table[n - along(n, s)]")
        + EARLIER_ONES
    )

    def alone(p: Any, x: Any) -> Any:
        q, k, v = (x["x"] @ p[name].T for name in ("Wq", "Wk", "Wv"))
        n = torch.arange(len(q))
        far = (n[:, None] - n[None]).clip(0, 3)
        score = q @ k.T / K**0.5 + p["table"][far]
        return torch.softmax(score.masked_fill(n[None] > n[:, None], -1e30), -1) @ v

    held_to(network(body, K), alone, LENGTHS)


def test_linear_attention_is_its_recurrence() -> None:
    """Katharopoulos et al. (2020): without a softmax the earlier steps are a matrix of state."""
    pairs = """
n = n[t-1] + 1
o = sum(where(along(n, s) <= n, dot(Wq @ x, along(Wk @ x, s)), 0) * along(Wv @ x, s), over s)
"""
    steps = """
S = S[t-1] + outer(Wv @ x, Wk @ x)
o = S @ (Wq @ x)
"""
    one, other = network(pairs, K), network(steps, K)
    params, given = drawn(one)
    for lengths in (None, LENGTHS):
        loss, gradients = one.value_and_grad(params, given, lengths=lengths)
        expected, slopes = other.value_and_grad(params, given, lengths=lengths)
        agree("values", loss, expected, "the loss")
        for name, gradient in gradients.items():
            agree("gradients", gradient, slopes[name], name)


def test_a_recurrence_attends_to_all_steps_of_its_input() -> None:
    body = """
k = along(Wk @ x, s)
a = softmax(dot(h[t-1], k), over s)
h = tanh(Wq @ x + sum(a * along(Wv @ x, s), over s))
o = h
"""

    def alone(p: Any, x: Any) -> Any:
        q, k, v = (x["x"] @ p[name].T for name in ("Wq", "Wk", "Wv"))
        h, found = torch.zeros(K, dtype=torch.float64), []
        for step in q:
            h = torch.tanh(step + torch.softmax(k @ h, 0) @ v)
            found.append(h)
        return torch.stack(found)

    for lengths in (None, LENGTHS):
        held_to(network(body, K), alone, lengths)


def test_what_is_read_along_an_axis_has_delays_along_it() -> None:
    """Into the past and the future, with an initial value of its own."""
    body = """
param start: [{size}]
m = along(Wk @ x, s)
init m = start
w = along(Wv @ x[t-1], s)
o = tanh(Wq @ x) * sum(m[s-2] * w * m[s+1], over s)
"""

    def alone(p: Any, x: Any) -> Any:
        q, k, v = (x["x"] @ p[name].T for name in ("Wq", "Wk", "Wv"))
        steps = len(q)
        outside = p["start"].expand(2, K)
        m = torch.cat([outside, k, outside])
        w = torch.cat([torch.zeros(1, K, dtype=torch.float64), v])[:steps]
        return torch.tanh(q) * (m[:steps] * w * m[3 : 3 + steps]).sum(0)

    for lengths in (None, LENGTHS):
        held_to(network(body, K), alone, lengths)


def test_an_encoder_and_a_decoder_of_one_length() -> None:
    """What runs along s, back from its end, is read along t."""
    spec = """
net aligned
time s, t
input x[{axis}]: [4], z[t]: [3]
target y[t]: [3]
param W: [3, 4], U: [3, 3]
e = tanh(W @ x + U @ e[{axis}+1])
o = tanh(U @ o[t-1] + z * {read})
output o
loss mean(mse(o, y), over t)
"""
    two = network_of(
        spec.replace("{axis}", "s").replace("{read}", "along(e, t)"),
        "float64",
        backend="reference",
    )
    one = network_of(
        spec.replace("{axis}", "t").replace("{read}", "e").replace("time s, t\n", ""),
        "float64",
        backend="reference",
    )
    params, given = drawn(two)
    for lengths in (None, LENGTHS):
        loss, gradients = two.value_and_grad(params, given, lengths=lengths)
        expected, slopes = one.value_and_grad(params, given, lengths=lengths)
        assert loss == pytest.approx(expected, rel=1e-13)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(gradient, slopes[name], 0, 1e-13, err_msg=name)
    with pytest.raises(InputError, match="`z` has 4 steps of t, but `x` has 5"):
        two.forward(params, {**given, "z": given["z"][:4]})
    with pytest.raises(InputError, match="of t are other ones than of s"):
        two.forward(params, given, lengths={"s": [5, 3, 1], "t": [5, 3, 2]})
    with pytest.raises(InputError, match="of t are 3, but of s 4"):
        two.forward(params, given, steps={"s": 4, "t": 3})
    own = two.forward(params, given, lengths={"t": LENGTHS})
    np.testing.assert_array_equal(own["o"], two.forward(params, given, lengths=LENGTHS)["o"])


@pytest.mark.parametrize("lengths", WITH_AND_WITHOUT)
def test_the_block_that_comes_with_rollc_is_a_layer_of_pytorch(lengths: list[int] | None) -> None:
    block = network_of(specs()["sequences/attention"].read_text(), "float64", backend="reference")
    names = {
        "linear1.weight": "U", "linear1.bias": "b", "linear2.weight": "W", "linear2.bias": "c",
        "norm1.weight": "gain1", "norm1.bias": "shift1", "self_attn.out_proj.weight": "Wo",
        "norm2.weight": "gain2", "norm2.bias": "shift2",
    }  # fmt: skip
    layer = torch.nn.TransformerEncoderLayer(
        8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True, dtype=torch.float64
    )

    def alone(p: Any, x: Any) -> Any:
        own = {theirs: p[ours] for theirs, ours in names.items()}
        own["self_attn.in_proj_weight"] = torch.cat([p["Wq"], p["Wk"], p["Wv"]])
        own["self_attn.in_proj_bias"] = torch.zeros(24, dtype=torch.float64)
        own["self_attn.out_proj.bias"] = torch.zeros(8, dtype=torch.float64)
        later = torch.ones(len(x["x"]), len(x["x"]), dtype=torch.bool).triu(1)
        z = torch.func.functional_call(layer, own, (x["x"][None],), {"src_mask": later})
        return z[0] @ p["O"].T

    held_to(block, alone, lengths, "p")


def test_no_step_comes_by_itself() -> None:
    attention = network(ONE_HEAD + EARLIER_ONES, K)
    params, _ = drawn(attention)
    message = "needs all steps of t, which it reads along s: what is read along s can be an input"
    with pytest.raises(InputError, match=message):
        attention.initial_state(params, {})


@pytest.mark.parametrize("heads", [1, H])
@pytest.mark.parametrize("backend", ["reference", pytest.param("numba", marks=pytest.mark.long)])
def test_what_is_masked_may_be_infinite(backend: str, heads: int) -> None:
    """Keys of later steps, which no step that counts looks at: their slopes are not taken."""
    size = K if heads == 1 else H * K
    body = (ONE_HEAD if heads == 1 else HEADS) + EARLIER_ONES
    body = "input z[t]: [4]\n" + body.replace("Wk @ x", "Wk @ z")
    text = (HEAD + PRODUCTS + body + LOSS).replace("{size}", str(size))
    text = text.replace("mean(mse(o, y), over t)", "sum(where(n < 5, mse(o, y), 0), over t)")
    attention = network_of(text, "float64", backend=backend)
    params, given = drawn(attention)
    loss, gradients = attention.value_and_grad(
        params, {name: array[: STEPS - 1] for name, array in given.items()}
    )
    given["z"][-1, 0], given["z"][-1, 1] = np.inf, np.nan
    found, slopes = attention.value_and_grad(params, given)
    assert found == pytest.approx(loss, rel=1e-12)
    for name, gradient in slopes.items():
        if name in given:
            gradient = gradient[:-1]
        np.testing.assert_allclose(gradient, gradients[name], 0, 1e-11, err_msg=name)
