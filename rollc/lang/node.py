"""Nodes to be: what they read, and where that is written."""

from __future__ import annotations

from dataclasses import dataclass

from rollc.graph.graph import Attribute, Edge, Type
from rollc.lang.source import Span

LOSS = "loss"


@dataclass(frozen=True, slots=True)
class Operand:
    """A read of a node, and where it is written."""

    edge: Edge
    span: Span


@dataclass(frozen=True, slots=True)
class Declared:
    """The type that a spec says where it defines a value, and where that is written."""

    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class Row:
    """What a read of ``node`` by ``outside`` steps (1, 2 …) outside the sequence takes.

    The read is before the first step, or ``ahead`` of the last one.
    """

    node: str
    outside: int
    ahead: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """What a slice takes; the end may depend on the length of what is cut.

    ``part`` is (k, n) for the k-th of n equal parts.  ``element`` is a cut of one element
    of a vector.  ``row`` is a cut of an initial value, which is the value itself where it
    is the same for all steps.
    """

    start: int = 0
    stop: int | None = None
    part: tuple[int, int] | None = None
    element: bool = False
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """The time axis of one use of a cell or a function, before it is known which one it is.

    It is the one that ``arguments`` run over or, where they run over none, ``outer``.
    ``function`` is what is used, ``span`` where, and ``form`` how an axis could be said.
    """

    arguments: tuple[Edge, ...]
    outer: str | None
    function: str
    form: str
    span: Span


@dataclass(frozen=True, slots=True)
class Draft:
    """A node to be; ``type`` is known for leaves only.

    The axes in edges and attributes can be names of :class:`Axis`, and `first` and `last`
    can lack theirs: :mod:`rollc.lang.axes` puts time axes there.
    """

    name: str
    operation: str
    operands: tuple[Operand, ...]
    span: Span
    attributes: tuple[tuple[str, Attribute], ...] = ()
    type: Type | None = None
    cut: Cut | None = None
