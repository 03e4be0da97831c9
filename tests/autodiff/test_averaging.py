"""Gradients by mean: what counts as a value of parameters alone."""

from __future__ import annotations

import numpy as np
import pytest

from rollc.autodiff.averaging import weight_nodes
from rollc.driver.sources import read_spec
from tests.helpers.compiled_networks import network_of


@pytest.mark.parametrize(
    ("value", "alone"),
    [
        ("W * range(3)", True),
        ("eye(3) @ W", True),
        ("[W[0], 2] * ones(2)", True),
        ("W * full(sum(W), 3)", True),
        ("W * z", False),
        ("W * sum(u, over t)", False),
        ("W * sum(W + 0 * u, over t)", False),
    ],
)
def test_constants_with_a_shape_are_no_data(value: str, alone: bool) -> None:
    lines = f"param W: [3]\nstatic input z: [3]\ninput u\nv = {value}\no = v * u"
    graph, _ = read_spec(f"net n\n{lines}\noutput o", "n.roll")
    assert ("v" in weight_nodes(graph)) == alone


@pytest.mark.parametrize("lengths", [None, {"s": [2, 3], "t": [4, 2]}], ids=["whole", "ragged"])
@pytest.mark.parametrize(
    ("step", "delays"),
    [("t-1", "s-1, t-1"), ("t-1", "s-2, t-1"), ("t+1", "s-1, t+1"), ("t+1", "s+1, t+1")],
)
def test_an_initial_value_is_one_copy_along_the_other_axis_too(
    step: str, delays: str, lengths: dict[str, list[int]] | None
) -> None:
    spec = f"""net n
    time s, t
    input x[t], u[s]
    param p, q
    h = 0.4 * h[{step}] + 0.3 * h[{delays}] + q * x * u
    init h over t = p
    output h
    loss mean(sum(h, over s), over t)
    """
    random = np.random.default_rng(0)
    inputs = {"x": random.normal(size=(4, 2)), "u": random.normal(size=(3, 2))}
    params = {"p": np.array(0.3), "q": np.array(0.2)}
    found = {}
    for combine in ("sum", "mean"):
        net = network_of(spec, "float64", backend="reference", combine=combine)
        _, found[combine] = net.value_and_grad(params, inputs, lengths=lengths)
    assert found["mean"]["p"] == pytest.approx(found["sum"]["p"])
    assert found["mean"]["q"] == pytest.approx(found["sum"]["q"] / 4)  # it meets x, along t


@pytest.mark.parametrize("of", ["loss", "outputs"])
@pytest.mark.parametrize(
    ("value", "copies"),
    [
        ("sin(x) + W @ concat(z, o[t-1])", 4),  # the part that meets z could be computed once
        ("x * where(2 <= 0.25, z, W[0, :2])", 1),  # W alone, but at each sequence as z is
        ("x * (sum(W[0]) + 0 * x)", 4),
        ("x * sum(W[:, :2] @ z)", 1),
    ],
)
def test_what_counts_are_the_reads_as_they_are_written(value: str, copies: int, of: str) -> None:
    """Whatever is simplified then."""
    spec = (
        f"net n\nstatic input z: [2]\ninput x: [2]\nparam W: [2, 4]\no: [2] = {value}\noutput o\n"
    )
    random = np.random.default_rng(0)
    inputs = {"x": random.normal(size=(4, 3, 2)), "z": random.normal(size=(3, 2))}
    params = {"W": random.normal(size=(2, 4))}
    found = {}
    for combine in ("sum", "mean"):
        net = network_of(
            f"{spec}loss mean(sum(o), over t)\n", "float64", backend="reference", combine=combine
        )
        if of == "loss":
            _, found[combine] = net.value_and_grad(params, inputs)
        else:
            outputs, pull = net.vjp(params, inputs)
            found[combine] = pull({"o": np.ones_like(outputs["o"])})
    np.testing.assert_allclose(found["mean"]["W"], found["sum"]["W"] / copies, rtol=1e-12)
