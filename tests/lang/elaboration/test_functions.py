"""Functions of several lines, and those that the language defines in itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.sources import read_spec
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.lang.diagnostics.source import Source
from rollc.lang.symbols.library import LIBRARY
from rollc.lang.syntax.formatter import format_spec
from rollc.lang.syntax.parser import parse_spec

Array = NDArray[Any]

GATED = """
fn gated(z, scale) -> y {
    y = scale * tanh(p) * gate
    p, q = split(z, 2)
    gate = sigmoid(q)
}
"""
ONE_LINE = "fn gated(z, scale) = scale * tanh(z[:2]) * sigmoid(z[2:])"
X = np.array([0.5, -2.0, 3.0, 0.25])


def graph(*lines: str) -> Graph:
    return read_spec("\n".join(["net n", "input x: [4]", *lines, "output o"]), "n")[0]


def value(*lines: str) -> Array:
    found = interpret(graph(*lines), {"x": X[None, None]}, {"t": 1, "batch": 1})["o"]
    return found[0, 0]


def test_several_lines_are_what_one_is() -> None:
    use = "o = gated(x, 2) + gated(2 * x, gated(x, 1))"
    np.testing.assert_array_equal(value(GATED, use), value(ONE_LINE, use))


def test_names_of_a_function_are_its_own() -> None:
    own = "gate = 3\nfn around(v) -> y {\n gate = gated(v, 1)\n y = gate + sum(v) \n}"
    expected = value(ONE_LINE, "o = gated(x, 1) + sum(x) + 3")
    np.testing.assert_allclose(value(GATED, own, "o = around(x) + gate"), expected)


def test_a_function_sees_what_an_equation_sees() -> None:
    """The names of the spec; its own arguments and names hide them, whoever calls it."""
    common = "a = 2 * ones(4)\nb = 3 * x\nh[k] = k * x for k in range(2)\nown = 5"
    free = "fn f(v) -> y {\n own = a * v + b\n y = own + h[1] + sum(h) + x\n}"
    cell = "cell c(x; H) -> y {\n b = 7\n y = f(b * x)\n}"
    expected = value(common, "o = a * (7 * x + own) + b + h[1] + sum(h) + x")
    np.testing.assert_allclose(value(common, free, cell, "o = c(x + own / 7; H=2) + 0"), expected)
    own = "fn g(b) = b + f(b)"
    expected = value(common, "o = x + a * x + b + h[1] + sum(h) + x")
    np.testing.assert_allclose(value(common, free, own, "o = g(x)"), expected)


def test_what_it_sees_can_be_differentiated() -> None:
    found = graph("param a: [4]", "fn f(v) = a * v", "o = grad(sum(f(f(x))), a)")
    leaves = {"x": X[None, None], "a": X}
    np.testing.assert_allclose(interpret(found, leaves, {"t": 1, "batch": 1})["o"][0, 0], 2 * X * X)


def test_what_it_calls_once_is_computed_once() -> None:
    found = graph("fn f(v) -> y {\n a = exp(v)\n y = a * a + a\n}", "o = f(x)")
    assert [node.operation for node in found.nodes].count("exp") == 1
    assert found["o"].operation == "add"


def test_it_has_derivatives_of_its_own() -> None:
    text = "fn f(v) -> y {\n y = floor(a)\n a = v * v\n}\n    grad 2 * v\n"
    assert [node.operation for node in graph(text, "o = f(x)").nodes].count("with_slope") == 1


def test_the_text_of_one_is_the_same_again() -> None:
    spec, problems = parse_spec(Source("n", GATED + "    grad z: 1\n    grad scale: 2"))
    assert spec is not None and not problems
    again, _ = parse_spec(Source("n", format_spec(spec)))
    assert again == spec
    assert format_spec(again) == format_spec(spec)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("elu(x, alpha=0.5)", np.where(X > 0, X, 0.5 * np.expm1(X))),
        ("leaky_relu(x, slope=0.5)", np.where(X > 0, X, 0.5 * X)),
        ("huber(x, 0, delta=0.5) + 0 * x", np.full(4, (0.125 + 0.875 + 1.375 + 0.03125) / 4)),
        ("dice(x, x, smooth=0) + 0 * x", np.full(4, 1 - 2 * 13.3125 / 3.5)),
        ("x * hinge(x[0], 1)", 0.5 * X),
        ("norm(x) * ones(4)", np.full(4, np.linalg.norm(X))),
    ],
)
def test_options(text: str, expected: Array) -> None:
    np.testing.assert_allclose(value(f"o = {text}"), expected)


def test_a_definition_of_ones_own_takes_the_place_of_one_in_the_library() -> None:
    own = "fn norm(v) = v / 2"
    np.testing.assert_array_equal(value(own, "o = norm(x)"), X / 2)
    cell = "cell elu(v) -> h {\n h = 2 * v\n}"
    np.testing.assert_array_equal(value(cell, "o = elu(x) + 0"), 2 * X)
    # What the library says is in its own words: not in those of the spec.
    inner = "fn rsqrt(v) = v\nfn norm(v) = 7\nfn any(v) = v"
    np.testing.assert_allclose(value(inner, "o = x + huber(x, x)"), X)


@pytest.mark.parametrize("name", LIBRARY)
def test_a_function_of_the_library_can_be_read(name: str) -> None:
    defined = LIBRARY[name]
    assert defined.function.name.name == name
    assert not defined.function.slopes  # of its own: it has second derivatives
