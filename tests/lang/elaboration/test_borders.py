"""Reads along two axes, and initial values that are said over axes."""

from __future__ import annotations

import pytest

from rollc.ir.verifier import verify
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.lang.syntax.formatter import format_spec

HEAD = "net grid\ntime s, t\ninput x[s], y[t]\n"


def codes(text: str) -> list[str]:
    found = load_graph(Source("grid.roll", HEAD + text))
    if found.graph is not None:
        assert verify(found.graph) == []
        assert found.spec is not None
        again = load_graph(Source("grid.roll", format_spec(found.spec)))
        assert again.spec == found.spec
    return [diagnostic.code for diagnostic in found.diagnostics]


@pytest.mark.parametrize(
    "text",
    [
        "h = x * y + h[s-1, t-1]\noutput h\n",
        "h = x * y + h[s, t-1] + h[s-0, t+2]\ninit h over t = x\noutput h\n".replace("+2", "-2"),
        "h = x * y + h[s-1]\ninit h = y\noutput h\n",
        "h = x[s-1] + y[t-1]\ninit x over s = 3\noutput h\n",
        # Of vectors with numbers around them, and another one for each sequence at the corner.
        "static input c: [2]\nh: [2] = x * y + h[s-1, t-2]\ninit h over s, t = c\noutput h\n",
        "static input w: index(2)\nk = argmax([x * y, one_hot(k[s-1, t-1], size=2)[0]])\n"
        "init k over s, t = w\noutput k\n",
        """
cell both(u; H) -> h {
    param W: [H, H], V: [H, H]
    h = tanh(W @ h[s-1] + V @ h[t-1] + h[s-1, t-1] + u)
    init h over s = 1
    init h over t = 2
}
k = both(x * y; H=3, over t)
output k
""",
    ],
)
def test_what_is_good(text: str) -> None:
    assert codes(text) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("h = x * y + h[s-1]\ninit h over t = 3\noutput h\n", "R212"),
        ("h = x * y + h[s-1] + h[t-1]\ninit h over s, t = 2\noutput h\n", "R212"),
        ("h = x * y + h[s-1]\ninit h over s = 3\ninit h over s = 2\noutput h\n", "R202"),
        ("h = x * y + h[s-1]\ninit h over s = x\noutput h\n", "R211"),
        ("h = x * y + h[s-1] + h[t-1]\ninit h = x\noutput h\n", "R211"),
        ("h = x + h[s-1]\ninit h over s = y\noutput h\n", "R211"),
        ("h = x * y + h[s-1] + h[t-1]\ninit h over s = last(h, over s)\noutput h\n", "R303"),
        ("h = x * y + h[s-2] + h[t-1]\ninit h over s = [1, 2]\noutput h\n", "R231"),
        ("h: number = x * y + h[s-2] + h[t-2]\ninit h = [1, 2]\noutput h\n", "R214"),
        ("h = x * y + stop(h[s-1, t-1], every=3)\noutput h\n", "R228"),
        ("fn f(v) = v[s-1, t-1]\nh = f(x * y)\noutput h\n", "R113"),
        ("h = x * y + h[s-1, 0]\noutput h\n", "R222"),
        ("h = x * y + h[s-1, s-2]\noutput h\n", "R222"),
        ("input z[s, s]\noutput z\n", "R202"),
    ],
)
def test_what_is_not(text: str, code: str) -> None:
    assert code in codes(text)
