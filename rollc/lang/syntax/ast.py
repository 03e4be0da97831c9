"""The syntax tree of a spec, before names are resolved.

Spans play no part in equality.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeVar

from rollc.lang.diagnostics.source import Span

# Expressions


@dataclass(frozen=True, slots=True)
class Number:
    """``3`` (an int, as sizes are) or ``0.5``."""

    value: int | float
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Negate:
    operand: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Not:
    operand: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """``left symbol right``, for arithmetic, comparisons, `and` and `or`."""

    symbol: str
    left: Expression
    right: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Subscript:
    """``base[index]``: a delayed read such as ``h[t-1]``, or one element."""

    base: Expression
    index: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Slice:
    """``base[start:stop]``, either of which may be left out."""

    base: Expression
    start: Expression | None
    stop: Expression | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Range:
    """``start:stop`` among several places."""

    start: Expression | None
    stop: Expression | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rest:
    """``...``: all dimensions between the others."""

    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Selection:
    """``base[1, :, 2:4]``: a place for each dimension."""

    base: Expression
    places: tuple[Expression | Range | Rest, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """``"nk,nv->nkv"``, the subscripts of `einsum`."""

    text: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """``[a, b, c]``: a vector of numbers, a matrix of rows."""

    elements: tuple[Expression, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Option:
    """``epsilon=1e-5`` among the operands of a call."""

    name: Name
    value: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Word:
    """``reverse``, or ``stack 3``, among the sizes of a use of a cell."""

    name: Name
    value: Expression | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """``function(operands, options, over axis)``, or ``cell(inputs; sizes, words)``."""

    function: Name
    operands: tuple[Expression, ...]
    options: tuple[Option, ...]
    over: Name | None
    sizes: tuple[Option, ...]
    span: Span = field(compare=False, repr=False)
    words: tuple[Word, ...] = ()


Expression = (
    Number | Name | Negate | Not | Binary | Subscript | Slice | Selection | Text | Listing | Call
)  # fmt: skip


# Statements


@dataclass(frozen=True, slots=True)
class Shape:
    """``[H, D]``, or ``number`` where there are no sizes; ``complex[H, D]``, ``condition``."""

    sizes: tuple[Expression, ...]
    span: Span = field(compare=False, repr=False)
    kind: Literal["", "complex", "condition"] = ""

    @property
    def complex(self) -> bool:
        return self.kind == "complex"


@dataclass(frozen=True, slots=True)
class Index:
    """``index(K)``; ``index(K)[H]`` has a shape."""

    size: Expression
    span: Span = field(compare=False, repr=False)
    shape: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Net:
    name: Name
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Dim:
    """``dim name = value``; ``given`` is one of a use of a cell, of any sign."""

    name: Name
    value: Expression
    span: Span = field(compare=False, repr=False)
    given: bool = False


@dataclass(frozen=True, slots=True)
class Input:
    """An input, or with ``target`` a target; ``type`` is None for a number.

    ``axes`` are the time axes that it is said to run over; none where the only one is meant.
    """

    name: Name
    type: Shape | Index | None
    axes: tuple[Name, ...]
    static: bool
    target: bool
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Param:
    name: Name
    shape: Shape | None
    initialiser: Expression | None
    frozen: bool
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Const:
    name: Name
    value: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Equation:
    """``names = value``; ``types`` are those that are declared, None for the others."""

    names: tuple[Name, ...]
    types: tuple[Shape | Index | None, ...]
    value: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Counted:
    """``for index in range(start, stop)``."""

    index: Name
    start: Expression | None
    stop: Expression
    span: Span = field(compare=False, repr=False)

    @property
    def bounds(self) -> tuple[Expression, ...]:
        return (self.stop,) if self.start is None else (self.start, self.stop)


@dataclass(frozen=True, slots=True)
class Elements:
    """``names[places] = value for index in range(start, stop)``, of each array a type for all.

    Of one element, ``h[0] = value``, nothing is ``counted``.
    """

    names: tuple[Name, ...]
    places: tuple[Expression, ...]
    types: tuple[Shape | Index | None, ...]
    value: Expression
    counted: Counted | None
    span: Span = field(compare=False, repr=False)

    @property
    def index(self) -> Name | None:
        return None if self.counted is None else self.counted.index


@dataclass(frozen=True, slots=True)
class Repeat:
    """``repeat count { body }``, with equations and other repetitions in it."""

    count: Expression
    body: tuple[Equation | Repeat, ...]
    span: Span = field(compare=False, repr=False)

    @property
    def equations(self) -> tuple[Equation, ...]:
        """All in it, those of other repetitions too."""
        nested = (item.equations if isinstance(item, Repeat) else (item,) for item in self.body)
        return tuple(equation for each in nested for equation in each)


@dataclass(frozen=True, slots=True)
class Declaration:
    """``name: type`` before the ``=`` of an equation.

    Not written alone: cell inlining separates it from its equation.
    """

    name: Name
    type: Shape | Index
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Init:
    """``axes`` are those along which a read is outside the sequence; none where all is said.

    ``place`` is that of an element of an array, in ``init h[k] = …``.
    """

    name: Name
    value: Expression
    axes: tuple[Name, ...]
    span: Span = field(compare=False, repr=False)
    place: Expression | None = None
    shared: bool = False  # one of several that are written once


@dataclass(frozen=True, slots=True)
class Output:
    name: Name
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Loss:
    value: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Use:
    """``use "cells/lstm.roll"``."""

    path: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Size:
    """A size that a cell is given, and what it is where nothing is said."""

    name: Name
    default: Expression | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Cell:
    """``cell name(inputs; sizes) -> results { body }``."""

    name: Name
    inputs: tuple[Name, ...]
    sizes: tuple[Size, ...]
    results: tuple[Name, ...]
    body: tuple[Statement, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Slope:
    """``grad argument: value``, or ``grad value`` of a function with one argument.

    The parser makes it a part of the function that it follows.
    """

    argument: Name | None
    value: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Function:
    """``fn name(arguments) = value`` and the derivatives that it states itself.

    Of ``fn name(arguments) -> value { body }`` the value is a name.
    """

    name: Name
    arguments: tuple[Name, ...]
    value: Expression
    slopes: tuple[Slope, ...]
    span: Span = field(compare=False, repr=False)
    body: tuple[Equation, ...] = ()

    @property
    def values(self) -> tuple[Expression, ...]:
        """All expressions in it."""
        body, slopes = (each.value for each in self.body), (each.value for each in self.slopes)
        return (self.value, *body, *slopes)


@dataclass(frozen=True, slots=True)
class Reset:
    """``reset name when condition``; ``place`` is that of an element of an array."""

    name: Name
    condition: Expression
    span: Span = field(compare=False, repr=False)
    place: Expression | None = None
    shared: bool = False  # one of several that are written once


@dataclass(frozen=True, slots=True)
class Each:
    """``init name[index] = value for index in range(start, stop)``, or ``reset`` so."""

    statement: Init | Reset
    counted: Counted
    span: Span = field(compare=False, repr=False)

    @property
    def index(self) -> Name:
        return self.counted.index


@dataclass(frozen=True, slots=True)
class Time:
    """``time s, t``."""

    axes: tuple[Name, ...]
    span: Span = field(compare=False, repr=False)


# Not written in a spec: cell inlining makes these.


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of a value: the input of a cell, or a result of its use."""

    name: Name
    of: Name
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Along:
    """The time axis of a use of a cell: ``over``, or the one that its arguments run over.

    ``outer`` is the axis where they run over none, and ``named`` are axes that the cell names
    itself.
    """

    name: Name
    arguments: tuple[Name, ...]
    over: str | None
    outer: str | None
    named: frozenset[str]
    cell: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Agreement:
    """That the states of a layer have together the shape of its input."""

    name: Name
    states: tuple[Name, ...]
    span: Span = field(compare=False, repr=False)


Definition = Cell | Function
Statement = (
    Net | Dim | Input | Param | Const | Equation | Init | Output | Loss
    | Use | Cell | Function | Slope | Reset | Time | Alias | Along | Declaration | Elements | Repeat
    | Agreement | Each
)  # fmt: skip
S = TypeVar("S", bound=Statement)


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole text.  ``dim D = 8, H = 32`` is two statements."""

    statements: tuple[Statement, ...]

    def of(self, kind: type[S]) -> list[S]:
        return [statement for statement in self.statements if isinstance(statement, kind)]
