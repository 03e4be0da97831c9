"""Whole numbers that are known before a network is built, in exact arithmetic.

`floor(a / b)` and `ceil(a / b)` are whole numbers next to a quotient, where a `/` by itself has to
be one; inside them numbers may have decimals, and 0.1 is a tenth.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction

from rollc.lang.syntax.ast import Binary, Call, Expression, Name, Negate, Number

LARGEST_STEP = 2**62  # of a computation with sizes
ROUNDED: Mapping[str, Callable[[Fraction], int]] = {"floor": math.floor, "ceil": math.ceil}
_EXACT: Mapping[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_MOST_DIGITS = 4096  # of a fraction, in binary


def is_rounded(call: Call) -> bool:
    """Whether a call is one of these, of one operand."""
    plain = not (call.options or call.sizes or call.words or call.over)
    return plain and call.function.name in ROUNDED and len(call.operands) == 1


def rounded(call: Call, leaf: Callable[[Expression], Fraction]) -> int:
    """What such a call is; ``leaf`` gives what is no arithmetic.

    Raises :class:`ArithmeticError` for a division by zero, and where a number is too large.
    """

    def exact(expression: Expression) -> Fraction:
        match expression:
            case Number(value):
                return Fraction(repr(value))
            case Negate(operand):
                return -exact(operand)
            case Binary(symbol, left, right) if symbol in _EXACT:
                found = _EXACT[symbol](exact(left), exact(right))
                if max(found.numerator.bit_length(), found.denominator.bit_length()) > _MOST_DIGITS:
                    raise OverflowError
                return found
        return leaf(expression)

    value = ROUNDED[call.function.name](exact(call.operands[0]))
    if abs(value) > LARGEST_STEP:
        raise OverflowError
    return value


def whole(expression: Expression, known: Mapping[str, int | float]) -> int | None:
    """The whole number that an expression of ``known`` names is; None for any other."""
    match expression:
        case Number(int() as value):
            return value
        case Name(name):
            found = known.get(name)
            return found if isinstance(found, int) else None
        case Negate(operand):
            positive = whole(operand, known)
            return None if positive is None else -positive
        case Binary(symbol, left, right):
            first, second = whole(left, known), whole(right, known)
            if first is not None and second is not None:
                return _computed(symbol, first, second)
        case Call() if is_rounded(expression):

            def leaf(part: Expression) -> Fraction:
                found = whole(part, known)
                if found is None:
                    raise ArithmeticError
                return Fraction(found)

            try:
                return rounded(expression, leaf)
            except ArithmeticError:
                return None
    return None


def _computed(symbol: str, left: int, right: int) -> int | None:
    value = None
    match symbol:
        case "+":
            value = left + right
        case "-":
            value = left - right
        case "*":
            value = left * right
        case "/" if right and not left % right:
            value = left // right
        case "**" if 0 <= right <= 64 and abs(left) <= LARGEST_STEP:
            value = left**right
    return value if value is not None and abs(value) <= LARGEST_STEP else None
