"""Untyped nodes (drafts): what they read, with spans."""

from __future__ import annotations

from dataclasses import dataclass

from rollc.ir.graph import Attribute, Edge, Type, attributes
from rollc.lang.diagnostics.source import Span

LOSS = "loss"
Options = tuple[tuple[str, Attribute], ...]  # in the order of their names


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
class Complex:
    """Where a value is declared as complex; of a leaf with the options of both parts."""

    span: Span
    parts: tuple[Options, Options] = ((), ())


@dataclass(frozen=True, slots=True)
class Row:
    """The value of a read of ``node`` by ``outside`` steps (1, 2 …) outside the sequence.

    The read is before the first step, or ``ahead`` of the last one.
    """

    node: str
    outside: int
    ahead: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """A slice along a dimension; its end can depend on the length of its operand.

    ``part`` is (k, n) for the k-th of n equal parts.  ``element`` is a slice of one element.
    ``row`` is a slice of an initial value, or the value itself where it is the same for all steps.
    """

    start: int = 0
    stop: int | None = None
    part: tuple[int, int] | None = None
    element: bool = False
    row: Row | None = None
    axis: int = 0


@dataclass(frozen=True, slots=True)
class Axis:
    """The time axis of one use of a cell or a function, as a variable of inference.

    It is the one that is said, ``over``, or that ``arguments`` run over or, where they run over
    none, ``outer``; but none of those that are ``named`` inside, beside it.
    ``function`` is what is used, ``span`` where, and ``form`` how the axis can be written.
    """

    arguments: tuple[Edge, ...]
    over: str | None
    outer: str | None
    named: frozenset[str]
    function: str
    form: str
    span: Span


@dataclass(frozen=True, slots=True)
class Draft:
    """An untyped node; ``type`` is known for leaves only.

    The axes in edges and attributes can be names of :class:`Axis`, and `first` and `last`
    can lack theirs: :mod:`rollc.lang.inference.axes` replaces them by time axes.  ``along`` is the
    dimension that is written, which counts from the end where it is negative.  ``part_of`` is the
    function of the library that it comes from.
    """

    name: str
    operation: str
    operands: tuple[Operand, ...]
    span: Span
    attributes: Options = ()
    type: Type | None = None
    cut: Cut | None = None
    along: int | None = None
    part_of: str = ""


class NodeTable:
    """The nodes to be of a spec, in the order in which they were made."""

    def __init__(self) -> None:
        self.drafts: dict[str, Draft] = {}
        self.complex: dict[str, Complex] = {}  # what is declared so
        self._constants: dict[str, str] = {}  # the repr of a number to its node
        self._aliases: dict[str, str] = {}  # a second constant of equal value to the first
        self._counts: dict[str, int] = {}
        self.losses: list[Draft] = []  # calls of the library whose operands have one shape
        self.part_of = ""  # the function of the library that is read just now

    def leaf(self, name: str, operation: str, type_: Type, span: Span, **options: Attribute) -> str:
        self.drafts[name] = Draft(name, operation, (), span, attributes(**options), type_)
        return name

    def constant(self, value: float, span: Span, prefix: str, name: str | None = None) -> str:
        """The node of a number; equal numbers are one node."""
        key = repr(value)
        if key not in self._constants:
            chosen = self.fresh(prefix) if name is None else name
            self._constants[key] = self.leaf(
                chosen, "constant", Type("float"), span, value=float(value)
            )
        elif name is not None:
            self._aliases[name] = self._constants[key]
        return self._constants[key]

    def add(
        self,
        operation: str,
        operands: tuple[Operand, ...],
        span: Span,
        prefix: str,
        name: str | None = None,
        cut: Cut | None = None,
        options: Options = (),
        along: int | None = None,
    ) -> Operand:
        """A read of a new node, which has that name or one made of the prefix."""
        chosen = self.fresh(prefix) if name is None else name
        self.drafts[chosen] = Draft(
            *(chosen, operation, operands, span, options),
            cut=cut,
            along=along,
            part_of=self.part_of,
        )
        return Operand(Edge(chosen), span)

    def alias(self, name: str, of: str) -> None:
        """A second name of a value."""
        self._aliases[name] = of

    def aliases_in(self, use: str) -> list[str]:
        """The second names of values that the use of a cell makes."""
        return [name for name in self._aliases if name.rpartition(".")[0] == use]

    def node_of(self, name: str) -> str:
        """The node that holds the value of a name."""
        while name in self._aliases:
            name = self._aliases[name]
        return name

    def fresh(self, prefix: str) -> str:
        self._counts[prefix] = self._counts.get(prefix, 0) + 1
        return f"{prefix}'{self._counts[prefix]}"
