"""What is repeated is what its passes and elements are, written out."""

from __future__ import annotations

import re
from random import Random

import numpy as np
import pytest

from rollc.driver.sources import read_spec
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.lang.syntax.formatter import format_spec
from rollc.lang.syntax.parser import parse_spec
from rollc.support.resources import specs
from tests.helpers.orders import shuffled

HEAD = "net n\ndim N = 3, K = 2\ninput x: [N], u\nparam w: [N], W: [N, N]\n"
CELL = """
cell leaky(x; H, back=1) -> h, c {
    param A: [H, size(x)], b: [H]
    h = 0.5 * h[t-back] + c
    init h = b
    c = tanh(A @ x)
}
"""


def graph_of(text: str, sets: dict[str, int] | None = None) -> Graph:
    graph, _ = read_spec(HEAD + text, "n.roll", sets)
    assert not verify(graph)
    assert parse_graph(print_graph(graph)) == graph
    return graph


def results(graph: Graph) -> dict[str, np.ndarray]:
    """Its outputs, of random leaves that depend on the type alone and on their order."""
    random = np.random.default_rng(0)
    given = {}
    for node in (*graph.leaves("param"), *graph.leaves("input")):
        given[node.name] = random.normal(size=(*(5, 2)[: len(node.type.axes)], *node.type.shape))
    found = interpret(graph, given, {"t": 5, "batch": 2})
    return {label: found[name] for label, name in graph.outputs}


def assert_same(repeated: str, written: str, sets: dict[str, int] | None = None) -> None:
    found, expected = results(graph_of(repeated, sets)), results(graph_of(written))
    assert found.keys() == expected.keys()
    for label, array in expected.items():
        np.testing.assert_array_equal(found[label], array, err_msg=label)


SHIFT = "fn f(v, x, w) = v + 0.1 * (tanh(w * v) + x)\n"


@pytest.mark.parametrize("count", ["3", "K + 1", "(K * K - 1)", "6 / 2"])
def test_a_pass_reads_the_one_before(count: str) -> None:
    assert_same(
        f"{SHIFT}v = v[t-1] + u\nrepeat {count} {{\n    v = f(v, x, w)\n}}\noutput v",
        f"{SHIFT}a = v[t-1] + u\nb = f(a, x, w)\nc = f(b, x, w)\nv = f(c, x, w)\noutput v",
    )


def test_a_count_follows_a_size_that_is_set() -> None:
    assert_same(
        f"{SHIFT}v = x\nrepeat K {{\n    v = f(v, x, w)\n}}\noutput v",
        f"{SHIFT}v = f(f(f(x, x, w), x, w), x, w)\noutput v",
        {"K": 3},
    )


def test_passes_carry_several_values_and_have_names_of_their_own() -> None:
    """All read what the pass before gave, in whatever order they stand."""
    repeated = """
    a: [N] = x
    b = u * x
    repeat 2 {
        both = a + w * b
        b = tanh(both) + a
        a = both - b
    }
    output a, b
    """
    written = """
    both1 = x + w * (u * x)
    b1 = tanh(both1) + x
    a1 = both1 - u * x
    both2 = a1 + w * b1
    b = tanh(both2) + a1
    a = both2 - b1
    output a, b
    """
    assert_same(repeated, written)


def test_a_delay_in_a_pass_is_of_the_last_one() -> None:
    repeated = """
    v = 0.5 * v[t-1] + x
    init v = w
    reset v when u > 1
    repeat 2 {
        v = 0.5 * v + 0.1 * v[t-1] + x[t-1]
    }
    output v
    """
    written = """
    a = 0.5 * v[t-1] + x
    b = 0.5 * a + 0.1 * v[t-1] + x[t-1]
    v = 0.5 * b + 0.1 * v[t-1] + x[t-1]
    init v = w
    reset v when u > 1
    output v
    """
    assert_same(repeated, written)


