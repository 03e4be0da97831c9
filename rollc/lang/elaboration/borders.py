"""Reads with delays along two axes, and initial values for each axis along which one is outside.

    init h over s = e          what h is outside along s, at every step inside along t
    init h over s, t = e       what it is outside along both
    init h = e                 what it is where neither says it

A read along both axes is one of a read, ``g[t-1]`` with g = ``h[s-1]``.  Outside along t it is the
initial value over t as it was a step ago along s, and outside along both what is said of that.
A value that an initial value over an axis is said of is read along that axis as a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rollc.ir.graph import Edge, attributes
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.builtins import ENDS, SPREAD
from rollc.lang.symbols.untyped_node import Cut, NodeTable, Operand, Row
from rollc.lang.syntax.ast import Init

Axes = frozenset[str]


class Borders:
    """The initial values of a spec that are said over axes, by the nodes that they are of.

    ``values`` are those that were read; ``initials`` has those of nodes, whatever the axis.
    """

    def __init__(self, nodes: NodeTable, initials: dict[str, Operand]) -> None:
        self.nodes = nodes
        self.initials = initials
        self.said: dict[str, dict[Axes, Init]] = {}
        self.values: dict[tuple[str, Axes], Operand] = {}
        self._copies: dict[tuple[str, str], str] = {}
        self._both: dict[tuple[str, Edge, str], str] = {}

    def along(self, name: str, axis: str, span: Span) -> str:
        """The node that is read along an axis in the place of a value."""
        if frozenset({axis}) not in self.said.get(name, {}):
            return name
        if (name, axis) not in self._copies:
            read = self.nodes.add("identity", (Operand(Edge(name), span),), span, name)
            self._copies[name, axis] = read.edge.source
        return self._copies[name, axis]

    def read(self, name: str, delays: Sequence[tuple[str, int]], span: Span) -> Edge:
        """A read with a delay along each of some axes."""
        (axis, delay), *others = sorted(delays)
        edge = Edge(self.along(name, axis, span), delay, axis)
        for axis, delay in others:
            key = (name, edge, axis)
            if key not in self._both:
                read = self.nodes.add("identity", (Operand(edge, span),), span, name)
                self._both[key] = read.edge.source
            edge = Edge(self._both[key], delay, axis)
        return edge

    def is_read(self, name: str, axes: Axes) -> bool:
        """Whether something reads a value along some axes at once, with a delay along each."""
        return any(name == owner and axes == {edge.axis, axis} for owner, edge, axis in self._both)

    def finish(self) -> None:
        """Give the reads along two axes their initial values, when all of them are known."""
        for (name, edge, axis), node in self._both.items():
            whole = self.initials.get(name)
            if name not in self.said:
                self._start(node, whole)
                continue
            span = self.nodes.drafts[node].span
            over = self.values.get((name, frozenset({axis})), whole)
            corner = self.values.get((name, frozenset({edge.axis, axis})), whole)
            if over is None and corner is None:
                continue
            zero = Operand(Edge(self.nodes.constant(0.0, span, name)), span)
            if over is None:  # zero, of an index 0
                row = Cut(row=Row(name, abs(edge.delay), edge.delay < 0))
                over = self.nodes.add("slice", (zero,), span, name, cut=row)
            if corner is not None:  # it has the shape and the batch of both
                never = self.nodes.add("less", (zero, zero), span, name)
                over = self.nodes.add("where", (never, corner, over), span, name)
            options = attributes(axis=edge.axis)
            spread = self.nodes.add(SPREAD, (over,), span, name, options=options)
            self._start(spread.edge.source, corner)
            before = Operand(Edge(spread.edge.source, edge.delay, edge.axis), span)
            self._start(node, self.nodes.add("identity", (before,), span, name))

    def ends(self) -> None:
        """Let the first and the last step along an axis be those of what is read along it."""
        for name, draft in list(self.nodes.drafts.items()):
            axis = dict(draft.attributes).get("axis")
            if draft.operation in ENDS and isinstance(axis, str):
                (operand,) = draft.operands
                source = self._copies.get((operand.edge.source, axis))
                if source is not None and not operand.edge.delay:
                    moved = replace(operand, edge=Edge(source))
                    self.nodes.drafts[name] = replace(draft, operands=(moved,))

    def _start(self, node: str, initial: Operand | None) -> None:
        if initial is not None:
            self.initials[node] = initial
