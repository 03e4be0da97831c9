"""The tangents of a graph: the derivative of every node in one direction, or in many at once.

The tangent of ``h`` is the node ``h^dot``; steps on the way to it are ``h^dot:1``, ``h^dot:2`` …

    ^dot of v = f(u[t-d], …)       ->  J u^dot[t-d] + …, J the derivative of f in u
    initial value of ^dot of v     ->  ^dot of the initial value of v

``pushforward`` takes one direction, from outside: the tangent of a leaf is a leaf, the
operation ``tangent``.  ``tangent`` takes many: the elements of some leaves, one after the other
along an axis of their own, which all tangents have.

    ^dot of a leaf u               ->  at(1, place): one at the element that the direction is

There are no rules of derivation but the table's adjoints.  A rule gives J' g, linear in the
cotangent g; the adjoint of *that* in g is J, so the rules are applied twice: first to a g
that stands for any, then back from what came out to g, with u^dot as the cotangent.
Derivatives of one's own, ``stop`` and cut delays thus are what they are for the adjoint.
Where no tangent arrives, none leaves (:mod:`rollc.autodiff.masks`).
(Radul, Paszke, Frostig, Johnson and Maclaurin, You only linearize once: tangents transpose
to gradients (2023), go the other way, from tangents to adjoints.)

Of many directions most are those of matrices, and the tangent of a matrix W[m, n] holds m * n
matrices.  It is never made where W meets a vector or is looked up in, for with the unit at (i, j)

    W^dot @ h         ->  at(element(h, j), i)
    W.T^dot @ h       ->  at(element(h, i), j)
    embed(W^dot, k)   ->  at(where(i == k, 1, 0), j)

so that a tangent takes as much memory as its node, times the directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import networkx

from rollc.autodiff.adjoint import PREFIX, between, fit, spread
from rollc.autodiff.masks import arrived, where_it_moves
from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Attribute, Graph, Node, Type, ordered_axes
from rollc.ir.operations import OPERATIONS
from rollc.ir.traversal import in_order, in_step_order, needed_names, reachable

DIRECTION = "~direction"
"""The axis of the directions: no spec can write it, and it stands behind all axes of time."""


def tangent_name(name: str) -> str:
    """The node with the tangent of a node."""
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

    ``leaves`` are those that move; the tangent of each that an output depends on is a leaf.  An
    output labelled ``o`` that is a number has its tangent under the label ``o^dot``; the loss has
    none.  Without ``values`` the tangents are all its outputs.
    """
    return _Tangent(graph, leaves).graph(values)