def test_cells_in_passes_have_parameters_together_and_states_apart() -> None:
    repeated = f"{CELL}v = x\nrepeat 3 {{\n    v = leaky(v; H=N) + leaky(2 * v; H=N)\n}}\noutput v"
    graph = graph_of(repeated)
    found = [node.name for node in graph.leaves("param")]
    assert found == ["w", "W", "v.leaky.A", "v.leaky.b", "v.leaky2.A", "v.leaky2.b"]
    shared = """
    cell leaky(x, A, b; H) -> h {
        h = 0.5 * h[t-1] + tanh(A @ x)
        init h = b
    }
    param A: [N, N], b: [N], B: [N, N], c: [N]
    v1 = leaky(x, A, b; H=N) + leaky(2 * x, B, c; H=N)
    v2 = leaky(v1, A, b; H=N) + leaky(2 * v1, B, c; H=N)
    v = leaky(v2, A, b; H=N) + leaky(2 * v2, B, c; H=N)
    output v
    """
    assert_same(repeated, shared)


def test_a_repetition_in_a_cell_goes_by_its_sizes() -> None:
    text = """
    cell solve(x; passes) -> v {
        param A: [size(x), size(x)]
        v = v[t-1]
        repeat passes {
            v = 0.5 * v + tanh(A @ v + x)
        }
    }
    a = solve(x; passes=K)
    b = solve(a; passes=K - 1)
    output a, b
    """
    written = """
    param A: [N, N], B: [N, N]
    a1 = 0.5 * a[t-1] + tanh(A @ a[t-1] + x)
    a = 0.5 * a1 + tanh(A @ a1 + x)
    b = 0.5 * b[t-1] + tanh(B @ b[t-1] + a)
    output a, b
    """
    assert_same(text, written)


def test_cells_of_cells_with_passes_in_passes() -> None:
    text = f"""{CELL}
    cell twice(x; H) -> y {{
        y = x
        repeat 2 {{
            y = leaky(y; H=H)
        }}
    }}
    v = x
    repeat 2 {{
        v = twice(v; H=N)
    }}
    output v
    """
    assert [node.name for node in graph_of(text).leaves("param")] == ["w", "W", "v.y.A", "v.y.b"]


def test_elements_have_parameters_and_delays_of_their_own() -> None:
    repeated = f"""{CELL}
    h[k], c[k] = leaky(x[k:]; H=N - k, back=2 ** k) for k in range(K)
    y = concat(h[0], c[K - 1])
    output y
    """
    written = f"""{CELL}
    h0, c0 = leaky(x; H=N)
    h1, c1 = leaky(x[1:]; H=N - 1, back=2)
    y = concat(h0, c1)
    output y
    """
    assert_same(repeated, written)
    params = [node.name for node in graph_of(repeated).leaves("param")]
    assert params == ["w", "W", "h.0.A", "h.0.b", "h.1.A", "h.1.b"]


def test_an_array_is_the_stack_of_its_elements() -> None:
    repeated = """
    h[k]: [N] = tanh(h[k][t-1] * (k + 1) / K + w * x) for k in range(K)
    init start = w
    start = start[t-1] + mean(h, axis=0)
    y = h[t-1] @ w + h[1][t-1][0]
    output h, y, start
    """
    written = """
    a = tanh(a[t-1] * 1 / 2 + w * x)
    b = tanh(b[t-1] * 2 / 2 + w * x)
    h = [a, b]
    start = start[t-1] + (a + b) / 2
    init start = w
    y = h[t-1] @ w + b[t-1][0]
    output h, y, start
    """
    assert_same(repeated, written)


@pytest.mark.parametrize(
    "layers",
    [
        "h[k] = leaky(x; H=N) for k in range(1)\n"
        "h[k] = leaky(h[k-1]; H=N) for k in range(1, K + 1)",
        "h[0] = leaky(x; H=N)\nh[k+1] = leaky(h[k]; H=N) for k in range(K)",
        "h[K - K] = leaky(x; H=N)\nh[k/4] = leaky(h[k/4-1]; H=N) for k in range(4, 5)\n"
        "h[K-k] = leaky(h[K-k-1]; H=N) for k in range(1)",
        "h[0] = leaky(x; H=N)\nh[1] = leaky(h[0]; H=N)\nh[K] = leaky(h[1]; H=N)",
    ],
)
def test_elements_that_read_the_one_before(layers: str) -> None:
    """Layers, each with parameters of its own; the places are said in any way."""
    written = f"{CELL}a = leaky(x; H=N)\nb = leaky(a; H=N)\ny = leaky(b; H=N)\noutput y"
    assert_same(f"{CELL}\n{layers}\ny = h[K]\noutput y", written)


