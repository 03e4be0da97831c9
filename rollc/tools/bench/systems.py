"""The systems of the workloads, written once over any library of arrays.

A system maps parameters and inputs ``[T, B, I]`` to an output ``[T, B, H]`` (``[T, B]`` for
single numbers).  ``xp`` is a :class:`Space`: the few functions that libraries call by other
names, and ``scan``, in which they differ.  What does not depend on the state is computed outside
the scan, as an expert would write it; the equations are those of the specs, whose names the
parameters have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Params = dict[str, Any]
Step = Callable[["Space", Params, tuple[Any, ...], Any], tuple[tuple[Any, ...], Any]]
Function = Callable[..., Any]


@dataclass(frozen=True)
class Space:
    """A library of arrays.

    ``scan(step, start, over, params, backwards=False)`` runs ``step(xp, params, state, now)``
    over the first dimension of ``over`` (an array or a tuple of them) and stacks its outputs.
    ``product(x, W)`` is W @ x for each step and sequence, ``stop`` lets no gradient pass,
    ``zeros(array, *shape)`` has the dtype of ``array``.
    """

    tanh: Function
    sigmoid: Function
    exp: Function
    sqrt: Function
    abs: Function
    where: Function
    split: Function
    concatenate: Function
    softmax: Function
    layer_norm: Function
    product: Function
    stop: Function
    arange: Function
    zeros: Function
    scan: Function


def below(params: Params, use: str) -> Params:
    """The parameters of one use of a cell, by their own names."""
    return {
        name.removeprefix(f"{use}."): value
        for name, value in params.items()
        if name.startswith(f"{use}.")
    }


def _state(xp: Space, x: Any, weight: Any) -> Any:
    """Zeros [B, H], where ``weight`` is [.., H]."""
    return xp.zeros(x, x.shape[1], weight.shape[1])


# Cells -----------------------------------------------------------------------------------


def rnn_cell(xp: Space, p: Params, x: Any) -> Any:
    u = xp.product(x, p["W"]) + p["b"]
    return xp.scan(_rnn, (_state(xp, x, p["U"]),), u, p)


def _rnn(xp: Space, p: Params, state: tuple[Any, ...], u: Any) -> Any:
    h = xp.tanh(u + state[0] @ p["U"].T)
    return (h,), h


def lstm_cell(xp: Space, p: Params, x: Any, backwards: bool = False) -> Any:
    u = xp.product(x, p["W"]) + p["b"]
    zero = _state(xp, x, p["U"])
    return xp.scan(_lstm, (zero, zero), u, p, backwards)


def _lstm(xp: Space, p: Params, state: tuple[Any, ...], u: Any) -> Any:
    h, c = state
    i, f, g, o = xp.split(u + h @ p["U"].T, 4)
    c = xp.sigmoid(f) * c + xp.sigmoid(i) * xp.tanh(g)
    h = xp.sigmoid(o) * xp.tanh(c)
    return (h, c), h


def gru_cell(xp: Space, p: Params, x: Any) -> Any:
    u = xp.product(x, p["W"]) + p["b"]
    return xp.scan(_gru, (_state(xp, x, p["U"]),), u, p)


def _gru(xp: Space, p: Params, state: tuple[Any, ...], u: Any) -> Any:
    (h,) = state
    wr, wz, wn = xp.split(u, 3)
    ur, uz, un = xp.split(h @ p["U"].T, 3)
    z = xp.sigmoid(wz + uz)
    n = xp.tanh(wn + xp.sigmoid(wr + ur) * (un + p["d"]))
    h = (1 - z) * n + z * h
    return (h,), h


def _peephole(xp: Space, p: Params, state: tuple[Any, ...], u: Any) -> Any:
    h, c = state
    i, f, g, o = xp.split(u + h @ p["U"].T, 4)
    c = xp.sigmoid(f + p["p_f"] * c) * c + xp.sigmoid(i + p["p_i"] * c) * xp.tanh(g)
    h = xp.sigmoid(o + p["p_o"] * c) * xp.tanh(c)
    return (h, c), h


def _layer_norm(xp: Space, p: Params, state: tuple[Any, ...], u: Any) -> Any:
    h, c = state
    i, f, g, o = xp.split(xp.layer_norm(h @ p["U"].T, p["n_h"], p["m_h"]) + u, 4)
    c = xp.sigmoid(f) * c + xp.sigmoid(i) * xp.tanh(g)
    h = xp.sigmoid(o) * xp.tanh(xp.layer_norm(c, p["n_c"], p["m_c"]))
    return (h, c), h


def _clockwork(xp: Space, p: Params, state: tuple[Any, ...], now: Any) -> Any:
    (h,) = state
    u, ticks = now
    h = xp.where(ticks, xp.tanh(u + h @ p["U"].T), h)
    return (h,), h


def _lif(xp: Space, p: Params, state: tuple[Any, ...], u: Any) -> Any:
    s, v = state
    v = 0.9 * v + u + s @ p["U"].T - 1.0 * s
    above = v - 1.0
    # The value of a step with the slope of a fast sigmoid, 1 / (1 + |v|)**2.
    soft = above / (1 + xp.abs(above))
    hard = xp.where(above > 0, xp.zeros(v, 1) + 1, xp.zeros(v, 1))
    s = xp.stop(hard) + (soft - xp.stop(soft))
    return (s, v), s


def _ring(xp: Space, p: Params, state: tuple[Any, ...], u: Any) -> Any:
    c = ((u + state[0] @ p["from_c"].T) @ p["M_B"].T) @ p["M_C"].T
    return (c,), c


def _attending(xp: Space, p: Params, state: tuple[Any, ...], u: Any) -> Any:
    weights = xp.softmax((p["keys"] @ state[0][:, :, None])[:, :, 0])
    context = (weights[:, None, :] @ p["values"])[:, 0, :]
    return _gru(xp, p, state, u + context @ p["V"].T)


def _diagonal(xp: Space, p: Params, state: tuple[Any, ...], u: Any) -> Any:
    s = p["a"] * state[0] + u
    return (s,), s


def _iir(xp: Space, p: Params, state: tuple[Any, ...], u: Any) -> Any:
    last, before = state
    y = u - p["a1"] * last - p["a2"] * before
    return (y, last), y


def _oscillator(xp: Space, p: Params, state: tuple[Any, ...], x: Any) -> Any:
    dt = 0.05
    p0, v0 = state

    def push(at: Any, speed: Any) -> Any:
        return x - p["c"] * speed - p["k"] * at - p["e"] * at * at * at

    d1 = push(p0, v0)
    v1 = v0 + dt / 2 * d1
    d2 = push(p0 + dt / 2 * v0, v1)
    v2 = v0 + dt / 2 * d2
    d3 = push(p0 + dt / 2 * v1, v2)
    v3 = v0 + dt * d3
    d4 = push(p0 + dt * v2, v3)
    at = p0 + dt / 6 * (v0 + 2 * v1 + 2 * v2 + v3)
    speed = v0 + dt / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    return (at, speed), at


# Systems ---------------------------------------------------------------------------------


def rnn(xp: Space, params: Params, x: Any) -> Any:
    return rnn_cell(xp, below(params, "y"), x)


def lstm(xp: Space, params: Params, x: Any) -> Any:
    return lstm_cell(xp, below(params, "y"), x)


def gru(xp: Space, params: Params, x: Any) -> Any:
    return gru_cell(xp, below(params, "y"), x)


def lstm_peephole(xp: Space, params: Params, x: Any) -> Any:
    p = below(params, "y")
    zero = _state(xp, x, p["U"])
    return xp.scan(_peephole, (zero, zero), xp.product(x, p["W"]) + p["b"], p)


def lstm_layer_norm(xp: Space, params: Params, x: Any) -> Any:
    p = below(params, "y")
    u = xp.layer_norm(xp.product(x, p["W"]), p["n_x"], p["m_x"]) + p["b"]
    zero = _state(xp, x, p["U"])
    return xp.scan(_layer_norm, (zero, zero), u, p)


def clockwork(xp: Space, params: Params, x: Any) -> Any:
    """All modules in one scan: a matrix for all, with zeros where one does not read another."""
    modules = ("m1", "m2", "m4", "m8")
    each = [below(params, module) for module in modules]
    width = each[0]["b"].shape[0]
    rows = []
    for place, p in enumerate(each):
        slower = [p["V"]] if "V" in p else []
        faster = [xp.zeros(x, width, place * width)] if place else []
        rows.append(xp.concatenate([*faster, p["U"], *slower], 1))
    stacked = {"U": xp.concatenate(rows, 0)}
    weights, biases = (xp.concatenate([p[name] for p in each], 0) for name in ("W", "b"))
    u = xp.product(x, weights) + biases
    periods = xp.concatenate([xp.zeros(x, width) + int(name[1:]) for name in modules], 0)
    ticks = xp.arange(x.shape[0])[:, None] % periods < 0.5
    zero = _state(xp, x, stacked["U"])
    return xp.scan(_clockwork, (zero,), (u, ticks[:, None, :]), stacked)


def dilated(xp: Space, params: Params, x: Any) -> Any:
    """A layer that reads itself d steps ago is d chains side by side, each of every d-th step."""
    steps, batch = x.shape[0], x.shape[1]
    for use, back in (("low", 1), ("middle", 2), ("y", 4)):
        p = below(params, use)
        chains = x.reshape((steps // back, back * batch, x.shape[2]))
        h = rnn_cell(xp, p, chains)
        x = h.reshape((steps, batch, p["U"].shape[0]))
    return x


def lif(xp: Space, params: Params, x: Any) -> Any:
    p = below(params, "y")
    zero = _state(xp, x, p["U"])
    return xp.scan(_lif, (zero, zero), xp.product(x, p["W"]) + p["b"], p)


def three_layers(xp: Space, params: Params, x: Any) -> Any:
    width = params["M_B"].shape[0]
    of_x, of_c = params["M_A"][:, :width], params["M_A"][:, width:]
    inside = {"from_c": of_c, "M_B": params["M_B"], "M_C": params["M_C"]}
    c = xp.scan(_ring, (_state(xp, x, params["M_C"]),), xp.product(x, of_x), inside)
    return xp.product(c, params["M_o"])


def diagonal(xp: Space, params: Params, x: Any) -> Any:
    p = below(params, "y")
    a = xp.exp(-xp.exp(p["rate"]))
    u = xp.sqrt(1 - a * a) * xp.product(x, p["B"])
    zero = xp.zeros(x, x.shape[1], p["rate"].shape[0])
    s = xp.scan(_diagonal, (zero,), u, {"a": a})
    return xp.product(s, p["C"]) + xp.product(x, p["D"])


def stacked(xp: Space, params: Params, x: Any) -> Any:
    return lstm_cell(xp, below(params, "y"), lstm_cell(xp, below(params, "low"), x))


def bidirectional(xp: Space, params: Params, x: Any) -> Any:
    ahead = lstm_cell(xp, below(params, "f"), x)
    back = lstm_cell(xp, below(params, "g2"), x, backwards=True)
    return xp.concatenate([ahead, back], 2)


def attention(xp: Space, params: Params, x: Any, z: Any) -> Any:
    """An encoder over x and a decoder over z, which weighs all that the encoder gave."""
    encoded = gru_cell(xp, below(params, "e"), x)
    p = below(params, "y")
    width = params["A"].shape[0]
    of_z, of_context = p["W"][:, :width], p["W"][:, width:]
    inside = {
        "U": p["U"],
        "d": p["d"],
        "V": of_context,
        "keys": xp.product(encoded, params["A"].T).swapaxes(0, 1),
        "values": encoded.swapaxes(0, 1),
    }
    return xp.scan(_attending, (encoded[-1],), xp.product(z, of_z) + p["b"], inside)


def iir(xp: Space, params: Params, x: Any) -> Any:
    zero = xp.zeros(x, x.shape[1])
    one_ago = xp.concatenate([zero[None], x[:-1]], 0)
    two_ago = xp.concatenate([zero[None], one_ago[:-1]], 0)
    u = params["b0"] * x + params["b1"] * one_ago + params["b2"] * two_ago
    inside = {"a1": params["a1"], "a2": params["a2"]}
    return xp.scan(_iir, (zero, zero), u, inside)


def oscillator(xp: Space, params: Params, x: Any) -> Any:
    zero = xp.zeros(x, x.shape[1])
    return xp.scan(_oscillator, (zero, zero), x, params)


def system(name: str) -> Callable[..., Any]:
    """The system of a workload: a function of a space, the parameters and each input."""
    found: Callable[..., Any] = globals()[name]
    return found
