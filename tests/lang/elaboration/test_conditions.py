"""`and`, `or`, `not`; whether any or all of some conditions hold."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph, print_graph
from rollc.lang.diagnostics.source import Source
from rollc.lang.syntax.formatter import format_spec
from rollc.lang.syntax.parser import parse_spec

Array = NDArray[Any]

HOLDS = np.array(list(product([1.0, -1.0], repeat=3)))  # a step each


def holds(text: str) -> Array:
    """Where a condition of p, q and r holds, at all steps."""
    lines = [f"{name} = x[{place}] > 0" for place, name in enumerate("pqr")]
    graph, _ = read_spec(
        "\n".join(["net n", "input x: [3]", *lines, f"o = {text}", "output o"]), "n"
    )
    assert parse_graph(print_graph(graph)) == graph
    return interpret(graph, {"x": HOLDS[:, None]}, {"t": 8, "batch": 1})["o"].reshape(8)


@pytest.mark.parametrize(
    "text",
    [
        *("p and q", "p or q", "not p", "not not p", "not p and q", "not (p and q)"),
        *("p or q and r", "(p or q) and r", "p and q or r", "not p or not q and not r"),
        *("p == (q or r)", "(not p) == q", "not (p) and (q)"),
    ],
)
def test_they_bind_as_in_python(text: str) -> None:
    code = compile(text, "condition", "eval")
    expected = [eval(code, dict(zip("pqr", row > 0, strict=True))) for row in HOLDS]
    np.testing.assert_array_equal(holds(text), expected)
    spec, problems = parse_spec(Source("n", f"o = {text}"))
    assert spec is not None and not problems
    again, _ = parse_spec(Source("n", format_spec(spec)))
    assert again == spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("any(x > 0)", (HOLDS > 0).any(1)),
        ("all(x > 0)", (HOLDS > 0).all(1)),
        ("count(x > 0)", (HOLDS > 0).sum(1)),
        ("all(x > 0) or not any(x > 0)", np.ptp(HOLDS, axis=1) == 0),
        ("any([x > 0, x < 0], axis=0)[1]", np.ones(8)),
        ("all(not [x[0] > 0, x[1] > 0])", (HOLDS[:, :2] <= 0).all(1)),
        ("where(any(p, over t) and not all(p, over t), x[0], 0)", HOLDS[:, 0]),
        ("x[0] * count(p, over t)", 4 * HOLDS[:, 0]),
    ],
)
def test_of_several(text: str, expected: Array) -> None:
    np.testing.assert_array_equal(holds(text), expected)


def test_the_words_are_names_elsewhere() -> None:
    text = """
        net words
        input and, or, not
        fn both(not, and) = not * and
        cell any(or) -> and {
            and = or - 0 * not
            not = and[t-1]
        }
        o = where(and > 0 and or > 0, not, both(not, or)) + any(and)
        output o
        """
    leaves = {name: np.full((1, 1), 3.0) for name in ("and", "or", "not")}
    found = interpret(read_spec(text, "n")[0], leaves, {"t": 1, "batch": 1})
    assert found["o"].item() == 6


def test_of_no_steps_none_hold_and_all() -> None:
    text = (
        "net n\ninput x\noutput o\n"
        "o = where(any(x > 0, over t), 1, 0) + where(all(x > 0, over t), 2, 0)"
    )
    network, _ = build_source(text, backend="reference")
    found = network.forward({}, {"x": np.ones((2, 3))}, lengths=[2, 1, 0])
    np.testing.assert_array_equal(found["o"], [3, 3, 2])
