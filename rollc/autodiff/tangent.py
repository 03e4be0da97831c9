"""Forward mode: the derivative of every node in one direction, or in many at once.

The tangent of ``h`` is the node ``h^dot``; ``h^dot:1``, ``h^dot:2`` … are intermediate values.

    ^dot of v = f(u[t-d], …)       ->  J u^dot[t-d] + …, J the Jacobian of f in u
    initial value of ^dot of v     ->  ^dot of the initial value of v

``pushforward`` has one direction, which the caller gives: the tangent of a leaf is a leaf, of
the operation ``tangent``.  ``tangent`` has a direction for each element of some leaves, along an
axis of their own, which all tangents have.

    ^dot of a leaf u               ->  at(1, position): 1 at the element of the direction

There are no rules but the adjoints of the operations.  A rule gives J' g, which is linear in the
cotangent g; the transpose of that is J.  So rules are applied twice: to a dummy cotangent g, and
then backwards from the result to g, with u^dot as the cotangent.  Hence custom gradients, ``stop``
and truncated delays have the derivatives that the adjoint gives them.  Where a tangent is zero,
so is what depends on it (:mod:`rollc.autodiff.masks`).

Transposition in the other direction, of tangents to adjoints: Radul, Paszke, Frostig, Johnson and
Maclaurin, You only linearize once: tangents transpose to gradients (2023).

Most directions are those of matrices, and the tangents of a matrix W[m, n] are m * n matrices.
They are not made where W multiplies a vector or rows of it are looked up: for the unit at (i, j)

    W^dot @ h         ->  at(element(h, j), i)
    W.T^dot @ h       ->  at(element(h, i), j)
    embed(W^dot, k)   ->  at(where(i == k, 1, 0), j)

so that a tangent takes as much memory as its node, times the directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import networkx

from rollc.autodiff.adjoint import PREFIX, axes_of_rule, between, fit
from rollc.autodiff.masks import arrived, with_tangent_in_mask
from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, broadcast, call, spread
from rollc.ir.graph import Attribute, Graph, Node, Type, ordered_axes
from rollc.ir.operations import OPERATIONS
from rollc.ir.traversal import in_order, in_step_order, needed_names, reachable

DIRECTION = "~direction"
"""The axis of the directions: no spec can name it, and it sorts behind all time axes."""


def tangent_name(name: str) -> str:
    """The name of a node's tangent."""
    return f"{name}^dot"


@dataclass(frozen=True, slots=True)
class Directions:
    """The directions of a leaf: from ``start`` on, one for each of its elements."""

    leaf: str
    start: int
    size: int


def directions(graph: Graph, leaves: Iterable[str]) -> tuple[Directions, ...]:
    """The directions of leaves, in their order."""
    found: list[Directions] = []
    start = 0
    for name in leaves:
        found.append(Directions(name, start, graph[name].type.size))
        start += found[-1].size
    return tuple(found)


def tangent(graph: Graph, leaves: Sequence[str]) -> Graph:
    """The graph with the tangents of its outputs, as outputs of their own.

    ``leaves`` are static nodes without operands.  An output labelled ``o`` has its tangent
    under the label ``o^dot``, if it depends on any of them; the loss has none.
    """
    return _Sensitivities(graph, leaves).graph()


def pushforward(graph: Graph, leaves: Sequence[str], values: bool = True) -> Graph:
    """The graph with the tangents of its outputs in one direction, as outputs of their own.

    The tangent of each of the ``leaves`` that an output depends on is a leaf.  A float output
    labelled ``o`` has its tangent under the label ``o^dot``; the loss has none.  Without
    ``values`` the tangents are the only outputs.
    """
    return _Tangent(graph, leaves).graph(values)


