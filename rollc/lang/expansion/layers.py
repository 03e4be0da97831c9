"""The words of a use of a cell: its layers and directions become uses of their own.

    h, c = lstm(x; H=4, stack 2, both, residual, dropout 0.1)

    h.x = x                                                     (an alias)
    h.0.forward.h, h.0.forward.c = lstm(h.x; H=4)
    h.0.backward.h, h.0.backward.c = lstm(h.x; H=4, reverse)
    h.0 = h.x + dropout(concat(h.0.forward.h, h.0.backward.h), rate=0.1)
    h.1.forward.h, h.1.forward.c = lstm(h.0; H=4)               …
    h = h.0 + concat(h.1.forward.h, h.1.backward.h)
    c = concat(h.1.forward.c, h.1.backward.c)

Backwards a cell reads `h[t+1]` where it says `h[t-1]`, and the first step where it says the last.
The residual is that of He et al., Deep residual learning for image recognition (2016), dropout is
applied before it is added, as by Vaswani et al., Attention is all you need (2017), section 5.4, and
to all layers but the last, as by PyTorch's LSTM.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.expansion.definitions import Definitions
from rollc.lang.expansion.repetition import not_counted
from rollc.lang.expansion.substitution import Scope, is_delay, substituted
from rollc.lang.expansion.unrolling import Unroller
from rollc.lang.symbols.builtins import ENDS, NO_OPERATIONS, TIME, functions
from rollc.lang.symbols.library import LIBRARY
from rollc.lang.symbols.other_names import WORDS, normal
from rollc.lang.syntax.ast import (
    Agreement,
    Alias,
    Binary,
    Call,
    Cell,
    Equation,
    Expression,
    Init,
    Name,
    Number,
    Option,
    Range,
    Reset,
    Rest,
    Selection,
    Statement,
    Subscript,
    Word,
)
from rollc.lang.syntax.contextual_words import USE_WORDS
from rollc.lang.syntax.formatter import format_expression
from rollc.lang.syntax.traversal import calls_in, expressions, names_in, parts_in

WAYS = ("forward", "backward")


@dataclass(frozen=True)
class Words:
    """What the words of a use say; ``layers`` is None where it is no stack."""

    layers: int | None
    said: Mapping[str, Word]

    @property
    def ways(self) -> tuple[tuple[str, bool], ...]:
        """What the path of each direction ends in, and whether it runs backwards."""
        if "both" in self.said:
            return tuple((f".{way}", way == WAYS[1]) for way in WAYS)
        return (("", "reverse" in self.said),)

    @property
    def uses(self) -> int:
        """How many plain uses there are."""
        return (self.layers or 1) * len(self.ways)

    @property
    def plain(self) -> bool:
        """Whether it is one use, in either direction."""
        return self.layers is None and self.said.keys() <= {"reverse"}


class Layers(Unroller):
    """Writes out the layers and directions of uses.

    ``pieces`` are the states of what has several, by its name; ``apart`` has two directions.
    """

    def __init__(
        self, definitions: Definitions, axes: Sequence[str], sets: Mapping[str, int]
    ) -> None:
        super().__init__(definitions, sets)
        self.axes = axes
        self.pieces: dict[str, list[Name]] = {}
        self.apart: set[str] = set()

    def input(self, name: Name, value: Expression, scope: Scope) -> None:
        """Add what a cell reads under a name."""
        raise NotImplementedError

    def place(
        self,
        cell: Cell,
        call: Call,
        path: str,
        given: Sequence[Name] | None,
        scope: Scope,
        backwards: bool,
    ) -> Scope:
        """Add the statements of one use, which reads what is ``given``; the names in it."""
        raise NotImplementedError

    def layers(
        self, cell: Cell, call: Call, path: str, results: Sequence[Name], scope: Scope, words: Words
    ) -> None:
        """Add the uses that a use with words stands for."""
        span = scope.span(call.span)
        given = [Name(f"{path}.{name.name}", scope.span(name.span)) for name in cell.inputs]
        for name, operand in zip(given, call.operands, strict=True):
            self.input(name, operand, scope)
        for layer in range(words.layers or 1):
            place = path if words.layers is None else f"{path}.{layer}"
            last = layer + 1 == (words.layers or 1)
            scopes = [
                self.place(cell, call, f"{place}{ending}", given, scope, backwards)
                for ending, backwards in words.ways
            ]
            for number, result in enumerate(results):
                states = [inside.name(cell.results[number]) for inside in scopes]
                self.pieces.setdefault(result.name, []).extend(states)
                if len(states) > 1:
                    self.apart.add(result.name)
                if number and not last:
                    continue
                value: Expression = states[0]
                if len(states) > 1:
                    value = _called("concat", states, span)
                if not number:
                    value = self.between(value, states, given, words, last, scope)
                to = result if last else Name(place, span)
                if isinstance(value, Name) and cell.results[number] not in cell.inputs:
                    self.add(Alias(to, value, span))
                else:
                    self.add(Equation((to,), (None,), value, span))
                    self.pieces[result.name] += [to] if last else []
            given[:1] = [Name(place, span)]

    def between(
        self,
        value: Expression,
        states: Sequence[Name],
        given: Sequence[Name],
        words: Words,
        last: bool,
        scope: Scope,
    ) -> Expression:
        """What a layer hands on: its result, with dropout and what came in."""
        rate, residual = words.said.get("dropout"), words.said.get("residual")
        if rate is not None and rate.value is not None and not last:
            at = scope.span(rate.span)
            option = Option(Name("rate", at), substituted(rate.value, scope), at)
            value = _called("dropout", (value,), at, (option,))
        if residual is not None:
            at = scope.span(residual.span)
            self.add(Agreement(given[0], tuple(states), at))
            value = Binary("+", Name(given[0].name, at), replace(value, span=at), at)
        return value

    def spread(self) -> None:
        """The initial value and the reset of a result are those of all layers and directions."""
        statements: list[Statement] = []
        for item in self.statements:
            if not isinstance(item, (Init, Reset)) or item.name.name not in self.pieces:
                statements.append(item)
            elif isinstance(item, Init) and item.name.name in self.apart:
                name = item.name.name
                message = f"`{name}` has two directions, and each of them starts somewhere"
                help_ = (
                    "write two uses, each with its `init`: "
                    "`f = gru(x; H=8)`, `b = gru(x; H=8, reverse)`, `h = concat(f, b)`"
                )
                at = Label(item.name.span)
                self.problems.append(Diagnostic("R213", message, at, helps=(help_,)))
            else:
                self.repeated.append(item.span)
                statements += [
                    replace(item, name=Name(name.name, item.name.span), shared=True)
                    for name in self.pieces[item.name.name]
                ]
        self.statements = statements

    # What can be wrong

    def words(self, cell: Cell, call: Call, scope: Scope) -> Words | Diagnostic:
        """The words of a use, if they go together."""
        said = {word.name.name: word for word in call.words}
        at = {name: Label(scope.span(word.span)) for name, word in said.items()}
        if "both" in said and "reverse" in said:
            message = "`both` is in both directions already"
            return Diagnostic("R237", message, at["reverse"], helps=("leave `reverse` out",))
        layers = None
        if "stack" in said and (number := said["stack"].value) is not None:
            layers = scope.whole(number)
            if layers is None:
                return not_counted(scope.span(number.span))
            if layers < 1:
                return Diagnostic("R235", "a stack of no layers", at["stack"])
        words = Words(layers, said)
        name = cell.name.name
        if (layers or "residual" in said) and not cell.inputs:
            message = f"`{name}` has no input, which the layers below would be"
            return Diagnostic("R237", message, at["stack" if layers else "residual"])
        if "dropout" in said and (layers or 1) < 2:
            message = "dropout between layers, and here is one"
            helps = (f"write `stack 2`, or `dropout({name}(…), rate=0.1)`",)
            return Diagnostic("R237", message, at["dropout"], helps=helps)
        turned = "reverse" if "reverse" in said else "both"
        if turned in said:
            at_word = scope.span(said[turned].span)
            return Turning(self.definitions, self.axes).problem(cell, call, at_word) or words
        return words


def no_cells(values: Iterable[Expression], definitions: Definitions) -> Iterator[Diagnostic]:
    """The diagnostics for words in calls of what is no cell."""
    inside = (value for each in definitions.functions.values() for value in each.values)
    parts = (part for cell in definitions.cells.values() for part in _parts(cell))
    calls = [part for part in parts if isinstance(part, Call)]
    calls += [call for value in (*values, *inside) for call in calls_in(value)]
    for call in calls:
        name = call.function.name
        known = name in definitions.functions or name in {*functions(), *LIBRARY, *NO_OPERATIONS}
        if call.words and known:
            word = call.words[0]
            message = f"`{name}` is no cell, and has no `{word.name.name}`"
            yield Diagnostic("R237", message, Label(word.span))


def word_for(size: Option) -> str:
    """The word that is meant by a size that a cell has not; empty where none is."""
    meant = WORDS.get(normal(size.name.name), size.name.name)
    if meant not in USE_WORDS:
        return ""
    number = isinstance(size.value, (Number, Name)) and USE_WORDS[meant]
    return f"{meant} {format_expression(size.value)}" if number else meant


def _called(
    function: str, operands: Sequence[Expression], span: Span, options: tuple[Option, ...] = ()
) -> Call:
    return Call(Name(function, span), tuple(operands), options, None, (), span)


@dataclass(frozen=True)
class Turning:
    """Whether it is known what a cell reads backwards."""

    definitions: Definitions
    axes: Sequence[str]

    def problem(self, cell: Cell, call: Call, at: Span) -> Diagnostic | None:
        name, several = cell.name.name, len(self.axes) > 1
        if not any(self.reads(each, call.over) for each in self.inside(cell)):
            message = f"`{name}` is the same in both directions"
            text = "it reads no other step"
            also = (Label(cell.name.span, f"`{name}` is defined here"),)
            return Diagnostic("R237", message, Label(at, text), also)
        for each in self.inside(cell):
            for part in _parts(each):
                help_ = self.unclear(part, several, call.over)
                if help_:
                    message = f"it is not known what `{name}` reads backwards"
                    also = (Label(part.span, "along which axis?"),)
                    return Diagnostic("R237", message, Label(at), also, helps=(help_,))
        return None

    def inside(self, cell: Cell) -> Iterator[Cell]:
        """A cell and those that it uses."""
        found = {cell.name.name: cell}
        pending = [cell]
        while pending:
            one = pending.pop()
            yield one
            for call in (part for part in _parts(one) if isinstance(part, Call)):
                name = call.function.name
                other = self.definitions.cells.get(name)
                if other is not None and name not in found:
                    found[name] = other
                    pending.append(other)

    def reads(self, cell: Cell, over: Name | None) -> bool:
        along = self.axes if over is None or len(self.axes) == 1 else (over.name,)
        axes = frozenset((TIME, *along))
        for part in _parts(cell):
            match part:
                case Subscript(Name(), index) if is_delay(index, axes):
                    return True
                case Selection(Name(), places) if any(is_delay(each, axes) for each in places):
                    return True
                case Call(Name(name)) if name in ENDS:
                    return True
        return False

    def unclear(self, part: Expression, several: bool, over: Name | None) -> str:
        """What to write where a part may run along another axis than the cell; empty elsewhere."""
        if not isinstance(part, Call):
            index = part.index if isinstance(part, Subscript) else None
            places = part.places if isinstance(part, Selection) else (index,)
            names = {of.name for place in places if place is not None for of in _names(place)}
            if several and over is None and names.intersection(self.axes) - {TIME}:
                return "say along which axis the cell runs: `over t` among its sizes"
            return ""
        name = part.function.name
        if name in self.definitions.functions and self.has_ends(name):
            return f"`{name}` has `first` or `last`: write it out in the cell"
        if several and part.over is None and name in ENDS:
            return f"write `{name}(…, over t)`"
        if several and part.over is None and part.operands and name in self.definitions.cells:
            return f"write `{name}(…; …, over t)`"
        return ""

    def has_ends(self, name: str) -> bool:
        """Whether a function goes to one end of a sequence, or one that it calls."""
        seen, pending = {name}, [name]
        while pending:
            function = self.definitions.functions.get(pending.pop())
            for value in function.values if function is not None else ():
                called = {call.function.name for call in calls_in(value)}
                if not called.isdisjoint(ENDS):
                    return True
                pending += called - seen
                seen |= called
        return False


def _parts(cell: Cell) -> Iterator[Expression]:
    for statement in cell.body:
        for value in expressions(statement):
            yield from parts_in(value)


def _names(place: Expression | Range | Rest) -> Iterator[Name]:
    if not isinstance(place, (Range, Rest)):
        yield from names_in(place)
