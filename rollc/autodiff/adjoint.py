"""Reverse mode: the adjoint of a graph is a graph, every edge reversed, every delay negated.

For a node ``v = f(u[t-d], …)`` the adjoint rule of ``f`` gives the contribution ``c`` of ``v``
to the cotangent of ``u``, at the reader's step; ``~u`` at step t is the sum over the readers
of ``c[t+d]``.  A cycle of delay d becomes a cycle of delay -d: backpropagation through
time is reverse mode on a graph with delays, and no special case.

A contribution is summed over what the operand was broadcast along: axes (a parameter's gradient
is a sum over the steps and the batch) and, for a number, elements.  An initial value
gets the contributions that fall outside the sequence: the row k steps before the first
one is the sum of ``c`` at step d-k over the reads with d >= k, and so the rows of a read are
the first d steps of c (as ``tail`` gives them), or its last ones where it is of the future.

Where the cotangent of a node is zero, so are its contributions (:mod:`rollc.autodiff.masks`).

The result holds the nodes of the network, those of its adjoint (all named with ``~`` in
front: ``~h`` is the cotangent of ``h``, ``~h:1`` an intermediate value of it), and a gradient
for every parameter that is not frozen, float input and state.

Griewank and Walther, Evaluating Derivatives (2008), chapter 3; for delays, Werbos,
Backpropagation through time (1990), Proc. IEEE 78(10), equation 22.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import networkx

from rollc.autodiff.arrivals import arrivals
from rollc.autodiff.masks import contributions_of
from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, broadcast, call, spread
from rollc.ir.graph import Edge, Graph, Node, Type, ordered_axes
from rollc.ir.operations import OPERATIONS, operation_of
from rollc.ir.time.delay_axes import separated
from rollc.ir.traversal import reachable

PREFIX = "~"


def seed_name(output: str) -> str:
    """The leaf that brings the cotangent of an output's node in ``adjoint(…, of="outputs")``."""
    return f"{PREFIX}{output}:seed"


def adjoint(
    graph: Graph, of: Literal["loss", "outputs"] = "loss", arriving: Iterable[str] = ()
) -> Graph:
    """The graph together with its adjoint.

    ``of="loss"`` seeds the loss with 1.  ``of="outputs"`` adds a leaf ``~o:seed`` (operation
    ``cotangent``) for each float output ``o``, which the caller gives; it may be zero at some
    steps or elements, but for those of the nodes in ``arriving``.
    """
    return _Adjoint(graph, of, arriving).graph()


