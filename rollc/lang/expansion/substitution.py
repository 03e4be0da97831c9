"""Substitution of names in expressions, which keep their spans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rollc.lang.diagnostics.source import Span
from rollc.lang.syntax.ast import (
    Binary,
    Call,
    Expression,
    Listing,
    Name,
    Negate,
    Not,
    Number,
    Option,
    Range,
    Rest,
    Selection,
    Slice,
    Subscript,
    Text,
)


@dataclass(frozen=True)
class Scope:
    """The substitution of names at a use.

    ``path`` qualifies the names that are defined there, ``use`` is the span of the use, and
    ``sizes`` and ``numbers`` are the names of sizes and constants, as written.  `t`, the time axis,
    is one of the names.  ``at`` is the span of all that has none in the text, and ``values`` are
    numbers that take the place of names.
    """

    path: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    sizes: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    use: Span | None = None
    depth: int = 0
    at: Span | None = None
    values: Mapping[str, int | float] = field(default_factory=dict)

    def span(self, span: Span) -> Span:
        if self.at is not None:
            return self.at
        return span if self.use is None else Span(span.start, span.end, self.use)

    def name(self, name: Name) -> Name:
        return Name(self.names.get(name.name, name.name), self.span(name.span))


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
            case Name():
                return scope.name(part)
            case Negate(operand):
                return Negate(move(operand), span)
            case Not(operand):
                return Not(move(operand), span)
            case Binary(symbol, left, right):
                return Binary(symbol, move(left), move(right), span)
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
                return move(place)

    def call(part: Call) -> Call:
        function = Name(part.function.name, scope.span(part.function.span))
        operands = tuple(move(operand) for operand in part.operands)
        options, sizes = given(part.options), given(part.sizes)
        over = None if part.over is None else scope.name(part.over)
        return Call(function, operands, options, over, sizes, scope.span(part.span))

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
