"""Initialisers of parameters, and their default."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from rollc.ir.attributes import INITIALISERS
from rollc.ir.graph import Attribute, Shape
from rollc.ir.operations import OPERATIONS
from rollc.ir.operations.initial_values import MOST_WORDS, computed, elementwise
from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols import other_names
from rollc.lang.symbols.builtins import RANGE, SIZE, SYMBOLS, near
from rollc.lang.symbols.constants import REAL, Rejected, Values
from rollc.lang.syntax.ast import (
    Binary,
    Call,
    Expression,
    Name,
    Negate,
)
from rollc.lang.syntax.traversal import calls_in

WITH_NUMBERS = {"normal": ("scale",), "uniform": ("low", "high")}
_UNNAMED = ("number", "computed")
PLAIN = tuple(name for name in INITIALISERS if name not in (*WITH_NUMBERS, *_UNNAMED))


def default_initialiser(shape: Shape) -> str:
    """What a parameter starts as where nothing is said: that goes by its shape alone."""
    return "glorot" if len(shape) > 1 else "zeros"


def initialiser(
    expression: Expression | None, shape: Shape, values: Values
) -> dict[str, Attribute]:
    """The attributes of a parameter; raises :class:`Rejected`.

    The default of a matrix, and of what holds several, is ``glorot``; of anything else zeros.
    """
    match expression:
        case None:
            return {"initialiser": default_initialiser(shape)}
        case Name(name, span) if name not in values.names.symbols:
            if name in WITH_NUMBERS:
                raise _wrong(span, f"`{name}` needs numbers", f"write `{_form(name)}`")
            if name not in PLAIN:
                raise _unknown(name, span)
            _fits(name, shape, span)
            return {"initialiser": name}
        case Call(function, operands, options, over, sizes, span) if _alone(expression):
            name = function.name
            if name in PLAIN:
                raise _wrong(span, f"`{name}` takes no numbers", f"write `{name}`")
            if name not in WITH_NUMBERS:
                raise _unknown(name, function.span)
            wanted = WITH_NUMBERS[name]
            counted = "one number" if len(wanted) == 1 else f"{len(wanted)} numbers"
            if len(operands) != len(wanted) or options or sizes or over is not None:
                raise _wrong(span, f"`{name}` takes {counted}", f"write `{_form(name)}`")
            numbers = [values.number(operand) for operand in operands]
            if name == "normal" and numbers[0] < 0:
                raise _wrong(span, "a standard deviation is not negative")
            if name == "uniform" and numbers[0] > numbers[1]:
                raise _wrong(span, "the lower bound is above the upper one")
            return {"initialiser": name, **dict(zip(wanted, numbers, strict=True))}
        case _ if any(call.function.name != SIZE for call in calls_in(expression)):
            return _computed(expression, shape, values)
        case _:
            return {"initialiser": "number", "value": values.number(expression)}


def _alone(call: Call) -> bool:
    """Whether a call has an initialiser of its own, or is a name that is none at all."""
    name = call.function.name
    if name in WITH_NUMBERS:
        inside = [other for operand in call.operands for other in calls_in(operand)]
        return all(other.function.name == SIZE for other in inside)
    return name not in (SIZE, RANGE) and not elementwise(name)


def _computed(expression: Expression, shape: Shape, values: Values) -> dict[str, Attribute]:
    """Values that an expression of numbers, draws and a range says."""
    words = tuple(_words(expression, shape, values))
    if len(words) > MOST_WORDS:
        raise _wrong(expression.span, f"an initialiser of more than {MOST_WORDS} operations")
    try:
        tried = computed(words, shape, np.random.default_rng(0))
    except ValueError as error:
        raise _wrong(expression.span, f"no values can be drawn: {error}") from None
    if not np.isfinite(tried).all():
        raise _wrong(expression.span, "a parameter cannot start from NaN or infinity")
    return {"initialiser": "computed", "values": words}


def _words(expression: Expression, shape: Shape, values: Values) -> Iterator[str]:
    """The expression in postfix order."""
    span = expression.span
    match expression:
        case Negate(operand):
            yield from (*_words(operand, shape, values), "negate")
        case Binary(symbol, left, right) if symbol in REAL:
            yield from _words(left, shape, values)
            yield from _words(right, shape, values)
            yield SYMBOLS[symbol]
        case Call(function, (size,)) if function.name == RANGE:
            count = values.count(size)
            if not shape or shape[-1] != count:
                last = "columns" if shape[1:] else "elements"
                has = f"the parameter has {shape[-1]} {last}" if shape else "it is a number"
                raise _wrong(span, f"`range({count})` does not fit: {has}")
            yield RANGE
        case Call(function, operands) if function.name != SIZE:
            name = function.name
            wanted = len(WITH_NUMBERS[name]) if name in WITH_NUMBERS else None
            if elementwise(name):
                wanted = len(OPERATIONS[name].operands)
            if wanted is None:
                raise _unknown(name, function.span)
            if len(operands) != wanted or expression.options or expression.sizes or expression.over:
                counted = "one number" if wanted == 1 else f"{wanted} numbers"
                raise _wrong(span, f"`{name}` takes {counted} here")
            for operand in operands:
                yield from _words(operand, shape, values)
            yield name
        case _:
            yield repr(values.number(expression))


def initialisers_of_parts(
    expression: Expression | None, shape: Shape, values: Values
) -> tuple[dict[str, Attribute], dict[str, Attribute]]:
    """The attributes of the real and of the imaginary part of a complex parameter.

    What is drawn has the mean square that it has for a real one: that of a part is half of it.
    """
    match expression:
        case Call(Name("complex", span), operands) if "complex" not in values.names.symbols:
            if len(operands) != 2 or expression.options or expression.sizes or expression.over:
                raise _wrong(span, "`complex` takes two initialisers", "write `complex(a, b)`")
            real, imaginary = (initialiser(operand, shape, values) for operand in operands)
            return real, imaginary
    found = initialiser(expression, shape, values)
    match found["initialiser"]:
        case "zeros" | "number" | "identity":
            return found, {"initialiser": "zeros"}
        case "glorot":
            limit = math.sqrt(3 / sum(shape[-2:]))
            part: dict[str, Attribute] = {"initialiser": "uniform", "low": -limit, "high": limit}
        case "normal":
            part = {"initialiser": "normal", "scale": _number(found["scale"]) / math.sqrt(2)}
        case name:
            assert expression is not None
            help_ = "say both parts: `complex(uniform(0, 1), 0)`"
            raise _wrong(expression.span, f"`{name}` is for real parameters", help_)
    return {**part}, {**part}


def _number(value: Attribute) -> float:
    assert isinstance(value, float)
    return value


def _form(name: str) -> str:
    return f"{name}({', '.join(WITH_NUMBERS[name])})"


def _wrong(span: Span, message: str, *helps: str) -> Rejected:
    return Rejected(Diagnostic("R225", message, Label(span), helps=helps))


def _unknown(name: str, span: Span) -> Rejected:
    if name == "frozen":
        raise _wrong(span, "`frozen` is no initialiser", "leave the `=` out: `param W: [2] frozen`")
    ours = other_names.INITIALISERS.get(name)
    if ours is not None:
        message = f"unknown initialiser `{name}`"
        edits = (Edit(span, ours),)
        help_ = f"write `{ours}`"
        return Rejected(Diagnostic("R225", message, Label(span), helps=(help_,), edits=edits))
    guess = near(name, (*PLAIN, *WITH_NUMBERS))
    forms = [*(f"`{plain}`" for plain in PLAIN), *(f"`{_form(name)}`" for name in WITH_NUMBERS)]
    help_ = f"did you mean `{guess}`?" if guess else f"there are {', '.join(forms)} and numbers"
    return _wrong(span, f"unknown initialiser `{name}`", help_)


def _fits(name: str, shape: Shape, span: Span) -> None:
    if name in ("glorot", "orthogonal") and len(shape) < 2:
        raise _wrong(span, f"`{name}` is for matrices", "a vector starts as `zeros` or a number")
    if name == "identity" and (len(shape) < 2 or shape[-2] != shape[-1]):
        raise _wrong(span, "`identity` is for square matrices")
