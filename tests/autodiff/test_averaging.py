"""Gradients by mean: what counts as a value of parameters alone."""

from __future__ import annotations

import pytest

from rollc.autodiff.averaging import weight_nodes
from rollc.driver.sources import read_spec


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
