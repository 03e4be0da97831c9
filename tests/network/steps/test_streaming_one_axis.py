"""A network with one time axis step by step, where something is computed from all steps."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.tools.verify import verify
from rollc.tools.verify.kernels import interpreted

Array = NDArray[Any]

T, B = 6, 2
FRAME = """
net n
input x: [3]
h = tanh(0.5 * h[t-1] - h[t-3] + x)
{}
"""


def network(equations: str) -> Network:
    return interpreted(read_spec(FRAME.format(equations), "test.roll")[0])


def x() -> Array:
    return np.random.default_rng(0).normal(size=(T, B, 3))


@pytest.mark.parametrize(
    ("equations", "reason"),
    [
        ("m = mean(h, over t)\noutput h, m", "`m` is computed from all steps of t"),
        ("m = max(h[t-1], over t)\noutput m", "`m` is computed from all steps of t"),
        ("m = first(h)\noutput h, m", "`m` is computed from all steps of t"),
        ("a = softmax(h, over t)\noutput a", "`a` is computed from all steps of t"),
        ("a = h - sum(h, over t)\noutput a", "`a'1` is computed from all steps of t"),
        ("a = h - last(h)\noutput a", "`a` needs the last step of t at every step of t"),
        (  # the first one of the spec
            "a = h - last(h)\nb = a * a\nc = b * b\nd = c * c\ne = d * d\noutput e",
            "`a` needs the last step of t at every step of t",
        ),
        # The outputs do not read it, but the state that is handed on does.
        (
            "a = h - mean(h, over t)\nb = b[t-1] + a\noutput h\nloss mean(sum(b), over t)",
            "`a'1` is computed from all steps of t",
        ),
        (
            "b = b[t-1] + m\ninit b = m\nm = min(h, over t)\noutput b",
            "`m` is computed from all steps of t",
        ),
    ],
)
def test_a_step_alone_does_not_pass_for_all(equations: str, reason: str) -> None:
    net = network(equations)
    state = net.initial_state({}, {"x": x()})
    message = f"`n` cannot run step by step: {re.escape(reason)}; give it whole sequences$"
    with pytest.raises(InputError, match=message):
        net.step({}, state, {"x": x()[0]})
    with pytest.raises(InputError, match=message):
        net.axis_of_steps()


def test_what_is_computed_from_all_steps_is_that_of_a_window() -> None:
    equations = "m = mean(h, over t)\na = softmax(h, over t)\nloss mean(sum(h * h), over t)"
    net, plain = network(f"{equations}\noutput h, m, a"), network(f"{equations}\noutput h")
    h = plain.forward({}, {"x": x()})["h"]
    state = net.initial_state({}, {"x": x()})
    for window in (slice(0, 1), slice(1, 4), slice(4, T)):
        own = {"x": x()[window]}
        loss, _, _ = net.value_and_grad({}, own, state=state)
        assert loss == pytest.approx((h[window] ** 2).sum(axis=-1).mean())
        outputs, pullback = net.vjp({}, own, state=state)
        share = np.exp(h[window]) / np.exp(h[window]).sum(axis=0)
        np.testing.assert_allclose(outputs["h"], h[window])
        np.testing.assert_allclose(outputs["m"], h[window].mean(axis=0))
        np.testing.assert_allclose(outputs["a"], share)
        by_mean = pullback({"m": np.ones((B, 3))})
        each = plain.vjp({}, own, state=state)[1]({"h": np.full_like(h[window], 1 / len(share))})
        np.testing.assert_allclose(by_mean["x"], each["x"])
        state = {name: outputs[f"state.{name}"] for name in state}


def test_the_last_step_is_the_one_that_there_is() -> None:
    net = network("e = 2 * last(h[t-1])\noutput e\nloss mean(sum(softmax(h, over t)), over t)")
    state = net.initial_state({}, {"x": x()})
    for step in range(T):
        outputs, state = net.step({}, state, {"x": x()[step]})
        prefix = net.forward({}, {"x": x()[: step + 1]})
        np.testing.assert_allclose(outputs["e"], prefix["e"], atol=1e-15)


@pytest.mark.parametrize("initial", ["mean(x, over t)", "last(x)", "first(x)", "last(c)"])
def test_a_state_that_begins_with_something_of_all_steps(initial: str) -> None:
    text = f"c = 0.5 * c[t-1] + x\ninit h = {initial}\noutput h\nloss mean(sum(h), over t)"
    net = network(text)
    whole = net.forward({}, {"x": x()})["h"]
    state = net.initial_state({}, {"x": x()})
    np.testing.assert_allclose(net.forward({}, {"x": x()}, state=state)["h"], whole)
    for step in range(T):
        outputs, state = net.step({}, state, {"x": x()[step]})
        np.testing.assert_allclose(outputs["h"], whole[step])
    with pytest.raises(InputError, match=re.escape("missing input `x`: expected float [T, B, 3]")):
        net.initial_state({})


def test_a_beginning_without_inputs_is_told_its_steps() -> None:
    text = "net n\nc = c[t-1] + 1\nh = h[t-1] + c\ninit h = mean(c, over t)\noutput h\n"
    net = interpreted(read_spec(text, "test.roll")[0])
    np.testing.assert_array_equal(net.initial_state({}, steps=5)["h"], [3])
    with pytest.raises(InputError, match="give `steps`"):
        net.initial_state({})


def test_verify_holds_steps_to_all_steps() -> None:
    text = FRAME.format(
        "e = last(h)\ninit h = mean(x, over t)\noutput h, e\nloss mean(sum(h), over t)"
    )
    rows = verify(text, dtypes=())
    assert [row for row in rows if not row.passed] == []
    assert "step by step, plain Python" in [row.what for row in rows]


def test_a_state_that_only_the_loss_reads_needs_its_targets() -> None:
    equations = "target y: [3]\ne = 0.5 * e[t-1] + sum((h - y) ** 2)\noutput h\nloss last(e)"
    net = network(equations)
    params, y = net.init(), np.ones((T, B, 3))
    state = net.initial_state(params, {"x": x()})
    net.forward(params, {"x": x()})  # without a state nothing reads it
    missing = "missing target `y`"
    with pytest.raises(InputError, match=missing):
        net.step(params, state, {"x": x()[0]})
    with pytest.raises(InputError, match=missing):
        net.forward(params, {"x": x()}, state)
    with pytest.raises(InputError, match=missing):
        net.prepare(params).stream(batch=B)({"x": x()[0]})
    stream = net.prepare(params).stream(batch=B)
    stream({"x": x()[0], "y": y[0]})
    with pytest.raises(InputError, match="expected arrays by name"):
        stream(x()[1])  # of two inputs none is meant
    whole = net.forward(params, {"x": x(), "y": y}, state)
    for now, target in zip(x(), y, strict=True):
        _, state = net.step(params, state, {"x": now, "y": target})
    for name, row in state.items():
        np.testing.assert_allclose(row, whole[f"state.{name}"], rtol=1e-12)
    assert all(row.passed for row in verify(FRAME.format(equations), dtypes=()))
