"""Parts of the way from a kernel's graph to its schedule."""

from __future__ import annotations

from rollc.ir.graph import Graph
from rollc.kernel.passes import LOWERING

_NAMES = [pass_.name for pass_ in LOWERING]


def _through(graph: Graph, first: str, last: str) -> Graph:
    for pass_ in LOWERING[_NAMES.index(first) : _NAMES.index(last) + 1]:
        graph = pass_.run(graph)
    return graph


def lower(graph: Graph) -> Graph:
    """The graph in primitive operations."""
    return _through(graph, "decompose", "sink-slices")


def shorten(graph: Graph) -> Graph:
    """The lowered graph with short ways from one step to the next."""
    return _through(graph, "collect-delayed-sums", "order-sums")
