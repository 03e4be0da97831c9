"""Walks over graphs: the text of one in, the names of nodes out."""

from __future__ import annotations

import pytest

from rollc.ir.graph import Node
from rollc.ir.traversal import (
    NoOrder,
    cycles,
    dependents,
    in_order,
    in_step_order,
    needed,
    needed_names,
    reachable,
    users,
)
from tests.helpers.small_graphs import STATE, graph


def test_users_are_in_the_order_of_the_readers_once_for_each_edge() -> None:
    nodes = graph(STATE).nodes
    found = users(nodes, lambda node: node.operands)
    names = {name: [(reader.name, str(edge)) for reader, edge in by] for name, by in found.items()}
    assert names == {
        "x": [("s", "x")],
        "c": [("s", "c[t-1]")],
        "s": [("c", "s"), ("o", "s"), ("o", "s")],
    }
    assert [reader.name for reader, _ in users(nodes, Node.reads)["h"]] == ["s"]


def test_reachable_has_each_once_and_what_follows_from_it() -> None:
    following = {"a": "bc", "b": "d", "c": "d", "d": "a", "e": "a"}
    assert sorted(reachable("ab", following.__getitem__)) == ["a", "b", "c", "d"]
    assert list(reachable("", following.__getitem__)) == []
    assert list(reachable("a", lambda name: "")) == ["a"]


def test_a_node_needs_what_it_reads_at_any_step_and_its_initial_value() -> None:
    assert needed_names(graph(STATE), ["c"]) == {"x", "h", "s", "c"}
    assert needed_names(graph(STATE), ["x", "h"]) == {"x", "h"}
    assert [node.name for node in needed(graph(STATE), ["o"]).nodes] == ["x", "h", "s", "c", "o"]
    assert [node.name for node in needed(graph(STATE), ["c"]).nodes] == ["x", "h", "s", "c"]


def test_dependents_read_a_node_at_any_step_or_as_an_initial_value() -> None:
    assert dependents(graph(STATE).nodes, ["h"]) == {"h", "s", "c", "o"}
    assert dependents(graph(STATE).nodes, ["c"]) == {"s", "c", "o"}
    assert dependents(graph(STATE).nodes, ["o"]) == {"o"}


def test_dependents_by_some_reads_of_some_nodes() -> None:
    nodes = graph(STATE).nodes
    assert dependents(nodes, ["h"], lambda node: node.operands) == {"h"}
    assert dependents((node for node in nodes if node.name != "c"), ["x"]) == {"x", "s", "o"}


def test_cycles_number_what_is_on_one() -> None:
    found = cycles([("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("e", "e"), ("d", "f")])
    assert found.keys() == {"a", "b", "e"}
    assert found["a"] == found["b"] != found["e"]


def test_in_order_what_comes_before_comes_first_and_all_else_stays() -> None:
    before = {"a": "d", "b": "", "c": "bz", "d": ""}
    assert in_order("abcd", before.__getitem__) == ["b", "c", "d", "a"]
    with pytest.raises(NoOrder, match="the cycle through `c` has no delay"):
        in_order("abcd", {"a": "b", "b": "c", "c": "d", "d": "c"}.__getitem__)


def test_the_order_of_a_step_leaves_delayed_reads_out() -> None:
    nodes = graph(STATE).nodes
    found = in_step_order(reversed(nodes))
    assert [node.name for node in found] == ["h", "x", "s", "o", "c"]
    assert in_step_order(nodes) == [*nodes]
