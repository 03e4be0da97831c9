"""Functions of the library along a dimension, or over the steps: their texts say `axis=axis`.

norm(x)            max(abs(x), axis=axis)    ->  max(abs(x))
                   x / expand(s, axis=axis)  ->  x / s
norm(x, axis=0)    max(abs(x), axis=axis)    ->  max(abs(x), axis=0)
any(c, over t)     max(…, axis=axis)         ->  max(…, over t)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rollc.lang.expansion.substitution import Scope, substituted
from rollc.lang.syntax.ast import Call, Expression, Function, Name, Range, Rest, Selection, Slice

AXIS, HEAD = "axis", "head"  # `head(x, k)` are the first k elements


def along(function: Function, call: Call, axis: int) -> Function:
    """A function of the library as a call of it means it; ``axis`` is meant where it says one."""
    said = tuple(option for option in call.options if option.name.name == AXIS)

    def replaced(part: Call) -> Expression | None:
        others = tuple(option for option in part.options if option.value != Name(AXIS, part.span))
        if len(others) == len(part.options):
            return None
        operands = tuple(map(moved, part.operands))
        if part.function.name == "expand" and not said:
            return operands[0]
        if part.function.name == HEAD:
            return _head(operands, axis if said else None, part)
        return replace(part, operands=operands, options=(*others, *said), over=call.over)

    def moved(expression: Expression) -> Expression:
        return substituted(expression, Scope(), replaced)

    body = (replace(equation, value=moved(equation.value)) for equation in function.body)
    return replace(function, value=moved(function.value), body=tuple(body))


def _head(operands: Sequence[Expression], axis: int | None, call: Call) -> Expression:
    base, stop = operands
    if axis is None:
        return Slice(base, None, stop, call.span)
    some, whole = Range(None, stop, call.span), Range(None, None, call.span)
    places: list[Expression | Range | Rest] = [*[whole] * axis, some, Rest(call.span)]
    if axis < 0:
        places = [Rest(call.span), some, *[whole] * (-axis - 1)]
    return Selection(base, tuple(places), call.span)
