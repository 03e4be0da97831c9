"""Cells and functions: what they become, and the files that they come from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.driver.build import build_source
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Edge, Graph
from rollc.ir.interpreter import interpret
from rollc.lang.diagnostics.diagnostic import as_data, render
from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.expansion.imports import LONGEST_TEXT, with_used
from rollc.lang.load import load_graph
from rollc.transforms.canonicalize import canonicalize

LAYER = """
cell layer(x; H, K=H) -> h, k {
    param W: [H, size(x)], U: [H, H]
    k = h[t-1]
    h = tanh(W @ x + U @ k) / K
}
"""


def graph_of(text: str, name: str = "test.roll") -> Graph:
    read = load_graph(Source(name, text))
    assert read.graph is not None, render(read.diagnostics, read.source)
    return read.graph


def codes(text: str, name: str = "test.roll") -> list[str]:
    return [item.code for item in load_graph(Source(name, text)).diagnostics]


def net(*lines: str) -> str:
    return "\n".join(["net n", "input x: [3]", *lines])


def test_a_use_has_parameters_of_its_own() -> None:
    graph = graph_of(net(LAYER, "a = layer(x; H=4)", "b, c = layer(a; H=5)", "output b, c"))
    shapes = {node.name: node.type.shape for node in graph.leaves("param")}
    assert shapes == {"a.W": (4, 3), "a.U": (4, 4), "b.W": (5, 4), "b.U": (5, 5)}
    assert graph.outputs == (("b", "b.h"), ("c", "b.k"))
    assert graph["b.k"].operands == (Edge("b.h", 1, "t"),)
    assert graph.dims == ()


def test_layers_are_sized_in_any_order_and_parameters_keep_theirs() -> None:
    lines = ["output h8", *(f"h{k} = layer(h{k - 1}; H={k + 2})" for k in range(8, 0, -1))]
    graph = graph_of(net(LAYER, *lines, "h0 = 2 * x", "param last: [size(h8)]", "loss sum(last)"))
    names = [node.name for node in graph.leaves("param")]
    assert names == [*(f"h{k}.{name}" for k in range(8, 0, -1) for name in "WU"), "last"]
    assert graph["h8.W"].type.shape == (10, 9)
    assert graph["last"].type.shape == (10,)


def test_sizes_are_computed_and_constants_are_no_sizes() -> None:
    lines = ["dim A = 8, B = 2 * A - 1", "const half = 0.5", "a = layer(x; H=A - 1, K=half)"]
    graph = graph_of(net(LAYER, *lines, "b = layer(a; H=B, K=A / 4)", "output b"))
    assert graph["a.W"].type.shape == (7, 3)
    assert graph["b.W"].type.shape == (15, 7)
    numbers = [node.options["value"] for node in graph.nodes if node.operation == "constant"]
    assert sorted(numbers) == [0.5, 2.0]


def test_a_default_is_computed_from_the_sizes_before_it() -> None:
    """Sizes, and constants where one of them is one: in cells in cells too."""
    leaky = "cell leaky(x; leak) -> h {\nh = leak * x + h[t-1]\n}"
    wide = """cell wide(x; D=size(x), H=2 * D, K=ceil(H / 4), leak=0.5, gap=1 - leak) -> h {
        param W: [H, D], V: [K, H]
        h = gap * leaky(V @ (W @ x); leak=leak)
    }"""
    uses = ["a = wide(x)", "b = wide(a; K=7, leak=0.25)", "c = wide(b; H=5, leak=2.0)"]
    graph = graph_of(net(leaky, wide, *uses, "output c"))
    shapes = {node.name: node.type.shape for node in graph.leaves("param")}
    assert [*shapes.values()] == [(6, 3), (2, 6), (4, 2), (7, 4), (5, 7), (2, 5)]
    numbers = {node.options["value"] for node in graph.nodes if node.operation == "constant"}
    assert numbers == {0.5, 0.25, 0.75, 2.0, -1.0}


def test_a_use_can_say_any_whole_number() -> None:
    """Where it is no size of a shape: a delay, a shift, a number."""
    cell = "cell c(x; n=0, back=1-n) -> h {\nh = n * roll(x, n) + h[t-back]\n}"
    uses = ["a = c(x; n=-1)", "b = c(x; back=3)", "d = c(x; n=2, back=-1)"]
    graph = graph_of(net(cell, *uses, "output a, b, d"))
    assert [graph[f"{name}.h"].operands[1].delay for name in "abd"] == [2, 3, -1]
    numbers = {node.options["value"] for node in graph.nodes if node.operation == "constant"}
    assert numbers == {-1.0, 0.0, 2.0}
    assert codes(net(cell, "c = c(x; n=1)", "output c")) == ["R301"]


def test_a_use_can_stand_before_the_sizes_that_it_says() -> None:
    """In the spec, and in a cell."""
    inner = (
        "cell inner(x; H, leak) -> h {\n    param W: [H, size(x)] = leak\n    h = leak * (W @ x)\n}"
    )
    twofold = """cell twofold(x; H) -> h {
        h = inner(x; H=E, leak=half)
        const leak = 0.5, half = leak / 2
        dim E = 2 * H
    }"""
    uses = [
        "a = twofold(x; H=K)",
        "b = inner(a; H=K + 1, leak=gap)",
        "const gap = 0.25",
        "dim K = 2",
    ]
    graph = graph_of(net(inner, twofold, *uses, "output b"))
    shapes = [node.type.shape for node in graph.leaves("param")]
    assert shapes == [(4, 3), (3, 4)]


def test_sizes_are_rounded_exactly() -> None:
    """Wherever a size can stand, and also where it is counted before shapes are known."""
    lines = [
        "dim K = 10, A = ceil(K / 4), B = floor(-K / 4) + 9, C = ceil(0.1 * 30)",
        "dim E = floor(share * K), F = floor(A + ceil(K / 3) / 3), G = ceil(K ** 2 / 7)",
        "const share = 0.75, third = ceil(K / 3)",
        "param a: [A], b: [B], c: [C], e: [E], f: [F], g: [G], i: [ceil(size(a) / 2)]",
        "q[k] = x[floor(K / 5) - 2:] * third for k in range(ceil(A / 2))",
        "v = q[ceil(A / 3)]",
        "repeat floor(K / 3) { v = v + v[ceil(A / 4)] }",
        "w = v[t-ceil(K / 4)] + roll(v, floor(K / 4)) + full(1, ceil(A / 1)) + ceil(x / 2)",
    ]
    graph = graph_of(net(*lines, "output w", "loss sum(a) + sum(i)"))
    sizes = {node.name: node.type.shape[0] for node in graph.leaves("param")}
    assert sizes == {"a": 3, "b": 6, "c": 3, "e": 7, "f": 4, "g": 15, "i": 2}
    assert graph.dims[0] == ("K", 10)
    assert max(edge.delay for node in graph.nodes for edge in node.operands) == 3


def test_an_input_that_is_a_size_is_a_number_and_any_other_name_is_the_value() -> None:
    late = "cell late(a, b) -> h {\nh = a * b[t-1]\n}"
    twice = "cell twice(v; H) -> o {\ns = v + s[t-1]\ninit s = 3\no = late(H, s) + late(s, s)\n}"
    graph = graph_of(net(late, twice, "y = twice(x[0]; H=5)", "output y"))
    leaves = {"x": np.ones((2, 1, 3))}
    found = interpret(graph, leaves, {"t": 2, "batch": 1})[dict(graph.outputs)["y"]]
    np.testing.assert_allclose(found[:, 0], [5 * 3 + 4 * 3, 5 * 4 + 5 * 4])


def test_a_use_inside_an_expression_is_its_first_result() -> None:
    graph = graph_of(net(LAYER, "y = layer(layer(x; H=2); H=2) + layer(x; H=2)", "output y"))
    assert [str(edge) for edge in graph["y"].operands] == ["y.layer.h", "y.layer2.h"]
    assert graph["y.layer.x.layer.W"].type.shape == (2, 3)


def test_the_line_of_a_node_is_in_the_spec(tmp_path: Path) -> None:
    (tmp_path / "layer.roll").write_text("\n" * 40 + LAYER)
    text = net('use "layer.roll"', "", "y = layer(x; H=2)", "output y")
    graph = graph_of(text, str(tmp_path / "n.roll"))
    assert graph["y.h"].line == 5
    graph = graph_of(net(LAYER, "y = layer(x; H=2)", "output y"))
    assert graph["y.h"].line == 7


def test_the_start_of_a_result_is_the_start_inside() -> None:
    lines = ["y = layer(x; H=2)", "init y = 3", "output y"]
    graph = graph_of(net(LAYER, *lines))
    start = graph["y.h"].initial
    assert start is not None
    assert graph[graph[start].operands[0].source].options == {"value": 3.0}
    own = LAYER.replace("    k =", "    init h = 1\n    k =")
    assert codes(net(own, *lines)) == ["R202"]


def test_a_result_can_be_an_input() -> None:
    cell = "cell same(a) -> a { }"
    graph = graph_of(net(cell, "p = same(q[t-1])", "q = same(p) + x", "output q"))
    assert graph["q"].type.shape == (3,)
    assert codes(net(cell, "p = same(q)", "q = same(p)", "output q, x")) == ["R301"]


def test_a_written_out_cell_is_the_same_network() -> None:
    used = graph_of(net(LAYER, "y = layer(x; H=2)", "output y", "loss mean(sum(y), over t)"))
    body = "param W: [2, 3], U: [2, 2]\nk = y[t-1]\ny = tanh(W @ x + U @ k) / 2"
    written = graph_of(net(body, "output y", "loss mean(sum(y), over t)"))
    random = np.random.default_rng(0)
    values = {"W": random.normal(size=(2, 3)), "U": random.normal(size=(2, 2))}
    x = random.normal(size=(6, 2, 3))
    sizes = {"t": 6, "batch": 2}
    one = interpret(adjoint(written), {"x": x, **values}, sizes)
    two = interpret(adjoint(used), {"x": x, **{f"y.{k}": v for k, v in values.items()}}, sizes)
    np.testing.assert_array_equal(one["y"], two["y.h"])
    np.testing.assert_array_equal(one["~W"], two["~y.W"])


def test_cells_are_bounded() -> None:
    towers = [f"cell c{k}(x) -> h {{ h = c{k + 1}(x) + c{k + 1}(2 * x) }}" for k in range(20)]
    text = net(*towers, "cell c20(x) -> h { h = x }", "y = c0(x)", "output y")
    assert set(codes(text)) == {"R108"}
    chain = [f"cell c{k}(x) -> h {{ h = c{k + 1}(x) }}" for k in range(500)]
    text = net(*chain, "cell c500(x) -> h { h = x }", "y = c0(x)", "output y")
    assert set(codes(text)) == {"R105"}
    chain = [f"fn f{k}(x) = f{k + 1}(x) + 1" for k in range(500)]
    assert set(codes(net(*chain, "fn f500(x) = x", "y = f0(x)", "output y"))) == {"R105"}
    towers = [f"fn f{k}(x) = f{k + 1}(x) + f{k + 1}(x)" for k in range(40)]
    assert set(codes(net(*towers, "fn f40(x) = x", "y = f0(x)", "output y"))) == {"R108"}


# Files


def test_files_that_use_each_other_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.roll").write_text('use "b.roll"\ncell a(x) -> h { h = b(x) }')
    (tmp_path / "parts" / "b.roll").write_text('use "a.roll"\ncell b(x) -> h { h = 2 * x }')
    text = net('use "parts/a.roll"', 'use "parts/a.roll"', "y = a(x)", "output y")
    source = with_used(Source(str(tmp_path / "n.roll"), text))
    assert [Path(used.name).name for used in source.used] == ["a.roll", "b.roll"]
    assert graph_of(text, source.name)["y.h.h"].operation == "multiply"


def test_a_place_in_a_used_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.roll").write_text("\ncell a(x) -> h {\n    h = x @ x\n}")
    text = net('use "a.roll"', "y = a(x)", "output y")
    read = load_graph(Source(str(tmp_path / "n.roll"), text))
    (found,) = as_data(read.diagnostics, read.source)
    assert found["file"] == str(tmp_path / "a.roll")
    labels = found["labels"]
    assert isinstance(labels, list)
    places = [(Path(label["file"]).name, label["line"], label["column"]) for label in labels]
    assert places[0] == ("a.roll", 3, 13)
    assert places[-1] == ("n.roll", 4, 5)


def test_paths_stay_in_their_folders(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    cell = "cell a(x) -> h { h = x }"
    (tmp_path / "outside.roll").write_text(cell)
    (tmp_path / "inside" / "link.roll").symlink_to(tmp_path / "outside.roll")
    (tmp_path / "inside" / "long.roll").write_text(cell + "#" * LONGEST_TEXT)
    (tmp_path / "inside" / "bytes.roll").write_bytes(b"\xff\xfe")
    os.mkfifo(tmp_path / "inside" / "pipe.roll")
    name = str(tmp_path / "inside" / "n.roll")
    outside = str(tmp_path / "outside.roll")
    for path in (outside, "../outside.roll", "link.roll", "long.roll", "bytes.roll", "pipe.roll"):
        text = net(f'use "{path}"', "y = a(x)", "output y")
        assert codes(text, name) == ["R112"], path


def test_a_changed_file_is_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLC_CACHE", str(tmp_path / "cache"))
    text = net('use "a.roll"', "y = a(x)", "output y")
    name, part = str(tmp_path / "n.roll"), tmp_path / "a.roll"
    x = np.ones((2, 3))
    for factor, hit in ((2, False), (2, True), (3, False)):
        part.write_text(f"cell a(x) -> h {{ h = {factor} * x }}")
        network, made = build_source(text, name, backend="reference")
        assert made.hit is hit
        np.testing.assert_allclose(network.forward({}, {"x": x})["y"], factor * x)


def test_a_span_finds_its_file() -> None:
    source = Source("a", "12\n45", (Source("b", "x\nyz"), Source("c", "")))
    assert source.offsets == [0, 6, 11, 12]
    assert [source.at(place)[0].name for place in (0, 5, 6, 10, 11)] == ["a", "a", "b", "b", "c"]
    assert (source.line_of(8), source.column_of(9)) == (2, 2)
    assert source.line_in_spec(Span(8, 9, Span(3, 4))) == 2


# Functions


def test_a_function_takes_the_place_of_its_call() -> None:
    lines = ["fn f(a, b) = g(a) * b + a", "fn g(a) = 2 * a", "y = f(x[t-1], g(x))", "output y"]
    graph = canonicalize(graph_of(net(*lines)))
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    before = np.concatenate([np.zeros((1, 2, 3)), x[:-1]])
    found = interpret(graph, {"x": x}, {"t": 5, "batch": 2})["y"]
    np.testing.assert_allclose(found, 2 * before * 2 * x + before)


def test_a_surrogate_in_a_cycle() -> None:
    """Leaky neurons that spike: the gradient is that of the surrogate, by hand."""
    text = net(
        "fn spike(v) = where(v > 0, 1, 0)",
        "    grad 1 / (1 + abs(v)) ** 2",
        "param w: [3]",
        "v = 0.9 * v[t-1] + w * x - s[t-1]",
        "s = spike(v - 0.5)",
        "output s",
        "loss sum(sum(s * x), over t)",
    )
    random = np.random.default_rng(0)
    x, w, steps = random.normal(size=(7, 1, 3)), random.normal(size=3), 7
    graph = adjoint(canonicalize(graph_of(text)))
    values = interpret(graph, {"x": x, "w": w}, {"t": steps, "batch": 1})
    v, s, slope = np.zeros((3, steps + 1, 3))
    for t in range(1, steps + 1):
        v[t] = 0.9 * v[t - 1] + w * x[t - 1, 0] - s[t - 1]
        s[t] = v[t] > 0.5
        slope[t] = 1 / (1 + abs(v[t] - 0.5)) ** 2
    assert 0 < s.sum() < s[1:].size
    np.testing.assert_array_equal(values["s"][:, 0], s[1:])
    gv, gw = np.zeros(3), np.zeros(3)
    for t in range(steps, 0, -1):
        gs = x[t - 1, 0] - gv  # what reads s: the loss, and v one step later
        gv = 0.9 * gv + gs * slope[t]
        gw += gv * x[t - 1, 0]
    np.testing.assert_allclose(values[dict(graph.gradients)["w"]], gw)
    for make in kernel_graphs(graph_of(text)).values():
        assert "with_slope" not in {node.operation for node in make().nodes}


def test_derivatives_of_several_arguments() -> None:
    text = net(
        "param a: [3], b, c: [3]",
        "fn f(a, b, c) = a * b * c",
        "    grad a: 5",
        "    grad b: c",
        "loss sum(f(a, b, c)) + 0 * sum(mean(x, over t))",
    )
    graph = adjoint(graph_of(text))
    a, b, c = np.array([1.0, 2, 3]), np.array(2.0), np.array([4.0, 5, 6])
    leaves = {"a": a, "b": b, "c": c, "x": np.ones((1, 1, 3))}
    values = interpret(graph, leaves, {"t": 1, "batch": 1})
    slopes = {leaf: values[name] for leaf, name in graph.gradients}
    assert values["loss"] == 2 * (4 + 10 + 18)
    np.testing.assert_array_equal(slopes["a"], [5, 5, 5])
    np.testing.assert_array_equal(slopes["b"], 15)
    np.testing.assert_array_equal(slopes["c"], [0, 0, 0])


def test_a_value_is_no_size_and_has_one() -> None:
    """The edit is where the name is read, also of what a use gives a cell."""
    cell = "cell c(u; H) -> h {\nparam W: [H, u]\nh = W @ u\n}\n"
    text = f"{net(cell)}y = c(x; H=2)\noutput y\n"
    (wrong,) = load_graph(Source("n.roll", text)).diagnostics
    ((span, new),) = ((edit.span, edit.text) for edit in wrong.edits)
    assert (text[span.start - 2 : span.end + 1], new) == (", u]", "size(u)")


def test_what_is_no_size_inside_a_cell_has_its_own_name() -> None:
    text = "net n\ninput x: [2]\ncell c(x; H) -> h {\n  param e: [2], p: [H, e]\n  h = p @ e\n}\n"
    (wrong,) = load_graph(Source("n.roll", f"{text}o = c(x; H=2)\noutput o\n")).diagnostics
    assert (wrong.code, wrong.helps) == ("R208", ("its length is `size(e)`",))
