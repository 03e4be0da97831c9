"""Loops over numbers, written by hand in Numba, with gradients by hand.

For one sequence the state is in a few local variables; for several, the loop over them is the
inner one, so that it vectorizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from rollc.tools.bench.data import Array, Problem
from rollc.tools.bench.task import Ready, Task, gradient_results

Function = Callable[..., Any]


def _fast(function: Function) -> Function:
    made: Function = njit(fastmath=True, error_model="numpy")(function)
    return made


def _inlined(function: Function) -> Function:
    made: Function = njit(fastmath=True, error_model="numpy", inline="always")(function)
    return made


# The filter: y = b0 x + b1 x' + b2 x'' - a1 y' - a2 y''


@_fast
def _filter_one(x: Any, b0: Any, b1: Any, b2: Any, a1: Any, a2: Any, y: Any) -> None:
    zero = x.dtype.type(0)
    x1, x2, y1, y2 = zero, zero, zero, zero
    for t in range(x.shape[0]):
        now = b0 * x[t] + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
        y[t] = now
        x2, x1, y2, y1 = x1, x[t], y1, now


@_fast
def _filter_many(x: Any, b0: Any, b1: Any, b2: Any, a1: Any, a2: Any, y: Any) -> None:
    for b in range(x.shape[1]):
        y[0, b] = b0 * x[0, b]
        if x.shape[0] > 1:
            y[1, b] = b0 * x[1, b] + b1 * x[0, b] - a1 * y[0, b]
    for t in range(2, x.shape[0]):
        for b in range(x.shape[1]):
            fed = b0 * x[t, b] + b1 * x[t - 1, b] + b2 * x[t - 2, b]
            y[t, b] = fed - a1 * y[t - 1, b] - a2 * y[t - 2, b]


@_fast
def _filter_one_back(
    x: Any, g: Any, b0: Any, b1: Any, b2: Any, a1: Any, a2: Any, y: Any, of_x: Any
) -> Any:
    zero = x.dtype.type(0)
    s0, s1, s2, r1, r2, e1, e2 = zero, zero, zero, zero, zero, zero, zero
    loss = zero
    for t in range(x.shape[0] - 1, -1, -1):
        e = g[t] - a1 * e1 - a2 * e2
        loss += g[t] * y[t]
        of_x[t] = b0 * e + b1 * e1 + b2 * e2
        s0 += e * x[t]
        s1 += e1 * x[t]
        s2 += e2 * x[t]
        r1 -= e1 * y[t]
        r2 -= e2 * y[t]
        e2, e1 = e1, e
    return loss, s0, s1, s2, r1, r2


@_fast
def _filter_many_back(
    x: Any, g: Any, b0: Any, b1: Any, b2: Any, a1: Any, a2: Any, y: Any, of_x: Any
) -> Any:
    zero = x.dtype.type(0)
    s0, s1, s2, r1, r2, loss = zero, zero, zero, zero, zero, zero
    ahead, further = np.zeros_like(x[0]), np.zeros_like(x[0])
    for t in range(x.shape[0] - 1, -1, -1):
        for b in range(x.shape[1]):
            e1, e2 = ahead[b], further[b]
            e = g[t, b] - a1 * e1 - a2 * e2
            loss += g[t, b] * y[t, b]
            of_x[t, b] = b0 * e + b1 * e1 + b2 * e2
            s0 += e * x[t, b]
            s1 += e1 * x[t, b]
            s2 += e2 * x[t, b]
            r1 -= e1 * y[t, b]
            r2 -= e2 * y[t, b]
            further[b] = e1
            ahead[b] = e
    return loss, s0, s1, s2, r1, r2


def _filter(x: Array, b0: Any, b1: Any, b2: Any, a1: Any, a2: Any) -> Array:
    y = np.empty_like(x)
    if x.shape[1] == 1:
        _filter_one(x[:, 0], b0, b1, b2, a1, a2, y[:, 0])
    else:
        _filter_many(x, b0, b1, b2, a1, a2, y)
    return y


def _filter_gradient(x: Array, g: Array, *params: Any) -> tuple[Any, Array, tuple[Any, ...]]:
    y, of_x = _filter(x, *params), np.empty_like(x)
    if x.shape[1] == 1:
        found = _filter_one_back(x[:, 0], g[:, 0], *params, y[:, 0], of_x[:, 0])
    else:
        found = _filter_many_back(x, g, *params, y, of_x)
    return found[0], of_x, found[1:]


# The oscillator.  Numba would make float64 of float32 times a Python number: the fractions of
# the step are arguments.


@_inlined
def _advance(p0: Any, v0: Any, x: Any, c: Any, k: Any, e: Any, h: Any) -> Any:
    dt, half, third, sixth = h
    d1 = x - c * v0 - k * p0 - e * p0 * p0 * p0
    v1 = v0 + half * d1
    q = p0 + half * v0
    d2 = x - c * v1 - k * q - e * q * q * q
    v2 = v0 + half * d2
    q = p0 + half * v1
    d3 = x - c * v2 - k * q - e * q * q * q
    v3 = v0 + dt * d3
    q = p0 + dt * v2
    d4 = x - c * v3 - k * q - e * q * q * q
    p = p0 + sixth * (v0 + v3) + third * (v1 + v2)
    return p, v0 + sixth * (d1 + d4) + third * (d2 + d3)


@_inlined
def _retreat(p0: Any, v0: Any, x: Any, up: Any, uv: Any, c: Any, k: Any, e: Any, h: Any) -> Any:
    """From the slopes of p and v after a step to those before it, of x, and of c, k, e."""
    dt, half, third, sixth = h
    e3 = e + e + e
    d1 = x - c * v0 - k * p0 - e * p0 * p0 * p0
    v1 = v0 + half * d1
    q1 = p0 + half * v0
    d2 = x - c * v1 - k * q1 - e * q1 * q1 * q1
    v2 = v0 + half * d2
    q2 = p0 + half * v1
    d3 = x - c * v2 - k * q2 - e * q2 * q2 * q2
    v3 = v0 + dt * d3
    q3 = p0 + dt * v2
    u4 = sixth * uv
    w3 = sixth * up - c * u4
    r3 = -(k + e3 * q3 * q3) * u4
    u3 = third * uv + dt * w3
    w2 = third * up + dt * r3 - c * u3
    r2 = -(k + e3 * q2 * q2) * u3
    u2 = third * uv + half * w2
    w1 = third * up + half * r2 - c * u2
    r1 = -(k + e3 * q1 * q1) * u2
    u1 = sixth * uv + half * w1
    before_p = up + r1 + r2 + r3 - (k + e3 * p0 * p0) * u1
    before_v = uv + sixth * up + w1 + w2 + w3 + half * r1 - c * u1
    of_c = -(u1 * v0 + u2 * v1 + u3 * v2 + u4 * v3)
    of_k = -(u1 * p0 + u2 * q1 + u3 * q2 + u4 * q3)
    of_e = -(u1 * p0 * p0 * p0 + u2 * q1 * q1 * q1 + u3 * q2 * q2 * q2 + u4 * q3 * q3 * q3)
    return before_p, before_v, u1 + u2 + u3 + u4, of_c, of_k, of_e


@_fast
def _swing_one(x: Any, c: Any, k: Any, e: Any, h: Any, ps: Any, vs: Any) -> None:
    p, v = x.dtype.type(0), x.dtype.type(0)
    for t in range(x.shape[0]):
        p, v = _advance(p, v, x[t], c, k, e, h)
        ps[t] = p
        vs[t] = v


@_fast
def _swing_many(x: Any, c: Any, k: Any, e: Any, h: Any, ps: Any, vs: Any) -> None:
    p, v = np.zeros_like(x[0]), np.zeros_like(x[0])
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            p[b], v[b] = _advance(p[b], v[b], x[t, b], c, k, e, h)
            ps[t, b] = p[b]
            vs[t, b] = v[b]


@_fast
def _swing_one_back(
    x: Any, g: Any, c: Any, k: Any, e: Any, h: Any, ps: Any, vs: Any, of_x: Any
) -> Any:
    zero = x.dtype.type(0)
    up, uv, loss, sc, sk, se = zero, zero, zero, zero, zero, zero
    for t in range(x.shape[0] - 1, -1, -1):
        p, v = (ps[t - 1], vs[t - 1]) if t else (zero, zero)
        loss += g[t] * ps[t]
        up, uv, of_x[t], dc, dk, de = _retreat(p, v, x[t], up + g[t], uv, c, k, e, h)
        sc += dc
        sk += dk
        se += de
    return loss, sc, sk, se


@_fast
def _swing_many_back(
    x: Any, g: Any, c: Any, k: Any, e: Any, h: Any, ps: Any, vs: Any, of_x: Any
) -> Any:
    zero = x.dtype.type(0)
    loss, sc, sk, se = zero, zero, zero, zero
    up, uv, still = np.zeros_like(x[0]), np.zeros_like(x[0]), np.zeros_like(x[0])
    for t in range(x.shape[0] - 1, -1, -1):
        p, v = (ps[t - 1], vs[t - 1]) if t else (still, still)
        for b in range(x.shape[1]):
            loss += g[t, b] * ps[t, b]
            up[b], uv[b], of_x[t, b], dc, dk, de = _retreat(
                p[b], v[b], x[t, b], up[b] + g[t, b], uv[b], c, k, e, h
            )
            sc += dc
            sk += dk
            se += de
    return loss, sc, sk, se


def _swung(x: Array, c: Any, k: Any, e: Any) -> tuple[Array, Array, tuple[Any, ...]]:
    h = tuple(x.dtype.type(part) for part in (0.05, 0.05 / 2, 0.05 / 3, 0.05 / 6))
    ps, vs = np.empty_like(x), np.empty_like(x)
    if x.shape[1] == 1:
        _swing_one(x[:, 0], c, k, e, h, ps[:, 0], vs[:, 0])
    else:
        _swing_many(x, c, k, e, h, ps, vs)
    return ps, vs, h


def _swing(x: Array, *params: Any) -> Array:
    return _swung(x, *params)[0]


def _swing_gradient(x: Array, g: Array, *params: Any) -> tuple[Any, Array, tuple[Any, ...]]:
    ps, vs, h = _swung(x, *params)
    of_x = np.empty_like(x)
    if x.shape[1] == 1:
        found = _swing_one_back(x[:, 0], g[:, 0], *params, h, ps[:, 0], vs[:, 0], of_x[:, 0])
    else:
        found = _swing_many_back(x, g, *params, h, ps, vs, of_x)
    return found[0], of_x, found[1:]


_LOOPS: dict[str, tuple[tuple[str, ...], Function, Function]] = {
    "iir": (("b0", "b1", "b2", "a1", "a2"), _filter, _filter_gradient),
    "oscillator": (("c", "k", "e"), _swing, _swing_gradient),
}


def prepare(task: Task, problem: Problem) -> Ready:
    names, forward, gradient = _LOOPS[task.workload.system]
    x = problem.inputs["x"]
    params = [x.dtype.type(problem.params[name]) for name in names]
    if task.mode == "forward":
        return Ready(lambda: forward(x, *params), lambda y: {"y": y})
    # The mean is taken once, out of the loops: all that comes back is linear in g.
    g = problem.g / x.dtype.type(x.size)

    def results(found: Any) -> dict[str, Array]:
        loss, of_x, slopes = found
        return gradient_results(loss, {"x": of_x, **dict(zip(names, slopes, strict=True))})

    return Ready(lambda: gradient(x, g, *params), results)