def test_elements_of_several_arrays_one_by_one() -> None:
    """Each has its own place, and a state may go on from the last of them."""
    repeated = f"""{CELL}
    h[0], c[1] = leaky(h[2][t-1] + x; H=N)
    h[1]: [N], c[0] = split(concat(h[0], c[1]), 2)
    h[k], g[2*k] = leaky(h[k-1]; H=N) for k in range(2, 3)
    g[0] = c[0]
    y = h + g[4]
    output y, c
    """
    written = f"""{CELL}
    h0, c1 = leaky(h2[t-1] + x; H=N)
    h1, c0 = split(concat(h0, c1), 2)
    h2, g = leaky(h1; H=N)
    y = [h0, h1, h2] + g
    c = [c0, c1]
    output y, c
    """
    assert_same(repeated, written)


def test_an_element_in_a_cell_goes_by_its_sizes() -> None:
    cell = """
    cell deep(x; H, L) -> y {
        param W: [L, H, H]
        z[0] = tanh(z[L][t-1] + x)
        z[k+1] = tanh(W[k] @ z[k]) for k in range(L)
        y = z[L]
    }
    y = deep(x; H=N, L=K)
    output y
    """
    written = """
    param V: [2, N, N]
    a = tanh(y[t-1] + x)
    y = tanh(V[1] @ tanh(V[0] @ a))
    output y
    """
    assert_same(cell, written)


def test_a_range_behind_the_others_can_be_empty() -> None:
    """As that of the layers behind the first, of which there is just one."""
    deep = """
cell deep(x; layers, start=0) -> y {
    param unread: [size(x)]
    z[k] = unread + z[k-1][t-1] for k in range(start + 1, layers)
    z[k] = tanh(x) + z[k][t-1] for k in range(start + 1)
    init z[k] = 1 for k in range(1, layers)
    reset z[k] when x[0] > 0 for k in range(1, layers)
    y = mean(z, axis=0)
}
"""
    written = deep.split("    z[k] = unread")[0] + "    y = mean([z], axis=0)\n"
    written += "    z = tanh(x) + z[t-1]\n}\n"
    use, out = "y = deep(x; layers=1)\n", "output y\n"
    assert_same(deep + use + out, written + use + out)
    assert_same(deep + use.replace("1)", "0)") + out, written + use + out)
    two = graph_of(deep + use.replace("1)", "2)") + out)
    assert any(edge.source == "y.z.0" and edge.delay for edge in two["y.z.1"].operands)


def test_elements_and_passes_in_a_cell() -> None:
    text = """
    cell heads(x; K, H) -> y {
        param A: [K * H, size(x)]
        z = A @ x
        s[k] = 0.9 * s[k][t-1] + z[k * H:(k + 1) * H] for k in range(K)
        y = s[0]
        repeat K {
            y = y * s[K - 1] + s[0]
        }
    }
    a = heads(x; K=2, H=N)
    output a
    """
    written = """
    param A: [6, N]
    z = A @ x
    p = 0.9 * p[t-1] + z[:3]
    q = 0.9 * q[t-1] + z[3:]
    a = (p * q + p) * q + p
    output a
    """
    assert_same(text, written)


def test_a_repetition_in_another_goes_on_from_the_pass_before() -> None:
    """A name from before both goes through all passes of both."""
    repeated = """
    v = x
    y = u * x
    repeat K {
        repeat 3 {
            y = tanh(y + w * v)
        }
        v = v + y + 0.1 * y[t-1]
    }
    init y = w
    output v, y
    """
    written = """
    y1 = tanh(u * x + w * x)
    y2 = tanh(y1 + w * x)
    y3 = tanh(y2 + w * x)
    v1 = x + u * x + 0.1 * y[t-1]
    y4 = tanh(y3 + w * v1)
    y5 = tanh(y4 + w * v1)
    y = tanh(y5 + w * v1)
    v = v1 + y3 + 0.1 * y[t-1]
    init y = w
    output v, y
    """
    assert_same(repeated, written)


