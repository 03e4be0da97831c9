"""Values that start from themselves, which do not need what they start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rollc
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from tests.reference.systems.complex_step import Leaves, held

AROUND = """
net around
input obs: [2]
param k: number = 0.7
v = k * sin(obs)
w = v * v
back = obs + v[t+1] * w[t+2]
forth = sin(v[t-1]) * k
init v = last(v) + 0.5 * mean(v, over t)
init w = first(v)
output back, forth
loss mean(sum(back * forth), over t)
"""


def test_a_value_starts_from_its_own_last_step(tmp_path: Path) -> None:
    path = tmp_path / "around.roll"
    path.write_text(AROUND, encoding="utf-8")

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        v = p["k"] * np.sin(p["obs"])
        w = v * v
        start = v[-1] + 0.5 * v.mean(axis=0)
        ahead, far = np.vstack([v[1:], [start]]), np.vstack([w[2:], [v[0], v[0]]])
        back = p["obs"] + ahead * far
        forth = np.sin(np.vstack([[start], v[:-1]])) * p["k"]
        return {"back": back, "forth": forth}, (back * forth).sum(axis=1).mean()

    held(rollc.build(path, dtype="float64"), direct, steps=5)


EACH_OTHER = """
net each
input x
v = 2 * x
w = 3 * x
o = v[t+1] + w[t-1]
init v = last(w)
init w = first(v)
output o
"""


def test_two_values_start_from_each_other(tmp_path: Path) -> None:
    path = tmp_path / "each.roll"
    path.write_text(EACH_OTHER, encoding="utf-8")
    x = np.array([1.0, -2.0, 5.0])
    found = rollc.build(path, dtype="float64").forward({}, {"x": x})["o"]
    np.testing.assert_allclose(found, [2 * -2 + 2 * 1, 2 * 5 + 3 * 1, 3 * 5 + 3 * -2])


@pytest.mark.parametrize(
    "lines",
    [
        ["v = x + 0.5 * v[t-1]", "o = v[t+1]", "init v = last(v)"],
        ["v = x + u[t-1]", "u = 2 * v", "o = v[t+1]", "init u = last(v)"],
        ["v = x + w[t-1]", "w = v[t-1]", "o = v", "init v = last(w)", "init w = 1"],
    ],
)
def test_what_needs_its_own_start_is_refused(lines: list[str]) -> None:
    text = "\n".join(["net n", "input x", *lines, "output o"])
    checked = load_graph(Source("n.roll", text))
    assert [item.code for item in checked.diagnostics] == ["R303"]
