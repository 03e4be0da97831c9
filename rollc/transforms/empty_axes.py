"""Axes of length 0: the meaning of a graph for no steps, or for no sequences.

Along an axis without a step

    last(x), first(x)  ->  the initial value of x, zero if it has none
    a sum over it      ->  0
    a mean, max or min ->  undefined: :func:`undefined` finds it

In a ragged batch (:mod:`rollc.transforms.ragged`) a sequence of length 0 has the same values,
except that an undefined one is 0 and passes no gradient, since the other sequences are defined.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Edge, Graph, Node, Type
from rollc.ir.operations import operation_of
from rollc.ir.operations.vectors.linear import over_axes

_PARTIAL = ("mean", "max", "min")  # reductions that are undefined on an empty axis


def without_steps(graph: Graph, axes: frozenset[str]) -> Graph:
    """A checked graph, for calls with no steps along some axes."""
    build = Builder(graph.nodes)
    for node in graph.nodes:
        if operation_of(node).end and node.options["axis"] in axes:
            build.prefix, build.line = node.name, node.line
            (edge,) = node.operands
            initial = initial_along(graph, edge, str(node.options["axis"]))
            if initial is None:
                value = zero(build, node.type)
            else:
                value = nearest(graph, edge, build.read(initial))
            named(build, node.name, _spread_out(value, node.type))
            build.nodes[node.name] = replace(build.nodes[node.name], initial=node.initial)
    return graph.with_nodes(build.nodes.values())


def named(build: Builder, name: str, value: Value) -> None:
    """Make a node of that name that is equal to a value of any kind."""
    if value.type.kind == "bool":  # an identity would be a number
        build.define(name, "not_equal", (value, build.number(0.0)))
    else:
        build.define(name, "identity", (value,))


def initial_along(graph: Graph, edge: Edge, axis: str) -> str | None:
    """The initial value of a read along an axis; None where that is zero."""
    initial, reach = graph[edge.source].initial, graph.reach.get(edge.source)
    along = (reach is None or reach.axis == axis) and edge.axis in ("", axis)
    if initial is None or not along or axis in graph[initial].type.axes:
        return None
    return initial


def nearest(graph: Graph, edge: Edge, initial: Value) -> Value:
    """The value of a read on an empty axis: a row of the initial value, if that has rows.

    It is the row of the delay, or the nearest one to the sequence for a read without a delay.
    """
    if len(initial.type.shape) == len(graph[edge.source].type.shape):
        return initial
    reach = graph.reach.get(edge.source)
    past = edge.delay > 0 or (edge.delay == 0 and (reach is None or reach.past > 0))
    rows = initial.type.shape[0]
    at = max(rows - 1 - edge.delay, 0) if past else min(max(-edge.delay, 1), rows) - 1
    return call("row", initial, at=at)


def zero(build: Builder, like: Type) -> Value:
    """Zero of the kind of a type; as a number it is broadcast to every shape."""
    if like.kind != "index":
        return build.number(0.0)
    name = f"index'zero{like.bound}"  # which no spec can name
    if name not in build.nodes:
        build.leaf(name, "constant", Type("index", (), (), like.bound), value=0.0)
    return build.read(name)


def _spread_out(value: Value, like: Type) -> Value:
    """A value, broadcast to the shape and the axes of a type, and of its kind."""
    if like.kind == "bool" and value.type.kind != "bool":
        value = call("greater", value, 0.0)
    if value.type.shape != like.shape:
        number = value if like.kind != "index" else value.maker.number(0.0)
        filled = call("fill", number, shape=like.shape)
        # `fill` is of numbers: a choice broadcasts an index.
        value = (
            filled if number is value else call("where", call("less", filled, filled), value, value)
        )
    for axis in like.axes:
        if axis not in value.type.axes:
            value = call("spread", value, axis=axis)
    return value


def undefined(
    graph: Graph, results: Iterable[str], empty: frozenset[str], ragged: bool = False
) -> str | None:
    """Why some results of a checked graph are undefined where axes are empty, in words.

    ``ragged`` is whether sequences have lengths of their own.  None where all are defined.
    """
    found: set[str] = set()
    pending = list(results)
    while pending:
        node = graph[pending.pop()]
        if node.name in found or not empty.isdisjoint(node.type.axes):
            continue  # it has no elements
        found.add(node.name)
        reduced = empty.intersection(over_axes(node.options))
        undefined_over = reduced - {*graph.axes} if ragged else reduced
        if undefined_over and operation_of(node).reduces in _PARTIAL:
            return _message(graph, node, reduced)
        if operation_of(node).end and node.options["axis"] in empty:
            initial = initial_along(graph, node.operands[0], str(node.options["axis"]))
            pending += [] if initial is None else [initial]
        elif not reduced:
            pending += [edge.source for edge in node.reads()]
    return None


def _message(graph: Graph, node: Node, reduced: frozenset[str]) -> str:
    times = sorted(reduced.intersection(graph.axes))
    what = f"steps of {times[0]}" if len(graph.axes) > 1 and times else "steps"
    what = what if times else "sequences"
    where = f" (line {node.line})" if node.line else ""
    return f"a {operation_of(node).reduces} over nothing: there are no {what}{where}"