class _Adjoint:
    def __init__(
        self, graph: Graph, of: Literal["loss", "outputs"], arriving: Iterable[str]
    ) -> None:
        self.source = graph
        self.of = of
        self.build = Builder(graph.nodes, mark=":")
        self.seeds = self._seed_names()
        self.active = self._active_nodes()
        certain = self.seeds if of == "loss" else arriving
        self.known = arrivals(graph, certain, self.active, outside=self.seeds)
        # The terms of each cotangent.
        self.contributions: dict[str, list[Value]] = {name: [] for name in self.active}

    def _seed_names(self) -> tuple[str, ...]:
        if self.of == "loss":
            return () if self.source.loss is None else (self.source.loss,)
        names = (name for _, name in self.source.outputs)
        return tuple(
            dict.fromkeys(name for name in names if self.source[name].type.kind == "float")
        )

    def _active_nodes(self) -> tuple[str, ...]:
        """The nodes between a differentiable leaf and a seed, in the graph's order."""
        leaves = [node.name for node in self.source.nodes if differentiable(node)]
        return between(self.source, leaves, self.seeds)

    def graph(self) -> Graph:
        for name in self.active:
            node = self.source[name]
            self.build.promise(PREFIX + name, replace(node.type, bound=None))
        self._seed()
        for name in self.active:
            self._contribute(self.source[name])
        contributions = set(self.build.nodes)
        for name in self.active:
            self._define(self.source[name])
        gradients = tuple(
            (node.name, self._gradient(node)) for node in self.source.nodes if differentiable(node)
        )
        return separated(
            replace(
                self.source,
                stage="adjoint",
                nodes=self._ordered(contributions),
                gradients=gradients,
            )
        )

    def _ordered(self, contributions: set[str]) -> tuple[Node, ...]:
        """The nodes in reading order: from the loss to the leaves, each cotangent followed by
        the contributions of its node.
        """
        groups: dict[str, list[Node]] = {PREFIX + name: [] for name in reversed(self.active)}
        own = [node for name, node in self.build.nodes.items() if name.startswith(PREFIX)]
        own.sort(key=lambda node: node.operation != "constant")
        for last in (False, True):
            for node in own:
                if (node.name in contributions) == last:
                    groups.setdefault(node.name.split(":")[0], []).append(node)
        return (*self.source.nodes, *(node for group in groups.values() for node in group))

    def _seed(self) -> None:
        for name in self.seeds:
            if name not in self.contributions:
                continue
            node = self.source[name]
            self.build.prefix, self.build.line = PREFIX + name, node.line
            if self.of == "loss":
                self.contributions[name].append(self.build.number(1.0))
            else:
                type_ = replace(node.type, bound=None)
                seed = self.build.leaf(seed_name(name), "cotangent", type_)
                self.contributions[name].append(seed)

    def _contribute(self, node: Node) -> None:
        """Add the contributions of a node to the cotangents of its operands."""
        entry = OPERATIONS.get(node.operation)
        if entry is None or entry.adjoint is None:
            return
        if not any(edge.source in self.contributions for edge in node.operands):
            return
        build = self.build
        build.prefix, build.line = PREFIX + node.name, node.line
        operands = [build.read(edge.source, edge.delay, edge.axis) for edge in node.operands]
        contributions = contributions_of(
            entry,
            node,
            build.read(PREFIX + node.name),
            build.read(node.name),
            operands,
            [edge.source in self.contributions for edge in node.operands],
            self.known,
        )
        for operand, value in zip(operands, contributions, strict=True):
            source = operand.edge.source
            if value is None:
                continue
            fitted = fit(value, operand.type, axes_of_rule(node, node.type.axes))
            edge = operand.edge
            if edge.delay == 0:
                self.contributions[source].append(fitted)
                continue
            # A delayed read of it is zero outside the sequence: it has to run over the axis.
            fitted = spread(fitted, operand.type.axes)
            name = fitted.edge.source
            self.contributions[source].append(build.read(name, -edge.delay, edge.axis))
            self._contribute_to_initial(self.source[source], edge, name)

    def _contribute_to_initial(self, node: Node, edge: Edge, contribution: str) -> None:
        """Add the contribution of a delayed read to the cotangent of an initial value.

        It is the part of the contribution that falls outside the sequence.
        """
        initial = node.initial
        if initial is None or initial not in self.contributions:
            return
        past, distance = edge.delay > 0, abs(edge.delay)
        build, target = self.build, self.build.read(initial)
        steps = build.read(contribution)
        deep = len(target.type.shape) == len(node.type.shape) + 1
        if distance == 1:
            row = call("first" if past else "last", steps, axis=edge.axis)
            outside = call("stack", row) if deep else row
        else:  # a row for each step outside: the first steps of the contribution, or the last
            zeros = call("fill", build.number(0.0), shape=(distance, *node.type.shape))
            length = [build.index(distance)] if past else []
            rows = call("tail", steps, zeros, *length, axis=edge.axis)
            outside = rows if deep else call("sum", rows, axis=0)
        if deep and distance < target.type.shape[0]:
            reach = target.type.shape[0]
            outside = call("pad", outside, start=reach - distance if past else 0, size=reach)
        self.contributions[initial].append(fit(outside, target.type, outside.type.axes))

    def _define(self, node: Node) -> None:
        """Make the cotangent of a node: the sum of the contributions of its readers."""
        build = self.build
        build.prefix, build.line = PREFIX + node.name, node.line
        total: Value | None = None
        terms = self.contributions[node.name] or [build.number(0.0)]
        *rest, final = (broadcast(term, node.type) for term in terms)
        for term in rest:
            total = term if total is None else total + term
        if total is None:
            build.define(PREFIX + node.name, "identity", (final,))
        else:
            build.define(PREFIX + node.name, "add", (total, final))

    def _gradient(self, leaf: Node) -> str:
        if leaf.name in self.contributions:
            return PREFIX + leaf.name
        self.build.prefix, self.build.line = PREFIX + leaf.name, leaf.line
        zero = call("fill", self.build.number(0.0), shape=leaf.type.shape)
        zero = spread(zero, leaf.type.axes)
        return self.build.define(PREFIX + leaf.name, "identity", (zero,)).edge.source


