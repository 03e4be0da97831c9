"""No steps at all, or no sequences: what a graph means then.

Along an axis without a step there is nothing to compute step by step.  What is left:

    last(x), first(x)  ->  the initial value of x, zero if it has none
    a sum over it      ->  0
    a mean, max or min ->  not defined: :func:`undefined` finds it

A sequence without a step in a batch of others (:mod:`rollc.transforms.ragged`) is treated alike,
but there what is not defined is 0, and no gradient passes: it is not to spoil the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Edge, Graph, Node, Type
from rollc.ir.operations import operation_of
from rollc.ir.operations.linear import over_axes

_OF_SOMETHING = ("mean", "max", "min")  # reductions that are not defined over nothing


def without_steps(graph: Graph, axes: frozenset[str]) -> Graph:
    """A checked graph for sequences without a step along some axes."""
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
    """The node of that name, which is a value of any kind."""
    if value.type.kind == "bool":  # an identity would be a number
        build.define(name, "not_equal", (value, build.number(0.0)))
    else:
        build.define(name, "identity", (value,))


def initial_along(graph: Graph, edge: Edge, axis: str) -> str | None:
    """What a read takes outside the sequence along an axis; None where that is zero."""
    initial, reach = graph[edge.source].initial, graph.reach.get(edge.source)
    along = (reach is None or reach.axis == axis) and edge.axis in ("", axis)
    if initial is None or not along or axis in graph[initial].type.axes:
        return None
    return initial


def nearest(graph: Graph, edge: Edge, initial: Value) -> Value:
    """An initial value as a read finds it where there is no step.

    Of rows for the steps outside it is the nearest one, or that of the delay.
    """
    if len(initial.type.shape) == len(graph[edge.source].type.shape):
        return initial
    reach = graph.reach.get(edge.source)
    past = edge.delay > 0 or (edge.delay == 0 and (reach is None or reach.past > 0))
    rows = initial.type.shape[0]
    at = max(rows - 1 - edge.delay, 0) if past else min(max(-edge.delay, 1), rows) - 1
    return call("row", initial, at=at)


def zero(build: Builder, like: Type) -> Value:
    """Zero as a value of some kind; as a number it fits every shape."""
    if like.kind != "index":
        return build.number(0.0)
    name = f"index'zero{like.bound}"  # which no part of a spec's value is called
    if name not in build.nodes:
        build.leaf(name, "constant", Type("index", (), (), like.bound), value=0.0)
    return build.read(name)


def _spread_out(value: Value, like: Type) -> Value:
    """A value in the shape and along the axes of a type."""
    if like.kind == "bool" and value.type.kind != "bool":
        value = call("greater", value, 0.0)
    if value.type.shape != like.shape:
        value = call("fill", value, shape=like.shape)
    for axis in like.axes:
        if axis not in value.type.axes:
            value = call("spread", value, axis=axis)
    return value


def undefined(
    graph: Graph, results: Iterable[str], empty: frozenset[str], ragged: bool = False
) -> str | None:
    """Why some results of a checked graph are not defined where axes have no place, in words.

    ``ragged`` is whether sequences have lengths of their own.
    """
    found: set[str] = set()
    waiting = list(results)
    while waiting:
        node = graph[waiting.pop()]
        if node.name in found or not empty.isdisjoint(node.type.axes):
            continue  # there are no values of it
        found.add(node.name)
        gone = empty.intersection(over_axes(node.options))
        ends = gone - {*graph.axes} if ragged else gone
        if ends and operation_of(node).reduces in _OF_SOMETHING:
            return _of_nothing(graph, node, gone)
        if operation_of(node).end and node.options["axis"] in empty:
            initial = initial_along(graph, node.operands[0], str(node.options["axis"]))
            waiting += [] if initial is None else [initial]
        elif not gone:
            waiting += [edge.source for edge in node.reads()]
    return None


def _of_nothing(graph: Graph, node: Node, gone: frozenset[str]) -> str:
    times = sorted(gone.intersection(graph.axes))
    what = f"steps of {times[0]}" if len(graph.axes) > 1 and times else "steps"
    what = what if times else "sequences"
    where = f" (line {node.line})" if node.line else ""
    return f"a {operation_of(node).reduces} over nothing: there are no {what}{where}"
