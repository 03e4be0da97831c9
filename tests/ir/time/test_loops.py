"""The loops of a graph, along one axis and along two: the text of a graph in, loops out."""

from __future__ import annotations

import pytest

from rollc.ir.graph import Graph
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.time.causality import AlongTwoAxes, NeedsWhole, check
from rollc.ir.time.delay_axes import separated
from rollc.ir.time.loops import components, loop_of
from rollc.ir.time.retiming import NoTiming
from rollc.ir.traversal import NoOrder
from rollc.ir.verifier import verify
from tests.helpers.small_graphs import BACK, STATE, graph

BOTH = "rollc graph 1  stage checked\nnet test\naxis s, t\n\nx = input() : float over s, t, batch\n"


def plane(*nodes: str) -> Graph:
    """A graph over two axes, each node of numbers at all their steps."""
    return parse_graph(BOTH + "".join(f"{node} : float over s, t, batch\n" for node in nodes))


def test_components_come_after_what_they_read_each_in_the_order_of_its_loop() -> None:
    found = [
        ([node.name for node in nodes], loop.direction)
        for nodes, loop in components(graph(STATE).with_nodes(reversed(graph(STATE).nodes)))
    ]
    assert found == [(["h"], 1), (["x"], 1), (["s", "c"], 1), (["o"], 1)]


def test_a_component_from_the_last_step() -> None:
    *_, (nodes, loop) = components(graph("b = add(x, a[t+1]) : float over t, batch\n" + BACK))
    assert [node.name for node in nodes] == ["b", "a"]
    assert loop.direction == -1


def test_components_that_no_loop_computes() -> None:
    with pytest.raises(NoOrder, match="the cycle through `b` has no delay"):
        list(components(graph("b = add(x, a) : float over t, batch\n" + BACK)))
    with pytest.raises(NoTiming):
        list(components(graph("b = add(a[t-1], a[t+1]) : float over t, batch\n" + BACK)))


def shape(graph: Graph) -> list[object]:
    """The loop of the only cycle: direction and axis, and its parts, those of a row as a name."""
    (loop,) = (loop for nodes, loop in components(graph) if len(nodes) > 1 or loop.axis)
    parts = [
        part.nodes[0].name
        if part.loop is None
        else (part.loop.direction, part.loop.axis, [node.name for node in part.nodes])
        for part in loop.parts
    ]
    return [loop.direction, loop.axis, *parts]


def test_a_cycle_along_two_axes_is_loops_in_a_loop() -> None:
    found = plane("h = add(g[t-1], c[s-1])", "g = along(h) {axis=t}", "c = tanh(h)")
    assert check(found).findings == ()
    assert shape(found) == [1, "s", (1, "t", ["h", "g"]), "c"]


def test_the_corner_that_it_begins_at_follows_from_the_delays() -> None:
    found = plane("h = add(g[t-2], c[s+1])", "g = along(h) {axis=t}", "c = tanh(h)")
    assert shape(found) == [-1, "s", (1, "t", ["h", "g"]), "c"]


def test_a_cycle_that_needs_earlier_rows_alone_has_no_inner_loop() -> None:
    # h[t-1] and h[s+1, t-1]: of the two axes, that along which all of a row is known.
    found = plane("h = add(h[t-1], g[s+1])", "g = along(h[t-1]) {axis=s}")
    assert shape(found) == [1, "t", "g", "h"]


def test_an_axis_with_delays_of_both_signs_is_the_inner_one() -> None:
    # h[s-1, t+2] and h[t-1].
    found = plane("h = add(k[t-1], g[t+2])", "k = along(h) {axis=t}", "g = along(h[s-1]) {axis=t}")
    assert shape(found) == [1, "s", "g", (1, "t", ["h", "k"])]


def test_a_step_may_need_all_steps_along_the_other_axis() -> None:
    mean = "m = mean_over(h) {over=[t]} : float over s, batch\n"
    node = (
        "h = add(g[t-1], m[{0}]) : float over s, t, batch\ng = tanh(h) : float over s, t, batch\n"
    )
    found = parse_graph(BOTH + node.format("s-1") + mean)
    assert check(found).findings == ()
    assert shape(found) == [1, "s", (1, "t", ["h", "g"]), "m"]
    wrong = parse_graph(BOTH + node.format("s-1") + mean.replace("[t]", "[s]").replace("s,", "t,"))
    assert verify(wrong)
    inner = parse_graph(
        BOTH
        + "h = add(x, last(m)) : float over s, t, batch\n".replace("last(m)", "m")
        + "m = mean_over(g[s-1]) {over=[t]} : float over s, batch\n"
        + "g = add(h, g[t-1]) : float over s, t, batch\n"
    )
    assert check(inner).findings == ()
    needs = parse_graph(
        BOTH
        + "h = add(x, m) : float over s, t, batch\n"
        + "m = mean_over(g[t-1]) {over=[s]} : float over t, batch\n"
        + "g = add(h, g[s-1]) : float over s, t, batch\n"
    )
    assert check(needs).findings == ()
    assert loop_of([needs["h"], needs["m"], needs["g"]]).axis == "t"


def test_delays_that_no_order_of_the_axes_serves() -> None:
    found = plane(
        "h = add(g[t+1], k[t-1])", "g = along(h[s-1]) {axis=t}", "k = along(h[s+1]) {axis=t}"
    )
    (finding,) = check(found).findings
    assert isinstance(finding, AlongTwoAxes)
    assert str(finding).startswith("delays along two time axes: ")
    with pytest.raises(NoTiming):
        list(components(found))


def test_what_needs_all_steps_of_both_axes_is_no_step() -> None:
    found = parse_graph(
        BOTH
        + "h = add(g[s-1], m[t-1]) : float over s, t, batch\n"
        + "g = tanh(h) : float over s, t, batch\n"
        + "k = mean_over(h) {over=[s]} : float over t, batch\n"
        + "m = add(k, n) : float over s, t, batch\n"
        + "n = mean_over(h[s-1]) {over=[t]} : float over s, batch\n".replace("h[s-1]", "g[s-1]")
    )
    assert any(isinstance(finding, NeedsWhole) for finding in check(found).findings)


def test_a_value_read_along_two_axes_is_read_along_each_by_a_copy() -> None:
    found = plane("h = add(h[t-1], h[s-1])", "l = last(h) {axis=t}")
    found = found.with_nodes(
        node
        if node.name != "l"
        else parse_graph(
            BOTH + "h = tanh(x) : float over s, t, batch\n"
            "l = last(h) {axis=t} : float over s, batch\n"
        )["l"]
        for node in found.nodes
    )
    assert any("has delayed reads along `s` and `t`" in flaw.problem for flaw in verify(found))
    copies = separated(found)
    assert verify(copies) == [] and separated(copies) is copies
    text = print_graph(copies)
    assert "add(h^t[t-1], h[s-1])" in text and "h^t = along(h) {axis=t}" in text
    # With no step along t it is what a read along t finds.
    assert "last(h^t)" in text
