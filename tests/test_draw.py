"""Pictures: delays are black squares, an unrolled graph has a column a step."""

from __future__ import annotations

import re
from pathlib import Path

from stages import stages

from rollc.draw import draw_dot
from rollc.graph.graph import Edge, Graph, Node, Type
from rollc.graph.unroll import unroll

GOLDEN = Path(__file__).parent / "golden"


def test_a_delay_is_as_many_squares_as_steps() -> None:
    text = draw_dot(stages(GOLDEN / "both_ways.roll")["checked"])
    labels = re.findall(r'label="(\+?■+)"', text)
    assert sorted(labels) == ["+■■", "■", "■■"]


def test_a_long_delay_is_one_square_with_a_number() -> None:
    node = Node("s", "tanh", (Edge("s", 12, "t"),), Type("float", (), ("t",)))
    assert 'label="■ 12"' in draw_dot(Graph("n", "graph", (node,)))


def test_every_read_is_an_arrow() -> None:
    graph = stages(GOLDEN / "vanilla.roll")["checked"]
    text = draw_dot(graph)
    for node in graph.nodes:
        assert f'  "{node.name}" [' in text
        for edge in node.operands:
            start = f'"{edge.source}" -> '
            end = f'"{node.name}"' if edge.delay == 0 else f'"{edge} -> {node.name}"'
            assert start + end in text


def test_a_column_a_step() -> None:
    text = draw_dot(unroll(stages(GOLDEN / "vanilla.roll")["checked"], 3))
    columns = re.findall(r'rank=same; "step (\d)"; (.*) }', text)
    assert [step for step, _ in columns] == ["0", "1", "2"]
    for step, members in columns:
        assert f'"s.{step}";' in members
        assert f'"x.{step}";' in members
    assert '"step 0" -> "step 1" -> "step 2"' in text


def test_names_cannot_leave_their_quotes() -> None:
    name = 'a"]; b [label="\\'
    text = draw_dot(Graph(name, "graph", (Node(name, "tanh", (Edge(name),), Type("float")),)))
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    assert re.search(r"\bb\b", outside) is None
    assert '"' not in outside


def test_braces_and_brackets_close() -> None:
    for spec in ("vanilla", "both_ways"):
        for graph in stages(GOLDEN / f"{spec}.roll").values():
            outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", draw_dot(graph))
            assert outside.count("{") == outside.count("}")
            assert outside.count("[") == outside.count("]")
            assert '"' not in outside
