"""Walks over graphs: the text of one in, the names of nodes out."""

from __future__ import annotations

from rollc.graph.graph import Graph, Node
from rollc.graph.traversal import users
from rollc.irtext import parse_graph

HEADER = "rollc graph 1  stage checked\nnet test\naxis t\n\nx = input() : float over t, batch\n"

STATE = """\
h = param() : float
s = add(x, c[t-1]) init h : float over t, batch
c = tanh(s) : float over t, batch
o = multiply(s, s) : float over t, batch
"""


def graph(nodes: str) -> Graph:
    return parse_graph(HEADER + nodes)


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
