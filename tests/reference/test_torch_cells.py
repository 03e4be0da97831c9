"""The cells that PyTorch does not have, against loops over the steps written in PyTorch.

PyTorch computes in float64.  The equations are those of the papers that the cells name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.helpers.agreement import Kind, agree
from tests.helpers.compiled_networks import assert_close, network_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")
pytestmark = pytest.mark.usefixtures("each_backend")

T, B, D, H, P = 11, 3, 4, 9, 3
Tensor = Any
Tensors = dict[str, Any]
# The parameters, the input at each step (of two inputs, both) and the initial values give the
# values at each step.
Loop = Callable[..., list[Tensor]]


def lstm_layer_norm(p: Tensors, xs: Tensor, h: Tensor, c: Tensor) -> list[Tensor]:
    found = []
    norm = torch.nn.functional.layer_norm
    for x in xs:
        a = norm(h @ p["U"].T, (4 * H,), p["n_h"], p["m_h"], 1e-5)
        a = a + norm(x @ p["W"].T, (4 * H,), p["n_x"], p["m_x"], 1e-5) + p["b"]
        i, f, g, o = a.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * norm(c, (H,), p["n_c"], p["m_c"], 1e-5).tanh()
        found.append(h)
    return found


def lstm_peephole(p: Tensors, xs: Tensor, h: Tensor, c: Tensor) -> list[Tensor]:
    found = []
    for x in xs:
        i, f, g, o = (x @ p["W"].T + h @ p["U"].T + p["b"]).chunk(4, -1)
        i, f = (i + p["p_i"] * c).sigmoid(), (f + p["p_f"] * c).sigmoid()
        c = f * c + i * g.tanh()
        h = (o + p["p_o"] * c).sigmoid() * c.tanh()
        found.append(h)
    return found


def gru_before(p: Tensors, xs: Tensor, h: Tensor) -> list[Tensor]:
    found = []
    of_r, of_z = p["U"].chunk(2)
    for x in xs:
        r, z, n = (x @ p["W"].T + p["b"]).chunk(3, -1)
        r, z = (r + h @ of_r.T).sigmoid(), (z + h @ of_z.T).sigmoid()
        n = (n + (r * h) @ p["V"].T).tanh()
        h = (1 - z) * n + z * h
        found.append(h)
    return found


def mgu(p: Tensors, xs: Tensor, h: Tensor) -> list[Tensor]:
    found = []
    for x in xs:
        f, n = (x @ p["W"].T + p["b"]).chunk(2, -1)
        f = (f + h @ p["U"].T).sigmoid()
        h = (1 - f) * h + f * (n + (f * h) @ p["V"].T).tanh()
        found.append(h)
    return found


def min_gru(p: Tensors, xs: Tensor, h: Tensor) -> list[Tensor]:
    found = []
    for x in xs:
        z, n = (x @ p["W"].T + p["b"]).chunk(2, -1)
        h = torch.lerp(h, n, z.sigmoid())
        found.append(h)
    return found


def indrnn(p: Tensors, xs: Tensor, h: Tensor) -> list[Tensor]:
    found = []
    for x in xs:
        h = (x @ p["W"].T + p["u"] * h + p["b"]).relu()
        found.append(h)
    return found


def dilated(p: Tensors, xs: Tensor, *before: Tensor) -> list[Tensor]:
    found = list(before)
    for x in xs:
        found.append((x @ p["W"].T + found[-2] @ p["U"].T + p["b"]).tanh())
    return found[2:]


def clockwork(p: Tensors, xs: Tensor, h: Tensor) -> list[Tensor]:
    found = []
    for t, x in enumerate(xs):
        if t % P == 0:
            h = (x @ p["W"].T + h @ p["U"].T + p["b"]).tanh()
        found.append(h)
    return found


def clockwork_beside(p: Tensors, xs: Tensor, h: Tensor, *, slower: Tensor) -> list[Tensor]:
    found = []
    last = torch.zeros_like(slower[0])
    for t, (x, other) in enumerate(zip(xs, slower, strict=True)):
        if t % P == 0:
            h = (x @ p["W"].T + h @ p["U"].T + last @ p["V"].T + p["b"]).tanh()
        last = other
        found.append(h)
    return found


def echo_state(p: Tensors, xs: Tensor, h: Tensor) -> list[Tensor]:
    found = []
    w, u = p["W"].detach(), p["U"].detach()
    for x in xs:
        h = 0.7 * h + 0.3 * (x @ w.T + 0.9 * h @ u.T).tanh()
        found.append(h)
    return found


def diagonal(p: Tensors, xs: Tensor, s: Tensor) -> list[Tensor]:
    found = []
    a = torch.exp(-torch.exp(p["rate"]))
    for x in xs:
        s = a * s + (1 - a**2).sqrt() * (x @ p["B"].T)
        found.append(s @ p["C"].T + x @ p["D"].T)
    return found


class Spike(torch.autograd.Function):
    """A step whose derivative is that of a fast sigmoid."""

    @staticmethod
    def forward(context: Any, v: Tensor) -> Tensor:
        context.save_for_backward(v)
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(context: Any, slope: Tensor) -> Tensor:
        (v,) = context.saved_tensors
        return slope / (1 + v.abs()) ** 2


def lif(p: Tensors, xs: Tensor, s: Tensor, v: Tensor) -> list[Tensor]:
    found = []
    for x in xs:
        v = 0.8 * v + x @ p["W"].T + s @ p["U"].T + p["b"] - 0.4 * s
        s = Spike.apply(v - 0.4)
        found.append(torch.cat([s, v], -1))
    return found


@dataclass(frozen=True)
class Case:
    """A use of a cell, and what is seen of it."""

    file: str
    loop: Loop
    results: tuple[str, ...] = ("h",)
    sizes: str = f"H={H}"
    seen: str = "h"
    width: int = H
    rows: int = 1  # of the initial value
    inputs: tuple[str, ...] = ("x",)

    @property
    def states(self) -> tuple[str, ...]:
        """The results that are read with a delay: what is read out of a state has no start."""
        return tuple(result for result in self.results if result != "y")


CASES = {
    "lstm_layer_norm": Case("lstm_layer_norm", lstm_layer_norm, ("h", "c")),
    "lstm_peephole": Case("lstm_peephole", lstm_peephole, ("h", "c")),
    "gru_before": Case("gru", gru_before),
    "mgu": Case("mgu", mgu),
    "min_gru": Case("min_gru", min_gru),
    "indrnn": Case("indrnn", indrnn),
    "dilated": Case("dilated", dilated, sizes=f"H={H}, back=2", rows=2),
    "clockwork": Case("clockwork", clockwork, sizes=f"H={H}, P={P}"),
    "clockwork_beside": Case(
        "clockwork", clockwork_beside, sizes=f"H={H}, P={P}", inputs=("x", "slower")
    ),
    "echo_state": Case("echo_state", echo_state, sizes=f"H={H}, leak=0.3"),
    "diagonal": Case("diagonal", diagonal, ("y", "s"), f"H={H}, K=5", "y", 5),
    "lif": Case("lif", lif, ("s", "v"), f"H={H}, decay=0.8, threshold=0.4", "concat(s, v)", 2 * H),
}


def spec_of(name: str) -> str:
    """A network of one cell: what it is started from, what is seen of it, and a loss."""
    case = CASES[name]
    lines = ["net one", f'use "cells/{case.file}.roll"']
    lines += [f"input {given}: [{D}]" for given in case.inputs]
    lines.append(f"{', '.join(case.results)} = {name}({', '.join(case.inputs)}; {case.sizes})")
    for state in case.states:
        shape = f"[{case.rows}, {H}]" if case.rows > 1 else f"[{H}]"
        lines += [f"static input {state}0: {shape}", f"init {state} = {state}0"]
    lines += [f"o = identity({case.seen})", "output o", f"target wanted: [{case.width}]"]
    return "\n".join([*lines, "loss mean(mse(o, wanted), over t)"])


RUNS = [(name, dtype) for name in CASES for dtype in ("float32", "float64")]


def same(kind: Kind, found: Any, expected: Any, dtype: str, what: str) -> None:
    """Equal up to roundings, of which those in float64 are kept."""
    assert_close(found, expected, dtype, what)
    if dtype == "float64":
        agree(kind, found, expected, what)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("name", "dtype"), RUNS)
def test_a_cell(name: str, dtype: str) -> None:
    case = CASES[name]
    net = network_of(spec_of(name), dtype)
    random = np.random.default_rng(0)
    params = {
        leaf: array + random.normal(scale=0.2, size=array.shape).astype(dtype)
        for leaf, array in net.init(seed=0).items()
    }
    inputs = {
        leaf: random.normal(size=(*((T, B) if spec.time else (B,)), *spec.shape)).astype(dtype)
        for leaf, spec in (net.inputs | net.targets).items()
    }
    leaves = {
        leaf: torch.tensor(array.astype("float64"), requires_grad=leaf != "wanted")
        for leaf, array in (params | inputs).items()
    }
    starts = [leaves[f"{state}0"] for state in case.states]
    if case.rows > 1:
        starts = list(starts[0].unbind(1))
    own = {leaf.partition(".")[2]: tensor for leaf, tensor in leaves.items() if "." in leaf}
    others = {given: leaves[given] for given in case.inputs[1:]}
    values = torch.stack(case.loop(own, leaves["x"], *starts, **others))
    error = ((values - leaves["wanted"]) ** 2).mean()
    error.backward()

    loss, slopes = net.value_and_grad(params, inputs)
    same("values", loss, error.item(), dtype, "loss")
    frozen = {leaf for leaf, spec in net.params.items() if spec.frozen}
    assert slopes.keys() == leaves.keys() - {"wanted"} - frozen
    assert all(leaves[leaf].grad is None for leaf in frozen)
    for leaf, slope in slopes.items():
        expected = leaves[leaf].grad
        expected = torch.zeros_like(leaves[leaf]) if expected is None else expected
        same("gradients", slope, expected.numpy(), dtype, leaf)
    inputs.pop("wanted")
    same("values", net.forward(params, inputs)["o"], values.detach().numpy(), dtype, "o")
