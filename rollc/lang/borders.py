"""A gradient rule on one read: `stop(h[t-1], every=k)`.

No gradient passes the read where it crosses the border of a window of k steps: what
:mod:`rollc.graph.truncate` does to every read with a delay, done to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollc.graph.expression import Value
from rollc.graph.graph import Attribute, Edge, Type, attributes
from rollc.graph.truncate import cut_read
from rollc.lang.node import Draft, Operand
from rollc.lang.source import Span

if TYPE_CHECKING:
    from rollc.lang.draft import Drafts

_ANY = Type("float")  # a draft's type is not known yet


def cut_at_borders(drafts: Drafts, read: Operand, steps: int) -> Operand:
    """A read with a delay through which no gradient passes the borders of windows."""
    maker = _Maker(drafts, read.edge.source, read.span)
    return Operand(cut_read(maker.value(read.edge), steps).edge, read.span)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes drafts of what graph passes write as arithmetic on values."""

    drafts: Drafts
    prefix: str
    span: Span

    def make(self, operation: str, operands: tuple[Value, ...], **options: Attribute) -> Value:
        name = self.drafts.fresh(self.prefix)
        read = tuple(Operand(operand.edge, self.span) for operand in operands)
        self.drafts.drafts[name] = Draft(name, operation, read, self.span, attributes(**options))
        return self.value(Edge(name))

    def number(self, value: float) -> Value:
        return self.value(Edge(self.drafts.constant(value, self.span, self.prefix)))

    def value(self, edge: Edge) -> Value:
        return Value(edge, _ANY, self)
