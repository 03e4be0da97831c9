"""Unrolling: the elements of arrays and the passes of repetitions as statements of their own.

:mod:`rollc.lang.expansion.repetition` says what is repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.expansion.definitions import Definitions, free_names
from rollc.lang.expansion.repetition import Carried, not_counted
from rollc.lang.expansion.substitution import Scope
from rollc.lang.symbols.table import shown, twice
from rollc.lang.syntax.ast import (
    Alias,
    Along,
    Call,
    Each,
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


@dataclass(frozen=True)
class Placed:
    """One element of each array of an equation: where it is, and what its expression sees."""

    scope: Scope
    places: tuple[int, ...]


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
        if isinstance(found, int):
            self.known.setdefault(name.name, found)

    def counted(self, expression: Expression, scope: Scope) -> int | None:
        value = scope.whole(expression)
        if value is None:
            self.problems.append(not_counted(scope.span(expression.span)))
        return value

    def scopes(self, statement: Elements | Each, scope: Scope) -> list[Scope] | None:
        """A scope for each number that is counted, perhaps none; None where that is wrong."""
        counted = statement.counted
        if counted is None:
            return [scope] if self.has_room(statement, 1, scope) else None
        start = 0 if counted.start is None else self.counted(counted.start, scope)
        stop = self.counted(counted.stop, scope)
        if start is None or stop is None:
            return None
        if not self.has_room(statement, max(stop - start, 0), scope):
            return None
        name = counted.index.name
        return [
            replace(scope, values={**scope.values, name: number}) for number in range(start, stop)
        ]

    def all_places(self, statements: Sequence[Statement], scope: Scope) -> dict[Span, list[Placed]]:
        """Where the elements of arrays are, by their equations: of each array somewhere."""
        found = {
            item.span: (item, places)
            for item in statements
            if isinstance(item, Elements) and (places := self.places(item, scope)) is not None
        }
        for item, places in [*found.values()]:
            if not places and any(scope.name(name).name not in self.arrays for name in item.names):
                assert item.counted is not None
                *start, stop = map(scope.whole, item.counted.bounds)
                ends = f"from {start[0] if start else 0} up to {stop}"
                at = Label(scope.span(item.counted.stop.span), ends)
                self.problems.append(Diagnostic("R235", "an array of no elements", at))
                del found[item.span]
        return {span: places for span, (_, places) in found.items()}

    def places(self, statement: Elements, scope: Scope) -> list[Placed] | None:
        """The places of elements, which become known; None where one of them is wrong."""
        scopes = self.scopes(statement, scope)
        if scopes is None:
            return None
        new: dict[str, set[int]] = {scope.name(name).name: set() for name in statement.names}
        found = []
        for inner in scopes:
            places = tuple(
                self.new_place(name, expression, inner, new[scope.name(name).name])
                for name, expression in zip(statement.names, statement.places, strict=True)
            )
            if None in places:
                return None
            found.append(Placed(inner, tuple(place for place in places if place is not None)))
        for name in map(scope.name, statement.names) if found else ():
            self.arrays.setdefault(name.name, (name, set()))[1].update(new[name.name])
        return found

    def new_place(
        self, name: Name, expression: Expression, scope: Scope, new: set[int]
    ) -> int | None:
        """The place of an element, one of the new ones then; None where it cannot be one."""
        place = self.counted(expression, scope)
        if place is None:
            return None
        full = scope.name(name)
        at, known = self.arrays.get(full.name, (full, set()))
        if place < 0:
            label = Label(scope.span(expression.span), f"this is {place}")
            self.problems.append(Diagnostic("R235", "elements are counted from 0", label))
            return None
        if place in known or place in new:
            message = f"`{name.name}[{place}]` is defined"
            self.problems.append(twice(message, at.span, scope.span(name.span)))
            return None
        new.add(place)
        return place

    def elements_in(self, scope: Scope, names: Iterable[str]) -> dict[str, frozenset[int]]:
        full = {name: scope.names.get(name, name) for name in names}
        return {
            name: frozenset(self.arrays[of][1]) for name, of in full.items() if of in self.arrays
        }

    def elements(self, statement: Elements, places: Sequence[Placed], scope: Scope) -> None:
        span = scope.span(statement.span)
        if statement.counted is not None:
            self.repeated.append(span)
        for placed in places:
            inner = replace(scope, values=placed.scope.values)
            results = tuple(
                Name(f"{new.name}.{place}", new.span)
                for new, place in zip(map(scope.name, statement.names), placed.places, strict=True)
            )
            self.equation(results, statement.value, inner, span)
            self.declare(results, statement.types, inner)

    def each(self, statement: Each, scope: Scope) -> None:
        """What is said of the elements of an array, one by one."""
        self.repeated.append(scope.span(statement.span))
        for inner in self.scopes(statement, scope) or ():
            self.outside(statement.statement, inner)

    def outside(self, statement: Init | Reset, scope: Scope) -> None:
        """Add an initial value or a reset, of a value or of an element."""
        owner = scope.name(statement.name)
        if statement.place is not None:
            element = scope.element(statement.name, statement.place)
            if element is None and statement.name.name in scope.elements:
                self.problems.append(not_counted(scope.span(statement.place.span)))
            elif element is None:
                self.problems.append(_no_array(statement, scope))
            if not isinstance(element, Name):
                return
            owner = element
        span = scope.span(statement.span)
        if isinstance(statement, Init):
            axes = tuple(map(scope.name, statement.axes))
            self.add(Init(owner, self.expression(statement.value, scope, owner.name), axes, span))
        else:
            self.add(Reset(owner, self.expression(statement.condition, scope, owner.name), span))

    def expression(self, expression: Expression, scope: Scope, owner: str) -> Expression:
        """An expression with cells inlined; a cell in an expression is its first result."""
        raise NotImplementedError

    def repeat(self, statement: Repeat, carried: Carried, scope: Scope) -> None:
        """A repetition of a spec or of a cell: its names are those of the last pass."""
        names = {name.name for equation in statement.equations for name in equation.names}
        full = {name: scope.name(Name(name, statement.span)).name for name in names}
        starts = {name: f"{full[name]}.0" for name in carried.names}
        self.passes(statement, carried, scope, full, full, starts)

    def passes(
        self,
        statement: Repeat,
        carried: Carried,
        scope: Scope,
        paths: Mapping[str, str],
        results: Mapping[str, str],
        starts: Mapping[str, str],
    ) -> None:
        """The passes: each reads what is carried as the one before it leaves it.

        Those of a name are called after its path, the last one of what is carried as the result.
        """
        count = self.counted(statement.count, scope)
        if count is not None and count < 1:
            at = Label(scope.span(statement.count.span), f"this is {count}")
            self.problems.append(Diagnostic("R235", "a repetition of no passes", at))
        if count is None or count < 1 or not self.has_room(statement, count, scope):
            self.leave(statement, scope)
            return
        self.repeated.append(scope.span(statement.span))
        numbered = [{name: f"{path}.{n}" for name, path in paths.items()} for n in range(count + 1)]
        last = {**numbered[count], **{name: results[name] for name in carried.names}}
        before = starts
        for number in range(1, count + 1):
            after = last if number == count else numbered[number]
            own = {name: after[name] for name in paths if name not in carried.names}
            now = {**scope.now, **{name: before[name] for name in carried.names}}
            inner = replace(scope, names={**scope.names, **own}, now=now)
            for item in statement.body:
                if isinstance(item, Repeat):
                    self.nested(item, carried, inner, numbered[number], after, last)
                    continue
                begun = carried.inside.starts.get(item.span, set())
                found = tuple(
                    Name(
                        f"{numbered[number][name.name]}.0"
                        if name.name in begun
                        else after[name.name],
                        scope.span(name.span),
                    )
                    for name in item.names
                )
                first = item.names[0].name
                path, learned = found[0].name, last[first]
                if isinstance(item.value, Call) and item.value.words:
                    path = numbered[number][first]  # its layers are no passes
                sharing = [(path, learned, number == count)] if path != learned else []
                within = replace(inner, shared=(*sharing, *scope.shared))
                self.equation(found, item.value, within, scope.span(item.span), path)
                self.declare(found, item.types, inner)
                if begun:
                    self.declare(
                        [Name(after[of.name], of.span) for of in item.names], item.types, inner
                    )
            before = after

    def nested(
        self,
        statement: Repeat,
        outer: Carried,
        scope: Scope,
        paths: Mapping[str, str],
        after: Mapping[str, str],
        last: Mapping[str, str],
    ) -> None:
        """A repetition in a pass, which learns what those in all other passes do."""
        carried = outer.inside.carried.get(statement.span)
        if carried is None:
            self.leave(statement, scope)
            return
        begun: set[str] = set().union(*outer.inside.starts.values())
        starts = {
            name: f"{paths[name]}.0" if name in begun else scope.now[name] for name in carried.names
        }
        names = {name.name for equation in statement.equations for name in equation.names}
        own = {name: paths[name] for name in names}
        sharing = tuple(
            (path, last[name], False)
            for name in names
            for path in dict.fromkeys((after[name], paths[name]))
            if path != last[name]
        )
        inner = replace(scope, shared=(*sharing, *scope.shared))
        self.passes(statement, carried, inner, own, after, starts)

    def leave(self, statement: Elements | Repeat, scope: Scope) -> None:
        """Keep the names of what is wrong, so that what reads them is not found wrong too."""
        if isinstance(statement, Elements):
            new = [name for name in statement.names if scope.name(name).name not in self.arrays]
            kept = tuple(scope.name(name) for name in new)
            places, types = statement.places[: len(kept)], (None,) * len(kept)
            self.add(replace(statement, names=kept, places=places, types=types))
        else:
            body = (
                replace(equation, names=tuple(map(scope.name, equation.names)))
                for equation in statement.equations
            )
            self.add(replace(statement, body=tuple(body)))

    def has_room(self, statement: Elements | Each | Repeat, count: int, scope: Scope) -> bool:
        """Whether what is repeated fits a spec; that it does not is said once."""
        written = len(statement.equations) if isinstance(statement, Repeat) else 1
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
        for function in self.definitions.functions.values():
            read |= free_names(function)
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


def _no_array(statement: Init | Reset, scope: Scope) -> Diagnostic:
    """A place in what has none: most likely the step that comes first is meant."""
    name = statement.name
    at = Label(scope.span(name.span))
    if isinstance(statement, Reset):
        value, form, between = statement.condition, f"reset {name.name} when …", " when "
    else:
        value, form, between = statement.value, f"init {name.name} = …", " = "
    edits: tuple[Edit, ...] = ()
    if isinstance(statement, Reset) or not statement.axes:
        edits = (Edit(Span(name.span.end, value.span.start), between),)
    helps = (f"write `{form}`: an array has elements, `h[k] = … for k in range(3)`",)
    return Diagnostic("R213", f"`{name.name}` is no array", at, helps=helps, edits=edits)


def _names_of(statement: Statement) -> Iterator[Name]:
    """The names that a plain statement reads, or says something of."""
    for value in expressions(statement):
        yield from names_in(value)
    match statement:
        case Output(name) | Init(name) | Reset(name) | Alias(_, name):
            yield name
        case Along(_, arguments):
            yield from arguments
