"""Layers and directions of cells are what one would write by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rollc.driver.sources import read_spec
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.source import Source
from rollc.lang.diagnostics.spec_error import SpecError
from rollc.lang.syntax.formatter import format_spec
from rollc.lang.syntax.layout import laid_out
from rollc.lang.syntax.parser import parse_spec
from tests.helpers.compiled_networks import network_of
from tests.lang.expansion.test_repetition import assert_same, graph_of

CELL = """
cell leaky(x; H, back=1) -> h, c {
    param A: [H, size(x)], B: [H, H], b: [H]
    h = 0.5 * h[t-back] + c
    c = tanh(A @ x + B @ h[t-1] + b) + 0.1 * first(x)[0] + last(x)[0] * x[t+1][0]
    init h = b
}
"""
# The same from the last step to the first.
TURNED = """
cell turned(x; H, back=1) -> h, c {
    param A: [H, size(x)], B: [H, H], b: [H]
    h = 0.5 * h[t+back] + c
    c = tanh(A @ x + B @ h[t+1] + b) + 0.1 * last(x)[0] + first(x)[0] * x[t-1][0]
    init h = b
}
"""
GRU = 'use "cells/gru.roll"\n'


def parameters(text: str) -> list[str]:
    return [node.name for node in graph_of(text).leaves("param")]


def message(text: str) -> str:
    with pytest.raises(SpecError) as found:
        read_spec(text, "n.roll")
    return str(found.value)


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("h, c = leaky(x; H=N, reverse)", "h, c = turned(x; H=N)"),
        ("h, c = leaky(x; H=N, back=2, reverse, over t)", "h, c = turned(x; H=N, back=2)"),
        (
            "h, c = leaky(x; H=N, both)",
            "f, a = leaky(x; H=N)\nb, d = turned(x; H=N)\nh = concat(f, b)\nc = concat(a, d)",
        ),
        (
            "h, c = leaky(2 * x; H=K, stack K + 1)",
            "x0 = 2 * x\na = leaky(x0; H=K)\nb = leaky(a; H=K)\nh, c = leaky(b; H=K)",
        ),
        (
            "h, c = leaky(x; H=N, stack 2, residual, reverse)",
            "a = turned(x; H=N)\nb = x + a\nd, c = turned(b; H=N)\nh = b + d",
        ),
        (
            "h, c = leaky(x; H=N, residual)",
            "a, c = leaky(x; H=N)\nh = x + a",
        ),
        (
            "h, c = leaky(leaky(x; H=2 * K, reverse); H=K, residual, both, stack 2)",
            """
            x0 = turned(x; H=2 * K)
            f = leaky(x0; H=K)
            b = turned(x0; H=K)
            y = x0 + concat(f, b)
            f2, d = leaky(y; H=K)
            b2, e = turned(y; H=K)
            h = y + concat(f2, b2)
            c = concat(d, e)
            """,
        ),
    ],
)
def test_words_are_what_is_written_by_hand(words: str, written: str) -> None:
    assert_same(f"{CELL}{words}\noutput h, c", f"{CELL}{TURNED}{written}\noutput h, c")


def test_cells_in_cells_are_turned_round_as_often_as_it_is_said() -> None:
    nested = "cell around(x; H) -> h {{\n    h = leaky(x[t-1]; H=H{})\n}}\n"
    by_hand = "cell by_hand(x; H) -> h {{\n    h = {}(x[t+1]; H=H)\n}}\n"
    for word, inner in (("", "turned"), (", reverse", "leaky")):
        assert_same(
            f"{CELL}{nested.format(word)}h = around(x; H=N, reverse)\noutput h",
            f"{CELL}{TURNED}{by_hand.format(inner)}h = by_hand(x; H=N)\noutput h",
        )


def test_parameters_are_called_as_those_of_arrays() -> None:
    text = f"{CELL}h[k] = leaky(x; H=K, stack 2, both) for k in range(1)\noutput h"
    paths = [f"h.0.{layer}.{way}" for layer in (0, 1) for way in ("forward", "backward")]
    assert parameters(text) == ["w", "W", *(f"{path}.{of}" for path in paths for of in "ABb")]
    text = f"{CELL}v = x\nrepeat 2 {{\n    v = leaky(v; H=N, stack 2)\n}}\noutput v"
    assert parameters(text) == ["w", "W", *(f"v.{layer}.{of}" for layer in (0, 1) for of in "ABb")]


def test_layers_in_passes_are_learned_once_in_cells_too() -> None:
    passes = "repeat 2 {\n        v = leaky(v; H=H, stack 2)\n    }"
    cell = f"cell twice(x; H) -> v {{\n    v = x\n    {passes}\n}}\n"
    text = f"{CELL}{cell}u2 = x\nrepeat 3 {{\n    u2 = twice(u2; H=N)\n}}\noutput u2"
    own = [f"u2.v.{layer}.{of}" for layer in (0, 1) for of in "ABb"]
    assert parameters(text) == ["w", "W", *own]


def test_dropout_is_between_layers_and_before_what_is_added() -> None:
    words = "h = gru(x; H=N, stack 3, residual, dropout 0.25)"
    written = "a = x + dropout(gru(x; H=N), rate=0.25)\nb = a + dropout(gru(a; H=N), rate=0.25)\n"
    found, expected = (
        [(node.operation, node.options.get("rate", 0)) for node in graph.nodes]
        for graph in (
            graph_of(f"{GRU}{words}\noutput h"),
            graph_of(f"{GRU}{written}h = b + gru(b; H=N)\noutput h"),
        )
    )
    assert sorted(found) == sorted(expected)


def test_other_inputs_are_the_same_for_all_layers() -> None:
    cell = "cell of(x, y, P; H) -> h {\n    param A: [H, size(x)]\n"
    cell += "    h = tanh(A @ x + P @ y + h[t-1])\n}\n"
    assert_same(
        f"{cell}h = of(x, 2 * x, W; H=N, stack 2)\noutput h",
        f"{cell}y = 2 * x\na = of(x, y, W; H=N)\nh = of(a, y, W; H=N)\noutput h",
    )


def test_initial_values_and_resets_are_those_of_each_layer() -> None:
    said = "init h = w\nreset h when u > 0.2\nlate = h[t-1]\noutput h, late"
    each = "init a = w\nreset a when u > 0.2\ninit b = w\nreset b when u > 0.2\n"
    assert_same(
        f"{GRU}h = gru(x; H=N, stack 2, residual)\n{said}",
        f"{GRU}a = gru(x; H=N)\ny = x + a\nb = gru(y; H=N)\nh = y + b\n{each}{said}",
    )
    assert_same(
        f"{GRU}h = gru(x; H=N, stack 2)\n{said}",
        f"{GRU}a = gru(x; H=N)\nb = gru(a; H=N)\nh = b\n{each}late = b[t-1]\noutput h, late",
    )
    reset = "reset {0} when u > 0.2\n"
    assert_same(
        f"{GRU}h = gru(x; H=N, both)\n{reset.format('h')}output h",
        f"{GRU}f = gru(x; H=N)\nb = gru(x; H=N, reverse)\nh = concat(f, b)\noutput h\n"
        f"{reset.format('f')}{reset.format('b')}",
    )


@pytest.mark.parametrize("own", ["x", "y"])
def test_an_encoder_runs_backwards_along_the_axis_of_its_input(own: str) -> None:
    """What it has inside says along which axis it runs, where there are two."""
    head = "net n\ntime s, t\ninput x[s]: [3], y[t]: [3]\ndim K = 2\n"
    cell = (
        "cell step(x; H) -> h {\n    param A: [H, size(x)]\n    h = tanh(A @ x) + 0.5 * h[t-1]\n}\n"
    )
    outer = "cell around(x; H) -> h {\n    h = step(x; H=H, over t) * last(x, over t)[0]\n}\n"
    use = f"h = around({own}; H=K, reverse)\noutput h\no = dot(x, y)\noutput o"
    graph, _ = read_spec(head + cell + outer + use, "n.roll")
    assert not verify(graph)
    delays = {(edge.axis, edge.delay) for node in graph.nodes for edge in node.operands}
    assert {each for each in delays if each[1]} == {("s" if own == "x" else "t", -1)}
    assert any(node.operation == "first" for node in graph.nodes)
    for said in ("H=H, over t", "last(x, over t)"):
        unclear = outer.replace(said, said.replace(", over t", ""))
        assert "along which axis?" in message(head + cell + unclear + use)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("h = gru(x; H=4, both, reverse)", "`both` is in both directions already"),
        ("h = gru(x; H=4, stack 0)", "a stack of no layers"),
        ("h = gru(x; H=4, stack u)", "counted by a whole number"),
        ("h = gru(x; H=4, stack)", "`stack` has a number behind it"),
        ("h = gru(x; H=4, both 2)", "`both` has no value"),
        ("h = gru(x; H=4, both, both)", "`both` is given twice"),
        ("h = gru(x; H=4, revers)", "did you mean `reverse`?"),
        ("h = gru(x; H=4) reverse", "write `gru(x; H=4, reverse)`"),
        ("h = gru(x; H=4) both stack 2", "write `gru(x; H=4, both, stack 2)`"),
        ("h = 2 * ended(x) dropout 0.1 + 1", "write `ended(x; dropout 0.1)`"),
        ("h = gru(x; H=4, num_layers=2)", "it is a word: `stack 2`"),
        ("h = gru(x; H=4, bidirectional=1)", "it is a word: `both`"),
        ("h = gru(x; H=4, residual)", "a residual adds [3], which comes in, to [4]"),
        ("h = gru(x; H=3, residual, both)", "a residual adds [3], which comes in, to [6]"),
        ("h = gru([u]; H=3, residual)", "a residual adds [1], which comes in, to [3]"),
        ("h = gru(x; H=4, dropout 0.1)", "dropout between layers, and here is one"),
        ("h = gru(x; H=4, stack 2, dropout 1.5)", "`rate` must be a number"),
        ("h = gru(x; H=4, stack 300)", "a spec uses cells 256 times at most"),
        ("h = gru(x; H=4, stack 100000000)", "a spec uses cells 256 times at most"),
        ("h = dense(x; H=4, reverse)", "`dense` is the same in both directions"),
        ("h = alone(; H=4, stack 2)", "`alone` has no input"),
        ("h = ended(x; reverse)", "`end` has `first` or `last`"),
        ("h = tanh(x; both)", "`tanh` is no cell, and has no `both`"),
        ("h = end(x; stack 2)", "`end` is no cell, and has no `stack`"),
        ("h = gru(x; H=3, both)\ninit h = w", "`h` has two directions"),
        ("h = gru(h[t-1]; H=3, both)", "cycles into the past and into the future"),
    ],
)
def test_what_is_wrong_is_said(line: str, said: str) -> None:
    head = "net n\ninput x: [3], u\nparam w: [3]\n"
    head += "cell dense(x; H) -> h {\n    param W: [H, size(x)]\n    h = W @ x\n}\n"
    head += "cell alone(; H) -> h {\n    h = 0.5 * h[t-1] + ones(H)\n}\n"
    head += "fn end(x) = last(x)\ncell ended(x) -> h {\n    h = h[t-1] + end(x)\n}\n"
    assert said in message(f"{head}{GRU}{line}\noutput h")


def test_words_are_names_elsewhere() -> None:
    text = "both = u\nreverse = both + x\nstack[k] = reverse * k for k in range(2)\noutput stack\n"
    cell = "cell of(x; stack, both=2) -> h {\n    h = stack * h[t-1] + both * x\n}\n"
    assert_same(
        f"{cell}{text}h = of(x; stack=3, both=1) + max(reverse, axis=0)\noutput h",
        f"{cell}{text}h = of(x; stack=3, both=1, reverse) * 0 + of(x; stack=3, both=1)"
        "+ max(reverse)\noutput h",
    )


def test_their_text_is_read_again() -> None:
    text = "net n\nh = lstm(x ;H=4,both , stack   (1+N), over t,dropout 0.1)\n"
    spec, _ = parse_spec(Source("n.roll", text))
    assert spec is not None
    form = format_spec(spec)
    assert form == "net n\nh = lstm(x; H=4, over t, both, stack 1 + N, dropout 0.1)\n"
    assert parse_spec(Source("n.roll", form))[0] == spec
    laid, _ = laid_out(Source("n.roll", text))
    assert laid == "net n\nh = lstm(x; H=4, both, stack (1 + N), over t, dropout 0.1)\n"


def test_a_stack_of_both_directions_is_the_lstm_of_pytorch() -> None:
    """Values, and gradients of all parameters."""
    torch = pytest.importorskip("torch")
    text = """
    net n
    input x: [3]
    use "cells/lstm.roll"
    h = lstm(x; H=4, stack 3, both, dropout 0.3)
    output h
    loss mean(sum(h * h), over t)
    """
    net = network_of(text, "float64", backend="reference")
    layers = torch.nn.LSTM(3, 4, num_layers=3, bidirectional=True, dropout=0.3).double().eval()
    given = {}
    of = {}
    for layer in range(3):
        for way, end in (("forward", ""), ("backward", "_reverse")):
            place, own = f"h.{layer}.{way}", f"_l{layer}{end}"
            of |= {f"{place}.W": f"weight_ih{own}", f"{place}.U": f"weight_hh{own}"}
            of[f"{place}.b"] = f"bias_ih{own}"
            with torch.no_grad():
                getattr(layers, f"bias_hh{own}").zero_()
    given = {name: getattr(layers, its).detach().numpy() for name, its in of.items()}
    assert given.keys() == net.params.keys()
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    expected, _ = layers(torch.as_tensor(x))
    (expected**2).sum(-1).mean().backward()
    np.testing.assert_allclose(
        net.forward(given, {"x": x})["h"], expected.detach().numpy(), rtol=1e-12, atol=1e-13
    )
    _, slopes = net.value_and_grad(given, {"x": x})
    for name, its in of.items():
        slope = getattr(layers, its).grad.numpy()
        np.testing.assert_allclose(slopes[name], slope, rtol=1e-10, atol=1e-12, err_msg=name)
