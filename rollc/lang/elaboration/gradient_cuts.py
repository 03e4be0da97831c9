"""Truncation of a single read: `stop(h[t-1], every=k)`.

No gradient passes the read where it crosses a boundary of windows of k steps, as
:mod:`rollc.autodiff.truncation` does to every delayed read.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollc.ir.expressions import Value, cut_read
from rollc.ir.graph import Attribute, Edge, Type, attributes
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.untyped_node import NodeTable, Operand

_ANY = Type("float")  # a draft's type is not known yet


def cut_at_borders(nodes: NodeTable, read: Operand, steps: int) -> Operand:
    """A read with a delay through which no gradient passes the borders of windows."""
    maker = _Maker(nodes, read.edge.source, read.span)
    return Operand(cut_read(maker.value(read.edge), steps).edge, read.span)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes nodes of what graph passes write as arithmetic on values."""

    nodes: NodeTable
    prefix: str
    span: Span

    def make(self, operation: str, operands: tuple[Value, ...], **options: Attribute) -> Value:
        read = tuple(Operand(operand.edge, self.span) for operand in operands)
        found = self.nodes.add(
            operation, read, self.span, self.prefix, options=attributes(**options)
        )
        return self.value(found.edge)

    def number(self, value: float) -> Value:
        return self.value(Edge(self.nodes.constant(value, self.span, self.prefix)))

    def value(self, edge: Edge) -> Value:
        return Value(edge, _ANY, self)
