"""One axis of delays for each value: reads along several time axes are reads of copies.

    h[s-1], h[t-1]    ->    h[s-1], g[t-1]    with g = along(h), which has h's initial value

An edge has a delay along one axis, and the rows around a value's array are those of one axis too.
A read with delays along two is one of a read: ``h[s-1, t-1]`` is ``g[t-1]``, where g is ``h[s-1]``.
So a graph with delay vectors, and a recurrence over two axes at once, is a graph whose edges have
a delay each (live-range splitting, by the axis of the readers).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rollc.ir.graph import Edge, Graph, Node, attributes
from rollc.ir.operations import operation_of

ALONG = "along"
"""The operation of a copy that is read with delays along one axis; no rewrite merges two."""


def axes_of_delays(graph: Graph) -> dict[str, tuple[str, ...]]:
    """The axes along which each value is read with a delay, in their order."""
    found: dict[str, set[str]] = {}
    for node in graph.nodes:
        for edge in node.operands:
            if edge.delay:
                found.setdefault(edge.source, set()).add(edge.axis)
    return {name: tuple(sorted(axes)) for name, axes in found.items()}


def separated(graph: Graph) -> Graph:
    """The graph with a copy of a value for each further axis along which it has delayed reads."""
    if len(graph.axes) < 2:
        return graph
    copies = {
        (name, axis): graph.unused(f"{name}^{axis}")
        for name, axes in axes_of_delays(graph).items()
        for axis in axes[1:]
    }
    return graph.with_nodes(_with_copies(graph, copies)) if copies else graph


def _with_copies(graph: Graph, copies: dict[tuple[str, str], str]) -> Iterator[Node]:
    made: dict[str, list[Node]] = {}
    for (name, axis), copy in copies.items():
        source = graph[name]
        made.setdefault(name, []).append(
            replace(
                source,
                name=copy,
                operation=ALONG,
                operands=(Edge(name),),
                attributes=attributes(axis=axis),
            )
        )
    for node in graph.nodes:
        # The first or last step of a sequence without any is what is read outside along the axis.
        end = node.options["axis"] if operation_of(node).end else ""
        operands = tuple(
            replace(edge, source=copies.get((edge.source, edge.axis or str(end)), edge.source))
            for edge in node.operands
        )
        yield node if operands == node.operands else replace(node, operands=operands)
        yield from made.get(node.name, ())
