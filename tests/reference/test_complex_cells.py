"""The cells with complex states against loops over the steps, in PyTorch's complex numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rollc.network.network import Network
from rollc.network.pairs.network import with_complex_arrays
from tests.helpers.agreement import agree
from tests.helpers.compiled_networks import network_of

torch = pytest.importorskip("torch")

T, B, D, H = 6, 2, 3, 4


def lru(p: Any, xs: Any) -> list[Any]:
    h, found = torch.zeros(B, H, dtype=torch.complex128), []
    pole = torch.exp(-torch.exp(p["y.ν"]) + 1j * torch.exp(p["y.θ"]))
    for x in xs:
        h = pole * h + (1 - pole.abs() ** 2).sqrt() * (x.to(h.dtype) @ p["y.B"].T)
        found.append((h @ p["y.C"].T).real + p["y.D"] * x)
    return found


def s4d(p: Any, xs: Any) -> list[Any]:
    """By its kernel, a sum over all earlier steps, as the paper computes it."""
    a = -torch.exp(p["y.rate"]) + 1j * p["y.pitch"]
    step = torch.exp(p["y.pace"])[:, None] * a
    held = p["y.C"] * (torch.exp(step) - 1) / a
    kernel = [2 * (held * torch.exp(step * lag)).sum(-1).real for lag in range(T)]
    found = []
    for t in range(T):
        found.append(sum(kernel[t - s] * xs[s] for s in range(t + 1)) + p["y.D"] * xs[t])
    return found


def s5(p: Any, xs: Any) -> list[Any]:
    """By the exponential of a matrix, which has the step of what is held over it beside it."""
    h, found = torch.zeros(B, H, dtype=torch.complex128), []
    rates = torch.diag(-torch.exp(p["y.decay"]) + 1j * p["y.pitch"])
    pace = torch.exp(p["y.pace"])[:, None]
    both = torch.cat([torch.cat([pace * rates, pace * p["y.B"]], 1), torch.zeros(D, H + D)])
    step = torch.linalg.matrix_exp(both)[:H]
    for x in xs:
        h = torch.cat([h, x.to(h.dtype)], 1) @ step.T
        found.append(2 * (h @ p["y.C"].T).real + p["y.direct"] * x)
    return found


def unitary(p: Any, xs: Any) -> list[Any]:
    def reflected(z: Any, v: Any) -> Any:
        mirror = torch.eye(H) - 2 * torch.outer(v, v.conj()) / (v.abs() ** 2).sum()
        return z @ mirror.T

    h, found = torch.zeros(B, H, dtype=torch.complex128), []
    for x in xs:
        z = torch.fft.fft(torch.exp(1j * p["y.first"]) * h, norm="ortho")
        z = torch.exp(1j * p["y.second"]) * reflected(z, p["y.v"]).roll(1, -1)
        z = reflected(torch.fft.ifft(z, norm="ortho"), p["y.w"])
        z = torch.exp(1j * p["y.third"]) * z + x.to(h.dtype) @ p["y.V"].T
        h = (z.abs() + p["y.b"]).relu() * z / z.abs()
        found.append(h)
    return found


CELLS = {
    "lru": (lru, f"H={H}"),
    "s4d": (s4d, "N=4"),
    "s5": (s5, f"P={H}"),
    "unitary": (unitary, f"H={H}"),
}


@pytest.fixture(scope="module", params=list(CELLS))
def cell(request: pytest.FixtureRequest) -> tuple[str, Network]:
    name = request.param
    text = f'net one\nuse "cells/{name}.roll"\ninput x: [{D}]\ny = {name}(x; {CELLS[name][1]})\n'
    network = network_of(f"{text}output y\n", "float64", backend="reference")
    return name, with_complex_arrays(network)


def test_values_and_gradients(cell: tuple[str, Network]) -> None:
    name, network = cell
    random = np.random.default_rng(1)
    params = {
        leaf: array + random.normal(scale=0.1, size=array.shape)
        for leaf, array in network.init(2).items()
    }
    inputs = {"x": random.normal(size=(T, B, D))}
    outputs, pull = network.vjp(params, inputs)
    leaves = {leaf: torch.tensor(a, requires_grad=True) for leaf, a in (params | inputs).items()}
    expected = torch.stack(CELLS[name][0](leaves, leaves["x"]))
    agree("values", outputs["y"], expected.detach().numpy(), "y")
    cotangent = random.normal(size=outputs["y"].shape)
    if expected.is_complex():
        cotangent = cotangent + 1j * random.normal(size=cotangent.shape)
    expected.backward(torch.tensor(cotangent))
    for leaf, slope in pull({"y": cotangent}).items():
        found = leaves[leaf].grad.resolve_conj().numpy()
        agree("gradients", slope, found, leaf)


def test_they_start_as_their_papers_say(cell: tuple[str, Network]) -> None:
    name, network = cell
    params = network.init(0)
    if name == "lru":
        radius = np.exp(-np.exp(params["y.ν"]))
        assert (radius >= 0.5).all()
        assert (radius <= 0.99).all()
        assert (np.exp(params["y.θ"]) < 2 * math.pi).all()
    elif name == "s5":
        np.testing.assert_allclose(-np.exp(params["y.decay"]), -0.5)
        np.testing.assert_allclose(params["y.pitch"], math.pi * np.arange(H))
        assert (np.abs(params["y.pace"] - np.log(0.01)) <= np.log(10)).all()
    elif name == "s4d":
        np.testing.assert_allclose(-np.exp(params["y.rate"]), -0.5)
        np.testing.assert_allclose(params["y.pitch"], [math.pi * np.arange(4)] * D)
        assert (np.abs(params["y.pace"] - np.log(0.01)) <= np.log(10)).all()
    else:  # without an input the state keeps its length
        state = {"y.h": (np.arange(H) + 1j).reshape(1, 1, H)}
        _, after = network.step(params, state, {"x": np.zeros((1, D))})
        length = np.linalg.norm(after[next(iter(after))])
        assert np.isclose(length, np.linalg.norm(state["y.h"]), rtol=1e-12)
