"""Expression elaboration: equations to untyped nodes (drafts).

A draft is a node without a type, with the span of each of its operands.
An unnamed subexpression of the equation of ``s`` becomes ``s'1``, ``s'2`` … in the order of
evaluation; the outermost operation has the name ``s`` itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, TypeGuard

from rollc.ir.graph import Edge, attributes
from rollc.lang.diagnostics.diagnostic import Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.elaboration.borders import Borders
from rollc.lang.elaboration.index_errors import (
    axis_twice,
    delay_among_places,
    in_brackets,
    negative,
    no_delay,
    range_of_steps,
    reset_along_two,
)
from rollc.lang.elaboration.resets import Resets
from rollc.lang.expansion.definitions import Definitions
from rollc.lang.inference.axes import Marked
from rollc.lang.symbols.builtins import (
    NOT,
    SIZE,
    SYMBOLS,
    TIME,
    functions,
)
from rollc.lang.symbols.constants import LONGEST_DELAY, Rejected, Values, rejected
from rollc.lang.symbols.forms import GATHER
from rollc.lang.symbols.table import Names, no_axis
from rollc.lang.symbols.untyped_node import Axis, Cut, Declared, NodeTable, Operand
from rollc.lang.symbols.whole_numbers import is_rounded
from rollc.lang.syntax.ast import (
    Binary,
    Call,
    Equation,
    Expression,
    Listing,
    Name,
    Negate,
    Not,
    Number,
    Range,
    Rest,
    Selection,
    Slice,
    Subscript,
    Text,
)
from rollc.lang.syntax.traversal import calls_in, names_in, parts

Feed = Literal["free", "taught"]
DEEPEST = 128  # levels of an expression, with those of the functions that it calls
MOST_NODES = 10_000  # of the graph, whatever they come from


@dataclass(frozen=True)
class Gather:
    """A look-up along a dimension, at places that are computed."""

    index: Operand
    axis: int


class Expressions(NodeTable):
    """Drafts of expressions; :class:`~rollc.lang.elaboration.drafts.Drafts` has those of calls."""

    def __init__(self, names: Names, values: Values, definitions: Definitions, feed: Feed) -> None:
        super().__init__()
        self.feed = feed
        self.names = names
        self.values = values
        self.definitions = definitions
        self.initials: dict[str, Operand] = {}
        self.declared: dict[str, list[Declared]] = {}  # by a cell and by its use, it can be twice
        self.axes: dict[str, Axis] = {}
        self.marked: list[Marked] = []
        self.said: list[str] = []  # what `feed` gives where it runs free
        self.others: set[str] = set()  # reads of the side of `feed` that is not built
        self.resets = Resets(self, self.read)
        self.borders = Borders(self, self.initials)
        # Of the function that is read just now: what its names are, equations of others, and the
        # names that a derivative in it is with respect to.
        self._arguments: dict[str, Operand] = {}
        self._body: Mapping[str, Equation] = {}
        self._variables = frozenset[str]()
        self._inlined = 0
        self._full = False  # whether it was said that there is too much
        self._depth = 0

    # Expressions

    def read(self, expression: Expression, prefix: str, name: str | None = None) -> Operand:
        """The node that an expression reads, drafted if it is new.

        ``name`` is the name of the outermost operation.
        """
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                message = f"an expression nested more than {DEEPEST} deep, functions included"
                raise rejected("R105", expression.span, message)
            if len(self.drafts) >= MOST_NODES:
                message = f"this spec becomes a graph of more than {MOST_NODES} nodes"
                helps = "each operation is a node: of cells and functions, in every use; of resets"
                raise self.too_much(expression.span, message, helps)
            return self._read(expression, prefix, name)
        finally:
            self._depth -= 1

    def _read(self, expression: Expression, prefix: str, name: str | None) -> Operand:
        span = expression.span
        match expression:
            case Number(value):
                return Operand(Edge(self.constant(float(value), span, prefix)), span)
            case Negate(Number(value)):
                return Operand(Edge(self.constant(-float(value), span, prefix)), span)
            case Name(read) if read in self._body:
                return Operand(self.local(read, prefix, name).edge, span)
            case Name(read) if read in self._arguments:
                argument = self._arguments[read]
                # A function of the library has no text: what it is given is where it is given.
                return argument if self.part_of else Operand(argument.edge, span)
            case Name():
                return Operand(Edge(self._name(expression, prefix)), span)
            case Negate(operand):
                return self.add("negate", (self.read(operand, prefix),), span, prefix, name)
            case Not(operand):
                return self.add(NOT, (self.read(operand, prefix),), span, prefix, name)
            case Binary(symbol, left, right):
                # Both sides are read before an error in either is passed on.
                operands = self.all_of((left, right), prefix)
                return self.add(SYMBOLS[symbol], operands, span, prefix, name)
            case Subscript(base, index):
                axis = leading_name(index)
                if axis is not None and self.is_axis(axis):
                    return self._delayed(base, (index,), span)
                self._check_index(base, index, axis)
                place = self._element(base, index, 0, span, prefix)
                return self._cut(self.read(base, prefix), place, span, prefix, name)
            case Slice(base, first, last):
                cut = self._range(base, first, last, 0, span)
                return self._cut(self.read(base, prefix), cut, span, prefix, name)
            case Selection(base, places):
                return self._selected(base, places, span, prefix, name)
            case Text():
                raise rejected("R204", span, "a text is the first operand of `einsum` alone")
            case Listing(elements):
                operands = self.all_of(elements, prefix)
                return self.add("stack", operands, span, prefix, name)
            case Call():
                return self.call(expression, prefix, name)

    def call(self, call: Call, prefix: str, name: str | None) -> Operand:
        """The node of a call."""
        raise NotImplementedError

    def local(self, read: str, prefix: str, name: str | None) -> Operand:
        """What an equation of the function that is read says that a name is."""
        raise NotImplementedError

    def too_much(self, span: Span, message: str, help_: str) -> Rejected:
        """What a spec expands to is bounded; that is said once."""
        known, self._full = self._full, True
        return Rejected(None) if known else rejected("R108", span, message, "", [help_])

    def all_of(self, expressions: Iterable[Expression], prefix: str) -> tuple[Operand, ...]:
        found: list[Operand] = []
        failed: list[Rejected] = []
        for expression in expressions:
            try:
                found.append(self.read(expression, prefix))
            except Rejected as rejection:
                failed.append(rejection)
        for other in failed[1:]:
            if other.diagnostic is not None:
                self.names.problems.append(other.diagnostic)
        if failed:
            raise failed[0]
        return tuple(found)

    def _name(self, name: Name, prefix: str) -> str:
        symbol = self.names.find(name)
        if symbol is None:
            raise Rejected(None)
        if symbol.kind == "size":
            value = self.values.sizes.get(name.name)
            if value is None:
                raise Rejected(None)
            return self.constant(float(value), name.span, prefix)
        return self.node_of(name.name)

    def inside(self, name: Name) -> bool:
        """Whether a name is one of the function that is read just now."""
        return name.name in self._arguments or name.name in self._body

    def _check_index(self, base: Expression, index: Expression, leading: Name | None) -> None:
        """What an index can be meant to be, where no time axis leads it."""
        if any(map(self.is_axis, _steps_of(index))):
            raise no_delay(index)
        if isinstance(base, Name) and base.name in functions() and not self._known(base):
            raise in_brackets(base, index)
        if leading is None or self.inside(leading):
            return
        unknown = leading.name not in self.names.symbols
        if unknown and isinstance(index, Binary) and not self.names.axes[1:]:
            (axis,) = self.names.axes
            self.names.unknown(leading, f"the time axis is `{axis}`: write `{axis}` here", axis)
        self.names.find(leading, "place")

    def _known(self, name: Name) -> bool:
        return name.name in self.names.symbols or self.inside(name)

    def is_axis(self, name: Name) -> bool:
        return name.name == TIME or name.name in self.names.axes or name.name in self.axes

    def axis(self, name: Name) -> str:
        """The axis that a name stands for; raises :class:`Rejected`."""
        if name.name not in self.names.axes and name.name not in self.axes:
            raise Rejected(no_axis(name.name, name.span, self.names.axes))
        return name.name

    def _is_delay(self, place: Expression | Range | Rest) -> bool:
        """Whether an index is led by a time axis."""
        axis = leading_name(place) if _is_expression(place) else None
        return axis is not None and self.is_axis(axis)

    def _delayed(self, base: Expression, indices: Sequence[Expression], span: Span) -> Operand:
        """A read with delays, one an axis."""
        delays: dict[str, int] = {}
        for index in indices:
            axis = leading_name(index)
            assert axis is not None
            if self.axis(axis) in delays:
                raise axis_twice(axis.name, base, span)
            delays[self.axis(axis)] = self.delay_of(index)
        if not isinstance(base, Name):
            raise rejected(
                "R222",
                base.span,
                "only a name can be read with a delay",
                "this has no name",
                ["give it one: `a = {0}`, and read `a[{1}]`"],
                parts=[Label(base.span, "…"), Label(indices[0].span, "t-1")],
            )
        symbol = self.names.find(base)
        if symbol is None:
            raise Rejected(None)
        if symbol.kind == "size":
            raise rejected("R210", base.span, f"`{base.name}` does not change with time", "a size")
        source = self.node_of(base.name)
        self.marked += [Marked(source, at, span) for at, delay in delays.items() if not delay]
        along = [(at, delay) for at, delay in delays.items() if delay]
        if not along:
            return self.resets.read(Edge(source), span)
        if source in self.resets.resets and (along[1:] or source in self.borders.said):
            raise Rejected(reset_along_two(base.name, span, self.resets.resets[source].span))
        if along[1:]:
            return Operand(self.borders.read(source, along, span), span)
        ((at, delay),) = along
        return self.resets.read(Edge(self.borders.along(source, at, span), delay, at), span)

    def delay_of(self, index: Expression) -> int:
        match index:
            case Name():
                return 0
            case Binary("-", earlier, steps):  # `t-N-1` takes one step more from `t-N`
                delay = self.delay_of(earlier) + self._steps(steps)
            case Binary("+", earlier, steps):
                delay = self.delay_of(earlier) - self._steps(steps)
            case _:
                raise no_delay(index)
        if abs(delay) > LONGEST_DELAY:
            raise rejected(
                "R222",
                index.span,
                f"a delay is {LONGEST_DELAY} steps at most",
                f"{abs(delay)} steps",
            )
        return delay

    def _steps(self, expression: Expression) -> int:
        """The number of steps of a delay, which is none that is computed."""
        of_sizes = {
            name.span
            for call in calls_in(expression)
            for operand in (call.operands if call.function.name == SIZE else ())
            for name in names_in(operand)
        }
        for name in names_in(expression):
            symbol = self.names.symbols.get(name.name)
            if name.span in of_sizes:
                continue
            if symbol is not None and symbol.kind in ("input", "target", "equation"):
                message = f"`{name.name}` is a value, and a delay is known before the network runs"
                help_ = "an index k chooses among several: `stack(x, x[t-1], x[t-2])[k]`"
                raise rejected("R208", name.span, message, "a value", [help_])
        return self.values.whole(expression)

    def _selected(
        self,
        base: Expression,
        places: Sequence[Expression | Range | Rest],
        span: Span,
        prefix: str,
        name: str | None,
    ) -> Operand:
        """A place for each dimension; those behind `...` are counted from the end."""
        delays = [place for place in places if _is_expression(place) and self._is_delay(place)]
        if len(delays) == len(places):
            return self._delayed(base, delays, span)
        if any(map(self.is_axis, chain(*(_steps_of(x) for x in places if _is_expression(x))))):
            raise delay_among_places(base, places, span)
        rests = [at for at, place in enumerate(places) if isinstance(place, Rest)]
        for at in rests[1:]:
            raise rejected("R221", places[at].span, "`...` stands for dimensions once", "again")
        middle = rests[0] if rests else len(places)
        cuts: list[Cut | Gather] = []
        kept = 0
        for place in places[:middle]:
            cuts += self._placed(base, place, kept, span, prefix)
            kept += isinstance(place, Range)
        behind = -1
        for place in reversed(places[middle + 1 :]):
            cuts += self._placed(base, place, behind, span, prefix)
            behind -= isinstance(place, Range)
        value = self.read(base, prefix)
        for at, cut in enumerate(cuts, 1):
            value = self._cut(value, cut, span, prefix, name if at == len(cuts) else None)
        if not cuts:
            return self.add("identity", (value,), span, prefix, name)
        return value

    def _placed(
        self, base: Expression, place: Expression | Range | Rest, axis: int, span: Span, prefix: str
    ) -> list[Cut | Gather]:
        """What is taken along one of several dimensions."""
        match place:
            case Range(None, None) | Rest():
                return []
            case Range(first, last):
                return [self._range(base, first, last, axis, span)]
        self._check_index(base, place, leading_name(place))
        return [self._element(base, place, axis, span, prefix)]

    def _element(
        self, base: Expression, index: Expression, axis: int, span: Span, prefix: str
    ) -> Cut | Gather:
        """One element along a dimension, by a number or by an index that is computed."""
        if self._is_computed(index):
            return Gather(self.read(index, prefix), axis)
        start = self.values.whole(index)
        if start < 0:
            text = f"from {start}"
            raise negative(base, index, span, text, element=True, axis=axis)
        return Cut(start, start + 1, element=True, axis=axis)

    def _is_computed(self, index: Expression) -> bool:
        """Whether an index is a value of the network; a size of one is none."""
        match index:
            case Call(function) if not is_rounded(index):
                return function.name != SIZE
            case Listing():
                return True
            case Name(name):
                symbol = self.names.symbols.get(name)
                numbers = symbol is None or symbol.kind in ("size", "const")
                return self.inside(index) or not numbers
        return any(map(self._is_computed, parts(index)))

    def _range(
        self,
        base: Expression,
        first: Expression | None,
        last: Expression | None,
        axis: int,
        span: Span,
    ) -> Cut:
        """Some elements along a dimension."""
        if any(self.is_axis(name) for end in (first, last) for name in _names(end)):
            raise range_of_steps(base, first, last, span)
        start = 0 if first is None else self.values.whole(first)
        stop = None if last is None else self.values.whole(last)
        if stop is not None and stop < 0 and last is not None:
            raise negative(base, last, span, f"up to {stop}", axis=axis)
        if start < 0:
            raise negative(base, first, span, f"from {start}", axis=axis)
        if stop is not None and stop <= start:
            raise rejected("R221", span, "a slice of no elements", f"from {start} up to {stop}")
        return Cut(start, stop, axis=axis)

    def _cut(
        self, whole: Operand, cut: Cut | Gather, span: Span, prefix: str, name: str | None
    ) -> Operand:
        if isinstance(cut, Gather):
            operands, options = (whole, cut.index), attributes(axis=cut.axis)
            return self.add(GATHER, operands, span, prefix, name, options=options)
        piece = self.add("slice", (whole,), span, prefix, None if cut.element else name, cut)
        if not cut.element:
            return piece
        return self.add("sum", (piece,), span, prefix, name, along=cut.axis)


def _steps_of(index: Expression) -> Iterable[Name]:
    """The names in an index that could be steps: a look-up can be by an index of another step."""
    match index:
        case Name():
            return (index,)
        case Subscript(base):
            return _steps_of(base)
        case Call():
            return ()
    return chain.from_iterable(map(_steps_of, parts(index)))


def _is_expression(place: Expression | Range | Rest) -> TypeGuard[Expression]:
    return not isinstance(place, Range | Rest)


def _names(expression: Expression | None) -> Iterable[Name]:
    return () if expression is None else names_in(expression)


def leading_name(expression: Expression) -> Name | None:
    while isinstance(expression, Binary):
        expression = expression.left
    return expression if isinstance(expression, Name) else None
