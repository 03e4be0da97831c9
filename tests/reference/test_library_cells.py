"""Cells of the library held to the packages of their authors, and to loops over tensors.

The loops are written from the papers that the cells name, and know nothing of the specs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.signal import cont2discrete

from rollc.driver.build import build_source
from rollc.network.network import Network
from tests.reference.systems.complex_step import interpreted
from tests.reference.torch_loops import held_to_torch, torch

T, B = 5, 2
Tensors = dict[str, Any]
# From the parameters of the use, by their names in the cell, and the inputs [T, B, …]: each result,
# as a list of its steps.
Steps = Callable[..., tuple[list[Any], ...]]


def zeros(*shape: int) -> Any:
    return torch.zeros(B, *shape, dtype=torch.float64)


def of_module(module: Any, tensors: Tensors, *given: Any) -> Any:
    return torch.func.functional_call(module, tensors, given)


def cfc(p: Tensors, xs: Any, spans: Any) -> tuple[list[Any], ...]:
    package = pytest.importorskip("ncps.torch")
    cell = package.CfCCell(2, 3, backbone_units=4).double()
    names = {"time_a": "Aa", "time_b": "Bb", "ff1": "Ff", "ff2": "Gg"}
    own = {}
    for name, (matrix, bias) in names.items():
        own |= {f"{name}.weight": p[matrix], f"{name}.bias": p[bias]}
    own |= {"backbone.0.weight": p["W"], "backbone.0.bias": p["c"]}
    h, found = zeros(3), []
    for x, span in zip(xs, spans, strict=True):
        h, _ = of_module(cell, own, x, h, span[:, None])
        found.append(h)
    return (found,)


def ltc(p: Tensors, xs: Any, spans: Any) -> tuple[list[Any], ...]:
    pytest.importorskip("ncps")
    from ncps.torch import LTCCell
    from ncps.wirings import FullyConnected

    cell = LTCCell(FullyConnected(3), 2, output_mapping=None).double()
    names = {"cm": "cm", "gleak": "leak", "vleak": "rest", "input_w": "scale", "input_b": "offset"}
    for name, own in {"w": "w", "erev": "E", "mu": "mu", "sigma": "sigma"}.items():
        names |= {name: own, f"sensory_{name}": f"{own}_x"}
    cell._params |= {name: p[own] for name, own in names.items()}
    v, found = zeros(3), []
    for x, span in zip(xs, spans, strict=True):
        _, v = cell(x, v, span[:, None])
        found.append(v)
    return (found,)


def lmu(p: Tensors, xs: Any) -> tuple[list[Any], ...]:
    """The memory by SciPy's bilinear rule, of matrices that are written out."""
    A = np.array([[-1, -1, -1, -1], [3, -3, -3, -3], [-5, 5, -5, -5], [7, -7, 7, -7]]) / 20
    b = np.array([[1], [-3], [5], [-7]]) / 20
    rows, column = cont2discrete((A, b, np.eye(4), np.zeros((4, 1))), 1.0, "bilinear")[:2]
    keep, write = torch.tensor(rows), torch.tensor(column[:, 0])
    h, m, found = zeros(3), zeros(4), ([], [])
    for x in xs:
        u = x @ p["e_x"] + h @ p["e_h"] + m @ p["e_m"]
        m = m @ keep.T + torch.outer(u, write)
        h = torch.tanh(x @ p["W_x"].T + h @ p["W_h"].T + m @ p["W_m"].T)
        found[0].append(h)
        found[1].append(m)
    return found


def conv_lstm(p: Tensors, xs: Any) -> tuple[list[Any], ...]:
    def conv(name: str, image: Any) -> Any:
        kernel = p[name].reshape(8, -1, 3, 3)
        return torch.nn.functional.conv2d(image, kernel, padding=1)

    h, c, found = zeros(2, 3, 4), zeros(2, 3, 4), ([], [])
    for x in xs:
        i, f, g, o = (conv("W", x) + conv("U", h) + p["b"][:, None, None]).chunk(4, 1)
        i, f = torch.sigmoid(i + p["p_i"] * c), torch.sigmoid(f + p["p_f"] * c)
        c = f * c + i * torch.tanh(g)
        h = torch.sigmoid(o + p["p_o"] * c) * torch.tanh(c)
        found[0].append(h)
        found[1].append(c)
    return found


