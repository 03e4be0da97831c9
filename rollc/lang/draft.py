"""Equations to nodes whose types are not known yet.

A draft is a node without a type, with the place that each of its operands came from.
An unnamed part of the equation of ``s`` becomes ``s'1``, ``s'2`` … in the order of
evaluation; the outermost operation carries the name ``s`` itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rollc.graph.attributes import attribute_flaw
from rollc.graph.graph import Attribute, Edge, Type, attributes
from rollc.graph.operations import OPERATIONS
from rollc.lang.diagnostics import Diagnostic, Label
from rollc.lang.functions import ENDS, FUNCTIONS, OVER_TIME, SYMBOLS, WRITTEN, near
from rollc.lang.names import Names
from rollc.lang.sizes import LONGEST_DELAY, Rejected, Values
from rollc.lang.source import Span
from rollc.lang.syntax import (
    Binary,
    Call,
    Equation,
    Expression,
    Name,
    Negate,
    Number,
    Slice,
    Subscript,
)

TIME = "t"
LOSS = "loss"


@dataclass(frozen=True, slots=True)
class Operand:
    """A read of a node, and where it is written."""

    edge: Edge
    span: Span


@dataclass(frozen=True, slots=True)
class Cut:
    """What a slice takes; the end may depend on the length of what is cut.

    ``part`` is (k, n) for the k-th of n equal parts.  ``element`` is a cut of one element
    of a vector.
    """

    start: int = 0
    stop: int | None = None
    part: tuple[int, int] | None = None
    element: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A node to be; ``type`` is known for leaves only."""

    name: str
    operation: str
    operands: tuple[Operand, ...]
    span: Span
    attributes: tuple[tuple[str, Attribute], ...] = ()
    type: Type | None = None
    cut: Cut | None = None


def rejected(
    code: str, span: Span, message: str, text: str = "", helps: Iterable[str] = ()
) -> Rejected:
    return Rejected(Diagnostic(code, message, Label(span, text), helps=tuple(helps)))