def test_a_repetition_in_another_begins_anew_in_each_pass() -> None:
    repeated = """
    v = x
    repeat 2 {
        v = v + y
        y: [N] = 0.5 * v
        repeat K {
            g = sin(y) * w
            y = y + g + 0.1 * y[t-1]
        }
    }
    output v
    """
    written = """
    a = 0.5 * x
    b = a + sin(a) * w + 0.1 * y1[t-1]
    y1 = b + sin(b) * w + 0.1 * y1[t-1]
    v1 = x + y1
    c = 0.5 * v1
    d = c + sin(c) * w + 0.1 * y2[t-1]
    y2 = d + sin(d) * w + 0.1 * y2[t-1]
    v = v1 + y2
    output v
    """
    assert_same(repeated, written)


def test_all_passes_of_all_repetitions_share_what_they_learn() -> None:
    repeated = f"""{CELL}
    v = x
    repeat 2 {{
        y = 2 * v
        repeat 2 {{
            y = leaky(y; H=N)
        }}
        v = v + y
    }}
    output v
    """
    shared = """
    cell leaky(x, A, b; H) -> h {
        h = 0.5 * h[t-1] + tanh(A @ x)
        init h = b
    }
    param A: [N, N], b: [N]
    v1 = x + leaky(leaky(2 * x, A, b; H=N), A, b; H=N)
    v = v1 + leaky(leaky(2 * v1, A, b; H=N), A, b; H=N)
    output v
    """
    assert [node.name for node in graph_of(repeated).leaves("param")] == [
        *("w", "W", "y.2.A", "y.2.b"),
    ]
    assert_same(repeated, shared)


def test_elements_start_and_begin_anew_one_by_one() -> None:
    repeated = f"""{CELL}
    h[k] = 0.5 * h[k][t-1] + k * x for k in range(3)
    init h[k] = k * w for k in range(K)
    init h[K] = w * w
    reset h[k] when u > k for k in range(1, 3)
    output h
    """
    written = """
    a = 0.5 * a[t-1]
    b = 0.5 * b[t-1] + x
    c = 0.5 * c[t-1] + 2 * x
    init a = 0 * w
    init b = w
    init c = w * w
    reset b when u > 1
    reset c when u > 2
    h = [a, b, c]
    output h
    """
    assert_same(repeated, written)
    cell = """
    cell several(x; K) -> y {
        s[k] = 0.9 * s[k][t-1] + x for k in range(K)
        init s[k] = k + 1 for k in range(K)
        y = s[0] * s[K - 1]
    }
    output y
    y = several(x; K=2)
    """
    assert_same(
        cell,
        "a = 0.9 * a[t-1] + x\nb = 0.9 * b[t-1] + x\ny = a * b\ninit a = 1\ninit b = 2\noutput y",
    )


def test_elements_start_along_one_of_two_axes() -> None:
    head = "net n\ntime s, t\ninput x[s, t], u[t]\n"
    each = "h[k] = 0.5 * h[k][s-1] + 0.2 * h[k][t-1] + x for k in range(2)\n"
    repeated, _ = read_spec(
        f"{head}{each}init h[k] over s = k * u for k in range(2)\noutput h", "n"
    )
    one = "{0} = 0.5 * {0}[s-1] + 0.2 * {0}[t-1] + x\ninit {0} over s = {1} * u\n"
    text = f"{head}{one.format('a', 0)}{one.format('b', 1)}h = [a, b]\noutput h"
    written, _ = read_spec(text, "n")
    assert [node.operation for node in repeated.nodes] == [node.operation for node in written.nodes]


