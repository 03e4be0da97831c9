"""Pictures: delays are black squares, an unrolled graph has a column a step."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.errors import InputError
from rollc.ir.graph import Edge, Graph, Node, Type
from rollc.tools.cli.drawing import picture
from rollc.tools.draw.dot import draw_dot
from rollc.tools.draw.folding import Read, folded
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.unroll import unroll
from tests.helpers.paths import GOLDEN
from tests.helpers.stage_texts import stages

SQUARE = "shape=square"


def graph_of(spec: str) -> Graph:
    return stages(GOLDEN / f"{spec}.roll")["checked"]


def chain(*delays: int) -> Graph:
    """A value that reads itself with these delays, and what reads it with the same ones."""
    type_ = Type("float", (), ("t",))
    own = Node("s", "add", tuple(Edge("s", delay, "t") for delay in delays), type_)
    return Graph("n", "graph", (own,))


@pytest.mark.parametrize("every_node", [False, True])
@pytest.mark.parametrize("spec", ["vanilla", "both_ways"])
def test_the_text_is_as_it_was(
    spec: str, every_node: bool, expect: Callable[[str, Path], None]
) -> None:
    graph = unroll(graph_of(spec), 2) if every_node and spec == "vanilla" else graph_of(spec)
    name = f"{spec}{'.nodes' if every_node else ''}.dot.txt"
    expect(draw_dot(graph, every_node), GOLDEN / name)


def test_values_with_names_are_shown_and_others_folded() -> None:
    values = {value.node.name: value for value in folded(graph_of("vanilla"))}
    assert list(values) == ["x", "y", "s", "o", "loss"]
    assert values["s"].parameters == ("U", "W", "b")
    assert values["s"].reads == (Read("x"), Read("s", (("t", 1),)))
    assert values["loss"].reads == (Read("o"), Read("y"))


def test_gradients_of_one_origin_are_one() -> None:
    values = folded(canonicalize(adjoint(graph_of("vanilla"))))
    assert [sorted(value.names) for value in values if len(value.names) > 1] == [
        ["~V", "~c"],
        ["~U", "~W", "~b"],
    ]


def test_a_cycle_of_unnamed_nodes_is_shown() -> None:
    type_ = Type("float", (), ("t",))
    own = Node("a'1", "tanh", (Edge("a'1", 1, "t"),), type_)
    named = Node("a", "tanh", (Edge("a'1", 2, "t"),), type_)
    values = folded(Graph("n", "graph", (own, named)))
    assert [value.node.name for value in values] == ["a'1", "a"]
    assert values[1].reads == (Read("a'1", (("t", 2),)),)


def test_delays_on_the_way_add_up() -> None:
    type_ = Type("float", (), ("t",))
    x = Node("x", "input", (), type_)
    inner = Node("a'1", "tanh", (Edge("x", 2, "t"),), type_)
    outer = Node("a", "tanh", (Edge("a'1", 3, "t"),), type_)
    assert folded(Graph("n", "graph", (x, inner, outer)))[1].reads == (Read("x", (("t", 5),)),)


@pytest.mark.parametrize(
    ("delays", "squares"), [((1,), 1), ((3,), 3), ((1, 3), 3), ((2, -1), 3), ((-2,), 2)]
)
def test_a_delay_is_as_many_squares_as_steps(delays: tuple[int, ...], squares: int) -> None:
    """Several delays of one value are taps of one line."""
    for every_node in (False, True):
        text = draw_dot(chain(*delays), every_node)
        assert text.count(SQUARE) == squares
        assert text.count('xlabel="+"') == (min(delays) < 0)
        for delay in delays:
            assert f'"s" -> "s[t{-delay:+d}]" [dir=back];' in text


def test_a_long_delay_is_one_square_with_a_number() -> None:
    text = draw_dot(chain(1, 13))
    assert text.count(SQUARE) == 2
    assert 'xlabel="12"' in text


def test_every_read_is_an_arrow() -> None:
    graph = graph_of("vanilla")
    text = draw_dot(graph, every_node=True)
    for node in graph.nodes:
        assert f'  "{node.name}" [' in text
        for edge in node.operands:
            if edge.delay == 0:
                assert f'"{edge.source}" -> "{node.name}"' in text
            else:  # on a cycle the square stands beside the way, and the arrow is turned
                assert f'"{node.name}" -> "{edge}" [dir=back]' in text


def places(text: str) -> dict[str, tuple[float, float]]:
    found = re.findall(r'  "([^"]+)" \[.*pos="([-\d.]+),([-\d.]+)!"', text)
    return {name: (float(x), float(y)) for name, x, y in found}


@pytest.mark.parametrize("every_node", [False, True])
def test_a_column_a_step_and_a_row_a_value(every_node: bool) -> None:
    graph = unroll(canonicalize(adjoint(graph_of("vanilla"))), 3)
    at = places(draw_dot(graph, every_node))
    heads = [at[f"step {step}"][0] for step in range(3)]
    assert heads == sorted(heads)
    width = heads[1] - heads[0]
    for name, (x, y) in at.items():
        of, _, step = name.rpartition(".")
        if step.isdigit():
            assert abs(x - heads[int(step)]) < width / 2, name
            assert y == at[f"{of}.{2 - int(step)}"][1], name
    assert len(set(at.values())) == len(at)
    for step in range(3):  # from top to bottom: the network, and then its adjoint
        rows = [at[f"{name}.{step}"][1] for name in ("x", "s", "o", "~o", "~s", "~x")]
        assert rows == sorted(rows, reverse=True)


def test_names_cannot_leave_their_quotes() -> None:
    name = 'a"]; b [label="\\'
    graph = Graph(name, "graph", (Node(name, "tanh", (Edge(name, 1, "t"),), Type("float")),))
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", draw_dot(graph, every_node=True))
    assert re.search(r"\bb\b", outside) is None
    assert '"' not in outside


@pytest.mark.parametrize("every_node", [False, True])
@pytest.mark.parametrize("spec", ["vanilla", "both_ways"])
def test_braces_and_brackets_close(spec: str, every_node: bool) -> None:
    for graph in stages(GOLDEN / f"{spec}.roll").values():
        text = draw_dot(graph, every_node)
        outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
        assert outside.count("{") == outside.count("}")
        assert outside.count("[") == outside.count("]")
        assert '"' not in outside


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("every_node", [False, True])
def test_graphviz_draws_it(every_node: bool) -> None:
    for graph in stages(GOLDEN / "both_ways.roll").values():
        assert b"</svg>" in picture(draw_dot(graph, every_node), "svg")


def test_without_graphviz_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="install Graphviz"):
        picture("digraph {}", "svg")
