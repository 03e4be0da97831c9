"""A few of the mutations that ``python -m tests.commands.fuzz_specs`` makes by the thousand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from tests.commands.fuzz_specs import mutations, try_text
from tests.helpers.growth import assert_linear

HOSTILE = {
    "nothing": "",
    "zeros": "\0" * 1000,
    "open brackets": "(" * 5000,
    "open brackets, a line each": "(\n" * 5000,
    "opened by each line": "a = (\n" * 3000,
    "closing brackets": "net a\n" + ")]}" * 3000,
    "deep": "net a\na = " + "(" * 50_000 + "1" + ")" * 50_000,
    "deep to the right": "net a\na = " + "-" * 90_000 + "1",
    "a long sum": "net a\na = " + "1+" * 50_000 + "1",
    "a long power": "net a\na = " + "1**" * 30_000 + "1",
    "a tower": "net a\ndim D = 9**9**9**9\ninput x: [D]\noutput x",
    "a constant tower": "net a\nconst c = 9.0**9**9**9\noutput c",
    "digits": "net a\nconst c = " + "9" * 100_000 + "\noutput c",
    "a small number": "net a\nconst c = 0." + "0" * 100_000 + "1\noutput c",
    "many digits of a size": "net a\ndim D = " + "9" * 5000 + "\noutput D",
    "a huge split": "net a\ninput x: [4]\na, b = split(x, 1000000000)\noutput a",
    "a huge vector": "net a\ninput x: [2147483648]\nh = x * h[t-1000000]\noutput h",
    "joined again and again": "net a\ninput x: [1000000000]\n"
    + "\n".join(f"x{i} = concat({'x' if not i else f'x{i - 1}'}, x)" for i in range(30))
    + "\noutput x29",
    "many unknown names": "net a\n" + "\n".join(f"a{i} = b{i}" for i in range(3000)),
    "a long chain, backwards": "net a\ninput x: [2]\n"
    + "\n".join(f"a{i} = tanh(a{i + 1})" for i in range(4000))
    + "\na4000 = x\noutput a0",
    "a large cycle": "net a\n"
    + "\n".join(f"a{i} = tanh(a{(i + 1) % 4000})" for i in range(4000))
    + "\noutput a0",
    "all with all": "net a\ninput x\n"
    + "\n".join(f"a{i} = x + " + " + ".join(f"a{j}" for j in range(60)) for i in range(60))
    + "\noutput a0",
    "cells that double": "net a\ninput x\n"
    + "\n".join(f"cell c{i}(x) -> h {{ h = c{i + 1}(c{i + 1}(x)) }}" for i in range(40))
    + "\ncell c40(x) -> h { h = x }\no = c0(x)\noutput o",
    "a few functions that double": "net a\ninput x\n"
    + "\n".join(f"fn f{i}(x) = f{i + 1}(f{i + 1}(x) + x)" for i in range(11))
    + "\nfn f11(x) = x\nh = f0(x)\noutput h",
    "long functions": "net a\ninput x\nfn f(x) = "
    + " * ".join(["(" + "+".join(["x"] * 50) + ")"] * 45)
    + "\n"
    + "\n".join(f"h{i} = f(h{i + 1})" for i in range(1000))
    + "\nh1000 = x\noutput h0",
    "long cells": "net a\ninput x\ncell f(x) -> h { h = "
    + " * ".join(["(" + "+".join(["x"] * 50) + ")"] * 45)
    + " }\n"
    + "\n".join(f"h{i} = f(h{i + 1})" for i in range(250))
    + "\nh250 = x\noutput h0",
    "resets of long delays": "net a\ninput x, r\nh = x + "
    + " + ".join(f"h[t-{i}]" for i in range(1, 60))
    + "\nreset h when r\n"
    + "\n".join(
        f"h{i} = h + " + " + ".join(f"h{i}[t-{j}]" for j in range(1, 64)) + f"\nreset h{i} when r"
        for i in range(40)
    )
    + "\noutput h",
    "many operations": "net a\ninput x\n"
    + "\n".join(f"h{i} = " + "+".join(["x"] * 90) for i in range(400))
    + "\noutput h0",
    "many cells": "net a\ninput x\n"
    + "\n".join(f"h{i} = f(h{i + 1})" for i in range(3000))
    + "\ncell f(x) -> h { h = x[t-1] }\noutput h0",
    "cells sized from the end": "net a\ninput x: [2]\n"
    + "\n".join(f"h{i} = f(h{i + 1})" for i in range(250))
    + "\ncell f(x) -> h {\nparam W: [size(x), size(x)]\nh = W @ x\n}\nh250 = x\noutput h0",
    "axes found from the end": "net a\ntime s, t\ninput x[s], y[t]\n"
    + "\n".join(f"h{i} = f(h{i + 1} + last(h{i + 2}))" for i in range(120))
    + "\ncell f(x) -> h { h = h[t-1] + x + g(1) }\ncell g(x) -> h { h = x + h[t-1] }"
    + "\nh120 = x\nh121 = y\noutput h0",
    "many axes": "net a\ntime "
    + ", ".join(f"a{i}" for i in range(3000))
    + "\n"
    + "\n".join(f"input x{i}[a{i}]" for i in range(3000))
    + "\nh = "
    + " + ".join(f"x{i}[b-1]" for i in range(90))
    + "\noutput h",
    "functions that double": "net a\ninput x\n"
    + "\n".join(f"fn f{i}(x) = f{i + 1}(f{i + 1}(x) + x)" for i in range(60))
    + "\nfn f60(x) = x\no = f0(x)\noutput o",
    "cells that never end": "net a\n" + "cell a(x) -> h {\n" * 3000,
    "uses": 'use "cells/lstm.roll"\n' * 3000 + "net a",
    "uses of nothing": "".join(f'use "cells/{i}.roll"\n' for i in range(3000)) + "net a",
    "many resets": "net a\ninput x\n"
    + "\n".join(f"h{i} = h{i}[t-64] + x\nreset h{i} when x" for i in range(100))
    + "\noutput h0",
    "a long name": "net " + "n" * 100_000,
    "a long line": "net a\ninput x\no = concat(" + "x, " * 20_000 + "y)\noutput o",
    "surrogates": "net a\ninput \ud800x\noutput x",
    "marks": "net a\n# \u202e\u0301\ninput x\u0301\noutput x",
    "too long": "# " + "n" * 300_000,
}


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))]
)
def test_mutated_specs_get_diagnostics_or_a_graph(seed: int) -> None:
    outcomes = [try_text(text) for text in mutations(100, seed)]
    assert set(outcomes) == {"diagnostics", "graph"}


@pytest.mark.long
@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts(name: str) -> None:
    try_text(HOSTILE[name])


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a few functions that double", "functions are called 2000 times at most"),
        ("long functions", "a graph of more than 10000 nodes"),
        ("long cells", "more than 100000 names, numbers and operations"),
        ("resets of long delays", "a graph of more than 10000 nodes"),
        ("many operations", "a graph of more than 10000 nodes"),
    ],
)
def test_what_a_spec_expands_to_is_bounded(name: str, message: str) -> None:
    checked = load_graph(Source("long.roll", HOSTILE[name]))
    said = [problem.message for problem in checked.diagnostics if problem.code == "R108"]
    assert len(said) == len(set(said))  # each is said once
    assert any(message in text for text in said)


GROWING: dict[str, Callable[[int], str]] = {
    "a sum that is too long": lambda size: "net a\na = " + "1+" * size + "1",
    "brackets": lambda size: "net a\na = " + "(" * size + "1" + ")" * size,
    "a power": lambda size: "net a\na = " + "1**" * size + "1",
    "unknown names": lambda size: "net a\n" + "\n".join(f"a{i} = b{i}" for i in range(size)),
    "a chain, backwards": lambda size: (
        "net a\ninput x: [2]\n"
        + "\n".join(f"a{i} = tanh(a{i + 1})" for i in range(size))
        + f"\na{size} = x\noutput a0"
    ),
    "a cycle": lambda size: (
        "net a\n" + "\n".join(f"a{i} = tanh(a{(i + 1) % size})" for i in range(size))
    ),
}


@pytest.mark.parametrize("name", GROWING)
def test_work_grows_with_the_text_and_no_faster(name: str) -> None:
    assert_linear(lambda size: try_text(GROWING[name](size)), 100)