def ntm(p: Tensors, xs: Any) -> tuple[list[Any], ...]:
    """A memory of 4 rows of 2 numbers; the head's shift as a matrix of a circle."""
    core = torch.nn.LSTMCell(4, 3).double()
    gates = {"weight_ih": p["h.W"], "weight_hh": p["h.U"], "bias_ih": p["h.b"]}
    gates["bias_hh"] = zeros(12)[0]

    def head(name: str, h: Any, M: Any, w: Any) -> Any:
        told = h @ p[f"{name}.P"].T + p[f"{name}.b"]
        k, (beta, gate, gamma), turns = told[:, :2], told[:, 2:5].T, told[:, 5:]
        sizes = M.norm(dim=-1) * k.norm(dim=-1, keepdim=True)
        near = (M @ k[:, :, None])[..., 0] / (sizes + 1e-8)
        content = torch.softmax(torch.nn.functional.softplus(beta)[:, None] * near, -1)
        gate = torch.sigmoid(gate)[:, None]
        inside = gate * content + (1 - gate) * w
        s = torch.softmax(turns, -1)
        moved = torch.zeros_like(inside)
        for place in range(4):
            for turn in (-1, 0, 1):
                to = torch.nn.functional.one_hot(torch.tensor((place + turn) % 4), 4)
                moved = moved + (s[:, turn + 1] * inside[:, place])[:, None] * to
        sharp = moved ** (1 + torch.nn.functional.softplus(gamma))[:, None]
        return sharp / sharp.sum(-1, keepdim=True)

    r, M, h, c = zeros(2), zeros(4, 2) + 1e-6, zeros(3), zeros(3)
    first = zeros(4) + torch.tensor([1.0, 0, 0, 0])
    reads, writes, found = first, first, ([], [], [])
    for x in xs:
        h, c = of_module(core, gates, torch.cat([x, r], -1), (h, c))
        reads, writes = head("reads", h, M, reads), head("writes", h, M, writes)
        r = torch.einsum("bn,bnw->bw", reads, M)
        gone = torch.einsum("bn,bw->bnw", writes, torch.sigmoid(h @ p["E"].T + p["e"]))
        M = M * (1 - gone) + torch.einsum("bn,bw->bnw", writes, h @ p["A"].T + p["a"])
        for results, result in zip(found, (h, r, M), strict=True):
            results.append(result)
    return found


def cornn(p: Tensors, xs: Any) -> tuple[list[Any], ...]:
    y, z, found = zeros(3), zeros(3), ([], [])
    for x in xs:
        force = torch.tanh(y @ p["W"].T + z @ p["Wz"].T + x @ p["V"].T + p["b"])
        z = z + 0.5 * (force - 1.5 * y - 0.4 * z)
        y = y + 0.5 * z
        found[0].append(y)
        found[1].append(z)
    return found


def gru_d(p: Tensors, xs: Any, masks: Any, spans: Any, means: Any) -> tuple[list[Any], ...]:
    """Of each element by itself: the last value that was seen, and how long ago that was."""
    h, found = zeros(3), []
    for t, m in enumerate(masks):
        since, last = zeros(2), zeros(2)
        for s in range(t + 1):
            since = spans[s][:, None] + (1 - masks[s - 1] if s else 1) * since
            last = torch.where(masks[s] == 1, xs[s], last) if s < t else last
        kept = torch.exp(-torch.relu(p["fade"] * since + p["bx"]))
        x = torch.where(m == 1, xs[t], kept * last + (1 - kept) * means[t])
        h = torch.exp(-torch.relu(since @ p["Wh"].T + p["bh"])) * h
        wz, wr, wc = (x @ p["W"].T + m @ p["V"].T + p["b"]).chunk(3, -1)
        uz, ur = (h @ p["U"].T).chunk(2, -1)
        z, r = torch.sigmoid(wz + uz), torch.sigmoid(wr + ur)
        h = (1 - z) * h + z * torch.tanh(wc + (r * h) @ p["Uc"].T)
        found.append(h)
    return (found,)


def dnc(p: Tensors, xs: Any) -> tuple[list[Any], ...]:
    """Sequence by sequence: the free rows by sorting, the links and the heads one by one."""
    alone = [_dnc(p, xs[:, place]) for place in range(B)]
    return tuple(
        [torch.stack([found[result][t] for found in alone]) for t in range(len(xs))]
        for result in range(3)
    )