NESTED = """
v = v[t-1]
a = u * x
repeat K {
    y = 0.5 * v + a
    repeat 2 {
        y = y + 0.1 * sin(f)
        f = y * u
    }
    a = tanh(a + g)
    g = v[t-2] + y
    v = tanh(v + y) + a[t-1]
}
init v = w0
init a = 0.5
s = v[t-1] + a
z[k] = s + z[k-1][t-1] for k in range(1, 3)
z[0] = s
init z[k] = k for k in range(3)
reset v when u > 0.5
param w0: [N]
output v, a, s, z
"""


def test_the_order_of_the_lines_changes_nothing() -> None:
    """But for what passes start from, which stands before them."""
    equilibrium = specs()["learning/equilibrium"].read_text(encoding="utf-8")
    for text in (HEAD + NESTED, equilibrium):
        expected = by_name(text)
        for seed in range(8):
            other = shuffled(text, Random(seed))
            found = by_name(other)
            assert found.keys() == expected.keys()
            for label, array in expected.items():
                np.testing.assert_array_equal(found[label], array, err_msg=f"{label}: {other}")


def by_name(text: str) -> dict[str, np.ndarray]:
    """The outputs and the loss, of leaves that are random by their names."""
    graph, _ = read_spec(text, "n.roll")
    given = {}
    for node in (*graph.leaves("param"), *graph.leaves("input"), *graph.leaves("target")):
        random = np.random.default_rng([*node.name.encode()])
        shape = (*(5, 2)[: len(node.type.axes)], *node.type.shape)
        if node.type.kind == "index":
            given[node.name] = random.integers(node.type.bound, size=shape)
        else:
            given[node.name] = random.normal(size=shape)
    found = interpret(graph, given, {"t": 5, "batch": 2})
    loss = {"loss": found[graph.loss]} if graph.loss is not None else {}
    return {label: found[name] for label, name in graph.outputs} | loss


def test_text_is_read_as_it_is_written() -> None:
    text = f"""{HEAD}
v = x
repeat K + 1 {{
    a, b: [N] = split(concat(v, x), 2)
    repeat 2 {{
        b = 0.5 * b
    }}
    v = a * b
}}
cell of(x; H) -> y {{
    y = x
    repeat 2 {{
        repeat H {{
            y = 0.5 * y
        }}
    }}
}}
h[k]: [N], g[k] = split(concat(v, x), 2) for k in range(1, K)
h[0], g[2 * K - 1]: [N] = split(concat(v, x), 2)
m[0] = x
m[2 * k + 1]: [N] = m[k] for k in range(K)
init h[k] = k * v for k in range(1, K)
init h[K - 1] over t = 2
reset h[k] when u > k for k in range(K)
reset g[1] when u > 0
output v
"""
    spec, problems = parse_spec(Source("n.roll", text))
    assert spec is not None and not problems
    again, problems = parse_spec(Source("n.roll", format_spec(spec)))
    assert again == spec and not problems
    assert format_spec(again) == format_spec(spec)


def test_words_of_repetition_are_names_elsewhere() -> None:
    graph_of("repeat = x\nfor = repeat * u\nin = for + 1\nrange = in[0]\noutput in, range")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v = x\nrepeat 30000 {\n v = v + 1\n}\noutput v", "more than 20000 statements"),
        pytest.param(
            "v = x\nrepeat 9000 {\n v = v * v + 1\n}\noutput v",
            "a graph of more than 10000 nodes",
            marks=pytest.mark.long,
        ),
        ("h[k] = x for k in range(10 ** 9)\noutput h", "more than 20000 statements"),
        ("h[k] = x + x * (x + x) for k in range(19000)\noutput h", "100000 names, numbers"),
        (
            f"{CELL}v = x\nrepeat 300 {{\n v = leaky(v; H=N)\n}}\noutput v",
            "uses cells 256 times at most",
        ),
        ("h[k] = x for k in range(9 ** 9 ** 9)\noutput h", "counted by a whole number"),
    ],
)
def test_what_is_too_much_is_said_once(text: str, message: str) -> None:
    checked = load_graph(Source("n.roll", HEAD + text))
    (problem,) = (each for each in checked.diagnostics if each.severity == "error")
    assert re.search(message, problem.message)
