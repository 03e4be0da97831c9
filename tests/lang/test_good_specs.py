"""Good specs: what they become, and that printing and reading them again changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rollc.ir.graph import Graph, Type
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.lang.syntax.formatter import format_spec
from rollc.lang.syntax.parser import parse_spec
from rollc.support.resources import specs
from tests.helpers.paths import BAD_SPECS, GOOD_SPECS, ROOT

GOOD = sorted([*GOOD_SPECS.glob("*.roll"), *specs().values()])
CELLS = sorted((ROOT / "specs" / "cells").glob("*.roll"))


def graph_of(text: str, **sets: int) -> Graph:
    source = Source("test.roll", text)
    checked = load_graph(source, sets)
    assert checked.graph is not None, render(checked.diagnostics, source)
    assert verify(checked.graph) == []
    return checked.graph


def equation(line: str, *more: str) -> Graph:
    """A small network around an equation of ``o``."""
    lines = [
        "net small",
        "dim D = 4",
        "input x: [D], u, w: index(3)",
        "static input z: [D]",
        "param W: [D, D], p: [D], k",
        line,
        *more,
        "output o",
    ]
    return graph_of("\n".join(lines))


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_specs_get_no_message_and_a_graph_that_verifies(path: Path) -> None:
    source = Source(path.name, path.read_text(encoding="utf-8"))
    checked = load_graph(source)
    assert render(checked.diagnostics, source) == ""
    assert checked.graph is not None
    assert checked.graph.stage == "checked"
    assert verify(checked.graph) == []


@pytest.mark.parametrize("path", [*GOOD, *CELLS], ids=lambda path: path.stem)
def test_printed_syntax_reads_back_equal(path: Path) -> None:
    spec, _ = parse_spec(Source(path.name, path.read_text(encoding="utf-8")))
    assert spec is not None
    printed = format_spec(spec)
    again, problems = parse_spec(Source("printed", printed))
    assert problems == []
    assert again == spec
    assert again is not None
    assert format_spec(again) == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("-a ** -b ** c", "-a ** -b ** c"),
        ("(-a) ** b", "(-a) ** b"),
        ("(a ** b) ** c", "(a ** b) ** c"),
        ("a - (b - c) - d", "a - (b - c) - d"),
        ("a @ b @ c * (d / e)", "a @ b @ c * (d / e)"),
        ("((a + b)) * - c", "(a + b) * -c"),
        ("-(a * b)", "-(a * b)"),
        ("(a < b) == (c >= d)", "(a < b) == (c >= d)"),
        ("a + b < c * 2", "a + b < c * 2"),
        ("h[ t - 2 * k ][1 :]", "h[t-2 * k][1:]"),
        ("h[t - (k + 1)]", "h[t-(k + 1)]"),
        ("x[:][2:3]", "x[:][2:3]"),
        ("f(a, n = 1e-05, over t)", "f(a, n=1e-05, over t)"),
        ("f(a , over s; H = 2)", "f(a; H=2, over s)"),
        ("f(; over s)", "f(over s)"),
        ("[ a+b , [1][0] ][:2] @ [[0, -1], [1, 0]]", "[a + b, [1][0]][:2] @ [[0, -1], [1, 0]]"),
        ("1e22 + .5 + 7.", "1e+22 + 0.5 + 7.0"),
    ],
)
def test_printed_expressions(text: str, printed: str) -> None:
    spec, _ = parse_spec(Source("one", f"y = {text}"))
    assert spec is not None
    assert format_spec(spec) == f"y = {printed}\n"
    assert parse_spec(Source("again", format_spec(spec)))[0] == spec


def test_unnamed_parts_are_numbered_in_the_order_of_evaluation() -> None:
    graph = equation("o = tanh(W @ x + W @ o[t-1] + p)")
    assert [str(edge) for edge in graph["o'2"].operands] == ["W", "o[t-1]"]
    assert [node.name for node in graph.nodes][-5:] == ["o'1", "o'2", "o'3", "o'4", "o"]
    assert [node.line for node in graph.nodes][-1] == 6


def test_a_cycle_takes_its_shape_from_outside() -> None:
    assert equation("o = 0.5 * o[t-1] + x")["o"].type == Type("float", (4,), ("t", "batch"))
    assert equation("o = W @ o[t-1] + 1")["o"].type.shape == (4,)
    assert equation("o = 0.5 * o[t-1] + 1")["o"].type == Type("float", (), ("t",))
    assert equation("o = W @ o[t-1] @ W", "init o = W")["o"].type.shape == (4, 4)
    assert equation("o = tanh(o[t-1])", "init o = z")["o"].type == Type(
        "float", (4,), ("t", "batch")
    )


@pytest.mark.parametrize(
    ("when", "delay"), [("t-D-1", 5), ("t-D+1", 3), ("t+D-1", -3), ("t-2*D+D-1", 5), ("t-D+D", 0)]
)
def test_a_delay_of_several_terms(when: str, delay: int) -> None:
    assert equation(f"o = x[{when}]")["o"].operands[0].delay == delay


def test_a_number_as_initial_value_fills_the_shape() -> None:
    graph = equation("o = 0.5 * o[t-1] + x", "init o = 2")
    initial = graph["o"].initial
    assert initial is not None
    assert (graph[initial].operation, graph[initial].type.shape) == ("fill", (4,))
    assert graph[graph[initial].operands[0].source].options == {"value": 2.0}


def test_initial_values_with_a_row_for_each_step() -> None:
    graph = equation("o = o[t-1] + o[t-2] + x", "init o = start", "param start: [2, 4]")
    assert graph["o"].initial == "start"
    assert graph["o"].type.shape == (4,)


def test_the_loss_is_the_mean_over_the_batch_where_there_is_one() -> None:
    graph = equation("o = x", "loss mean(sum(o), over t)")
    assert graph.loss == "loss"
    assert graph["loss"].options == {"over": ("batch",)}
    assert equation("o = x", "loss sum(p * p)")["loss"].operation == "sum"
    assert equation("o = x", "loss k")["loss"].operation == "identity"


def test_equal_constants_are_one_node() -> None:
    graph = equation("o = (2 * x + 2) / c ** b", "const c = 2, b = 4 / c")
    assert [node.name for node in graph.leaves("constant")] == ["c"]


def test_sizes_can_be_overridden_and_others_follow() -> None:
    text = "net n\ndim D = 2, E = 3 * D\ninput x: [E]\noutput x"
    assert graph_of(text)["x"].type.shape == (6,)
    assert graph_of(text, D=5)["x"].type.shape == (15,)
    assert graph_of(text, E=5).dims == (("D", 2), ("E", 5))


def test_slices_splits_and_elements() -> None:
    graph = equation("o = concat(x[:1], x[1:], x[1:3], x[3])")
    assert graph["o"].type.shape == (7,)
    cuts = [node.options for node in graph.nodes if node.operation == "slice"]
    assert cuts == [
        {"start": 0, "stop": 1},
        {"start": 1, "stop": 4},
        {"start": 1, "stop": 3},
        {"start": 3, "stop": 4},
    ]
    graph = equation("o, q = split(2 * x, 2)", "output q")
    assert graph["q"].options == {"start": 2, "stop": 4}
    assert graph["o"].operands == graph["q"].operands


def test_statements_go_on_inside_brackets_alone() -> None:
    graph = equation("o = clip(x,\n  # the bounds\n -1,\n1\n)")
    assert graph["o"].operation == "clip"


def test_the_ends_of_lines_can_be_those_of_any_system() -> None:
    text = (GOOD_SPECS / "lstm.roll").read_text(encoding="utf-8")
    assert graph_of(text.replace("\n", "\r\n")) == graph_of(text)


def test_the_same_bytes_under_two_hash_seeds() -> None:
    program = (
        "import sys\n"
        "from rollc.lang.load import load_graph\n"
        "from rollc.lang.diagnostics.source import Source\n"
        "from rollc.lang.diagnostics.diagnostic import render\n"
        "for path in sys.argv[1:]:\n"
        "    source = Source(path, open(path, newline='').read())\n"
        "    checked = load_graph(source)\n"
        "    print(render(checked.diagnostics, source), checked.unchecked)\n"
    )
    paths = [str(path) for path in (*GOOD, *sorted(BAD_SPECS.glob("*.roll")))]
    found = {
        subprocess.run(
            [sys.executable, "-c", program, *paths],
            capture_output=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
