"""The layers around a memory, and memories written as sums over all earlier steps, in PyTorch.

Sequences are `[batch, steps, heads, …]`.  A layer is a function of the parameters by name, of its
input and of its memory; so a memory can be one of these or the authors'.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

Tensor = Any
Memory = Callable[..., Tensor]
Layer = Callable[[dict[str, Tensor], Tensor, Memory], Tensor]


# Memories ---------------------------------------------------------------------------------------


def between(log_decay: Tensor, *, after: bool = False) -> Tensor:
    """How much of step s is left at step t, ``[batch, t, s, …]``; ``after``: before t decays."""
    total = log_decay.cumsum(1)
    now = total - log_decay if after else total
    steps = torch.arange(total.shape[1])
    seen = steps[:, None] > steps if after else steps[:, None] >= steps
    seen = seen.reshape(*seen.shape, *[1] * (total.dim() - 2))
    return torch.where(seen, torch.exp(now[:, :, None] - total[:, None]), 0.0)


def attended(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor) -> Tensor:
    """A sum of values, each times how far its key, as it faded, is the query."""
    return torch.einsum("bthk,bshk,btshk,bshv->bthv", q, k, between(log_decay), v)


def with_bonus(r: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, u: Tensor) -> Tensor:
    """That of all earlier steps, and this one times ``u``."""
    past = torch.einsum("bthk,bshk,btshk,bshv->bthv", r, k, between(log_decay, after=True), v)
    return past + torch.einsum("bthk,bthk,bthv->bthv", r, u * k, v)


def normalised(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    share = torch.einsum("bthk,bshk->bths", q, k)
    share = share * torch.ones(q.shape[1], q.shape[1]).tril()[:, None]
    return torch.einsum("bths,bshv->bthv", share / share.sum(-1, keepdim=True), v)


def delta_rule(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor) -> Tensor:
    """By the matrix that a step multiplies the memory with."""
    S, found = torch.zeros(*v.shape[:1], *v.shape[2:], k.shape[-1]), []
    for t in range(q.shape[1]):
        kept = beta[:, t, :, None, None]
        turn = torch.eye(k.shape[-1]) - kept * k[:, t, :, :, None] * k[:, t, :, None]
        S = log_decay[:, t, :, None, None].exp() * S @ turn
        S = S + kept * v[:, t, :, :, None] * k[:, t, :, None]
        found.append((S @ q[:, t, :, :, None])[..., 0])
    return torch.stack(found, 1)


def selective_scan(x: Tensor, Δ: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    left = between(Δ[..., None] * A)
    return torch.einsum("btn,bsn,btscn,bsc->btc", C, B, left, Δ * x)


def matrix_memory(q: Tensor, k: Tensor, v: Tensor, i: Tensor, f: Tensor) -> Tensor:
    """mLSTM without a stabiliser."""
    share = torch.einsum("bthk,bshk,btsh,bsh->bths", q, k, between(F.logsigmoid(f)), i.exp())
    size = share.sum(-1, keepdim=True).abs().clamp(min=1)
    return torch.einsum("bths,bshv->bthv", share / size, v)


def scalar_memory(a: Tensor, R: Tensor, b: Tensor) -> Tensor:
    """sLSTM without a stabiliser: what the gates see of x, [batch, steps, gates, heads, units]."""
    c = n = h = torch.zeros(a.shape[0], *a.shape[3:])
    found = []
    for t in range(a.shape[1]):
        i, f, z, o = (a[:, t] + torch.einsum("ghkj,bhj->bghk", R, h) + b).unbind(1)
        c = f.sigmoid() * c + i.exp() * z.tanh()
        n = f.sigmoid() * n + i.exp()
        h = o.sigmoid() * c / n
        found.append(h)
    return torch.stack(found, 1)


def weighted_mean(w: Tensor, u: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """wkv of RWKV-4, as its paper has it."""
    steps = torch.arange(k.shape[1])
    ago = (steps[:, None] - 1 - steps).clamp(min=0)[..., None]
    past = torch.where((steps[:, None] > steps)[..., None], torch.exp(k[:, None] - ago * w), 0.0)
    now = torch.exp(u + k)
    return (torch.einsum("btsh,bsh->bth", past, v) + now * v) / (past.sum(2) + now)


# Layers -----------------------------------------------------------------------------------------


def heads(W: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("hkd,btd->bthk", W, x)


def gated(p: dict[str, Tensor], score: Tensor, o: Tensor) -> Tensor:
    return (F.silu(score) * o.flatten(2)) @ p["Wo"].T


def convolved(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    w, b = (p[f"{name}.short_convolution.{leaf}"] for leaf in ("w", "b"))
    weight = w.flip(0).T[:, None]  # a kernel for each channel, the latest step last
    return F.silu(F.conv1d(F.pad(x.mT, (len(w) - 1, 0)), weight, b, groups=x.shape[-1])).mT


def unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt()


def layer_norm(o: Tensor, epsilon: float = 1e-5) -> Tensor:
    return F.layer_norm(o, o.shape[-1:], eps=epsilon)


def rms_norm(o: Tensor, gain: Tensor) -> Tensor:
    return F.rms_norm(o, o.shape[-1:], gain, eps=1e-5)


def mlstm(p: dict[str, Tensor], x: Tensor, memory: Memory) -> Tensor:
    q, v = heads(p["Wq"], x) + p["bq"], heads(p["Wv"], x) + p["bv"]
    k = heads(p["Wk"], x) / math.sqrt(q.shape[-1]) + p["bk"]
    read = memory(q, k, v, x @ p["wi"].T + p["bi"], x @ p["wf"].T + p["bf"])
    return torch.sigmoid(x @ p["Wo"].T + p["bo"]) * read.flatten(2)


def slstm(p: dict[str, Tensor], x: Tensor, memory: Memory) -> Tensor:
    b = torch.stack([p["bi"], p["bf"], p["bz"], p["bo"]])
    return memory(torch.einsum("ghkd,btd->btghk", p["W"], x), p["R"], b).flatten(2)


def retnet(p: dict[str, Tensor], x: Tensor, memory: Memory) -> Tensor:
    q, k, v = (heads(p[name], x) for name in ("Wq", "Wk", "Wv"))
    half = q.shape[-1] // 2
    angle = torch.arange(x.shape[1])[:, None] / 10000 ** (torch.arange(half) / half)

    def turned(a: Tensor) -> Tensor:
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        left, right = a[..., :half], a[..., half:]
        return torch.cat([left * cos - right * sin, left * sin + right * cos], -1)

    fading = torch.log(1 - 2.0 ** (-5 - torch.arange(q.shape[2])))
    o = memory(turned(q) / math.sqrt(q.shape[-1]), turned(k), v, fading[:, None].expand(q.shape))
    return gated(p, x @ p["Wg"].T, layer_norm(o))


def linear_attention(p: dict[str, Tensor], x: Tensor, memory: Memory) -> Tensor:
    q, k, v = (heads(p[name], x) for name in ("Wq", "Wk", "Wv"))
    return memory(F.elu(q) + 1, F.elu(k) + 1, v).flatten(2) @ p["Wo"].T


def gla(p: dict[str, Tensor], x: Tensor, memory: Memory) -> Tensor:
    q, k, v = (heads(p[name], x) for name in ("Wq", "Wk", "Wv"))
    decay = F.logsigmoid(torch.einsum("hkr,rd,btd->bthk", p["B"], p["A"], x) + p["a"]) / 16
    o = layer_norm(memory(q / math.sqrt(q.shape[-1]), k, v, decay)) * p["gain"] + p["bias"]
    return gated(p, x @ p["Wr"].T + p["br"], o)


def _delta(p: dict[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
    count = len(p["Wb"])
    values = count * len(p["gain"])
    keys = (len(p["W"]) - values) // 2
    qkv = convolved(p, "qkv", x @ p["W"].T).split([keys, keys, values], -1)
    q, k, v = (part.unflatten(-1, (count, -1)) for part in qkv)
    return unit(q) / math.sqrt(q.shape[-1]), unit(k), v, torch.sigmoid(x @ p["Wb"].T)


def delta_net(p: dict[str, Tensor], x: Tensor, memory: Memory) -> Tensor:
    q, k, v, beta = _delta(p, x)
    return rms_norm(memory(q, k, v, beta, torch.zeros_like(beta)), p["gain"]).flatten(2) @ p["Wo"].T


def gated_delta_net(p: dict[str, Tensor], x: Tensor, memory: Memory) -> Tensor:
    decay = -p["a"].exp() * F.softplus(x @ p["Wa"].T + p["b"])
    return gated(p, x @ p["Wg"].T, rms_norm(memory(*_delta(p, x), decay), p["gain"]))


def mamba(p: dict[str, Tensor], u: Tensor, memory: Memory) -> Tensor:
    x, z = (u @ p["W"].T).chunk(2, -1)
    x = convolved(p, "x", x)
    rank, n = p["Wt"].shape[1], p["a"].shape[1]
    low, B, C = (x @ p["Wx"].T).split([rank, n, n], -1)
    y = memory(x, F.softplus(low @ p["Wt"].T + p["b"]), -p["a"].exp(), B, C)
    return ((y + p["D"] * x) * F.silu(z)) @ p["Wo"].T


def mamba2(p: dict[str, Tensor], u: Tensor, memory: Memory) -> Tensor:
    inner, count = len(p["gain"]), len(p["a"])
    n = (len(p["W"]) - inner) // 2
    x, B, C = convolved(p, "xBC", u @ p["W"].T).split([inner, n, n], -1)
    x = x.unflatten(-1, (count, -1))
    Δ = F.softplus(u @ p["Wt"].T + p["b"])
    q, k = (a[:, :, None].expand(*Δ.shape, n) for a in (C, B))
    decay = (-p["a"].exp() * Δ)[..., None].expand(q.shape)
    y = memory(q, k, Δ[..., None] * x, decay) + p["D"][:, None] * x
    return rms_norm(y.flatten(2) * F.silu(u @ p["Wz"].T), p["gain"]) @ p["Wo"].T


def rwkv4(p: dict[str, Tensor], x: Tensor, memory: Memory) -> Tensor:
    before = F.pad(x, (0, 0, 1, 0))[:, :-1]
    r, k, v = (
        (p[f"μ{name}"] * x + (1 - p[f"μ{name}"]) * before) @ p[f"W{name}"].T
        for name in ("r", "k", "v")
    )
    return (r.sigmoid() * memory(p["decay"].exp(), p["u"], k, v)) @ p["Wo"].T


def rwkv6(p: dict[str, Tensor], x: Tensor, memory: Memory) -> Tensor:
    back = F.pad(x, (0, 0, 1, 0))[:, :-1] - x
    seen = []
    for A, B, name in zip(p["A"], p["B"], ("d", "k", "v", "r", "g"), strict=True):
        seen.append(x + back * (p[f"μ{name}"] + ((x + back * p["μ"]) @ A.T).tanh() @ B.T))
    d = p["decay"] + (seen[0] @ p["Ad"].T).tanh() @ p["Bd"].T
    shape = (HEADS, -1)
    k, v, r = (
        (a @ p[f"W{name}"].T).unflatten(-1, shape)
        for a, name in zip(seen[1:], ("k", "v", "r"), strict=False)
    )
    o = memory(r, k, v, -d.exp().unflatten(-1, shape), p["u"].unflatten(-1, shape))
    normed = layer_norm(o, 64e-5).flatten(2) * p["gain"] + p["bias"]
    return gated(p, seen[4] @ p["Wg"].T, normed)


HEADS = 2