class _Maker(Builder):
    """A builder that makes products with unit matrices without making the matrices."""

    def __init__(self, nodes: Iterable[Node], found: Iterable[Directions]) -> None:
        super().__init__(nodes, mark=":")
        self.units = {tangent_name(each.leaf): each for each in found}

    def unit(self, of: Directions, shape: tuple[int, ...]) -> Value:
        """The unit of each direction: 1 at its element, and 0 elsewhere."""
        return call("at", self.number(1.0), self._position(of, 1, of.size), shape=shape)

    def make(self, operation: str, operands: tuple[Value, ...], **options: Attribute) -> Value:
        if operation in ("matmul", "embed"):
            unit = self.units.get(self._unspread(operands[0]))
            if unit is not None and len(operands[0].type.shape) == 2:
                found = self._times(unit, operation, operands, options)
                if found is not None:
                    return spread(found, operands[0].type.axes)
        return super().make(operation, operands, **options)

    def _unspread(self, value: Value) -> str:
        """The node that a value is a broadcast of."""
        name = value.edge.source
        while name in self.nodes and self.nodes[name].operation == "spread":
            name = self.nodes[name].operands[0].source
        return name

    def _times(
        self,
        unit: Directions,
        operation: str,
        operands: tuple[Value, ...],
        options: Mapping[str, Attribute],
    ) -> Value | None:
        """The product of a unit matrix and a vector, or its row at an index; None for others."""
        matrix, other = operands
        height, width = matrix.type.shape
        row, column = self._position(unit, width, height), self._position(unit, 1, width)
        if operation == "embed":
            selected = call("where", call("equal", row, other), 1.0, 0.0)
            return call("at", selected, column, shape=(width,))
        if len(other.type.shape) != 1:
            return None
        if options.get("transpose_a"):
            row, column, height = column, row, width
        return call("at", call("element", other, column), row, shape=(height,))

    def _position(self, of: Directions, divide: int, modulo: int) -> Value:
        return super().make(
            "position",
            (),
            axis=DIRECTION,
            start=of.start,
            size=of.size,
            divide=divide,
            modulo=modulo,
        )


