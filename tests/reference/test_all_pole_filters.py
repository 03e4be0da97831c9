"""All-pole filters whose coefficients change with every sample, held to torchlpc.

Yu and Fazekas, Differentiable all-pole filters for time-varying audio systems (2024).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollc.driver.build import build_source
from rollc.network.network import Network
from rollc.network.pairs.network import with_complex_arrays
from rollc.support.resources import specs
from tests.helpers.agreement import agree

torch = pytest.importorskip("torch")
torchlpc = pytest.importorskip("torchlpc")

T, B, ORDER = 9, 2, 4

FILTER = """net filter
input x: {one}, a: {many}[4]
static input before: {many}[4]  # y at -4, -3, -2 and -1
y = x - sum(a * [y[t-1], y[t-2], y[t-3], y[t-4]])
init y = before
output y
"""


@pytest.fixture(autouse=True)
def as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loop over the samples as it is written: to compile it takes seconds."""
    monkeypatch.setattr(torchlpc.core, "lpc_np", torchlpc.core.lpc_np.py_func)


def network_of(text: str) -> Network:
    return with_complex_arrays(build_source(text, dtype="float64", backend="reference")[0])


def drawn(random: np.random.Generator, shape: tuple[int, ...], kind: str) -> Any:
    real = random.normal(size=shape)
    return real + 1j * random.normal(size=shape) if kind == "complex" else real


def held(network: Network, inputs: dict[str, Any], kind: str, gain: float | None = None) -> None:
    """Values and all gradients, for a cotangent at every sample."""
    params = {} if gain is None else {"gain": np.array(gain)}
    outputs, pull = network.vjp(params, inputs)
    leaves = {name: torch.tensor(a, requires_grad=True) for name, a in (params | inputs).items()}
    x = leaves["x"] if gain is None else leaves["gain"] * leaves["x"]
    before = leaves["before"].flip(-1) if "before" in leaves else None
    expected = torchlpc.sample_wise_lpc(x.T, leaves["a"].transpose(0, 1), before).T
    agree("values", outputs["y"], expected.detach().numpy(), "y")
    cotangent = drawn(np.random.default_rng(1), (T, B), kind)
    expected.backward(torch.tensor(cotangent))
    slopes = pull({"y": cotangent})
    assert slopes.keys() == leaves.keys()
    for name, slope in slopes.items():
        agree("gradients", slope, leaves[name].grad.resolve_conj().numpy(), name)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_from_initial_values(kind: str) -> None:
    """In the signal, the coefficients and the initial values."""
    random = np.random.default_rng(0)
    one, many = ("complex", "complex") if kind == "complex" else ("number", "")
    shapes = {"x": (T, B), "a": (T, B, ORDER), "before": (B, ORDER)}
    inputs = {name: drawn(random, shape, kind) for name, shape in shapes.items()}
    held(network_of(FILTER.format(one=one, many=many)), inputs, kind)


def test_the_spec_that_comes_with_rollc() -> None:
    random = np.random.default_rng(0)
    inputs = {"x": random.normal(size=(T, B)), "a": random.normal(size=(T, B, ORDER))}
    text = Path(specs()["delays/all_pole"]).read_text(encoding="utf-8")
    held(network_of(text), inputs, "real", gain=0.7)
