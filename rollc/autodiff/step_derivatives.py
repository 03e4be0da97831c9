"""Derivatives within a step: reverse mode on the part of a graph that computes a value at a step.

    grad(e, x)      ->  the sum of the contributions to x, from a cotangent of 1 at e
    jacobian(f, x)  ->  [row 0, row 1, …], each with a cotangent of 1 at an element of f

The rules are those of :mod:`rollc.autodiff.adjoint`, and the result is ordinary nodes, which are
differentiated again.  A read with a delay is a value like any other: what it was computed from, at
another step, is a constant, unless it is the read in which the derivative is taken.  Nothing is
summed over axes: each step of each sequence has a derivative of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from rollc.autodiff.adjoint import between
from rollc.autodiff.arrivals import Arrivals, arrivals
from rollc.autodiff.masks import contributions_of
from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call, spread
from rollc.ir.graph import Edge, Graph, Node, Type
from rollc.ir.operations import operation_of
from rollc.ir.traversal import in_step_order, needed_names, reachable

GRAD, JACOBIAN = "grad", "jacobian"
OPERANDS = {GRAD: ("e", "x"), JACOBIAN: ("f", "x")}


class NoDerivative(Exception):
    """Why a derivative cannot be made; ``too_large`` where it would have too many nodes."""

    def __init__(self, message: str, note: str = "", too_large: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.note = note
        self.too_large = too_large


def with_derivatives(graph: Graph, most: int) -> Iterator[tuple[str, NoDerivative] | Graph]:
    """The graph whose nodes `grad` and `jacobian` are made of ordinary ones.

    Where some cannot be made, these with the reasons come instead.  ``most`` is the number of nodes
    that a graph has.  Zero-delay cycles are the caller's to exclude.
    """
    build = Builder(graph.nodes)
    made: dict[str, list[Node]] = {}
    failed = False
    for node in in_step_order(graph.nodes):
        if node.operation not in OPERANDS:
            continue
        known = set(build.nodes)
        build.prefix, build.line = node.name, node.line
        try:
            _define(build, node, most)
        except NoDerivative as reason:
            yield node.name, reason
            failed = True
        made[node.name] = [new for name, new in build.nodes.items() if name not in known]
    if not failed:
        nodes = [new for node in graph.nodes for new in (*made.get(node.name, ()), node)]
        whole = graph.with_nodes(build.nodes[node.name] for node in nodes)
        used = needed_names(whole, graph.by_name)  # a rule has contributions to all operands
        yield whole.with_nodes(node for node in whole.nodes if node.name in used)


def _define(build: Builder, node: Node, most: int) -> None:
    """Make the derivative that a node is to be."""
    value, at = node.operands
    step = _Step.of(build, value, at, most)
    if node.operation == GRAD:
        found = step.pulled({str(value): build.number(1.0)})
    else:
        found = call("stack", *step.rows(value))
    build.define(node.name, "identity", (spread(found, node.type.axes),))
    build.nodes[node.name] = replace(build.nodes[node.name], initial=node.initial)


@dataclass(frozen=True)
class _Step:
    """What lies between a value and the read ``at`` in which its derivative is taken.

    ``active`` are the nodes on the paths, in the order of evaluation, the ``leaf`` that stands for
    the read first; ``known`` is where cotangents arrive.  ``most`` nodes are made.
    """

    build: Builder
    at: Edge
    leaf: str
    active: tuple[str, ...]
    known: Arrivals
    most: int

    @classmethod
    def of(cls, build: Builder, value: Edge, at: Edge, most: int) -> _Step:
        leaf = str(at)
        step = _graph(build, value, at)
        active = between(step, [leaf], [str(value)])
        if not active:
            message = f"nothing with a slope leads from `{at}` to this within a step"
            note = f"what is read with a delay is a constant, unless it is `{at}`"
            raise NoDerivative(message, note)
        for name in active:
            entry = operation_of(step[name]) if name != leaf else None
            if entry is not None and (entry.whole or entry.end or entry.renames):
                raise NoDerivative(f"`{name}`, which needs all steps, lies between `{at}` and this")
            if entry is not None and entry.once:
                message = f"a function with a `grad` of its own lies between `{at}` and this"
                raise NoDerivative(message, "which tells the slope of no slope")
        known = arrivals(step, [str(value)], active)
        inside = set(active)
        order = tuple(node.name for node in in_step_order(step.nodes) if node.name in inside)
        return cls(build, at, leaf, order, known, most)

    def rows(self, vector: Edge) -> Iterator[Value]:
        """The derivative of each element of a vector."""
        build, node = self.build, self.build.nodes[vector.source]
        (size,) = node.type.shape
        unit = build.make("eye", (), size=size)
        for place in range(size):
            if vector != self.at and node.operation == "stack":  # of numbers, each by itself
                yield self.pulled({str(node.operands[place]): build.number(1.0)})
            else:
                yield self.pulled({str(vector): call("row", unit, at=place)})

    def pulled(self, seeds: Mapping[str, Value]) -> Value:
        """The cotangent of the leaf where those of other nodes are given."""
        build, inside = self.build, frozenset(self.active)
        terms = {name: [value] for name, value in seeds.items()}
        for name in reversed(self.active):
            if name == self.leaf or name not in terms:
                continue
            node = build.nodes[name]
            if len(build.nodes) > self.most:
                message = f"this spec becomes a graph of more than {self.most} nodes"
                note = "a derivative has a node or more for each operation"
                raise NoDerivative(message, note, too_large=True)
            operands = [build.read(edge.source, edge.delay, edge.axis) for edge in node.operands]
            sources = [str(edge) for edge in node.operands]
            values = contributions_of(
                operation_of(node), node, _sum(terms.pop(name)), build.read(name), operands,
                [source in inside for source in sources], self.known, again=True,
            )  # fmt: skip
            for source, operand, value in zip(sources, operands, values, strict=True):
                if value is not None:
                    terms.setdefault(source, []).append(_shaped(value, operand.type))
        type_ = build.type_of(self.at)
        return _shaped(_sum(terms.get(self.leaf, [build.number(0.0)])), type_)


def _graph(build: Builder, value: Edge, at: Edge) -> Graph:
    """The nodes that compute a value at a step; what is read with a delay is a leaf, as ``at`` is.

    An edge that is read at the same step is called by the name of its node.
    """
    leaves: dict[str, Node] = {}
    nodes: list[Node] = []

    def operands(name: str) -> list[str]:
        if name in leaves:
            return []
        node = build.nodes[name]
        names = [named(edge) for edge in node.operands]
        nodes.append(replace(node, operands=tuple(map(Edge, names)), initial=None))
        return names

    def named(edge: Edge) -> str:
        if edge.delay or edge == at:
            leaves[str(edge)] = Node(str(edge), "input", (), build.type_of(edge))
        return str(edge)

    named(at)
    for _ in reachable([named(value)], operands):
        pass  # each node is visited once
    return Graph("step", "graph", (*leaves.values(), *nodes))


def _shaped(value: Value, like: Type) -> Value:
    """A contribution in the shape of the operand, which may have been broadcast."""
    if value.type.shape == like.shape:
        return value
    return call("sum", value) if value.type.shape else call("fill", value, shape=like.shape)


def _sum(terms: list[Value]) -> Value:
    total, *rest = terms
    for term in rest:
        total = total + term
    return total
