"""Initial values of numbers, indices and conditions: what they are broadcast and cut to fits."""

from __future__ import annotations

import numpy as np
import pytest

from rollc.driver.sources import read_spec
from rollc.ir.interpreter import interpret
from rollc.ir.verifier import verify
from rollc.transforms.canonicalize import canonicalize

KINDS = {
    "number": "k: {shape} = x * k[t-{delay}]",
    "condition": "k: condition{shape} = x > 0 and k[t-{delay}]",
    "index": "k: index(5){shape} = where(x > 0, k[t-{delay}], k[t-{delay}])",
}


@pytest.mark.parametrize("reset", ["", "reset k when x[0, 0] > 0.5\n"], ids=["", "reset"])
@pytest.mark.parametrize(
    ("kind", "start"),
    [
        *[("number", start) for start in ("j", "one", "rows")],
        *[("condition", f"{start} > 0.1") for start in ("j", "one", "rows")],
        ("index", "i"),
    ],
)
def test_nodes_have_the_types_of_their_operations(kind: str, start: str, reset: str) -> None:
    delay = 2 if "rows" in start else 1
    spec = (
        "net n\ninput x: [3, 2]\nstatic input j: [3, 2], one, rows: [2, 3, 2], i: index(5)\n"
        f"{KINDS[kind].format(shape='[3, 2]', delay=delay)}\n{reset}init k = {start}\n"
        f"o = where({'k' if kind == 'condition' else 'k == 1'}, x, 1)\noutput o\n"
    )
    graph, _ = read_spec(spec, "n.roll")
    assert verify(graph) == []
    assert verify(canonicalize(graph)) == []


def test_a_condition_starts_everywhere_as_it_is_said() -> None:
    """And again where it is reset."""
    spec = (
        "net n\ninput x: [2]\nparam p\nk: condition[2] = x > 0 and k[t-1]\n"
        "reset k when x[0] > 0.5\ninit k = p > 0\noutput k\n"
    )
    graph = canonicalize(read_spec(spec, "n.roll")[0])
    x = np.array([[0.1, 0.1], [-1, 0.2], [0.3, -1], [0.9, 0.9], [0.1, -1]])[:, None]
    sizes = {"t": 5, "batch": 1}
    for p, expected in ((1.0, [[1, 1], [0, 1], [0, 0], [1, 1], [1, 0]]), (-1.0, [[0, 0]] * 5)):
        found = interpret(graph, {"x": x, "p": np.array(p)}, sizes)[dict(graph.outputs)["k"]]
        np.testing.assert_array_equal(found[:, 0], expected)
