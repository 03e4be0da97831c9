"""Resets: states that start anew inside a sequence.

    reset h when r

A read ``h[t-d]`` is the initial value where r holds at any of the steps t-d+1 … t, and
``h[t-d]`` elsewhere: a select, so that no gradient passes a reset.  An initial
value with a row for each step counts its rows from the last reset, as from the first step.
"""

from __future__ import annotations

from collections.abc import Callable

from rollc.ir.graph import Edge, attributes
from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.elaboration.gradient_cuts import cut_at_borders
from rollc.lang.symbols.builtins import SPREAD
from rollc.lang.symbols.constants import Rejected
from rollc.lang.symbols.untyped_node import Cut, NodeTable, Operand, Row
from rollc.lang.syntax.ast import Expression, Init, Reset

LONGEST_DELAY = 64  # steps of a read across a reset


class Resets:
    """The resets of a spec, and the initial values, by the nodes that they are of."""

    def __init__(self, nodes: NodeTable, read: Callable[[Expression, str], Operand]) -> None:
        self.nodes = nodes
        self._read = read
        self.resets: dict[str, Reset] = {}
        self.conditions: set[str] = set()  # states that are declared as conditions
        self.starts: dict[str, Init] = {}
        self._marks: dict[str, str] = {}
        self._spread: dict[tuple[str, str], str] = {}
        self._zeros: dict[str, Operand] = {}  # what states without an initial value start from
        self._reads: dict[tuple[Edge, int | None], Edge] = {}
        self._across_resets: dict[str, Edge] = {}  # the read that a node stands for
        self._open: set[str] = set()  # states of which a read across a reset is being written
        self.circular: set[str] = set()  # states whose resets need themselves

    def read(self, edge: Edge, span: Span, every: int | None = None) -> Operand:
        """The read of an edge, with selects for the resets of its source if there are any.

        With ``every`` no gradient passes the boundaries of windows of that many steps.
        """
        read = Operand(edge, span)
        if edge.source not in self.resets or not edge.delay:
            return read if every is None else cut_at_borders(self.nodes, read, every)
        if abs(edge.delay) > LONGEST_DELAY:
            at = Label(span, f"{abs(edge.delay)} steps")
            also = (Label(self.resets[edge.source].span, "reset here"),)
            message = f"a state that is reset is read {LONGEST_DELAY} steps ago at most"
            raise Rejected(Diagnostic("R222", message, at, also))
        if edge.source in self._open:
            self.circular |= self._open
            raise Rejected(self._circular(edge.source, span))
        if (edge, every) not in self._reads:
            found = read if every is None else cut_at_borders(self.nodes, read, every)
            self._open.add(edge.source)
            try:
                across = self._across(edge, found)
                if edge.source in self.conditions:
                    across = self._holds(across, edge.source)
                self._reads[edge, every] = across.edge
            finally:
                self._open.remove(edge.source)
            self._across_resets[self._reads[edge, every].source] = edge
        return Operand(self._reads[edge, every], span)

    def cut(self, operand: Operand, every: int) -> Operand:
        """A read with a delay, across resets or not, cut at the borders of windows."""
        edge = operand.edge
        known = edge if edge.delay else self._across_resets.get(edge.source)
        if known is None:
            at = Label(operand.span, "not a read with a delay")
            help_ = "read the past or the future: `stop(h[t-1], every=20)`"
            message = "`every` is a rule for a read with a delay"
            raise Rejected(Diagnostic("R228", message, at, helps=(help_,)))
        return self.read(known, operand.span, every)

    def _circular(self, name: str, span: Span) -> Diagnostic:
        """A read across a reset that what it needs, a mark or an initial value, needs itself."""
        at = Label(span, f"`{name}` is read across its own reset")
        also = (Label(self.resets[name].condition.span, "reset here"),)
        note = f"whether `{name}` is reset, and to what, decides what it was a step ago"
        help_ = "let the condition and the initial value read something else"
        return Diagnostic("R301", "cycle without a delay", at, also, notes=(note,), helps=(help_,))

    def _across(self, edge: Edge, found: Operand) -> Operand:
        """The latest reset decides, so the steps are taken from the earliest on."""
        name, mark = edge.source, self._mark(edge.source)
        at = self.resets[name].condition.span
        steps, side = abs(edge.delay), 1 if edge.delay > 0 else -1
        for before in range(steps - 1, -1, -1):
            delay = side * before
            if before:
                marked = Operand(Edge(self._at_every_step(name, edge.axis), delay, edge.axis), at)
            else:
                marked = Operand(Edge(mark), at)
            condition = self._holds(marked, name)
            start = self._start(Row(name, steps - before, side < 0), at)
            found = self.nodes.add("where", (condition, start, found), found.span, name)
        return found

    def _mark(self, name: str) -> str:
        """The node that is 1 where the state is reset: outside the sequence it is 0."""
        if name not in self._marks:
            condition = self.resets[name].condition
            holds = self._holds(self._read(condition, name), name)
            one, zero = (self._number(value, condition.span, name) for value in (1, 0))
            mark = self.nodes.add("where", (holds, one, zero), condition.span, name)
            self._marks[name] = mark.edge.source
        return self._marks[name]

    def _at_every_step(self, name: str, axis: str) -> str:
        """The mark as what changes along an axis: a condition may be the same at every step."""
        if (name, axis) not in self._spread:
            span = self.resets[name].condition.span
            mark = Operand(Edge(self._mark(name)), span)
            found = self.nodes.add(SPREAD, (mark,), span, name, options=attributes(axis=axis))
            self._spread[name, axis] = found.edge.source
        return self._spread[name, axis]

    def _holds(self, value: Operand, name: str) -> Operand:
        zero = self._number(0, value.span, name)
        return self.nodes.add("not_equal", (value, zero), value.span, name)

    def _start(self, row: Row, span: Span) -> Operand:
        name = row.node
        if name in self.starts:
            value = self._read(self.starts[name].value, name)
            return self.nodes.add("slice", (value,), value.span, name, cut=Cut(row=row))
        if name not in self._zeros:
            zero = self._number(0, span, name)
            self._zeros[name] = self.nodes.add("slice", (zero,), span, name, cut=Cut(row=row))
        return self._zeros[name]

    def _number(self, value: int, span: Span, name: str) -> Operand:
        return Operand(Edge(self.nodes.constant(float(value), span, name)), span)
