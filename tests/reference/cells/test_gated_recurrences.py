"""RWKV-7, HGRN2 and Griffin held to sums, to products of matrices and to the authors' code.

As in :mod:`tests.reference.cells.test_attention_cells`: values and all gradients, in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.agreement import agree
from tests.reference.cells import layers
from tests.reference.cells.authors import functions
from tests.reference.cells.test_attention_cells import BOUNDS, B, D, T, heads_first
from tests.reference.systems.complex_step import interpreted

torch = pytest.importorskip("torch")
F = torch.nn.functional
Tensors = dict[str, Any]
HEADS = 2


@pytest.fixture(autouse=True)
def double() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def before(x: Any) -> Any:
    return F.pad(x, (0, 0, 1, 0))[:, :-1]


# RWKV-7: two layers, so that the second one mixes in the values of the first ---------------------


def transition(r: Any, w: Any, k: Any, v: Any, κ: Any, a: Any) -> Any:
    """The memory by the matrix that a step multiplies it with: `[batch, steps, heads, …]`."""
    S, found = torch.zeros(B, HEADS, v.shape[-1], k.shape[-1]), []
    for t in range(T):
        turn = torch.diag_embed(w[:, t]) - κ[:, t, :, :, None] * (a * κ)[:, t, :, None]
        S = S @ turn + v[:, t, :, :, None] * k[:, t, :, None]
        found.append((S @ r[:, t, :, :, None])[..., 0])
    return torch.stack(found, 1)


def authors_low_rank(r: Any, w: Any, k: Any, v: Any, κ: Any, a: Any) -> Any:
    run = functions("fla", "ops/generalized_delta_rule/dplr/naive.py", "dplr_recurrence")
    arrays = heads_first(r * r.shape[-1] ** 0.5, k, v, -κ, a * κ, w.log())
    return run["dplr_recurrence"](*arrays)[0].transpose(1, 2)


def rwkv7(p: Tensors, x: Any, memory: Any, first: Any = None) -> tuple[Any, Any]:
    seen = {name: x + (before(x) - x) * p[f"μ{name}"] for name in ("r", "d", "k", "v", "a", "g")}
    v = own = seen["v"] @ p["Wv"].T
    if first is not None:
        share = torch.sigmoid(p["share"] + seen["v"] @ p["Av"].T @ p["Bv"].T)
        v = own + (first - own) * share
    d = p["decay"] + (seen["d"] @ p["Ad"].T).tanh() @ p["Bd"].T
    a = torch.sigmoid(p["rate"] + seen["a"] @ p["Aa"].T @ p["Ba"].T)
    key = seen["k"] @ p["Wk"].T
    k = key * (1 + (a - 1) * p["mix"])
    w = torch.exp(-torch.exp(torch.tensor(-0.5)) * torch.sigmoid(d))
    arrays = (seen["r"] @ p["Wr"].T, w, k, v, key * p["ξ"], a)
    r, w, k, values, κ, a = (array.unflatten(-1, (HEADS, -1)) for array in arrays)
    o = memory(r, w, k, values, F.normalize(κ, dim=-1), a)
    normed = layers.layer_norm(o, 64e-5).flatten(2) * p["gain"] + p["bias"]
    now = (r * k * p["ρ"].unflatten(-1, (HEADS, -1))).sum(-1, keepdim=True) * values
    gate = (seen["g"] @ p["Ag"].T).sigmoid() @ p["Bg"].T
    return (gate * (normed + now.flatten(2))) @ p["Wo"].T, own


def authors_rwkv7(p: Tensors, x: Any, _: Any, first: Any = None) -> tuple[Any, Any]:
    step = functions("rwkv", "model.py", "RWKV_x070_TMix_one")["RWKV_x070_TMix_one"]
    shifts = [p[f"μ{name}"] for name in ("r", "d", "k", "v", "a", "g")]
    low = [p["decay"], p["Ad"].T, p["Bd"].T, p["rate"], p["Aa"].T, p["Ba"].T]
    later = [p["share"], p["Av"].T, p["Bv"].T] if first is not None else [None] * 3
    gates = [p["Ag"].T, p["Bg"].T, p["ξ"], p["mix"], p["ρ"].flatten()]
    matrices = [p[name].T for name in ("Wr", "Wk", "Wv", "Wo")]
    given = [*shifts, *low, *later, *gates, *matrices, p["gain"], p["bias"]]
    width = len(p["gain"]) // HEADS
    found, values = [], []
    for place, sequence in enumerate(x):
        last, state = torch.zeros(D), torch.zeros(HEADS, width, width)
        for t, now in enumerate(sequence):
            v = None if first is None else first[place, t]
            y, last, state, v = step(int(v is not None), HEADS, width, now, last, v, state, *given)
            found.append(y)
            values.append(v)
    return torch.stack(found).reshape(x.shape), torch.stack(values).unflatten(0, (B, T))


RWKV7 = f"""net one
use "cells/rwkv7.roll"
input x: [{D}]
z, v, S = rwkv7(x; heads=2, K=3, decays=2, rates=2, gates=2)
y = rwkv7_later(z, v; heads=2, K=3, values=2, decays=2, rates=2, gates=2)
output y
"""


def two_layers(layer: Any, memory: Any) -> Any:
    def run(p: Tensors, x: Any) -> Any:
        parts = [
            {leaf.split(".")[-1]: array for leaf, array in p.items() if leaf.startswith(f"{name}.")}
            for name in ("z", "y")
        ]
        z, v = layer(parts[0], x, memory)
        return layer(parts[1], z, memory, v)[0]

    return run


# HGRN2 and Griffin --------------------------------------------------------------------------------


def hgrn2(memory: Any) -> Any:
    def run(p: Tensors, x: Any, β: Any) -> Any:
        f = β + (1 - β) * (x @ p["y.Wf"].T).sigmoid()
        arrays = (F.silu(x @ p["y.Wq"].T), 1 - f, x @ p["y.Wi"].T, f.log())
        o = memory(*(array.unflatten(-1, (HEADS, -1)) for array in arrays))
        return layers.rms_norm(o.flatten(2), p["y.gain"]) @ p["y.Wo"].T

    return run


def authors_gla(q: Any, k: Any, v: Any, decay: Any) -> Any:
    run = functions("fla", "ops/gla/naive.py", "naive_recurrent_gla")["naive_recurrent_gla"]
    return run(q * q.shape[-1] ** 0.5, k, v, decay)[0]


def griffin(p: Tensors, x: Any) -> Any:
    """The unit as a sum over all earlier steps."""
    blocks = [torch.block_diag(*p[f"y.h.{name}"]).T for name in ("Wa", "Wx")]
    w, b = (p[f"y.u.{leaf}"] for leaf in ("w", "b"))
    padded = F.pad((x @ p["y.W1"].T + p["y.b1"]).mT, (len(w) - 1, 0))
    z = F.conv1d(padded, w.flip(0).T[:, None], b, groups=len(b)).mT
    r, i = (torch.sigmoid(z @ W + p[f"y.h.{b}"]) for W, b in zip(blocks, ("ba", "bx"), strict=True))
    decay = -8 * F.softplus(p["y.h.Λ"]) * r
    new = torch.sqrt(1 - torch.exp(2 * decay)) * i * z
    h = torch.einsum("btsh,bsh->bth", layers.between(decay), new)
    return (F.gelu(x @ p["y.W2"].T + p["y.b2"]) * h) @ p["y.Wo"].T + p["y.bo"]


def text(cell: str, use: str, inputs: str = "") -> str:
    return f'net one\nuse "cells/{cell}.roll"\ninput x: [{D}]{inputs}\ny = {use}\noutput y\n'


HGRN2 = text("hgrn2", "hgrn2(x, floor; heads=2, K=2, V=3)", ", floor: [4]")
CASES = {
    "rwkv7": (RWKV7, two_layers(rwkv7, transition)),
    "rwkv7_fla": (RWKV7, two_layers(rwkv7, authors_low_rank)),
    "rwkv7_authors": (RWKV7, two_layers(authors_rwkv7, None)),
    "hgrn2": (HGRN2, hgrn2(layers.attended)),
    "hgrn2_fla": (HGRN2, hgrn2(authors_gla)),
    "griffin": (text("griffin", "griffin(x; H=4, blocks=2)"), griffin),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str) -> None:
    spec, layer = CASES[name]
    network, random = interpreted(spec), np.random.default_rng(1)
    params = {
        leaf: array + random.normal(scale=0.5, size=array.shape)
        for leaf, array in network.init(2).items()
    }
    inputs = {"x": random.normal(size=(T, B, D))}
    if "floor" in network.inputs:
        inputs["floor"] = random.uniform(0, 0.9, size=(T, B, 4))
    outputs, pull = network.vjp(params, inputs)
    leaves = {leaf: torch.tensor(a, requires_grad=True) for leaf, a in (params | inputs).items()}
    given = [leaves[name].transpose(0, 1) for name in inputs]
    expected = layer({leaf: leaves[leaf] for leaf in params}, *given).transpose(0, 1)
    cotangent = random.normal(size=outputs["y"].shape)
    expected.backward(torch.tensor(cotangent))
    slopes = pull({"y": cotangent})
    assert slopes.keys() == leaves.keys()
    agree("values", outputs["y"], expected.detach().numpy(), "y", *BOUNDS)
    for leaf, array in slopes.items():
        agree("gradients", array, leaves[leaf].grad.numpy(), leaf, *BOUNDS)
