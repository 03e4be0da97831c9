"""Graphs of a few nodes, by their text."""

from __future__ import annotations

from rollc.ir.graph import Graph
from rollc.ir.text import parse_graph

HEADER = "rollc graph 1  stage checked\nnet test\naxis t\n\nx = input() : float over t, batch\n"
STATE = """\
h = param() : float
s = add(x, c[t-1]) init h : float over t, batch
c = tanh(s) : float over t, batch
o = multiply(s, s) : float over t, batch
"""
BACK = "a = tanh(b) : float over t, batch\n"


def graph(nodes: str) -> Graph:
    """The graph of an input x and some nodes."""
    return parse_graph(HEADER + nodes)
