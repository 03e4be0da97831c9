"""Graphs as text: golden files, reading back, and what is wrong with a text."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Edge, Graph, Node, Type, attributes
from rollc.ir.text import IRTextError, parse_graph, print_graph
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.spec_error import SpecError
from tests.commands.fuzz_graphs import mutation, try_text
from tests.helpers.paths import GOLDEN, ROOT
from tests.helpers.stage_texts import stages, texts

SPECS = sorted(GOLDEN.glob("*.roll"))

TEXT = """\
rollc graph 1  stage checked
net small
dim H = 3
axis t

x = input()                           : float[3] over t, batch  line 4
W = param() {initialiser=glorot}      : float[3, 3]             line 5
a = matmul(W, h[t-1])                 : float[3] over t, batch  line 6
h = add(a, x) init z                  : float[3] over t, batch  line 6
z = fill(k) {shape=[3]}               : float[3]                line 7
k = constant() {value=-1.5e-07}       : float

output h
"""


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
@pytest.mark.parametrize("part", ["checked.txt", "simplified.txt", "adjoint.txt", "dag.txt"])
def test_golden_texts(spec: Path, part: str, expect: Callable[[str, Path], None]) -> None:
    expect(texts(spec)[part], GOLDEN / f"{spec.stem}.{part}")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
def test_every_stage_reads_back(spec: Path) -> None:
    for graph in stages(spec).values():
        assert parse_graph(print_graph(graph)) == graph


def test_same_bytes_under_two_hash_seeds() -> None:
    def output(seed: str) -> bytes:
        return subprocess.run(
            [sys.executable, "-m", "tests.helpers.stage_texts", *map(str, SPECS)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout

    assert output("1") == output("2")


def test_every_part_of_a_graph_is_kept() -> None:
    odd = attributes(
        flag=True,
        whole=-3,
        tiny=5e-324,
        large=1e300,
        one=1.0,
        infinite=-math.inf,
        word="last",
        text='a "quoted" }# text\n\\ é',
        truth="true",
        number="nan",
        axes=("t", "batch"),
        sizes=(3, 4),
        nothing=(),
    )
    vector = Type("float", (3,), ("t", "batch"))
    nodes = (
        Node("h", "tanh", (Edge("low.a'1", 4, "t"),), vector, odd, "low.b", 12),
        Node("low.a'1", "add", (Edge("h", -2, "t"), Edge("h")), vector),
        Node("low.b", "param", (), Type("float", (2, 3))),
        Node("~h:1'2.10", "identity", (Edge("h"),), vector),
        Node("state.h^1", "less", (Edge("h"), Edge("h")), Type("bool", (), ("batch",))),
        Node("w", "input", (), Type("index", (), ("t",), 7)),
        Node("line", "argmax", (Edge("h"),), Type("index")),
    )
    graph = Graph(
        "net",
        "dag",
        nodes,
        (("o.0", "h"), ("h", "h")),
        "h",
        (("low.b", "~h:1'2.10"),),
        ("s", "t"),
        (("H", 3), ("K", 0)),
        17,
    )
    assert parse_graph(print_graph(graph)) == graph
    bare = Graph("empty", "graph", (), axes=())
    assert parse_graph(print_graph(bare)) == bare


def test_not_a_number_reads_back() -> None:
    node = Node("k", "constant", (), Type("float"), attributes(value=math.nan))
    text = print_graph(Graph("n", "graph", (node,)))
    assert "value=nan" in text
    (found,) = parse_graph(text).nodes
    assert math.isnan(float(str(found.options["value"])))


def test_people_may_space_comment_and_reorder() -> None:
    lines = TEXT.splitlines()
    loose = [line.replace(" : ", ":").replace(", ", " ,  ") + "   # why" for line in lines[5:11]]
    text = "# a comment first\n\r\n" + "\n".join([*lines[:4], "", *loose, *lines[11:]])
    assert parse_graph(text) == parse_graph(TEXT)
    assert parse_graph(TEXT.replace("float[3] over", "float  [ 3 ]  over")) == parse_graph(TEXT)


# What is replaced by what, the text that the error points at, and its message.
WRONG = {
    "no header": ("rollc graph 1  stage checked", "net other", "net other", "expected `rollc`"),
    "version": ("graph 1 ", "graph 2 ", "2  stage", "version 2 is not known"),
    "stage": ("stage checked", "stage baked", "baked", "unknown stage `baked`"),
    "operation": ("add(a, x)", "sum2(a, x)", "sum2", "unknown operation `sum2`"),
    "count": ("add(a, x)", "add(a)", "add(a)", "takes 2 operands, found 1"),
    "leaf with operands": ("x = input()", "x = input(W)", "input(W)", "takes 0 operands"),
    "unknown operand": ("matmul(W,", "matmul(V,", "V, h[t-1]", "unknown name `V`"),
    "unknown initial": ("init z", "init zz", "zz", "unknown name `zz`"),
    "unknown output": ("output h", "output g", "g", "unknown name `g`"),
    "twice": ("k = constant", "x = constant", "x = c", "`x` is defined twice, first in line 6"),
    "delay of nothing": ("h[t-1]", "h[t-0]", "0])", "a delay of no steps"),
    "no sign": ("h[t-1]", "h[t 1]", "1])", "expected `-`"),
    "open bracket": ("h[t-1]", "h[t-1", ") ", "expected `]`"),
    "attribute twice": ("{shape=[3]}", "{shape=[3], shape=3}", "shape=3}", "is given twice"),
    "attribute": ("{shape=[3]}", "{shape=?}", "?}", "expected a number, a word or a string"),
    "mixed list": ("{shape=[3]}", "{shape=[3, t]}", "[3, t]", "a list holds"),
    "type": ("line 7", "lime 7", "lime 7", "expected the end of the line"),
    "kind": (": float\n", ": real\n", "real", "unknown type `real`"),
    "size": ("float[3, 3]", "float[3, H]", "H]", "expected a size"),
    "dim twice": ("dim H = 3", "dim H = 3, H = 4", "H = 4", "`H` is given twice"),
    "second axis line": ("axis t\n", "axis t\naxis s\n", "axis s", "a second `axis` line"),
    "second output": ("output h\n", "output h\noutput h # 2", "h # 2", "a second output `h`"),
    "statement": ("output h", "outputs h", "h", "expected `=` after `outputs`"),
    "long number": ("line 4", "line " + "4" * 5000, "4" * 5000, "expected a line of the spec"),
    "rest": ("output h", "output h g", "g", "expected the end of the line"),
}


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.replace(" ", "-"))
def test_what_is_wrong_and_where(case: str) -> None:
    old, new, place, message = WRONG[case]
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    with pytest.raises(IRTextError) as caught:
        parse_graph(text)
    error = caught.value
    assert message in error.message
    assert text.split("\n")[error.line - 1][error.column - 1 :].startswith(place)


# What is replaced by what, the line that is named, and what is said.
REFUSED = {
    "gradient of nothing": ("output h", "output h\ngradient g = W", 14, "no parameter or input"),
    "gradient of a value": ("output h", "output h\ngradient a = a", 14, "no parameter or input"),
    "gradient of another shape": ("output h", "output h\ngradient W = h", 14, "`W` is float[3, 3]"),
    "loss of a vector": ("output h", "output h\nloss z", 14, "the loss `z` is not one number"),
    "axis twice": ("axis t", "axis t, t", 4, "a time axis is given twice"),
    "batch as an axis": ("axis t", "axis batch, t", 4, "`batch` is no name of a time axis"),
    "no size": ("dim H = 3", "dim H = 0", 3, "`H` is no size"),
    "no steps": ("axis t", "axis t\nsteps 0", 5, "the number of steps is not positive"),
    "type": (": float[3] over t, batch  line 4", ": index(0) over t, batch", 6, "needs the number"),
    "long delay": ("h[t-1]", "h[t-1000001]", 8, "a delay of more than 1000000 steps"),
    "initial value": ("init z", "init k", 9, "its initial value `k` has another shape"),
    "state": ("output h", "output state.h = h", 13, "give it another label"),
    "input": ("x", "batch'lengths", 6, "call the input another"),
    "spread": ("add(a, x)", "spread(x) {axis=t}", 9, "the same all along `t`"),
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.replace(" ", "-"))
def test_what_a_text_says_that_is_no_network(case: str) -> None:
    old, new, line, message = REFUSED[case]
    text = re.sub(rf"\b{re.escape(old)}(?!\w)" if old == "x" else re.escape(old), new, TEXT)
    with pytest.raises(SpecError) as caught:
        read_spec(text, "edited.txt")
    first = str(caught.value).split("\n")[0]
    assert first.startswith(f"edited.txt: line {line}: ")
    assert message in first


@pytest.mark.parametrize(
    "name",
    ["~h", "~a", "state.h", "h'kept", "h'past1", "h^dot", "h'final", "~h:seed", "h'noise", "h.0"],
)
def test_names_that_passes_make_are_no_others(name: str) -> None:
    """A text that is compiled anew may have them: a value gets another name, and is the same."""
    plain = TEXT.replace("output h", "output h\noutput o = a")
    operations = []
    for text in (plain, re.sub(r"\ba\b", name, plain)):
        graph, _ = read_spec(text, "edited.txt")
        assert verify(graph) == []
        made = {entry: make() for entry, make in kernel_graphs(graph).items()}
        assert all(verify(found) == [] and compiled(found, "float64") for found in made.values())
        operations.append({entry: [n.operation for n in made[entry].nodes] for entry in made})
    assert operations[0] == operations[1]


@pytest.mark.parametrize("seed", range(15))
def test_damaged_graphs_are_refused_or_become_kernels(seed: int) -> None:
    try_text(mutation(seed))


def test_a_network_needs_a_name() -> None:
    with pytest.raises(IRTextError, match="`net NAME` is missing"):
        parse_graph(TEXT.replace("net small", ""))


@pytest.mark.parametrize("text", ["", "\n\n# nothing\n", "\x00", "rollc", "rollc graph"])
def test_no_graph_at_all(text: str) -> None:
    with pytest.raises(IRTextError):
        parse_graph(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_damaged_text_is_read_or_refused(data: st.DataObject) -> None:
    text = TEXT
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        end = at + data.draw(st.integers(0, 6))
        new = data.draw(
            st.sampled_from(['"', "[", "{", "t-", "=", "9" * 30, "~", "e5", "\x0b", ""])
        )
        text = text[:at] + new + text[end:]
    try:
        graph = parse_graph(text)
    except IRTextError:
        return
    assert parse_graph(print_graph(graph)) == graph


@pytest.mark.parametrize("run", [" ", "~", "a.", "[", "9", '"', "1.", "float[3] "])
def test_hostile_lines_end(run: str) -> None:
    """A pattern that tries again and again from every place would take days here."""
    head = "rollc graph 1  stage graph\nnet n\n"
    for place in ("x = ", "x = fill(k) {a=", "x = input() : float", ""):
        with pytest.raises(IRTextError):
            parse_graph(head + place + run * 1_000_000 + "!")
