"""Substitution of names in expressions, which keep their spans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.builtins import ENDS
from rollc.lang.symbols.whole_numbers import whole
from rollc.lang.syntax.ast import (
    Binary,
    Call,
    Expression,
    Index,
    Listing,
    Name,
    Negate,
    Not,
    Number,
    Option,
    Range,
    Rest,
    Selection,
    Shape,
    Slice,
    Subscript,
    Text,
    Word,
)
from rollc.lang.syntax.traversal import names_in


@dataclass(frozen=True)
class Scope:
    """The substitution of names at a use.

    ``path`` qualifies the names that are defined there, ``use`` is the span of the use, and
    ``sizes`` and ``numbers`` are the names of sizes and constants, as written.  `t`, the time axis,
    is one of the names.  ``at`` is the span of all that has none in the text, and ``values`` are
    numbers that take the place of names.

    In what is repeated, ``now`` are names whose values at this step are those of others, though a
    read with a delay, along one of the ``axes``, is of the name itself.  ``elements`` are the
    places of arrays, and ``known`` all sizes that are known, by their full names; ``missing`` gets
    what is wrong where an element is read that is none.  What a use of a
    cell learns under a path that begins with the first of ``shared`` is learned under the second,
    and defined there where the third holds.
    Along the axes that are ``backwards`` delays are turned round, and so are the ends.
    """

    path: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    sizes: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    use: Span | None = None
    depth: int = 0
    at: Span | None = None
    values: Mapping[str, int | float] = field(default_factory=dict)
    now: Mapping[str, str] = field(default_factory=dict)
    axes: frozenset[str] = frozenset()
    elements: Mapping[str, frozenset[int]] = field(default_factory=dict)
    known: Mapping[str, int] = field(default_factory=dict)
    shared: tuple[tuple[str, str, bool], ...] = ()
    missing: dict[Span, Diagnostic] = field(default_factory=dict)
    backwards: frozenset[str] = frozenset()

    @property
    def repeats(self) -> bool:
        """Whether something is to be substituted in the spec itself."""
        return bool(self.values or self.now or self.elements)

    def whole(self, expression: Expression) -> int | None:
        """The whole number that an expression is, if that is known."""
        local = {name: self.known.get(self.names.get(name, name)) for name in _names(expression)}
        numbers = {name: value for name, value in local.items() if value is not None}
        return whole(expression, {**numbers, **self.values})

    def element(self, base: Name, index: Expression) -> Name | Number | None:
        """The element of an array that is read; a number where it has none at its place."""
        places = self.elements.get(base.name)
        place = None if places is None else self.whole(index)
        if places is None or place is None:
            return None
        if place not in places:
            message = f"`{base.name}` has no element {place}"
            several = f"its elements are {min(places)} to {max(places)}"
            text = several if len(places) > 1 else f"its only element is {min(places)}"
            at = Label(self.span(index.span), text)
            self.missing.setdefault(index.span, Diagnostic("R221", message, at))
            return Number(0, self.span(base.span))
        return Name(f"{self.name(base).name}.{place}", self.span(base.span))

    def learned(self, name: Name) -> tuple[Name, bool]:
        """What a parameter is called that several passes share, and whether it is defined here."""
        text, here = name.name, True
        for begins, becomes, defines in self.shared:
            if text.startswith(f"{begins}."):
                text, here = becomes + text[len(begins) :], here and defines
        return Name(text, name.span), here

    def turned(self, index: Expression) -> Expression:
        """A step of a time axis; of one that is backwards into the other direction."""
        if not self.backwards or not is_delay(index, self.backwards):
            return index
        if not isinstance(index, Binary):
            return index
        symbol = {"-": "+", "+": "-"}.get(index.symbol, index.symbol)
        return Binary(symbol, self.turned(index.left), index.right, index.span)

    def span(self, span: Span) -> Span:
        if self.at is not None:
            return self.at
        return span if self.use is None else Span(span.start, span.end, self.use)

    def name(self, name: Name) -> Name:
        return Name(self.names.get(name.name, name.name), self.span(name.span))


def is_delay(index: Expression | Range | Rest, axes: frozenset[str]) -> bool:
    """Whether a subscript is a step of one of the time axes."""
    while isinstance(index, Binary):
        index = index.left
    return isinstance(index, Name) and index.name in axes


def _names(expression: Expression) -> tuple[str, ...]:
    return tuple(name.name for name in names_in(expression))


Replace = Callable[[Call], Expression | None]


def substituted(
    expression: Expression, scope: Scope, replaced: Replace | None = None
) -> Expression:
    """An expression with its names substituted.  ``replaced`` can replace a call."""

    def move(part: Expression) -> Expression:
        span = scope.span(part.span)
        match part:
            case Number(value):
                return Number(value, span)
            case Name(name) if name in scope.values:
                return Number(scope.values[name], span)
            case Name(name) if name in scope.now:
                return Name(scope.now[name], span)
            case Name():
                return scope.name(part)
            case Negate(operand):
                return Negate(move(operand), span)
            case Not(operand):
                return Not(move(operand), span)
            case Binary(symbol, left, right):
                return Binary(symbol, move(left), move(right), span)
            case Subscript(Name() as base, index) if is_delay(index, scope.axes):
                return Subscript(scope.name(base), move(scope.turned(index)), span)
            case Subscript(Name() as base, index) if element := scope.element(base, index):
                return replace(element, span=span)
            case Subscript(base, index):
                return Subscript(move(base), move(index), span)
            case Slice(base, start, stop):
                first = None if start is None else move(start)
                return Slice(move(base), first, None if stop is None else move(stop), span)
            case Selection(base, places):
                return Selection(move(base), tuple(map(moved, places)), span)
            case Text(text):
                return Text(text, span)
            case Listing(elements):
                return Listing(tuple(map(move, elements)), span)
            case Call():
                other = replaced(part) if replaced is not None else None
                return other if other is not None else call(part)

    def moved(place: Expression | Range | Rest) -> Expression | Range | Rest:
        match place:
            case Range(start, stop):
                first = None if start is None else move(start)
                last = None if stop is None else move(stop)
                return Range(first, last, scope.span(place.span))
            case Rest():
                return Rest(scope.span(place.span))
            case _:
                return move(scope.turned(place))

    def call(part: Call) -> Call:
        name, of = part.function.name, part.over
        if name in ENDS and scope.backwards and (of is None or of.name in scope.backwards):
            name = ENDS[1 - ENDS.index(name)]
        function = Name(name, scope.span(part.function.span))
        operands = tuple(move(operand) for operand in part.operands)
        options, sizes = given(part.options), given(part.sizes)
        over = None if part.over is None else scope.name(part.over)
        words = tuple(
            Word(
                Name(word.name.name, scope.span(word.name.span)),
                None if word.value is None else move(word.value),
                scope.span(word.span),
            )
            for word in part.words
        )
        return Call(function, operands, options, over, sizes, scope.span(part.span), words)

    def given(options: tuple[Option, ...]) -> tuple[Option, ...]:
        return tuple(
            Option(
                Name(option.name.name, scope.span(option.name.span)),
                move(option.value),
                scope.span(option.span),
            )
            for option in options
        )

    return move(expression)


def substituted_shape(shape: Shape, scope: Scope) -> Shape:
    sizes = tuple(substituted(size, scope) for size in shape.sizes)
    return replace(shape, sizes=sizes, span=scope.span(shape.span))


def substituted_type(type_: Shape | Index, scope: Scope) -> Shape | Index:
    if isinstance(type_, Shape):
        return substituted_shape(type_, scope)
    shape = tuple(substituted(size, scope) for size in type_.shape)
    return Index(substituted(type_.size, scope), scope.span(type_.span), shape)
