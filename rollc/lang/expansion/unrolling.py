"""Unrolling: the elements of arrays and the passes of repetitions as statements of their own.

:mod:`rollc.lang.expansion.repetition` says what is repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.expansion.definitions import Definitions
from rollc.lang.expansion.repetition import not_counted
from rollc.lang.expansion.substitution import Scope
from rollc.lang.symbols.table import shown, twice
from rollc.lang.syntax.ast import (
    Alias,
    Along,
    Call,
    Elements,
    Equation,
    Expression,
    Index,
    Init,
    Listing,
    Name,
    Output,
    Repeat,
    Reset,
    Shape,
    Statement,
)
from rollc.lang.syntax.traversal import expressions, names_in, parts_in

MOST_USES = 256  # of cells
MOST_STATEMENTS = 20_000  # of all uses, elements and passes together
MOST_PARTS = 100_000  # numbers, names and operations in them


class Unroller:
    """Writes out what is repeated; ``statements`` are the plain ones so far.

    ``known`` are sizes, as far as they follow from numbers, ``arrays`` the places of each with its
    name, ``repeated`` where something is written once, and ``missing`` what is wrong where an
    element is read that is none.
    """

    def __init__(self, definitions: Definitions, sets: Mapping[str, int]) -> None:
        self.definitions = definitions
        self.sets = sets
        self.statements: list[Statement] = []
        self.problems: list[Diagnostic] = []
        self.known: dict[str, int] = {}
        self.arrays: dict[str, tuple[Name, set[int]]] = {}
        self.repeated: list[Span] = []
        self.missing: dict[Span, Diagnostic] = {}
        self.uses = 0
        self.parts = 0
        self.full = False  # whether it was said that there is too much

    def add(self, statement: Statement) -> None:
        self.statements.append(statement)

    def equation(
        self,
        results: tuple[Name, ...],
        value: Expression,
        scope: Scope,
        span: Span,
        path: str = "",
    ) -> None:
        """Add an equation, or the statements of a cell under a path: by default the first name."""
        raise NotImplementedError

    def declare(
        self, names: Sequence[Name], types: Sequence[Shape | Index | None], scope: Scope
    ) -> None:
        """Add the types that an equation declares."""
        raise NotImplementedError

    def is_cell(self, call: Call) -> bool:
        return call.function.name in self.definitions.cells

    def learn(self, name: Name, value: Expression, scope: Scope) -> None:
        """Note a size, if it is known."""
        found = self.sets.get(name.name, scope.whole(value))
        if isinstance(found, int) and found > 0:
            self.known.setdefault(name.name, found)

    def counted(self, expression: Expression, scope: Scope) -> int | None:
        value = scope.whole(expression)
        if value is None:
            self.problems.append(not_counted(scope.span(expression.span)))
        return value

    def places(self, statement: Elements, scope: Scope) -> range | None:
        """The places of elements, which become known; None where they are none."""
        start = 0 if statement.start is None else self.counted(statement.start, scope)
        stop = self.counted(statement.stop, scope)
        if start is None or stop is None:
            return None
        if start < 0 or stop <= start:
            message = "a range of no elements" if stop <= start else "elements are counted from 0"
            label = Label(scope.span(statement.stop.span), f"from {start} up to {stop}")
            self.problems.append(Diagnostic("R235", message, label))
            return None
        if not self.has_room(statement, stop - start, scope):
            return None
        places = range(start, stop)
        for name in statement.names:
            full = scope.name(name)
            at, known = self.arrays.setdefault(full.name, (full, set()))
            if not known.isdisjoint(places):
                message = f"`{name.name}[{min(known.intersection(places))}]` is defined"
                self.problems.append(twice(message, at.span, scope.span(name.span)))
                return None
            known.update(places)
        return places

    def elements_in(self, scope: Scope, names: Iterable[str]) -> dict[str, frozenset[int]]:
        full = {name: scope.names.get(name, name) for name in names}
        return {
            name: frozenset(self.arrays[of][1]) for name, of in full.items() if of in self.arrays
        }

    def elements(self, statement: Elements, places: range, scope: Scope) -> None:
        self.repeated.append(scope.span(statement.span))
        for place in places:
            inner = replace(scope, values={**scope.values, statement.index.name: place})
            results = tuple(
                Name(f"{new.name}.{place}", new.span)
                for new in (scope.name(name) for name in statement.names)
            )
            self.equation(results, statement.value, inner, scope.span(statement.span))
            self.declare(results, statement.types, inner)

    def repeat(self, statement: Repeat, carried: Sequence[str], scope: Scope) -> None:
        """The passes: each reads what is carried as the one before it leaves it."""
        count = self.counted(statement.count, scope)
        if count is not None and count < 1:
            at = Label(scope.span(statement.count.span), f"this is {count}")
            self.problems.append(Diagnostic("R235", "a repetition of no passes", at))
        if count is None or count < 1 or not self.has_room(statement, count, scope):
            self.leave(statement, scope)
            return
        self.repeated.append(scope.span(statement.span))
        full = {
            name.name: scope.name(name).name
            for equation in statement.body
            for name in equation.names
        }
        last = {name: of if name in carried else f"{of}.{count}" for name, of in full.items()}
        for number in range(count):
            after = {name: f"{of}.{number + 1}" for name, of in full.items()}
            after = last if number + 1 == count else after
            inner = replace(
                scope,
                names={
                    **scope.names,
                    **{name: after[name] for name in full if name not in carried},
                },
                now={**scope.now, **{name: f"{full[name]}.{number}" for name in carried}},
            )
            for equation in statement.body:
                results = tuple(
                    Name(after[name.name], scope.span(name.span)) for name in equation.names
                )
                first = equation.names[0].name
                path, learned = results[0].name, last[first]
                if isinstance(equation.value, Call) and equation.value.words:
                    path = f"{full[first]}.{number + 1}"  # its layers are no passes
                sharing = [(path, learned, number + 1 == count)] if path != learned else []
                within = replace(inner, shared=(*sharing, *scope.shared))
                place = scope.span(equation.span)
                self.equation(results, equation.value, within, place, path)
                self.declare(results, equation.types, inner)

    def leave(self, statement: Elements | Repeat, scope: Scope) -> None:
        """Keep the names of what is wrong, so that what reads them is not found wrong too."""
        if isinstance(statement, Elements):
            new = [name for name in statement.names if scope.name(name).name not in self.arrays]
            kept = tuple(scope.name(name) for name in new)
            self.add(replace(statement, names=kept, types=(None,) * len(kept)))
        else:
            body = (
                replace(equation, names=tuple(map(scope.name, equation.names)))
                for equation in statement.body
            )
            self.add(replace(statement, body=tuple(body)))

    def has_room(self, statement: Elements | Repeat, count: int, scope: Scope) -> bool:
        """Whether what is repeated fits a spec; that it does not is said once."""
        written = len(statement.body) if isinstance(statement, Repeat) else 1
        inside = [part for value in expressions(statement) for part in parts_in(value)]
        uses = sum(1 for part in inside if isinstance(part, Call) and self.is_cell(part))
        self.parts += count * len(inside)
        message = ""
        if self.uses + count * uses > MOST_USES:
            message = f"a spec uses cells {MOST_USES} times at most"
        elif len(self.statements) + count * written > MOST_STATEMENTS:
            message = f"what is repeated has more than {MOST_STATEMENTS} statements"
        elif self.parts > MOST_PARTS:
            message = f"what is repeated has more than {MOST_PARTS} names, numbers and operations"
        if message and not self.full:
            self.full = True
            self.problems.append(Diagnostic("R108", message, Label(scope.span(statement.span))))
        return not message

    def whole_arrays(self) -> None:
        """Arrays that are read as a whole: the stack of their elements."""
        read = {name.name for item in self.statements for name in _names_of(item)}
        for full, (at, places) in self.arrays.items():
            if full not in read:
                continue
            missing = next(place for place in range(len(places) + 1) if place not in places)
            if missing < len(places):
                name = shown(full)
                message = f"`{name}` is read as a whole, and has no element {missing}"
                self.problems.append(Diagnostic("R235", message, Label(at.span)))
            listing = Listing(
                tuple(Name(f"{full}.{place}", at.span) for place in sorted(places)), at.span
            )
            self.add(Equation((at,), (None,), listing, at.span))


def _names_of(statement: Statement) -> Iterator[Name]:
    """The names that a plain statement reads, or says something of."""
    for value in expressions(statement):
        yield from names_in(value)
    match statement:
        case Output(name) | Init(name) | Reset(name) | Alias(_, name):
            yield name
        case Along(_, arguments):
            yield from arguments