class _Maker(Builder):
    """Makes nodes, and products with unit directions without the units."""

    def __init__(self, nodes: Iterable[Node], found: Iterable[Directions]) -> None:
        super().__init__(nodes, mark=":")
        self.units = {tangent_name(each.leaf): each for each in found}

    def unit(self, of: Directions, shape: tuple[int, ...]) -> Value:
        """What is one at the element that a direction is, and zero elsewhere."""
        return call("at", self.number(1.0), self._place(of, 1, of.size), shape=shape)

    def make(self, operation: str, operands: tuple[Value, ...], **options: Attribute) -> Value:
        if operation in ("matmul", "embed"):
            unit = self.units.get(self._unspread(operands[0]))
            if unit is not None:
                found = self._times(unit, operation, operands, options)
                if found is not None:
                    return spread(found, operands[0].type.axes)
        return super().make(operation, operands, **options)

    def _unspread(self, value: Value) -> str:
        """The node that a value is at every step and for every sequence."""
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
        """The product of a unit matrix and a vector, or its row that an index names."""
        matrix, other = operands
        height, width = matrix.type.shape
        row, column = self._place(unit, width, height), self._place(unit, 1, width)
        if operation == "embed":
            taken = call("where", call("equal", row, other), 1.0, 0.0)
            return call("at", taken, column, shape=(width,))
        if len(other.type.shape) != 1:
            return None
        if options.get("transpose_a"):
            row, column, height = column, row, width
        return call("at", call("element", other, column), row, shape=(height,))

    def _place(self, of: Directions, divide: int, modulo: int) -> Value:
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

    axes: tuple[str, ...] = ()  # that tangents have besides those of their nodes

    def __init__(self, graph: Graph, leaves: Sequence[str]) -> None:
        self.source = graph
        self.leaves = leaves
        self.build = Builder(graph.nodes, mark=":")
        outputs = dict.fromkeys(name for _, name in graph.outputs)
        self.active = frozenset(between(graph, leaves, outputs))
        self.masks: set[str] = set()  # made for the adjoint that the source is

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
        """A node of the source; of an adjoint's, one whose mask is one for derivatives too."""
        build = self.build

        def moved(name: str) -> Value | None:
            arrives = name.startswith(PREFIX) and name in self.active
            return build.read(tangent_name(name)) if arrives else None

        build.prefix, build.line = f"{tangent_name(node.name)}:reached", node.line
        build.nodes[node.name] = masked = where_it_moves(node, build, moved)
        if masked is not node:
            self.masks.add(masked.operands[1].source)
        return masked

    def _seed(self, leaf: Node) -> None:
        """Make the tangent of a leaf."""
        self.build.leaf(tangent_name(leaf.name), "tangent", self._along(leaf.type))
        self._begin(leaf)

    def _define_zero(self, output: Node) -> bool:
        """Make the tangent of an output that nothing moves; not of one that is no number."""
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
        whole = _whole(value, self._along(node.type))
        self.build.define(name, "identity", (whole,))
        self._begin(node)

    def _begin(self, node: Node) -> None:
        """The tangent of a node begins with that of its initial value."""
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
            any_ = build.leaf(f"{name}:any", "cotangent", replace(node.type, bound=None))
            passed = entry.adjoint(any_, build.read(node.name), *operands, **node.options)
            for operand, value in zip(operands, passed, strict=True):
                if value is None or operand.edge.source not in self.active:
                    continue
                edge = operand.edge
                moved = build.read(tangent_name(edge.source), edge.delay, edge.axis)
                part = self._transposed(any_, value, moved, operand.type)
                if part is not None and entry.slope_at(node.options) == "infinite":
                    part = call("reached", part, arrived(entry, node, moved))
                if part is not None:
                    total = part if total is None else total + part
        return build.number(0.0) if total is None else total

    def _transposed(self, any_: Value, value: Value, moved: Value, like: Type) -> Value | None:
        """J u^dot, from a value J' g with a ``g`` that stands for ``any_`` cotangent.

        ``moved`` is u^dot and ``like`` the type of u.  None where the value has no g in it.
        """
        build = self.build
        linear = self._depending(any_.edge.source, value.edge.source)
        if not linear:
            return None
        found = {value.edge.source: self._unfit(moved, value.type, like)}
        for name in linear:
            if name == any_.edge.source:
                continue
            node, cotangent = build.nodes[name], found[name]
            rule = OPERATIONS[node.operation].adjoint
            assert rule is not None
            operands = [build.read(edge.source, edge.delay, edge.axis) for edge in node.operands]
            passed = rule(cotangent, build.read(name), *operands, **node.options)
            for operand, part in zip(operands, passed, strict=True):
                source = operand.edge.source
                if part is None or source not in linear:
                    continue
                target = self._along(operand.type)
                part = _whole(fit(part, target, self._along(node.type).axes), target)
                found[source] = found[source] + part if source in found else part
        return found.get(any_.edge.source)

    def _unfit(self, moved: Value, value: Type, like: Type) -> Value:
        """The transpose of what makes a rule's value fit an operand: a tangent like the value.

        What the operand has and the value has not was spread or filled, and is summed; what only
        the value has was summed, and is spread or filled.
        """
        over = tuple(axis for axis in like.axes if axis not in value.axes)
        if over:
            moved = call("sum_over", moved, over=over)
        if value.shape != like.shape:
            moved = call("fill", moved, shape=value.shape) if value.shape else call("sum", moved)
        return spread(moved, self._along(value).axes)

    def _depending(self, origin: str, end: str) -> list[str]:
        """The nodes that a value is made of and that depend on another, the value first."""

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


def _whole(value: Value, like: Type) -> Value:
    """A value with the shape and all the axes of a type."""
    if value.type.shape != like.shape:
        value = call("fill", value, shape=like.shape)
    return spread(value, like.axes)


def _needed(graph: Graph) -> Graph:
    """The graph without what no output needs; leaves of the network stay."""
    stay = [
        leaf.name for sort in ("param", "input", "target", "noise") for leaf in graph.leaves(sort)
    ]
    found = needed_names(graph, [*graph.results(), *stay])
    return graph.with_nodes(node for node in graph.nodes if node.name in found)
