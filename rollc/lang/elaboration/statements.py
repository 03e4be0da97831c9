"""Statement elaboration: statements to drafts, by kind; those with unknown sizes are deferred.

`size(x)` in a statement is known when the shape of x is, which may follow from equations:
such statements are elaborated as soon as they can be.  At the fixed point, shapes are guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from rollc.ir.graph import BATCH, Type, attributes, ordered_axes
from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.elaboration.drafts import Drafts
from rollc.lang.elaboration.expressions import Feed
from rollc.lang.elaboration.initialisers import initialiser, initialisers_of_parts
from rollc.lang.expansion.definitions import Definitions
from rollc.lang.inference.guesses import complete
from rollc.lang.inference.shapes import Inference
from rollc.lang.inference.size_order import SizeOrder
from rollc.lang.symbols.builtins import SIZE
from rollc.lang.symbols.constants import LARGEST_SIZE, Rejected, Values, bad_size, is_size
from rollc.lang.symbols.table import Names, shown, twice
from rollc.lang.symbols.untyped_node import Complex, Declared
from rollc.lang.syntax.ast import (
    Call,
    Const,
    Declaration,
    Dim,
    Equation,
    Expression,
    Index,
    Init,
    Input,
    Name,
    Param,
    Shape,
    Spec,
    Statement,
)
from rollc.lang.syntax.traversal import calls_in, expressions, names_in

STATIC = ("size", "param", "const")  # sorts of names: the same at every step
Item = TypeVar("Item")


def _depth(statement: Statement) -> int:
    """In how many cells a size or a constant is: those outside a use are known before its own."""
    return statement.name.name.count(".") if isinstance(statement, (Dim, Const)) else 0


class Taking:
    """Elaborates the statements of a spec; ``problems`` are its diagnostics.

    ``in_rounds``, all statements that can be elaborated are, before types are inferred anew: that
    takes longer, and no type can then depend on the order of statements, even in a contradictory
    spec.  ``unsized`` are the statements whose sizes cannot be inferred.
    """

    def __init__(
        self,
        spec: Spec,
        sets: Mapping[str, int],
        definitions: Definitions,
        feed: Feed,
        in_rounds: bool = False,
    ) -> None:
        self.spec = spec
        self.in_rounds = in_rounds
        self.sets = sets
        self.names = Names(spec)
        self.values = Values(self.names, self.type_of)
        self.drafts = Drafts(self.names, self.values, definitions, feed)
        self.known = self._inference()
        self.gives: dict[str, list[int]] = {}  # the statements that are left, by what they are of
        self.trusted: dict[str, Type] = {}  # types that tell sizes in one round, and are not sure
        self.stale = False  # whether something was said of a value after its type was inferred
        self.late: set[str] = set()  # sizes and constants that are not known yet
        self.unsized: list[Statement] = []
        # Where the initial value of a node is given, over some axes.
        self.started: dict[tuple[str, frozenset[str]], Span] = {}
        self.problems: list[Diagnostic] = []
        self.parameters = 0

    def statements(self) -> None:
        """Take all that can be taken."""
        types: tuple[tuple[type[Statement], ...], ...] = (
            (Dim,),
            (Const,),
            (Input, Param),
            (Declaration,),
            (Equation,),
            (Init,),
        )
        pending = [
            statement
            for type_ in types
            for statement in sorted(self.spec.statements, key=_depth)
            if isinstance(statement, type_)
        ]
        while pending:
            self._extend()
            self.gives = self._given_by(pending)
            left = [statement for statement in pending if not self._taken(statement)]
            self.trusted = {}
            if len(left) == len(pending) and not self._told_more(left):
                self.unsized = left
                break
            pending = left
        self.drafts.borders.finish()
        self._leaves_in_order()

    def _attempt(self, step: Callable[[Item], None], item: Item) -> None:
        """Take a step that may be rejected, and go on."""
        try:
            step(item)
        except Rejected as rejection:
            if rejection.diagnostic is not None:
                self.problems.append(rejection.diagnostic)

    def _leaves_in_order(self) -> None:
        """A size that was known late moves no parameter from its place in the text."""
        drafts = self.drafts.drafts
        leaves = [
            statement.name.name
            for statement in self.spec.statements
            if isinstance(statement, (Input, Param, Const))
        ]
        ordered = {name: drafts[name] for name in leaves if name in drafts}
        rest = dict(drafts)
        drafts.clear()
        drafts.update({**ordered, **rest})

    def _taken(self, statement: Statement) -> bool:
        if next(self._missing(statement), None) is not None:
            if isinstance(statement, (Dim, Const)):
                self.late.add(statement.name.name)
            return False
        match statement:
            case Dim(name) if self.names.owns(name):
                self.late.discard(name.name)
                self.values.sizes[name.name] = self._dim(statement)
            case Input(name) if self.names.owns(name):
                self._attempt(self._input, statement)
            case Param(name) if self.names.owns(name):
                self._attempt(self._param, statement)
            case Const(name) if self.names.owns(name):
                self.late.discard(name.name)
                self.values.constants[name.name] = None
                self._attempt(self._const, statement)
            case Declaration(name) if self.names.owns(name):
                self._attempt(self._declaration, statement)
            case Equation():
                self._attempt(self.drafts.equation, statement)
            case Init():
                self._attempt(self._init, statement)
        return True

    def _dim(self, dim: Dim) -> int | None:
        name = dim.name.name
        if name in self.sets:
            value = self.sets[name]
            return value if is_size(value) else None
        try:
            return self.values.whole(dim.value) if dim.given else self.values.count(dim.value)
        except Rejected as rejection:
            if rejection.diagnostic is not None:
                self.problems.append(rejection.diagnostic)
            return None

    def type_of(self, name: str) -> Type | None:
        """The type of a value as far as it is known."""
        node = self.drafts.node_of(name)
        if node in self.drafts.declared:
            return self.drafts.declared[node][0].type
        if not self.in_rounds:
            self._extend()
        if node in self.trusted:
            return self.trusted[node]
        sure = SizeOrder(self.known, self.gives).is_sure(node)
        return self.known.types[node] if sure else None

    def _extend(self) -> None:
        if self.stale:
            self.known, self.stale = self._inference(), False
        self.known.extend()

    def _inference(self, rows: Mapping[str, int] | None = None) -> Inference:
        drafts = self.drafts
        return Inference(drafts.drafts, drafts.initials, drafts.declared, rows)

    def _missing(self, statement: Statement) -> Iterator[Expression]:
        """What a statement has to know of sizes and is not known yet."""
        for expression in expressions(statement):
            for call in calls_in(expression):
                for name in call.operands if call.function.name == SIZE else ():
                    symbol = self.names.symbols.get(name.name) if isinstance(name, Name) else None
                    # Without a symbol, or of a size, it is an error: computing it says so.
                    if symbol is None or symbol.kind == "size":
                        continue
                    if self.type_of(symbol.name) is None:
                        yield call
            for name in names_in(expression):
                if name.name in self.late or self._needs_constant(statement, name):
                    yield name

    def _needs_constant(self, statement: Statement, name: Name) -> bool:
        """Whether a size is rounded from a constant that is not known yet."""
        if not isinstance(statement, Dim) or name.name in self.values.constants:
            return False
        symbol = self.names.symbols.get(name.name)
        return symbol is not None and symbol.kind == "const"

    def _given_by(self, pending: Sequence[Statement]) -> dict[str, list[int]]:
        """The numbers of statements, by what they are of."""
        found: dict[str, list[int]] = {}
        for number, statement in enumerate(pending):
            names: tuple[Name, ...] = ()
            match statement:
                case Equation(names):
                    pass
                case Dim(name) | Const(name) | Input(name) | Param(name):
                    names = (name,)
                case Declaration(name) | Init(name):
                    names = (name,)
            for name in names:
                found.setdefault(self.drafts.node_of(name.name), []).append(number)
        return found

    def _told_more(self, left: Sequence[Statement]) -> bool:
        """Whether shapes that are not sure tell another size, or guesses where none does.

        At last, for the sake of diagnostics, those tell sizes that wait for what is never known.
        """
        needs = {number: self._needs(statement) for number, statement in enumerate(left)}
        first = SizeOrder(self.known, self.gives).first(needs)
        self.trusted = {name: self.known.types[name] for name in first}
        if self._goes_on(left):
            return True
        self.known = self._inference(dict(self._rows(left)))
        complete(self.known)
        self.trusted = {}
        if self._goes_on(left):
            return True
        self.trusted = dict(self.known.types)
        return self._goes_on(left)

    def _goes_on(self, left: Sequence[Statement]) -> bool:
        return any(next(self._missing(statement), None) is None for statement in left)

    def _needs(self, statement: Statement) -> list[str]:
        """The values and sizes that a statement waits for."""
        found: list[str] = []
        for part in self._missing(statement):
            names = part.operands if isinstance(part, Call) else (part,)
            found += [self.drafts.node_of(name.name) for name in names if isinstance(name, Name)]
        return found

    def _rows(self, left: Sequence[Statement]) -> Iterator[tuple[str, int]]:
        """The number of rows of matrices of which only the number of columns is not known."""
        for statement in left:
            match statement:
                case Param(name, Shape((first, _) as sizes)):
                    alone = Const(name, first, first.span)
                    if next(self._missing(alone), None) is None:
                        with suppress(Rejected):
                            yield name.name, self.values.count(sizes[0])

    def still_unsized(self) -> Iterator[Diagnostic]:
        """Sizes that could not be computed, where nothing else is the reason."""
        for statement in self.unsized:
            for call in self._missing(statement):
                if isinstance(call, Call):
                    yield Diagnostic(
                        "R226",
                        "a size that depends on itself",
                        Label(call.span, "this shape is known only when the size is"),
                        helps=(
                            "declare the shape where the value is defined, as in"
                            f" `{self._operand_of(call)}: [2] = …`, or write the size as a number",
                        ),
                    )
                    break
            else:
                if isinstance(statement, Dim):
                    message = f"`{shown(statement.name.name)}` depends on itself"
                    help_ = "sizes and constants are computed from the top"
                    yield Diagnostic("R208", message, Label(statement.name.span), helps=(help_,))

    def _operand_of(self, call: Call) -> str:
        return next((shown(name.name) for name in names_in(call)), "h")

    def told_otherwise(self, types: Mapping[str, Type]) -> Iterator[Diagnostic]:
        """Sizes that were computed from other shapes than the values have in the end."""
        before, self.values.told = self.values.told, {}
        self.values.type_of = lambda name: types.get(self.drafts.node_of(name))
        for call, told in before.items():
            with suppress(Rejected):
                found = self.values.whole(call)
                if found != told:
                    message = f"a size that follows from a guess: {told}, and then {found}"
                    help_ = "declare the shape where the value is defined"
                    yield Diagnostic("R226", message, Label(call.span), helps=(help_,))

    def _type(self, type_: Shape | Index | None) -> Type:
        match type_:
            case None:
                return Type("float")
            case Index(size, span, sizes):
                shape = self.values.shape(sizes, span)
                return Type("index", shape, bound=self.values.count(size))
            case Shape(sizes, span, kind):
                number = self.values.shape(sizes, span)
                return Type("bool" if kind == "condition" else "float", number)

    def _declaration(self, statement: Declaration) -> None:
        node = self.drafts.node_of(statement.name.name)
        said = Declared(self._type(statement.type), statement.span)
        self.drafts.declared.setdefault(node, []).append(said)
        self.stale |= self.known.has_seen(node)
        if isinstance(statement.type, Shape) and statement.type.complex:
            self.drafts.complex.setdefault(node, Complex(statement.span))

    def _input(self, statement: Input) -> None:
        time = self._axis(statement)
        axes = ordered_axes((*time, BATCH))
        operation = "target" if statement.target else "input"
        type_ = replace(self._type(statement.type), axes=axes)
        self.drafts.leaf(statement.name.name, operation, type_, statement.span)
        if isinstance(statement.type, Shape) and statement.type.complex:
            self.drafts.complex[statement.name.name] = Complex(statement.span)

    def _no_shape(self, statement: Input) -> None:
        """Raises :class:`Rejected` where a shape stands in the place of the time axis."""
        axis = statement.axes[0]
        symbol = self.names.symbols.get(axis.name)
        if symbol is None or symbol.kind != "size" or axis.name in self.names.axes:
            return
        name = statement.name
        text = f"`{name.name}: [{', '.join(axis.name for axis in statement.axes)}]`"
        edit = Edit(Span(name.span.end, axis.span.start), ": [")
        message = f"`{axis.name}` is a size, and no time axis"
        raise Rejected(
            Diagnostic(
                "R230",
                message,
                Label(axis.span),
                helps=(f"a shape stands behind a `:`: {text}",),
                edits=(edit,),
            )
        )

    def _axis(self, statement: Input) -> tuple[str, ...]:
        """The time axes that an input runs over; none for a static one."""
        axes, name = self.names.axes, statement.name.name
        if statement.static and statement.axes:
            message = f"`{name}` is static: it runs over no time axis"
            raise Rejected(Diagnostic("R230", message, Label(statement.axes[0].span)))
        if statement.static:
            return ()
        if statement.axes:
            self._no_shape(statement)
            said = tuple(map(self.drafts.axis, statement.axes))
            if len(set(said)) < len(said):
                first, *_, again = statement.axes
                raise Rejected(twice(f"an axis of `{name}` is said", first.span, again.span))
            return said
        if len(axes) > 1:
            form = f"write `{name}[{axes[0]}]` or `{name}[{axes[1]}]`, or `static` before it"
            message = f"`{name}` runs over which time axis?"
            raise Rejected(Diagnostic("R229", message, Label(statement.name.span), helps=(form,)))
        return axes

    def _param(self, statement: Param) -> None:
        shape: tuple[int, ...] = ()
        if statement.shape is not None:
            shape = self.values.shape(statement.shape.sizes, statement.shape.span)
        whole = statement.shape is not None and statement.shape.complex
        first = statement.initialiser
        parts = (
            [*initialisers_of_parts(first, shape, self.values)]
            if whole
            else [initialiser(first, shape, self.values)]
        )
        for options in parts if statement.frozen else ():
            options["frozen"] = True
        type_ = Type("float", shape)
        self.parameters += type_.size * (1 + whole)
        if self.parameters > LARGEST_SIZE:
            message = f"the parameters have more than {LARGEST_SIZE} elements together"
            raise bad_size(statement.span, message, f"{self.parameters} up to here")
        name, span = statement.name.name, statement.span
        self.drafts.leaf(name, "param", type_, span, **parts[0])
        if whole:
            real, imaginary = (attributes(**options) for options in parts)
            self.drafts.complex[name] = Complex(span, (real, imaginary))

    def _const(self, statement: Const) -> None:
        name = statement.name.name
        value = self.values.number(statement.value)
        self.values.constants[name] = value
        self.drafts.constant(value, statement.span, name, name)

    def _init(self, init: Init) -> None:
        name = self.drafts.node_of(init.name.name)
        over = frozenset(map(self.drafts.axis, init.axes))
        if len(over) < len(init.axes):
            message = f"an axis of the initial value of `{init.name.name}` is said"
            raise Rejected(twice(message, init.axes[0].span, init.axes[-1].span))
        first = self.started.setdefault((name, over), init.name.span)
        if first is not init.name.span:
            message = f"the initial value of `{init.name.name}` is given"
            raise Rejected(twice(message, first, init.name.span))
        operand = self.drafts.read(init.value, name)
        if self.names.find(init.name) is None or name not in self.names.symbols:
            return
        symbol = self.names.symbols[name]
        if symbol.kind in STATIC:
            raise Rejected(
                Diagnostic(
                    "R213",
                    f"`{name}` has no initial value: it is the same at every step",
                    Label(init.name.span),
                    (Label(symbol.at, "defined here"),),
                )
            )
        if operand.edge.delay:
            raise Rejected(
                Diagnostic(
                    "R211",
                    f"the initial value of `{name}` is read with a delay",
                    Label(operand.span),
                    helps=("an initial value does not change with time",),
                )
            )
        self.stale |= self.known.has_seen(name)
        if not over:
            self.drafts.initials[name] = operand
            return
        self.drafts.borders.values[name, over] = operand
        if len(over) == 1:
            along = self.drafts.borders.along(name, min(over), init.span)
            self.drafts.initials[along] = operand