def _dnc(p: Tensors, xs: Any) -> tuple[list[Any], ...]:
    F = torch.nn.functional
    core = torch.nn.LSTMCell(6, 3).double()
    gates = {"weight_ih": p["h.W"], "weight_hh": p["h.U"], "bias_ih": p["h.b"]}
    gates["bias_hh"] = torch.zeros(12, dtype=torch.float64)
    rows, width, heads = 3, 2, 2
    parts = [heads * width, width, width, width, 1, 1, 1, heads, heads, 3 * heads]

    def near(M: Any, k: Any, sharp: Any) -> Any:
        scores = [row @ k / (row.norm() * k.norm() + 1e-6) for row in M]
        return F.softmax(sharp * torch.stack(scores), 0)

    h, c, u, w, order, M, links, reads = (
        torch.zeros(shape, dtype=torch.float64)
        for shape in (3, 3, rows, rows, rows, (rows, width), (rows, rows), (heads, rows))
    )
    found = ([], [], [])
    for x in xs:
        h, c = of_module(
            core, gates, torch.cat([x, (reads @ M).flatten()])[None], (h[None], c[None])
        )
        h, c = h[0], c[0]
        told = (p["P"] @ h + p["b"]).split(parts)
        keys, key, erase, new, beta, at_free, gate, sharp, free, modes = told
        u = u + w - u * w
        for head in range(heads):
            u = u * (1 - torch.sigmoid(free[head]) * reads[head])
        room, full = {}, torch.ones((), dtype=torch.float64)
        for place in sorted(range(rows), key=lambda row: u[row].item()):
            room[place] = (1 - u[place]) * full
            full = full * u[place]
        a = torch.stack([room[place] for place in range(rows)])
        mixed = torch.sigmoid(at_free) * a
        mixed = mixed + (1 - torch.sigmoid(at_free)) * near(M, key, 1 + F.softplus(beta))
        w = torch.sigmoid(gate) * mixed
        M = M - M * torch.outer(w, torch.sigmoid(erase)) + torch.outer(w, new)
        links = torch.stack(
            [
                sum(
                    (
                        F.one_hot(torch.tensor(j), rows)
                        * ((1 - w[i] - w[j]) * links[i, j] + w[i] * order[j])
                    )
                    for j in range(rows)
                    if j != i
                )
                for i in range(rows)
            ]
        )
        order = (1 - w.sum()) * order + w
        looked = []
        for head, k in enumerate(keys.chunk(heads)):
            back, content, on = F.softmax(modes[3 * head : 3 * head + 3], 0)
            content = content * near(M, k, 1 + F.softplus(sharp[head]))
            looked.append(back * links.T @ reads[head] + content + on * links @ reads[head])
        reads = torch.stack(looked)
        for results, result in zip(found, (h, reads @ M, M), strict=True):
            results.append(result)
    return found


class Spike(torch.autograd.Function):
    """A step with the derivative of a fast sigmoid."""

    @staticmethod
    def forward(context: Any, v: Any) -> Any:
        context.save_for_backward(v)
        return (v >= 0).to(v.dtype)

    @staticmethod
    def backward(context: Any, slope: Any) -> Any:
        (v,) = context.saved_tensors
        return slope / (1 + v.abs()) ** 2


def alif(p: Tensors, xs: Any) -> tuple[list[Any], ...]:
    s, v, a, found = zeros(3), zeros(3), zeros(3), ([], [], [])
    threshold = 0.5 + 0.2 * a
    for x in xs:
        v = 0.95 * v + x @ p["W"].T + s @ p["U"].T + p["b"] - threshold * s
        a = 0.99 * a + s
        threshold = 0.5 + 0.2 * a
        s = Spike.apply(v - threshold)
        for results, result in zip(found, (s, v, a), strict=True):
            results.append(result)
    return found


def synaptic(p: Tensors, xs: Any) -> tuple[list[Any], ...]:
    snn = pytest.importorskip("snntorch")
    fade, decay = (torch.tensor(number, dtype=torch.float64) for number in (0.9, 0.8))
    slope = snn.surrogate.fast_sigmoid(slope=25)
    neuron = snn.Synaptic(alpha=fade, beta=decay, threshold=0.5, spike_grad=slope)
    i, v, found = zeros(3), zeros(3), ([], [], [])
    for x in xs:
        s, i, v = neuron(x @ p["W"].T + p["b"], i, v)
        for results, result in zip(found, (s, v, i), strict=True):
            results.append(result)
    return found


def izhikevich(p: Tensors, currents: Any) -> tuple[list[Any], ...]:
    v, u = zeros(2) - 65.0, zeros(2) - 13.0
    s, found = zeros(2), ([], [], [])
    for current in currents:
        fired = s > 0.5
        v, u = torch.where(fired, torch.full_like(v, -65.0), v), u + 8 * s
        v, u = (
            v + 0.5 * (0.04 * v * v + 5 * v + 140 - u + current),
            u + 0.5 * 0.02 * (0.2 * v - u),
        )
        s = Spike.apply(v - 30)
        for results, result in zip(found, (s, v, u), strict=True):
            results.append(result)
    return found


