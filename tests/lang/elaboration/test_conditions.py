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
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.source import Source
from rollc.lang.diagnostics.spec_error import SpecError
from rollc.lang.syntax.formatter import format_spec
from rollc.lang.syntax.parser import parse_spec
from rollc.transforms.covering import step_leaves
from rollc.transforms.unroll import unroll

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


STATES = """
net n
input x: [2, 3], r
c: condition = not c[t-1]
d: condition[3] = not d[t-2] or x[0] > 0.5
k: index(2)[3] = where(d, argmax(x, axis=0), k[t-1])
init k = first(argmax(-x, axis=0))
j: index(2)[3] = where(r > 0, argmax(x, axis=0), j[t-1])
reset c when r > 0
reset d when r > 0
h = 0.5 * h[t-1] + where(k == 1, x[1], 0) + where(c, 1, 0) + where(d, 2, 0)
output h, c, d, k, j
loss mean(sum(h * h), over t)
"""


def states(x: Array, r: Array) -> tuple[Array, ...]:
    """The same by a loop, of one sequence."""
    steps, nothing = len(x), np.zeros(3)
    c, d = np.zeros(steps + 2, bool), np.zeros((steps + 2, 3), bool)
    k, j, h = (np.zeros((steps + 1, 3), kind) for kind in (int, int, float))
    k[-1] = np.argmax(-x[0], axis=0)
    for t in range(steps):
        c[t] = not (c[t - 1] and t > 0 and r[t] <= 0)
        anew = t < 2 or r[t] > 0 or r[t - 1] > 0
        d[t] = ~(nothing > 0 if anew else d[t - 2]) | (x[t, 0] > 0.5)
        k[t] = np.where(d[t], np.argmax(x[t], axis=0), k[t - 1])
        j[t] = np.argmax(x[t], axis=0) if r[t] > 0 else j[t - 1] * (t > 0)
        h[t] = 0.5 * h[t - 1] * (t > 0) + np.where(k[t] == 1, x[t, 1], 0) + c[t] + 2 * d[t]
    return h[:-1], c[:-2], d[:-2], k[:-1], j[:-1]


def test_conditions_and_indices_of_a_shape_are_states() -> None:
    """Interpreted and unrolled; their text is read again."""
    random = np.random.default_rng(0)
    x, r = random.normal(size=(7, 1, 2, 3)), random.normal(size=(7, 1))
    expected = states(x[:, 0], r[:, 0])
    graph, _ = read_spec(STATES, "n")
    found = interpret(graph, {"x": x, "r": r}, {"t": 7, "batch": 1})
    for name, array in zip(("h", "c", "d", "k", "j"), expected, strict=True):
        np.testing.assert_allclose(found[name][:, 0], array, rtol=1e-15, err_msg=name)
    dag = unroll(graph, 7)
    assert not verify(dag)
    unrolled = interpret(dag, step_leaves(dag, {"x": x, "r": r}), {"batch": 1})
    for label, name in dag.outputs:
        of, _, step = label.partition(".")
        np.testing.assert_allclose(unrolled[name], found[of][int(step)], rtol=1e-15)
    spec, problems = parse_spec(Source("n", STATES))
    assert spec is not None and not problems
    assert parse_spec(Source("n", format_spec(spec)))[0] == spec


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c: condition = r + 1", "`c` is declared as a condition, and is a number"),
        ("c: condition = r + 1", "a number becomes a condition by a comparison: `(r + 1) != 0`"),
        ("c: condition[2] = x > 0", "is declared as a condition [2], and is a condition [3]"),
        ("k: index(3)[2] = argmax(x)", "is declared as an index of 3 [2], and is an index of 3"),
        ("input c: condition", "a condition is computed, and not given"),
        ("target c: condition[2]", "a condition is computed, and not given"),
        ("param c: condition", "a condition is computed, and not given"),
        ("input c: index(3)[2]", "an index that is given has no shape"),
    ],
)
def test_what_is_declared_is_what_is_there(line: str, said: str) -> None:
    with pytest.raises(SpecError) as found:
        read_spec(f"net n\ninput x: [3], r\n{line}\noutput r\n", "n")
    assert said in str(found.value)


def test_of_no_steps_an_index_of_a_shape_is_zero() -> None:
    text = STATES.replace("output h", "l = last(j)\noutput l, h").replace(
        "init k", "init c = 0 > 1 #"
    )
    network, _ = build_source(text, "n", backend="reference")
    found = network.forward({}, {"x": np.zeros((0, 2, 2, 3)), "r": np.zeros((0, 2))})
    np.testing.assert_array_equal(found["l"], np.zeros((2, 3)))