class _Tangent:
    """Tangents in one direction."""

    axes: tuple[str, ...] = ()  # of tangents, besides those of their nodes

    def __init__(self, graph: Graph, leaves: Sequence[str]) -> None:
        self.source = graph
        self.leaves = leaves
        self.build = Builder(graph.nodes, mark=":")
        outputs = dict.fromkeys(name for _, name in graph.outputs)
        self.active = frozenset(between(graph, leaves, outputs))
        self.masks: set[str] = set()  # of the adjoint, where the source is one

    def graph(self, values: bool = True) -> Graph:
        build = self.build
        for node in self.source.nodes:
            if node.name in self.active:
                build.promise(tangent_name(node.name), self._along(node.type))
        for name in self.leaves:
            if name in self.active:
                node = self.source[name]
                build.prefix, build.line = tangent_name(name), node.line
                self._seed(node)
        nodes = {node.name: self._masked(node) for node in self.source.nodes}
        for node in in_step_order(self.source.nodes):
            if node.name in self.active.difference(self.leaves):
                self._define(node, self._pushed(nodes[node.name]))
        outputs = tuple(
            (tangent_name(label), tangent_name(name))
            for label, name in self.source.outputs
            if name in self.active or self._define_zero(self.source[name])
        )
        graph = replace(
            self.source,
            nodes=tuple(build.nodes.values()),
            outputs=(*(self.source.outputs if values else ()), *outputs),
            loss=None,
            axes=(*self.source.axes, *self.axes),
        )
        return _needed(graph)

    def _masked(self, node: Node) -> Node:
        """A node of the source; a mask of an adjoint is widened by the cotangent's tangent."""
        build = self.build

        def moved(name: str) -> Value | None:
            arrives = name.startswith(PREFIX) and name in self.active
            return build.read(tangent_name(name)) if arrives else None

        build.prefix, build.line = f"{tangent_name(node.name)}:reached", node.line
        build.nodes[node.name] = masked = with_tangent_in_mask(node, build, moved)
        if masked is not node:
            self.masks.add(masked.operands[1].source)
        return masked

    def _seed(self, leaf: Node) -> None:
        """Make the tangent of a leaf."""
        self.build.leaf(tangent_name(leaf.name), "tangent", self._along(leaf.type))
        self._begin(leaf)

    def _define_zero(self, output: Node) -> bool:
        """Make the tangent of an output that depends on no leaf; False where it is no float."""
        if output.type.kind != "float":
            return False
        self.build.prefix, self.build.line = tangent_name(output.name), output.line
        self._define(replace(output, initial=None), self.build.number(0.0))
        return True

    def _along(self, type_: Type) -> Type:
        """The type of a tangent."""
        return replace(type_, axes=ordered_axes((*type_.axes, *self.axes)), bound=None)

    def _define(self, node: Node, value: Value) -> None:
        name = tangent_name(node.name)
        whole = broadcast(value, self._along(node.type))
        self.build.define(name, "identity", (whole,))
        self._begin(node)

    def _begin(self, node: Node) -> None:
        """Give the tangent of a node its initial value: the tangent of the node's."""
        if node.initial is not None and node.initial in self.active:
            made = self.build.nodes[tangent_name(node.name)]
            start = tangent_name(node.initial)
            self.build.nodes[made.name] = replace(made, initial=start)

    def _pushed(self, node: Node) -> Value:
        """The tangent of a node, from those of its operands."""
        build, entry = self.build, OPERATIONS.get(node.operation)
        name = tangent_name(node.name)
        build.prefix, build.line = name, node.line
        total: Value | None = None
        operands = [build.read(edge.source, edge.delay, edge.axis) for edge in node.operands]
        if entry is not None and entry.adjoint is not None:
            dummy = build.leaf(f"{name}:any", "cotangent", replace(node.type, bound=None))
            values = entry.adjoint(dummy, build.read(node.name), *operands, **node.options)
            for operand, value in zip(operands, values, strict=True):
                if value is None or operand.edge.source not in self.active:
                    continue
                edge = operand.edge
                moved = build.read(tangent_name(edge.source), edge.delay, edge.axis)
                term = self._transposed(dummy, value, moved, operand.type)
                if term is not None and entry.slope_at(node.options) == "infinite":
                    term = call("reached", term, arrived(entry, node, moved))
                if term is not None:
                    total = term if total is None else total + term
        return build.number(0.0) if total is None else total

    def _transposed(self, dummy: Value, value: Value, tangent: Value, like: Type) -> Value | None:
        """J u^dot, from a value J' g of a ``dummy`` cotangent g.

        ``tangent`` is u^dot and ``like`` the type of u.  None where the value does not depend
        on g.
        """
        build = self.build
        linear = self._depending(dummy.edge.source, value.edge.source)
        if not linear:
            return None
        found = {value.edge.source: self._unfit(tangent, value.type, like)}
        for name in linear:
            if name == dummy.edge.source:
                continue
            node, cotangent = build.nodes[name], found[name]
            rule = OPERATIONS[node.operation].adjoint
            assert rule is not None
            operands = [build.read(edge.source, edge.delay, edge.axis) for edge in node.operands]
            values = rule(cotangent, build.read(name), *operands, **node.options)
            for operand, term in zip(operands, values, strict=True):
                source = operand.edge.source
                if term is None or source not in linear:
                    continue
                target = self._along(operand.type)
                axes = axes_of_rule(node, self._along(node.type).axes)
                term = broadcast(fit(term, target, axes), target)
                found[source] = found[source] + term if source in found else term
        return found.get(dummy.edge.source)

    def _unfit(self, tangent: Value, value: Type, like: Type) -> Value:
        """The transpose of :func:`fit`: a tangent of the type ``like``, as one of ``value``.

        Axes and shape that the operand alone has were broadcast, and are summed; those that the
        value alone has were summed, and are broadcast.
        """
        over = tuple(axis for axis in like.axes if axis not in value.axes)
        if over:
            tangent = call("sum_over", tangent, over=over)
        if value.shape != like.shape:
            broadcast = value.shape
            tangent = call("fill", tangent, shape=broadcast) if broadcast else call("sum", tangent)
        return spread(tangent, self._along(value).axes)

    def _depending(self, origin: str, end: str) -> list[str]:
        """The nodes on the paths from ``origin`` to ``end``, in topological order from the end."""

        def operands(name: str) -> list[str]:
            given = name == origin or name in self.source.by_name or name not in self.build.nodes
            given = given or name in self.masks
            return [] if given else [edge.source for edge in self.build.nodes[name].operands]

        reads: networkx.DiGraph[str] = networkx.DiGraph()
        reads.add_node(end)
        for name in reachable([end], operands):
            reads.add_edges_from((name, source) for source in operands(name))
        if origin not in reads:
            return []
        linear = networkx.ancestors(reads, origin) | {origin}
        return in_order((name for name in reads if name in linear), reads.predecessors)


class _Sensitivities(_Tangent):
    """Tangents in the directions of all elements of the leaves."""

    axes = (DIRECTION,)

    def __init__(self, graph: Graph, leaves: Sequence[str]) -> None:
        super().__init__(graph, leaves)
        self.build: _Maker = _Maker(graph.nodes, directions(graph, leaves))

    def _define_zero(self, output: Node) -> bool:
        return False

    def _seed(self, leaf: Node) -> None:
        unit = self.build.units[tangent_name(leaf.name)]
        self._define(leaf, self.build.unit(unit, leaf.type.shape))


def _needed(graph: Graph) -> Graph:
    """Dead code elimination that keeps the leaves of the network."""
    operations = ("param", "input", "target", "noise")
    leaves = [leaf.name for operation in operations for leaf in graph.leaves(operation)]
    found = needed_names(graph, [*graph.results(), *leaves])
    return graph.with_nodes(node for node in graph.nodes if node.name in found)