def hodgkin_huxley(p: Tensors, currents: Any) -> tuple[list[Any], ...]:
    """The rates as the paper prints them, of the displacement from rest downwards."""
    V = zeros(2) - 65
    gates = [torch.full_like(V, start) for start in (0.053, 0.596, 0.318)]
    found = ([], [], [], [])
    for current in currents:
        below = -65 - V
        rise = (
            0.1 * (below + 25) / (torch.exp((below + 25) / 10) - 1),
            0.07 * torch.exp(below / 20),
            0.01 * (below + 10) / (torch.exp((below + 10) / 10) - 1),
        )
        fall = (
            4 * torch.exp(below / 18),
            1 / (torch.exp((below + 30) / 10) + 1),
            0.125 * torch.exp(below / 80),
        )
        for number, (up, down) in enumerate(zip(rise, fall, strict=True)):
            rate = up + down
            kept = torch.exp(-0.02 * rate)
            gates[number] = gates[number] * kept + up / rate * (1 - kept)
        m, h, n = gates
        flow = p["sodium"] * m**3 * h * (V - 50) + p["potassium"] * n**4 * (V + 77)
        V = V + 0.02 * (current - flow - p["leak"] * (V + 54.4))
        for results, result in zip(found, (V, m, h, n), strict=True):
            results.append(result)
    return found


@dataclass(frozen=True)
class Case:
    """A use of a cell."""

    loop: Steps
    inputs: str
    results: str
    sizes: str = ""
    times: float = 1.0  # how large the inputs are
    steps: int = T
    masks: tuple[str, ...] = ()  # inputs that are 0 or 1

    def text(self, name: str) -> str:
        given = ", ".join(one.partition(":")[0] for one in self.inputs.split("; "))
        results = self.results.split(", ")
        squares = " + ".join(f"sum({result} ** 2)" for result in results)
        lines = [
            "net one",
            f'use "cells/{name}.roll"',
            f"input {self.inputs.replace(';', ',')}",
            f"{self.results} = {name}({given}{self.sizes and '; '}{self.sizes})",
            f"output {self.results}",
            f"loss mean({squares}, over t)",
        ]
        return "\n".join(lines)


CASES = {
    "cfc": Case(cfc, "x: [2]; span", "h", "H=3, units=4"),
    "ltc": Case(ltc, "x: [2]; span", "v", "H=3"),
    "lmu": Case(lmu, "x: [2]", "h, m", "H=3, N=4, window=20"),
    "conv_lstm": Case(conv_lstm, "x: [2, 3, 4]", "h, c", "C=2"),
    "ntm": Case(ntm, "x: [2]", "h, r, M", "H=3, N=4, W=2"),
    "dnc": Case(dnc, "x: [2]", "h, r, M", "H=3, N=3, W=2, R=2"),
    "cornn": Case(cornn, "x: [2]", "y, z", "H=3, dt=0.5, γ=1.5, ε=0.4"),
    "gru_d": Case(gru_d, "x: [2]; m: [2]; span; mean: [2]", "h", "H=3", masks=("m",)),
    "alif": Case(alif, "x: [2]", "s, v, a", "H=3, base=0.5", 3.0, 12),
    "synaptic": Case(synaptic, "x: [2]", "s, v, i", "H=3, threshold=0.5", 3.0, 12),
    "izhikevich": Case(izhikevich, "I: [2]", "s, v, u", times=80.0, steps=20),
    "hodgkin_huxley": Case(hodgkin_huxley, "I: [2]", "V, m, h, n", times=20.0, steps=20),
}


@pytest.mark.parametrize("name", CASES)
def test_a_cell(name: str) -> None:
    hold(name, interpreted(CASES[name].text(name)))


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "name", sorted(CASES.keys() - {"ltc", "ntm", "dnc"})
)  # theirs take a minute
def test_a_compiled_cell(name: str) -> None:
    hold(name, build_source(CASES[name].text(name), dtype="float64")[0])


def hold(name: str, network: Network) -> None:
    case = CASES[name]
    labels = case.results.split(", ")

    def loop(leaves: Tensors) -> tuple[Tensors, Any]:
        own = {key.partition(".")[2]: leaf for key, leaf in leaves.items() if "." in key}
        given = [one.partition(":")[0] for one in case.inputs.split("; ")]
        found = case.loop(own, *map(leaves.__getitem__, given))
        outputs = {label: torch.stack(steps) for label, steps in zip(labels, found, strict=True)}
        return outputs, sum((steps**2).flatten(2).sum(2).mean() for steps in outputs.values())

    random = np.random.default_rng(4)
    given = {
        key: case.times * random.uniform(0.2, 1.5, (case.steps, B, *spec.shape))
        for key, spec in network.inputs.items()
    }
    for mask in case.masks:
        given[mask] = random.integers(0, 2, given[mask].shape).astype(float)
    if name in ("ltc", "hodgkin_huxley"):  # what stands for conductances is positive
        given |= network.init(1)
    params, inputs = held_to_torch(network, loop, steps=case.steps, **given)
    if "s" in labels:
        spikes = network.forward(params, inputs)["s"]
        assert 0 < spikes.mean() < 1
