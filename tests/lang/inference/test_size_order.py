"""No shape tells a size that another size can still change, whatever the order of statements."""

from __future__ import annotations

from random import Random

import pytest

from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import Checked, load_graph
from tests.helpers.orders import shuffled

Shapes = dict[str, tuple[int, ...]]
CELL = """
cell c(u) -> s {
    param W: [2, size(u, axis=1)], b: [2], V: [size(s, axis=1), size(s, axis=2)]
    s = b + W @ u + 0.5 * s[t-1]
    v = s * V
}
"""
# Statements, and the shapes of some of their values.
SYSTEMS: list[tuple[str, Shapes]] = [
    (
        """
        param W: [2, size(x, axis=1)], b: [2], V: [2, size(h, axis=2)], c: [size(h, axis=1)]
        input x: [1, 2, 1]
        h = b + W @ x + tanh(h[t-1])
        k = b + V @ h + k[t-1] * c
        output k
        """,
        {"h": (1, 2, 2), "k": (1, 2, 2), "V": (2, 2), "c": (2,)},
    ),
    (
        """
        input x: [1, 1, 1]
        use "cells/lif.roll"
        h, v = lif(x; H=2, both, stack 2)
        output h
        """,
        {"h.1.forward.W": (2, 2), "h.1.forward.s": (2, 2, 2), "h": (4, 2, 2)},
    ),
    (
        """
        input x: [2, 2, 2]
        use "cells/lif.roll"
        h, v = lif(x; H=2, stack 3, residual)
        output h
        """,
        {"h.1.W": (2, 2), "h": (2, 2, 2)},
    ),
    (
        f"""
        input x: [1, 2, 1]
        {CELL}
        h = c(x; both, stack 2)
        output h
        """,
        {"h.0.forward.V": (2, 2), "h.1.forward.s": (2, 2, 2), "h": (4, 2, 2)},
    ),
    (  # a delay, a split, a length and an expansion
        """
        input x: [1, 2, 1]
        param W: [2, size(x, axis=1)], b: [2], k: [2]
        h = b + 0.5 * h[t-1] + W @ x
        g = h[t-size(h)] + size(h)
        a, c = split(g + k[size(h)], size(h, axis=2), axis=1)
        e = expand(a, axis=0, size=size(h, axis=1))
        output c, e
        """,
        {"g": (1, 2, 2), "c": (1, 1, 2), "e": (2, 1, 1, 2)},
    ),
    (
        """
        input x: [2]
        param b: [2], m: [3, 2], V: [size(r), 3]
        h = b + h[t-1] + g[t-1]
        g = m + g[t-1] * 0.1
        r = reshape(h, 6)
        y = V @ ones(3)
        output y
        """,
        {"V": (6, 3), "h": (3, 2)},
    ),
    (  # an initial value whose size is known late
        """
        input x: [2]
        param b: [2], Q: [size(h), 3]
        init h = zeros(size(k), 2)
        h = 0.5 * h[t-1] + x
        k = concat(g, x)
        g = 0.1 * g[t-1] + b
        y = Q @ ones(3)
        output h, y
        """,
        {"h": (4, 2), "Q": (4, 3), "y": (4,)},
    ),
    (  # a size of its own cycle, which another waits for
        """
        input x: [2, 1], y: [3]
        dim N = 2 * size(k)
        param P: [2, size(h)], V: [size(k), size(k)], Q: [N]
        h = tanh(P @ h[t-1]) * 0.5 + x
        k = V @ k[t-1] + y + h
        z = sum(Q) + x
        output k, z
        """,
        {"h": (2, 1), "k": (2, 3), "V": (2, 2), "Q": (4,)},
    ),
]


def checked(text: str) -> Checked:
    return load_graph(Source("sizes.roll", text))


@pytest.mark.parametrize(("lines", "shapes"), SYSTEMS)
def test_sizes_are_those_of_the_shapes_in_the_end(lines: str, shapes: Shapes) -> None:
    text = f"net sizes\n{lines}"
    for number in range(5):
        other = shuffled(text, Random(number)) if number else text
        found = checked(other)
        assert found.graph is not None, other + render(found.diagnostics, found.source)
        assert {name: found.graph[name].type.shape for name in shapes} == shapes, other


def test_a_size_that_changes_what_it_follows_from_is_an_error() -> None:
    text = """
        net sizes
        input x: [2]
        param W: [4, size(h)], b: [2]
        h = b + 0.5 * h[t-1] + outer(W @ x, x)
        output h
        """
    for number in range(5):
        found = checked(shuffled(text, Random(number)))
        assert [item.code for item in found.diagnostics] == ["R226"]


def test_sizes_in_one_circle_are_told_at_once() -> None:
    text = """
        net sizes
        input x: [1, 2, 1], y: [2], w: [1, 1, 2]
        param m: [2, 2], P: [size(h), size(k)], Q: [size(g), size(k, axis=1)]
        h = Q @ (x + w) + tanh(g[t-1])
        k = k[t-1] * tanh(g[t-1]) + h * m
        g = tanh(y + g[t-1]) + P @ w
        output h, k, g
        """
    codes = {
        tuple(sorted(item.code for item in checked(shuffled(text, Random(number))).diagnostics))
        for number in range(8)
    }
    assert codes == {("R206",)}
