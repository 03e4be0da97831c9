"""Where the names of a spec, and of the files that it uses, are defined and read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.syntax.ast import (
    Call,
    Cell,
    Const,
    Definition,
    Dim,
    Each,
    Elements,
    Equation,
    Expression,
    Function,
    Init,
    Input,
    Name,
    Net,
    Output,
    Param,
    Repeat,
    Reset,
    Spec,
    Statement,
    Time,
)
from rollc.lang.syntax.parser import statements_of
from rollc.lang.syntax.traversal import expressions, parts

Kind = Literal[
    "net", "axis", "size", "const", "input", "target", "param", "value", "cell", "function",
    "argument",
]  # fmt: skip


@dataclass(frozen=True)
class Symbol:
    """A name, where it is defined, and by which statement; ``owner`` is the cell or function."""

    name: str
    kind: Kind
    at: Span
    statement: Statement
    owner: Definition | None = None


@dataclass(frozen=True)
class Occurrence:
    span: Span
    symbol: Symbol


@dataclass(frozen=True)
class _Scope:
    """Names by what they mean; ``outer`` are seen where they are not hidden."""

    symbols: Mapping[str, Symbol]
    outer: _Scope | None = None

    def find(self, name: str) -> Symbol | None:
        found = self.symbols.get(name)
        return self.outer.find(name) if found is None and self.outer is not None else found


@dataclass(frozen=True)
class Occurrences:
    """All of them, in the order of the text, and the names that each definition sees."""

    all: tuple[Occurrence, ...]
    _top: _Scope
    _inner: Mapping[Span, _Scope] = field(default_factory=dict)
    definitions: Mapping[str, Symbol] = field(default_factory=dict)

    def at(self, offset: int) -> Occurrence | None:
        """The name at an offset, or right before it."""
        inside = (each for each in self.all if each.span.start <= offset <= each.span.end)
        return next(inside, None)

    def of(self, symbol: Symbol) -> list[Span]:
        return [each.span for each in self.all if each.symbol.at == symbol.at]

    def seen_from(self, offset: int) -> dict[str, Symbol]:
        """The values, sizes and axes that can be named at an offset."""
        inner = [span for span in self._inner if span.start <= offset < span.end]
        closest = min(inner, key=lambda span: span.end - span.start, default=None)
        scope: _Scope | None = self._top if closest is None else self._inner[closest]
        found: dict[str, Symbol] = {}
        while scope is not None:
            found = {**scope.symbols, **found}
            scope = scope.outer
        return found


def occurrences(source: Source) -> Occurrences:
    """The names of a text, as far as it can be parsed, and of the files that it uses."""
    specs = [statements_of(source, place) for place in range(len(source.used) + 1)]
    reader = _Reader(specs, source)
    for place, spec in enumerate(specs):
        reader.file(spec, own=place == 0)
    # What was corrected while it was parsed may have spans of more than the name.
    written = (each for each in reader.found if source.text_of(each.span) == each.symbol.name)
    found = sorted(written, key=lambda each: each.span)
    return Occurrences(tuple(found), reader.top, reader.inner, reader.definitions)


class _Reader:
    def __init__(self, specs: Iterable[Spec], source: Source) -> None:
        self.source = source
        self.found: list[Occurrence] = []
        self.inner: dict[Span, _Scope] = {}
        self.top = _Scope({})
        self.definitions: dict[str, Symbol] = {}
        self.sizes: dict[str, dict[str, Symbol]] = {}  # those of each cell
        for spec in specs:
            for statement in spec.statements:
                if isinstance(statement, (Cell, Function)):
                    self._define(statement)

    def _define(self, definition: Definition) -> None:
        name = definition.name
        kind: Kind = "cell" if isinstance(definition, Cell) else "function"
        if name.name not in self.definitions:
            self.definitions[name.name] = Symbol(name.name, kind, name.span, definition)

    def file(self, spec: Spec, own: bool) -> None:
        """Read the statements of a file; those of another one define cells and functions alone."""
        scope = _Scope(_by_name(spec.statements))
        numbers = {
            name: each
            for name, each in scope.symbols.items()
            if own and each.kind in ("size", "const", "axis")
        }
        if own:
            self.top = scope
        for statement in spec.statements:
            if isinstance(statement, (Cell, Function)):
                seen = own and isinstance(statement, Function) and not statement.slopes
                self.definition(statement, scope if seen else _Scope(numbers))
            elif own:
                self.statement(statement, scope)

    def definition(self, definition: Definition, outer: _Scope) -> None:
        symbol = self.definitions[definition.name.name]
        if symbol.at != definition.name.span:  # defined twice
            return
        self.add(definition.name.span, symbol)
        scope = _Scope(_inside(definition), outer)
        self.inner[definition.span] = scope
        for own in scope.symbols.values():
            self.add(own.at, own)
        if isinstance(definition, Cell):
            for size in definition.sizes:
                self.expression(size.default, outer)
            for result in definition.results:
                self.read(result, scope)
            for statement in definition.body:
                self.statement(statement, scope, defined=False)
            return
        for value in definition.values:
            self.expression(value, scope)
        for slope in definition.slopes:
            self.read(slope.argument, scope)

    def statement(self, statement: Statement, scope: _Scope, defined: bool = True) -> None:
        if isinstance(statement, Repeat):
            self.passes(statement, scope)
            return
        if isinstance(statement, Each):
            self.each(statement, scope)
            return
        for symbol in _defined(statement):
            first = scope.symbols.get(symbol.name, symbol)  # elements have one together
            if defined or first.at != symbol.at:
                self.add(symbol.at, first if isinstance(statement, Elements) else symbol)
        if isinstance(statement, (Init, Reset, Output)):
            self.read(statement.name, scope)
        for axis in statement.axes if isinstance(statement, (Init, Input)) else ():
            self.read(axis, scope)
        inside = scope
        if isinstance(statement, Elements):
            inside = self.counted(statement.index, statement, statement.value.span, scope)
        own = (statement.value, *statement.places) if isinstance(statement, Elements) else ()
        for expression in expressions(statement):
            inner = any(expression is each for each in own)
            self.expression(expression, inside if inner else scope)

    def each(self, statement: Each, scope: _Scope) -> None:
        """What is said of the elements of an array, by an index that is seen in it alone."""
        said = statement.statement
        span = said.name.span.to(statement.span)
        self.statement(said, self.counted(statement.index, statement, span, scope))
        for bound in statement.counted.bounds:
            self.expression(bound, scope)

    def counted(self, name: Name | None, of: Statement, span: Span, scope: _Scope) -> _Scope:
        """What an index is seen in, if there is one."""
        if name is None:
            return scope
        index = Symbol(name.name, "argument", name.span, of)
        self.add(name.span, index)
        inside = self.inner[span] = _Scope({name.name: index}, scope)
        return inside

    def passes(self, repeat: Repeat, scope: _Scope) -> None:
        """A repetition: what is defined in it alone is seen in it alone."""
        own = {
            name: symbol
            for name, symbol in _by_name(
                part for part in repeat.body if isinstance(part, Equation)
            ).items()
            if scope.find(name) is None
        }
        inside = self.inner[repeat.span] = _Scope(own, scope)
        self.expression(repeat.count, scope)
        for equation in repeat.body:
            if isinstance(equation, Repeat):
                self.passes(equation, inside)
                continue
            for name in equation.names:
                self.read(name, inside)
            for expression in expressions(equation):
                self.expression(expression, inside)

    def expression(self, expression: Expression | None, scope: _Scope) -> None:
        pending = [] if expression is None else [expression]
        while pending:
            part = pending.pop()
            pending.extend(parts(part))
            if isinstance(part, Name):
                self.read(part, scope)
            elif isinstance(part, Call):
                self.call(part, scope)

    def call(self, call: Call, scope: _Scope) -> None:
        self.read(call.over, scope)
        symbol = self.definitions.get(call.function.name)
        if symbol is None:
            return
        self.add(call.function.span, symbol)
        if isinstance(symbol.statement, Cell):
            own = _inside(symbol.statement)
            for option in (*call.sizes, *call.options):
                if option.name.name in own:
                    self.add(option.name.span, own[option.name.name])

    def read(self, name: Name | None, scope: _Scope) -> None:
        symbol = None if name is None else scope.find(name.name)
        if name is not None and symbol is not None:
            self.add(name.span, symbol)

    def add(self, span: Span, symbol: Symbol) -> None:
        self.found.append(Occurrence(span, symbol))


def _by_name(statements: Iterable[Statement], owner: Definition | None = None) -> dict[str, Symbol]:
    """The first definition of each name."""
    found: dict[str, Symbol] = {}
    for statement in statements:
        for symbol in _defined(statement, owner):
            if symbol.kind != "net":  # which cannot be read
                found.setdefault(symbol.name, symbol)
    return found


def _inside(definition: Definition) -> dict[str, Symbol]:
    """The names of a cell's or a function's own."""
    arguments = definition.inputs if isinstance(definition, Cell) else definition.arguments
    found = {
        name.name: Symbol(name.name, "argument", name.span, definition, definition)
        for name in arguments
    }
    for size in definition.sizes if isinstance(definition, Cell) else ():
        name = size.name
        found.setdefault(name.name, Symbol(name.name, "size", name.span, definition, definition))
    return {**_by_name(definition.body, definition), **found}


def _defined(statement: Statement, owner: Definition | None = None) -> Iterator[Symbol]:
    names: tuple[Name, ...]
    kind: Kind
    match statement:
        case Net(name):
            names, kind = (name,), "net"
        case Time(names):
            kind = "axis"
        case Dim(name):
            names, kind = (name,), "size"
        case Const(name):
            names, kind = (name,), "const"
        case Input(name, target=target):
            names, kind = (name,), "target" if target else "input"
        case Param(name):
            names, kind = (name,), "param"
        case Equation(names) | Elements(names):
            kind = "value"
        case _:
            return
    for name in names:
        yield Symbol(name.name, kind, name.span, statement, owner)
