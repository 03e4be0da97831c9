"""What the boxes of a picture stand for, and its text for Graphviz."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.drawing import graphviz
from rollc.drawing.folding.equations import equation, full_text
from rollc.drawing.folding.folding import Read, folded
from rollc.drawing.picture import draw
from rollc.driver.sources import read_spec
from rollc.entries.stage_graphs import stage_graph
from rollc.errors import InputError
from rollc.ir.graph import Edge, Graph, Node, Type
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


def dot(graph: Graph, every_node: bool = False) -> str:
    return draw(graph, every_node=every_node).dot()


@pytest.mark.parametrize("every_node", [False, True])
@pytest.mark.parametrize("spec", ["vanilla", "both_ways"])
def test_the_text_is_as_it_was(
    spec: str, every_node: bool, expect: Callable[[str, Path], None]
) -> None:
    graph = unroll(graph_of(spec), 2) if every_node and spec == "vanilla" else graph_of(spec)
    name = f"{spec}{'.nodes' if every_node else ''}.dot.txt"
    expect(dot(graph, every_node), GOLDEN / name)


def test_values_with_names_are_shown_and_others_folded() -> None:
    values = {value.node.name: value for value in folded(graph_of("vanilla")).values}
    assert list(values) == ["x", "y", "s", "o", "loss"]
    assert values["s"].parameters == ("U", "W", "b")
    assert values["s"].reads == (Read("x"), Read("s", (("t", 1),)))
    assert values["loss"].reads == (Read("o"), Read("y"))


def test_gradients_of_one_origin_are_one() -> None:
    values = folded(canonicalize(adjoint(graph_of("vanilla")))).values
    assert [sorted(value.names) for value in values if len(value.names) > 1] == [
        ["~V", "~c"],
        ["~U", "~W", "~b"],
    ]


def test_derivatives_forwards_have_the_names_of_their_values() -> None:
    shown = [
        value.node.name
        for value in folded(stage_graph(graph_of("vanilla"), "dag", "jvp", 1)).values
    ]
    assert [name for name in shown if name.endswith("^dot.0")] == ["x^dot.0", "s^dot.0", "o^dot.0"]


def test_a_cycle_of_unnamed_nodes_is_shown() -> None:
    type_ = Type("float", (), ("t",))
    own = Node("a'1", "tanh", (Edge("a'1", 1, "t"),), type_)
    named = Node("a", "tanh", (Edge("a'1", 2, "t"),), type_)
    values = folded(Graph("n", "graph", (own, named))).values
    assert [value.node.name for value in values] == ["a'1", "a"]
    assert values[1].reads == (Read("a'1", (("t", 2),)),)


def test_delays_on_the_way_add_up() -> None:
    type_ = Type("float", (), ("t",))
    x = Node("x", "input", (), type_)
    inner = Node("a'1", "tanh", (Edge("x", 2, "t"),), type_)
    outer = Node("a", "tanh", (Edge("a'1", 3, "t"),), type_)
    values = folded(Graph("n", "graph", (x, inner, outer))).values
    assert values[1].reads == (Read("x", (("t", 5),)),)


def test_a_function_that_two_values_are_read_through_is_not_that_of_the_box() -> None:
    type_ = Type("float", (), ("t",))
    x = Node("x", "input", (), type_)
    a = Node("a", "add", (Edge("x"), Edge("x")), type_)
    one, other = (Node(f"b'{n}", "tanh", (Edge("a"),), type_) for n in (1, 2))
    square = Node("b", "multiply", (Edge("b'1"), Edge("b'1")), type_)
    graph = Graph("n", "graph", (x, a, one, square))
    values = {value.name: value for value in folded(graph).values}
    assert values["a"].applied == "b'1"
    product = Node("b", "multiply", (Edge("b'1"), Edge("b'2")), type_)
    graph = Graph("n", "graph", (x, a, one, other, product))
    values = {value.name: value for value in folded(graph).values}
    assert values["a"].applied is None


def test_a_node_without_a_name_that_spares_arrows_is_a_value() -> None:
    """Two sources and four readers: six arrows in the place of eight."""
    type_ = Type("float", (4,), ("t",))
    leaves = [Node(name, "input", (), type_) for name in "xy"]
    both = Node("a'1", "add", (Edge("x"), Edge("y")), type_)
    readers = [Node(name, "tanh", (Edge("a'1"),), type_) for name in "abcd"]
    for count, names in ((4, ["x", "y", "a'1", *"abcd"]), (2, ["x", "y", "a", "b"])):
        graph = Graph("n", "graph", (*leaves, both, *readers[:count]))
        assert [value.name for value in folded(graph).values] == names


@pytest.mark.parametrize(
    ("delays", "marks"),
    [((1,), [""]), ((3,), ["3"]), ((1, 3), ["", "2"]), ((2, -1), ["2", "+1"]), ((-2,), ["+2"])],
)
def test_a_delay_is_a_square_with_the_number_of_its_steps(
    delays: tuple[int, ...], marks: list[str]
) -> None:
    """Several delays of one value are taps of one line: from one to the next."""
    for every_node in (False, True):
        picture = draw(chain(*delays), every_node=every_node)
        text = picture.dot()
        assert text.count(SQUARE) == len(marks)
        for delay in delays:
            square = re.escape(f'"s[t{-delay:+d}]"')
            assert re.search(rf'"s" -> {square} \[.*dir=back', text)
        found = re.findall(r'POINT-SIZE="8.5">([+\d]*)<', text)
        assert sorted(found) == sorted(mark for mark in marks if mark)


def test_every_read_is_an_arrow() -> None:
    graph = graph_of("vanilla")
    text = dot(graph, every_node=True)
    for node in graph.nodes:
        assert f'"{node.name}" [' in text
        for edge in node.operands:
            if edge.delay == 0:
                assert f'"{edge.source}" -> "{node.name}"' in text
            else:  # on a cycle the square stands beside the way, and the arrow is turned
                assert re.search(f'"{node.name}" -> "{re.escape(str(edge))}".*dir=back', text)


def test_names_cannot_leave_their_quotes() -> None:
    name = 'a"]; b [label="\\'
    graph = Graph(name, "graph", (Node(name, "tanh", (Edge(name, 1, "t"),), Type("float")),))
    outside = re.sub(r'"(?:[^"\\]|\\.)*"|<(?:<[^>]*>|[^<>])*>', "", dot(graph, every_node=True))
    assert re.search(r"\bb\b", outside) is None
    assert '"' not in outside


@pytest.mark.parametrize("every_node", [False, True])
@pytest.mark.parametrize("spec", ["vanilla", "both_ways"])
def test_braces_and_brackets_close(spec: str, every_node: bool) -> None:
    for graph in stages(GOLDEN / f"{spec}.roll").values():
        outside = re.sub(r'"(?:[^"\\]|\\.)*"|<(?:<[^>]*>|[^<>])*>', "", dot(graph, every_node))
        assert outside.count("{") == outside.count("}")
        assert outside.count("[") == outside.count("]")
        assert '"' not in outside


@pytest.mark.skipif(not graphviz.is_there(), reason="there is no Graphviz")
@pytest.mark.parametrize("every_node", [False, True])
def test_graphviz_draws_all_stages(every_node: bool) -> None:
    for graph in stages(GOLDEN / "both_ways.roll").values():
        assert "</svg>" in draw(graph, every_node=every_node).svg()


def test_without_graphviz_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(graphviz, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'rollc\[draw\]'"):
        graphviz.run("digraph {}", "svg")


def test_what_graphviz_says_is_said() -> None:
    if graphviz.is_there():
        with pytest.raises(InputError, match="Graphviz could not draw it"):
            graphviz.run("digraph {", "svg")


def test_values_that_are_long_to_write_out_are_written_in_time() -> None:
    """Thirty squares of a square would be 2**30 factors; a cycle of values has no end."""
    type_ = Type("float", (), ("t",))
    nodes = [Node("x", "input", (), type_)]
    for number in range(30):
        last = nodes[-1].name
        nodes.append(Node(f"a'{number}", "multiply", (Edge(last), Edge(last)), type_))
    nodes.append(Node("a", "tanh", (Edge(nodes[-1].name),), type_))
    (_, value) = folded(graph := Graph("n", "graph", tuple(nodes))).values
    assert len(full_text(folded(graph), value)) < 5000
    one = Node("b'1", "tanh", (Edge("b'2", 1, "t"),), type_)
    other = Node("b'2", "tanh", (Edge("b'1"),), type_)
    assert "tanh" in dot(Graph("n", "graph", (one, other)))


def test_elements_transposes_and_stacks_are_written_as_in_a_spec() -> None:
    vector, matrix = Type("float", (3,), ("t",)), Type("float", (3, 3), ("t",))
    number = Type("float", (), ("t",))
    x, m = Node("x", "input", (), vector), Node("m", "input", (), matrix)
    cut = Node(
        "a'1", "slice", (Edge("x"),), Type("float", (1,), ("t",)), (("start", 1), ("stop", 2))
    )
    one = Node("a'2", "sum", (Edge("a'1"),), number, (("axis", -1),))
    a = Node("a", "stack", (Edge("a'2"), Edge("a'2")), Type("float", (2,), ("t",)))
    turned = Node("b'1", "transpose", (Edge("m"),), matrix)
    b = Node("b", "matmul", (Edge("b'1"), Edge("x")), vector)
    shown = folded(Graph("n", "graph", (x, m, cut, one, a, turned, b)))
    texts = {value.name: equation(shown, value, lambda text: True) for value in shown.values}
    assert texts["a"] == "[x[1], x[1]]"
    assert texts["b"] == "mᵀ x"


def test_a_read_along_two_axes_is_of_the_value_itself() -> None:
    text = """\
