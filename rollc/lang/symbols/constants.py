"""Constant expressions: sizes and constants, evaluated before elaboration."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

from rollc.ir.graph import Type
from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.builtins import CONDITIONS, SIZE, near
from rollc.lang.symbols.table import Names, Symbol, shown
from rollc.lang.symbols.whole_numbers import LARGEST_STEP, is_rounded, rounded
from rollc.lang.syntax.ast import Binary, Call, Expression, Listing, Name, Negate, Number

LARGEST_SIZE = 2**31  # elements of one value, and of all parameters together
LONGEST_DELAY = 10**6  # steps
REAL: Mapping[str, Callable[[float, float], float | complex]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}


class Rejected(Exception):
    """An expression without a value; ``diagnostic`` is None where that is reported already."""

    def __init__(self, diagnostic: Diagnostic | None) -> None:
        super().__init__()
        self.diagnostic = diagnostic


def rejected(
    code: str,
    span: Span,
    message: str,
    text: str = "",
    helps: Iterable[str] = (),
    edits: Iterable[Edit] = (),
    parts: Iterable[Label] = (),
) -> Rejected:
    at = Label(span, text)
    changes, quoted = tuple(edits), tuple(parts)
    return Rejected(Diagnostic(code, message, at, helps=tuple(helps), edits=changes, parts=quoted))


def _as_size(name: Name, symbol: Symbol) -> tuple[str, tuple[Edit, ...]]:
    """What to write for a name that is no size: its definition as one, or the length of a value."""
    own, start = shown(name.name), symbol.span.start
    if symbol.kind == "const" or (symbol.kind == "equation" and start == symbol.at.start):
        edits = (Edit(Span(start, start), "dim "),) if symbol.kind == "equation" else ()
        return f"a size is declared as `dim {own} = …`", edits
    return f"its length is `size({own})`", (Edit(name.span, f"size({own})"),)


def bad_size(span: Span, message: str, text: str = "", *helps: str) -> Rejected:
    return Rejected(Diagnostic("R208", message, Label(span, text), helps=helps))


class Values:
    """The values of sizes and constants, by name; None where there was an error.

    ``type_of`` gives the type of a value, as far as it is known, for `size(x)`.
    """

    def __init__(self, names: Names, type_of: Callable[[str], Type | None]) -> None:
        self.names = names
        self.type_of = type_of
        self.sizes: dict[str, int | None] = {}
        self.constants: dict[str, float | None] = {}
        self.no_sizes: set[str] = set()  # names of other things, said once of each
        self.told: dict[Call, int] = {}  # the sizes of values

    def whole(self, expression: Expression) -> int:
        """A whole number of any sign; raises :class:`Rejected`."""
        match expression:
            case Number(int() as value):
                return value
            case Number(value):
                whole = [int(value)] if value >= 1 else []
                edits = [Edit(expression.span, str(number)) for number in whole]
                helps = [f"write `{number}`" for number in whole]
                message, text = "a size is a whole number", "not a whole number"
                raise rejected("R208", expression.span, message, text, helps, edits)
            case Name():
                return self._size(expression)
            case Negate(operand):
                return -self.whole(operand)
            case Call(function) if function.name == SIZE:
                return self._size_of(expression)
            case Call() if is_rounded(expression):
                return self._rounded(expression)
            case Binary(symbol, left, right) if symbol in "+-*/**":
                return self._whole_binary(expression, symbol, self.whole(left), self.whole(right))
            case _:
                raise bad_size(
                    expression.span,
                    "a size is made of whole numbers, sizes, arithmetic, `floor` and `ceil`",
                    "not known before the network runs",
                )

    def _size(self, name: Name) -> int:
        symbol = self.names.find(name, "size")
        if symbol is None:
            raise Rejected(None)
        if symbol.kind != "size":
            if name.name in self.no_sizes:
                raise Rejected(None)
            self.no_sizes.add(name.name)
            number = self.constants.get(name.name)
            if number is not None and not (number.is_integer() and number > 0):
                message = (
                    f"a size is a positive whole number, and `{shown(name.name)}` is {number:g}"
                )
                at, also = (
                    Label(name.span, "a size is needed here"),
                    (Label(symbol.at, "defined here"),),
                )
                raise Rejected(Diagnostic("R208", message, at, also))
            help_, edits = _as_size(name, symbol)
            raise Rejected(
                Diagnostic(
                    "R208",
                    f"`{shown(name.name)}` is no size",
                    Label(name.span, "a size is needed here"),
                    (Label(symbol.at, f"`{shown(name.name)}` is defined here"),),
                    helps=(help_,),
                    edits=edits,
                )
            )
        if name.name not in self.sizes:
            raise Rejected(
                Diagnostic(
                    "R208",
                    f"`{shown(name.name)}` is used before it is defined",
                    Label(name.span),
                    (Label(symbol.at, "defined here"),),
                    helps=("sizes are computed from the top: move the definition up",),
                )
            )
        value = self.sizes[name.name]
        if value is None:
            raise Rejected(None)
        return value

    def _size_of(self, call: Call) -> int:
        """`size(x)`: the length of a vector, the number of things that an index can name."""
        name = size_operand(call)
        symbol = self.names.find(name)
        if symbol is None:
            raise Rejected(None)
        if symbol.kind == "size":
            raise bad_size(call.span, f"`{shown(name.name)}` is a size itself")
        found = self.type_of(name.name)
        if found is None:
            raise Rejected(None)
        if found.bound is not None:
            return self.told.setdefault(call, found.bound)
        dimension = 0
        for option in call.options:
            dimension = self.whole(option.value)
        if not 0 <= dimension < len(found.shape):
            count = len(found.shape)
            has = f"{count} dimension{'s' * (count > 1)}" if count else "a number"
            form = f"{shown(name.name)}: [{', '.join('2' * (dimension + 1))}] = …"
            helps = [f"a shape can be declared where a value is defined, as in `{form}`"]
            raise bad_size(
                call.span,
                f"`{shown(name.name)}` has no such size",
                f"this has {has}" if count else f"this is {has}",
                *(helps if symbol.kind == "equation" else ()),
            )
        return self.told.setdefault(call, found.shape[dimension])

    def _rounded(self, call: Call) -> int:
        """`floor(e)` and `ceil(e)`: a whole number next to one that need be none."""

        def leaf(part: Expression) -> Fraction:
            symbol = self.names.symbols.get(part.name) if isinstance(part, Name) else None
            if isinstance(part, Name) and symbol is not None and symbol.kind == "const":
                return Fraction(repr(self._constant(part)))
            return Fraction(self.whole(part))

        try:
            return rounded(call, leaf)
        except ZeroDivisionError:
            raise bad_size(call.span, "a size divided by zero") from None
        except OverflowError:
            raise bad_size(call.span, "a size that is too large") from None

    def _whole_binary(self, expression: Binary, symbol: str, left: int, right: int) -> int:
        span = expression.span
        match symbol:
            case "+":
                value = left + right
            case "-":
                value = left - right
            case "*":
                value = left * right
            case "/":
                if right == 0:
                    raise bad_size(span, "a size divided by zero", f"{left} / 0")
                if left % right:
                    message, text = (
                        f"{left} cannot be divided by {right}",
                        "a size is a whole number",
                    )
                    raise bad_size(span, message, text, "round it: `floor(…)` or `ceil(…)`")
                value = left // right
            case _:
                if right < 0 or right * max(1, left.bit_length()) > 128:
                    raise bad_size(span, f"{left} ** {right} is no size")
                value = left**right
        if abs(value) > LARGEST_STEP:
            raise bad_size(span, "a size that is too large", f"this is {value}")
        return value

    def count(self, expression: Expression) -> int:
        """A size: a positive number within bounds."""
        value = self.whole(expression)
        if value <= 0:
            raise bad_size(expression.span, "a size is positive", f"this is {value}")
        if value > LARGEST_SIZE:
            message = f"a size is {LARGEST_SIZE} at most"
            raise bad_size(expression.span, message, f"this is {value}")
        return value

    def shape(self, sizes: tuple[Expression, ...], span: Span) -> tuple[int, ...]:
        """Sizes whose product is within bounds."""
        shape = tuple(self.count(size) for size in sizes)
        if len(shape) > 4:
            raise bad_size(span, "a shape has four dimensions at most", f"{len(shape)} dimensions")
        if math.prod(shape) > LARGEST_SIZE:
            raise too_large(span, shape)
        return shape

    def number(self, expression: Expression) -> float:
        """A constant number; raises :class:`Rejected`."""
        value = self._real(expression)
        if not math.isfinite(value):
            raise _no_constant(expression.span, "this is beyond what a float64 can hold")
        return value

    def _real(self, expression: Expression) -> float:
        match expression:
            case Number(value):
                return float(value)
            case Name():
                return self._constant(expression)
            case Negate(operand):
                return -self._real(operand)
            case Call(function) if function.name == SIZE or is_rounded(expression):
                return float(self.whole(expression))
            case Binary(symbol, left, right) if symbol not in CONDITIONS and symbol != "@":
                return _real_binary(expression, symbol, self._real(left), self._real(right))
            case Listing():
                help_ = "an equation gives it a name: `K = […]`, without `const`"
                raise _no_constant(expression.span, "not one number", help_)
            case _:
                raise _no_constant(expression.span, "not a number, a name or arithmetic")

    def _constant(self, name: Name) -> float:
        symbol = self.names.find(name)
        if symbol is None:
            raise Rejected(None)
        if symbol.kind == "size":
            return float(self._size(name))
        if symbol.kind != "const":
            raise _no_constant(name.span, f"`{shown(name.name)}` is no constant")
        if name.name not in self.constants:
            raise _no_constant(name.span, f"`{shown(name.name)}` is defined further down")
        value = self.constants[name.name]
        if value is None:
            raise Rejected(None)
        return value


def size_operand(call: Call) -> Name:
    """The name whose size is asked for; raises :class:`Rejected`."""
    axes = [option.name.name for option in call.options]
    match call.operands:
        case (Name() as name,) if axes in ([], ["axis"]) and call.over is None and not call.sizes:
            return name
    help_ = "write `size(x)` or, of a matrix, `size(x, axis=1)`"
    raise bad_size(call.span, "`size` takes the name of a value", "", help_)


def _real_binary(expression: Binary, symbol: str, left: float, right: float) -> float:
    try:
        value = REAL[symbol](left, right)
    except ArithmeticError:
        raise _no_constant(expression.span, "this has no value") from None
    if isinstance(value, complex):
        raise _no_constant(expression.span, "this is no real number")
    return value


def _no_constant(span: Span, text: str, *helps: str) -> Rejected:
    return Rejected(Diagnostic("R223", "not a constant number", Label(span, text), helps=helps))


def too_large(span: Span, shape: tuple[int, ...]) -> Rejected:
    return bad_size(
        span,
        f"a value of {math.prod(shape)} elements; {LARGEST_SIZE} are the most",
        f"this is {list(shape)}",
    )


def overrides(sets: Mapping[str, int], names: Names) -> list[Diagnostic]:
    """What is wrong with the sizes given from outside."""
    problems = []
    sizes = [
        symbol.name
        for symbol in names.symbols.values()
        if symbol.kind == "size" and "." not in symbol.name
    ]
    for name, value in sets.items():
        shown = str(name)[:40]
        if name not in sizes:
            guess = near(shown, sizes)
            helps = (f"did you mean `{guess}`?",) if guess else ()
            if not guess and sizes:
                helps = (f"the sizes are {', '.join(f'`{size}`' for size in sizes[:20])}",)
            problems.append(Diagnostic("R209", f"no size is called `{shown}`", helps=helps))
        elif not is_size(value):
            message = f"`{name}` must be a whole number from 1 to {LARGEST_SIZE}"
            at = Label(names.symbols[name].at, "set from outside")
            problems.append(Diagnostic("R209", message, at))
    return problems


def is_size(value: object) -> bool:
    """Whether an override can be a size."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_SIZE