class Drafts:
    """The drafts of a spec, in the order in which they were made."""

    def __init__(self, names: Names, values: Values) -> None:
        self.names = names
        self.values = values
        self.drafts: dict[str, Draft] = {}
        self.initials: dict[str, Operand] = {}
        self._constants: dict[str, str] = {}  # the repr of a number to its node
        self._aliases: dict[str, str] = {}  # a second constant of equal value to the first
        self._counts: dict[str, int] = {}

    # Leaves

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

    def node_of(self, name: str) -> str:
        """The node that holds the value of a name."""
        return self._aliases.get(name, name)

    def fresh(self, prefix: str) -> str:
        self._counts[prefix] = self._counts.get(prefix, 0) + 1
        return f"{prefix}'{self._counts[prefix]}"

    # Statements

    def equation(self, equation: Equation) -> None:
        """Draft what an equation defines; raises :class:`Rejected`."""
        names = equation.names
        owned = [name for name in names if self.names.owns(name)]
        value = equation.value
        if isinstance(value, Call) and value.function.name == "split":
            self._split(equation, value, owned)
        elif len(names) > 1:
            raise rejected(
                "R220",
                names[1].span,
                "several names for one value",
                "",
                ["only `split` gives several results: `a, b = split(x, 2)`"],
            )
        else:
            # What an equation says twice is still read, for the errors in it.
            prefix = names[0].name
            self.named(prefix if owned else None, value, prefix)

    def named(self, name: str | None, expression: Expression, prefix: str) -> Operand:
        """Draft an expression under a name of its own."""
        operand = self.read(expression, prefix, name)
        if name is not None and operand.edge != Edge(name):
            return self._add("identity", (operand,), expression.span, prefix, name)
        return operand

    def _split(self, equation: Equation, call: Call, owned: list[Name]) -> None:
        names = equation.names
        self._arity(call, ("x", "parts"))
        if call.options or call.over is not None:
            raise self._no_option(call)
        whole = self.read(call.operands[0], names[0].name)
        count = self.values.count(call.operands[1])
        if count != len(names):
            raise rejected(
                "R220",
                call.operands[1].span,
                f"`split` gives {count} results, and {len(names)} are named",
                f"{count} parts",
            )
        for place, name in enumerate(names):
            if name in owned:
                self.drafts[name.name] = Draft(
                    name.name, "slice", (whole,), name.span, cut=Cut(part=(place, count))
                )

    # Expressions

    def read(self, expression: Expression, prefix: str, name: str | None = None) -> Operand:
        """The node that an expression reads, drafted where there is none yet.

        ``name`` is what the outermost operation is to be called.
        """
        span = expression.span
        match expression:
            case Number(value):
                return Operand(Edge(self.constant(float(value), span, prefix)), span)
            case Negate(Number(value)):
                return Operand(Edge(self.constant(-float(value), span, prefix)), span)
            case Name():
                return Operand(Edge(self._name(expression, prefix)), span)
            case Negate(operand):
                return self._add("negate", (self.read(operand, prefix),), span, prefix, name)
            case Binary(symbol, left, right):
                # Both sides are read before an error in either is passed on.
                operands = self._all((left, right), prefix)
                return self._add(SYMBOLS[symbol], operands, span, prefix, name)
            case Subscript(base, index):
                if _leading_name(index) == TIME:
                    return self._delayed(base, index, span)
                start = self.values.whole(index)
                return self._cut(base, Cut(start, start + 1, element=True), span, prefix, name)
            case Slice(base, first, last):
                start = 0 if first is None else self.values.whole(first)
                stop = None if last is None else self.values.whole(last)
                if stop is not None and stop <= start:
                    raise rejected(
                        "R221", span, "a slice of no elements", f"from {start} up to {stop}"
                    )
                return self._cut(base, Cut(start, stop), span, prefix, name)
            case Call():
                return self._call(expression, prefix, name)

    def _all(self, expressions: Iterable[Expression], prefix: str) -> tuple[Operand, ...]:
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

    def _add(
        self,
        operation: str,
        operands: tuple[Operand, ...],
        span: Span,
        prefix: str,
        name: str | None,
        **options: Attribute,
    ) -> Operand:
        chosen = self.fresh(prefix) if name is None else name
        self.drafts[chosen] = Draft(chosen, operation, operands, span, attributes(**options))
        return Operand(Edge(chosen), span)

    def _name(self, name: Name, prefix: str) -> str:
        symbol = self.names.find(name)
        if symbol is None:
            raise Rejected(None)
        if symbol.sort == "size":
            value = self.values.sizes.get(name.name)
            if value is None:
                raise Rejected(None)
            return self.constant(float(value), name.span, prefix)
        return self.node_of(name.name)

    def _delayed(self, base: Expression, index: Expression, span: Span) -> Operand:
        if not isinstance(base, Name):
            raise rejected(
                "R222",
                base.span,
                "only a name can be read with a delay",
                "this has no name",
                ["give it one: `a = …`, and read `a[t-1]`"],
            )
        symbol = self.names.find(base)
        if symbol is None:
            raise Rejected(None)
        if symbol.sort == "size":
            raise rejected("R210", base.span, f"`{base.name}` does not change with time", "a size")
        delay = self._delay(index)
        edge = Edge(self.node_of(base.name), delay, TIME if delay else "")
        return Operand(edge, span)

    def _delay(self, index: Expression) -> int:
        match index:
            case Name():
                return 0
            case Binary("-", Name(), steps):
                delay = self.values.whole(steps)
            case Binary("+", Name(), steps):
                delay = -self.values.whole(steps)
            case _:
                raise rejected(
                    "R222",
                    index.span,
                    "a delay is written `t-k` or `t+k`",
                    "not a delay",
                    ["for example `h[t-1]`, the value one step ago"],
                )
        if abs(delay) > LONGEST_DELAY:
            raise rejected(
                "R222",
                index.span,
                f"a delay is {LONGEST_DELAY} steps at most",
                f"{abs(delay)} steps",
            )
        return delay

    def _cut(
        self, base: Expression, cut: Cut, span: Span, prefix: str, name: str | None
    ) -> Operand:
        if cut.start < 0:
            raise rejected(
                "R221", span, "elements are counted from 0 on", f"from {cut.start}",
                ["a slice without an end goes to the last element: `x[2:]`"],
            )  # fmt: skip
        whole = self.read(base, prefix)
        chosen = name if name is not None and not cut.element else self.fresh(prefix)
        self.drafts[chosen] = Draft(chosen, "slice", (whole,), span, cut=cut)
        piece = Operand(Edge(chosen), span)
        return self._add("sum", (piece,), span, prefix, name) if cut.element else piece

    # Calls

    def _call(self, call: Call, prefix: str, name: str | None) -> Operand:
        function = call.function.name
        operation = self._operation(call)
        entry = OPERATIONS[operation]
        options: dict[str, Attribute] = {}
        if call.over is not None:
            if function not in OVER_TIME:
                raise self._no_option(call)
            if call.over.name != TIME:
                raise rejected(
                    "R104",
                    call.over.span,
                    f"`{call.over.name}` is no time axis",
                    "the time axis is `t`",
                    ["more than one time axis is not supported yet"],
                )
            options["over"] = (TIME,)
        elif operation in ENDS:
            options["axis"] = TIME
        self._arity(call, entry.operands, entry.variadic)
        options.update(self._options(call, entry.defaults))
        operands = self._all(call.operands, prefix)
        return self._add(operation, operands, call.span, prefix, name, **options)

    def _operation(self, call: Call) -> str:
        function, span = call.function.name, call.function.span
        if call.over is not None and function in OVER_TIME:
            return f"{function}_over"
        if function in FUNCTIONS:
            return function
        if function == "split":
            raise rejected(
                "R220",
                span,
                "`split` gives several results",
                "inside an expression",
                ["give each a name: `a, b = split(x, 2)`"],
            )
        if function == "feed":
            raise rejected("R104", span, "`feed` is not supported yet")
        helps: tuple[str, ...] = ()
        text = "not defined"
        guess = near(function, (*FUNCTIONS, "split"))
        if function in WRITTEN:
            text = "has a notation of its own"
            helps = (f"write `{WRITTEN[function]}`",)
        elif function in self.names.symbols:
            helps = (f"`{function}` is a value; to multiply, write `{function} * (…)`",)
        elif guess is not None:
            helps = (f"did you mean `{guess}`?",)
        raise rejected("R203", span, f"unknown function `{function}`", text, helps)

    def _arity(self, call: Call, wanted: tuple[str, ...], variadic: bool = False) -> None:
        found = len(call.operands)
        if found == len(wanted) or (variadic and found):
            return
        function = call.function.name
        form = f"{function}({', '.join(wanted)}{', …' if variadic else ''})"
        helps = [f"write `{form}`"]
        if function in ("max", "min") and found == 2:
            helps = [f"of two values, `{function}imum(a, b)` takes one"]
        least = "at least " if variadic else ""
        operands = "operand" if len(wanted) == 1 else "operands"
        raise rejected(
            "R204",
            call.span,
            f"`{function}` takes {least}{len(wanted)} {operands}, found {found}",
            "",
            helps,
        )

    def _options(
        self, call: Call, defaults: tuple[tuple[str, Attribute], ...]
    ) -> dict[str, Attribute]:
        """The options of a call.  A whole-numbered one at its default is left out."""
        known = {} if call.over is not None else dict(defaults)
        given: dict[str, Attribute] = {}
        for option in call.options:
            name = option.name.name
            if name not in known:
                raise self._no_option(call)
            if name in given:
                raise rejected("R205", option.span, f"`{name}` is given twice")
            value: Attribute
            if isinstance(known[name], int):
                value = self.values.whole(option.value)
            else:
                value = self.values.number(option.value)
            flaw = attribute_flaw(self._operation(call), name, value)
            if value == known[name] == -1:
                flaw = "a dimension, counted from 0"  # -1 stands for all, if nothing is said
            if flaw is not None:
                raise rejected("R205", option.span, f"`{name}` must be {flaw}", f"this is {value}")
            given[name] = value
        floats = {name: value for name, value in known.items() if isinstance(value, float)}
        return {
            **floats,
            **{name: value for name, value in given.items() if value != known[name]},
        }

    def _no_option(self, call: Call) -> Rejected:
        function = call.function.name
        defaults = OPERATIONS[function].defaults if function in OPERATIONS else ()
        known = {} if call.over is not None else dict(defaults)
        for option in call.options:
            if option.name.name not in known:
                options = ", ".join(f"`{name}`" for name in known)
                help_ = f"its options are {options}" if options else "it has none here"
                message = f"`{function}` has no option `{option.name.name}`"
                return rejected("R205", option.name.span, message, "", [help_])
        assert call.over is not None
        return rejected(
            "R205",
            call.over.span,
            f"`{function}` cannot go over the steps",
            "",
            [f"{', '.join(f'`{name}`' for name in OVER_TIME)} can"],
        )


def _leading_name(expression: Expression) -> str:
    while isinstance(expression, Binary):
        expression = expression.left
    return expression.name if isinstance(expression, Name) else ""