def differentiable(node: Node) -> bool:
    """Whether a node is a leaf that has a gradient: a parameter, an input or a state.

    A parameter that is frozen has none.
    """
    leaf = node.operation in ("param", "input", "state") and node.type.kind == "float"
    return leaf and not node.options.get("frozen")


def between(graph: Graph, leaves: Iterable[str], results: Iterable[str]) -> tuple[str, ...]:
    """The active nodes: those through which derivatives of some results in some leaves pass.

    Griewank and Walther, Evaluating Derivatives (2008), section 6.2 (activity analysis).
    """
    depends: networkx.DiGraph[str] = networkx.DiGraph()
    depends.add_nodes_from(node.name for node in graph.nodes)
    for node in graph.nodes:
        entry = OPERATIONS.get(node.operation)
        if entry is not None and entry.adjoint is not None:
            depends.add_edges_from((edge.source, node.name) for edge in node.operands)
        if node.initial is not None:
            depends.add_edge(node.initial, node.name)
    below = set(reachable(leaves, depends.successors))
    above = set(reachable(results, depends.predecessors))
    return tuple(
        node.name
        for node in graph.nodes
        if node.name in below and node.name in above and node.type.kind == "float"
    )


def fit(value: Value, operand: Type, axes: tuple[str, ...]) -> Value:
    """A contribution with the reader's axes, summed to the shape and axes of the operand.

    It is the transpose of the broadcast by which the reader took the operand.
    """
    if value.type.shape != operand.shape:
        value = call("sum", value) if value.type.shape else call("fill", value, shape=operand.shape)
    constant = [axis for axis in axes if axis not in operand.axes and axis not in value.type.axes]
    for axis in constant:
        value = value * value.maker.make("extent", (), axis=axis)
    over = tuple(axis for axis in value.type.axes if axis not in operand.axes)
    if not over:
        return value
    return _sum_over(value, over)


def axes_of_rule(node: Node, axes: Iterable[str]) -> tuple[str, ...]:
    """Of a node that runs over ``axes``, those that its adjoint rule gives contributions along.

    What is renamed is so again.
    """
    options = node.options
    back = {options["to"]: options["axis"]} if operation_of(node).renames else {}
    return ordered_axes(str(back.get(axis, axis)) for axis in axes)


def _sum_over(value: Value, over: tuple[str, ...]) -> Value:
    """A sum over axes; a product that can contract them does so itself."""
    maker = value.maker
    assert isinstance(maker, Builder)
    node = maker.nodes.get(value.edge.source)
    contracts = node is not None and operation_of(node).may_sum
    if node is not None and contracts and value.edge.delay == 0 and "over" not in node.options:
        operands = tuple(maker.read(edge.source, edge.delay, edge.axis) for edge in node.operands)
        return maker.make(node.operation, operands, **node.options, over=over)
    return call("sum_over", value, over=over)