net n
time s, t
input x[s], y[t]
param w
rows = rows[s-1] + x
columns = columns[t-1] + y
h = w * h[s-1] + 2 * h[t-1] + x * y + h[s-1, t-1] ** 2
init h over s = columns
init h over t = rows
output h
"""
    graph, _ = read_spec(text, "n.roll", {}, "taught")
    shown = folded(graph)
    texts = {value.name: equation(shown, value, lambda text: True) for value in shown.values}
    assert texts["h"] == "w · h[s-1] + 2 · h[t-1] + x · y + h[s-1, t-1] ** 2"


def test_masks_of_contributions_are_left_out() -> None:
    text = "net n\ninput x\nh = sqrt(h[t-1] * x)\ninit h = 1\noutput h\nloss mean(h, over t)\n"
    graph, _ = read_spec(text, "n.roll", {}, "taught")
    backwards = stage_graph(graph, "adjoint")
    assert any(node.operation == "reached" for node in backwards.nodes)
    shown = folded(backwards)
    texts = [equation(shown, value, lambda text: True) for value in shown.values]
    assert not any("reached" in text for text in texts), texts
    assert {"~h", "h", "x"} <= {value.name for value in shown.values}


def test_what_is_broadcast_is_written_as_in_the_spec() -> None:
    text = """\
net n
input x: [3]
param A: [3, 3]
gap = expand(x[t-1], axis=0) - expand(x, axis=1)
m = max(expand(x, axis=1) + A, axis=0)
output gap, m
"""
    graph, _ = read_spec(text, "n.roll", {}, "taught")
    shown = folded(graph)
    texts = {value.name: equation(shown, value, lambda text: True) for value in shown.values}
    assert texts["gap"] == "expand(x[t-1], axis=0) - expand(x, axis=1)"
    assert texts["m"] == "max(expand(x, axis=1) + A)"


def test_the_parts_of_a_complex_value_have_their_names() -> None:
    text = "net n\ninput x: complex[2]\nparam w: complex[2]\nz = w * z[t-1] + x\noutput z\n"
    graph, _ = read_spec(text, "n.roll", {}, "taught")
    drawn = draw(graph).diagram
    lines = {line.text for box in drawn.boxes for line in box.lines}
    assert {"Re x", "Im x", "Re z", "Im z", "Re w [2]"} <= lines
    shown = folded(graph)
    texts = {value.name: equation(shown, value, lambda text: True) for value in shown.values}
    assert texts["z're"] == "Re w · Re z[t-1] - Im w · Im z[t-1] + Re x"
