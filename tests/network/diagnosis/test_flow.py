"""Norms of values and gradients, held to NumPy by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.network.network import Network

TEXT = """
net two
dim H = 3
input x: [H]
target y
param W: [H, H], v: [H]
h = tanh(W @ h[t-1] + x)
o = dot(v, h)
k = x[0] > 0
output o, h
loss mean((o - y) ** 2, over t)
"""
STEPS, BATCH, H = 6, 2, 3
RANDOM = np.random.default_rng(0)
PARAMS = {"W": RANDOM.normal(size=(H, H)), "v": RANDOM.normal(size=H)}
INPUTS = {"x": RANDOM.normal(size=(STEPS, BATCH, H)), "y": RANDOM.normal(size=(STEPS, BATCH))}


def network() -> Network:
    def no_kernel(entry: str) -> Any:
        raise AssertionError(entry)

    return Network(read_spec(TEXT, "two")[0], no_kernel, "float64")


def by_hand(lengths: list[int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The values and the slopes of h and o, 0 where a sequence has no step."""
    h, o = np.zeros((STEPS, BATCH, H)), np.zeros((STEPS, BATCH))
    dh, do = np.zeros_like(h), np.zeros_like(o)
    for b, length in enumerate(lengths):
        for t in range(length):
            before = h[t - 1, b] if t else np.zeros(H)
            h[t, b] = np.tanh(PARAMS["W"] @ before + INPUTS["x"][t, b])
            o[t, b] = PARAMS["v"] @ h[t, b]
        for t in reversed(range(length)):
            do[t, b] = 2 * (o[t, b] - INPUTS["y"][t, b]) / length / BATCH
            dh[t, b] = do[t, b] * PARAMS["v"]
            if t + 1 < length:
                dh[t, b] += PARAMS["W"].T @ (dh[t + 1, b] * (1 - h[t + 1, b] ** 2))
    return {"h": (h, dh), "o": (o[..., None], do[..., None])}


@pytest.mark.parametrize("lengths", [None, [6, 3]])
def test_norms_are_those_by_hand(lengths: list[int] | None) -> None:
    found = {flow.name: flow for flow in network().trace(PARAMS, INPUTS, lengths=lengths)}
    assert [*found] == ["x", "h", "o"]  # no yes or no, no target, nothing without time
    assert [flow.delayed for flow in found.values()] == [False, True, False]
    alive = np.sum(np.arange(STEPS)[:, None] < np.array(lengths or [STEPS] * BATCH), axis=1)
    for name, arrays in by_hand(lengths or [STEPS] * BATCH).items():
        for norms, array in zip((found[name].value, found[name].adjoint), arrays, strict=True):
            assert norms is not None
            expected = np.sqrt((array**2).sum(axis=(1, 2)) / alive)
            np.testing.assert_allclose(norms, expected, rtol=1e-12)


def test_without_the_target_there_are_no_slopes() -> None:
    found = network().trace(PARAMS, {"x": INPUTS["x"]}, names=["h"])
    assert [(flow.name, flow.line, flow.adjoint) for flow in found] == [("h", 7, None)]


def test_a_value_of_the_future_has_its_slopes_too() -> None:
    text = TEXT.replace("h[t-1]", "h[t+1]")
    backwards = Network(read_spec(text, "two")[0], lambda entry: None, "float64")  # type: ignore
    turned = {name: array[::-1] for name, array in INPUTS.items()}
    (flow,) = backwards.trace(PARAMS, turned, names=["h"])
    (expected,) = network().trace(PARAMS, INPUTS, names=["h"])
    np.testing.assert_allclose(flow.adjoint[::-1], expected.adjoint, rtol=1e-12)


def test_what_cannot_be_traced_is_said() -> None:
    with pytest.raises(InputError, match="the name `hh`; did you mean `h`"):
        network().trace(PARAMS, INPUTS, names=["hh"])
    empty = {name: array[:0] for name, array in INPUTS.items()}
    with pytest.raises(InputError, match="there are no steps"):
        network().trace(PARAMS, empty)
