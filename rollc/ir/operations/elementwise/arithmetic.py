"""Operations on one element at a time.  Numbers broadcast; other shapes must be equal.

An adjoint is written for elements where the cotangent is not zero; :mod:`rollc.autodiff.masks`
keeps it zero elsewhere, whatever the derivative is there.  NaN propagates: NaN in, NaN out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rollc.ir.attributes import AXIS
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Kind, Type
from rollc.ir.operations.operation import (
    FIRST,
    Adjoint,
    Array,
    Choices,
    Frame,
    Operation,
    Options,
    Slope,
    TypeMismatch,
    need_numbers,
    union,
)


def _common_shape(operands: Sequence[Type], positions: Sequence[int]) -> tuple[int, ...]:
    shaped = [position for position in positions if operands[position].shape]
    for position in shaped[1:]:
        if operands[position].shape != operands[shaped[0]].shape:
            raise TypeMismatch("equal shapes, or a number", [shaped[0], position])
    return operands[shaped[0]].shape if shaped else ()


def infer_numeric(operands: Sequence[Type | None], options: Options) -> Type | None:
    """The common shape of the operands; those with a known type decide while others have none."""
    present = [operand for operand in operands if operand is not None]
    if not present:
        return None
    need_numbers(present)
    shape = _common_shape(present, range(len(present)))
    return Type("float", shape, union(present))


def infer_comparison(operands: Sequence[Type | None], options: Options) -> Type | None:
    """A condition of the common shape of the operands."""
    present = [operand for operand in operands if operand is not None]
    if not present:
        return None
    return Type("bool", _common_shape(present, range(len(present))), union(present))


def infer_condition(operands: Sequence[Type | None], options: Options) -> Type | None:
    """A condition of conditions."""
    wrong = [place for place, type_ in enumerate(operands) if type_ and type_.kind != "bool"]
    if wrong:
        hint = f"compare with something: `{{{wrong[0]}:tight}} > 0`"
        raise TypeMismatch("a condition", wrong, hint)
    return infer_comparison(operands, options)


def infer_where(operands: Sequence[Type | None], options: Options) -> Type | None:
    """The common shape of a condition and two choices; an index where both choices are."""
    if len(operands) == 3 and operands[0] is not None and operands[0].kind != "bool":
        hint = "compare with something: `where({0:tight} > 0, {1}, {2})`"
        raise TypeMismatch("a condition", [0], hint)
    present = [operand for operand in operands if operand is not None]
    branches = [operand for operand in operands[1:] if operand is not None]
    if not branches:
        return None
    kind: Kind = "float"
    bound = None
    if all(branch.kind == "index" for branch in branches):
        kind, bound = "index", max(branch.bound or 1 for branch in branches)
    else:
        need_numbers(present, [i for i, operand in enumerate(present) if operand.kind != "bool"])
    return Type(kind, _common_shape(present, range(len(present))), union(present), bound)


def infer_identity(operands: Sequence[Type | None], options: Options) -> Type | None:
    """An index stays one; a condition becomes a number, as everywhere in arithmetic."""
    (operand,) = operands
    if operand is None:
        return None
    return operand if operand.kind == "index" else Type("float", operand.shape, operand.axes)


def _identity(frame: Frame, options: Options, x: Array) -> Array:
    return x if frame.result.kind == "index" else x.astype(frame.dtype, copy=False)


def infer_with_slope(operands: Sequence[Type | None], options: Options) -> Type | None:
    """The common shape, which has to be that of the value."""
    found = infer_numeric(operands, options)
    value = operands[0] if operands else None
    if found is not None and value is not None and value.shape != found.shape:
        shaped = [position for position, type_ in enumerate(operands) if type_ and type_.shape]
        raise TypeMismatch("a value of the shape of its argument", [0, *shaped[-1:]])
    return found


def _with_slope(frame: Frame, options: Options, value: Array, slope: Array, x: Array) -> Array:
    shape = np.broadcast_shapes(value.shape, slope.shape, x.shape)
    return np.broadcast_to(value.astype(frame.dtype, copy=False), shape)


def unary(
    name: str,
    function: Any,
    adjoint: Adjoint | None,
    summary: str,
    choices: Choices | None = None,
    slope: Slope = "finite",
    picks: bool = False,
    **facts: Any,
) -> Operation:
    """An operation of one operand; ``function`` keeps the precision of its argument."""

    def evaluate(frame: Frame, options: Options, x: Array) -> Array:
        return np.asarray(function(x.astype(frame.dtype, copy=False)))

    return Operation(
        name,
        ("x",),
        infer_numeric,
        evaluate,
        adjoint,
        choices,
        slope,
        picks,
        elementwise=True,
        summary=summary,
        **facts,
    )


def binary(
    name: str,
    function: Any,
    adjoint: Adjoint,
    summary: str,
    choices: Choices | None = None,
    slope: Slope = "constant",
    picks: bool | tuple[int, ...] = False,
    **facts: Any,
) -> Operation:
    """An operation of two operands; ``function`` keeps the precision of its arguments."""

    def evaluate(frame: Frame, options: Options, a: Array, b: Array) -> Array:
        return np.asarray(
            function(a.astype(frame.dtype, copy=False), b.astype(frame.dtype, copy=False))
        )

    return Operation(
        name,
        ("a", "b"),
        infer_numeric,
        evaluate,
        adjoint,
        choices,
        slope,
        picks,
        elementwise=True,
        summary=summary,
        **facts,
    )


def _comparison(name: str, function: Any, summary: str, **facts: Any) -> Operation:
    def evaluate(frame: Frame, options: Options, a: Array, b: Array) -> Array:
        return np.asarray(function(a, b))

    return Operation(
        name,
        ("a", "b"),
        infer_comparison,
        evaluate,
        None,
        gives="bool",
        elementwise=True,
        summary=summary,
        **facts,
    )


def _where(frame: Frame, options: Options, c: Array, a: Array, b: Array) -> Array:
    dtype = np.dtype(np.int64) if frame.result.kind == "index" else frame.dtype
    return np.where(c, a.astype(dtype, copy=False), b.astype(dtype, copy=False))


def _reached(frame: Frame, options: Options, value: Array, cotangent: Array) -> Array:
    value = value.astype(frame.dtype, copy=False)
    return np.where(cotangent != 0, value, frame.dtype.type(0))  # NaN is not zero


def pick(condition: Value, then: Value | float, otherwise: Value | float) -> Value:
    """``then`` where the condition holds, else ``otherwise``."""
    return call("where", condition, then, otherwise)


def _power_adjoint(g: Value, y: Value, a: Value, b: Value) -> list[Value | None]:
    # The derivative in a is 0 at b = 0, and that in b is 0 at a = 0 where b is not negative.
    # Where one factor vanishes faster than the other grows, their product is 0.
    lower = call("power", a, b - 1)
    is_finite = call("equal", b - b, 0.0)
    vanishes = call("equal", pick(is_finite, 1.0, lower), 0.0)
    in_a = pick(call("equal", b, 0.0), 0.0, pick(vanishes, 0.0, b * lower))
    at_zero = call("equal", pick(call("less", b, 0.0), 1.0, a), 0.0)
    logarithm = call("log", pick(at_zero, 1.0, a))
    vanishes = call("equal", pick(call("greater", a, 0.0), y, 1.0), 0.0)
    return [g * in_a, g * pick(vanishes, 0.0, y * logarithm)]


def _where_nan(x: Value, value: Value | float) -> Value:
    return pick(call("equal", x, x), 0.0, value)


def extremes(x: Value, y: Value) -> Value:
    """1 where x is the extreme y, which NaN always is; else 0."""
    return pick(call("equal", x, y), 1.0, _where_nan(x, 1.0))


def _larger_adjoint(comparison: str) -> Adjoint:
    """The cotangent goes to the operand that is the result, or NaN; half to each where equal."""

    def rule(g: Value, y: Value, a: Value, b: Value) -> list[Value | None]:
        tie = call("equal", a, b)
        half = g * 0.5

        def of(a: Value, b: Value) -> Value:
            return pick(tie, half, pick(call(comparison, a, b), g, _where_nan(a, g)))

        return [of(a, b), of(b, a)]

    return rule


def _clip(frame: Frame, options: Options, x: Array, low: Array, high: Array) -> Array:
    x, low, high = (array.astype(frame.dtype, copy=False) for array in (x, low, high))
    return np.asarray(np.minimum(np.maximum(x, low), high))


def _clip_adjoint(g: Value, y: Value, x: Value, low: Value, high: Value) -> list[Value | None]:
    # Where the lower bound is above the upper one, the result is the upper one.
    below = call("less", x, low)
    above = call("greater", call("maximum", x, low), high)
    return [
        pick(above, 0.0, pick(below, 0.0, g)),
        pick(above, 0.0, pick(below, g, 0.0)),
        pick(above, g, 0.0),
    ]


def compared(a: Value, b: Value | float) -> list[Value]:
    """The conditions by which a result depends on the order of two values."""
    return [call("less", a, b), call("equal", a, b)]


def _clip_choices(y: Value, x: Value, low: Value, high: Value) -> list[Value]:
    return [*compared(x, low), *compared(call("maximum", x, low), high)]


def _where_adjoint(g: Value, y: Value, c: Value, a: Value, b: Value) -> list[Value | None]:
    return [None, pick(c, g, 0.0), pick(c, 0.0, g)]


ELEMENTWISE = (
    binary(
        "add",
        np.add,
        lambda g, y, a, b: [g, g],
        "`a + b`",
        signs=(1, 1),
        linear="jointly",
        finite=True,
        cheap=True,
        commutative=True,
    ),
    binary(
        "subtract",
        np.subtract,
        lambda g, y, a, b: [g, -g],
        "`a - b`",
        signs=(1, -1),
        linear="jointly",
        finite=True,
        cheap=True,
        compares="numbers",
    ),
    binary(
        "multiply",
        np.multiply,
        lambda g, y, a, b: [g * b, g * a],
        "`a * b`",
        slope="product",
        linear="each",
        finite=True,
        cheap=True,
        commutative=True,
    ),
    binary(
        "divide",
        np.divide,
        lambda g, y, a, b: [g / b, -(g * y / b)],
        "`a / b`",
        domain="a division by 0 or by almost nothing: keep the divisor away from 0",
        slope="infinite",
        linear=FIRST,
        cheap=True,
    ),
    binary(
        "power",
        np.power,
        _power_adjoint,
        "`a ** b`",
        domain="a power that is not defined or too large: bound its base or its exponent",
        slope="infinite",
    ),
    binary(
        "minimum",
        np.minimum,
        _larger_adjoint("less"),
        "the smaller of two; equal ones share the gradient",
        lambda y, a, b: compared(a, b),
        picks=True,
        zero=True,
        finite=True,
        cheap=True,
    ),
    binary(
        "maximum",
        np.maximum,
        _larger_adjoint("greater"),
        "the larger of two; equal ones share the gradient",
        lambda y, a, b: compared(a, b),
        picks=True,
        zero=True,
        finite=True,
        cheap=True,
    ),
    _comparison("less", np.less, "`a < b`", cheap=True),
    _comparison("less_equal", np.less_equal, "`a <= b`", cheap=True),
    _comparison("greater", np.greater, "`a > b`", cheap=True),
    _comparison("greater_equal", np.greater_equal, "`a >= b`", cheap=True),
    _comparison("equal", np.equal, "`a == b`", cheap=True, commutative=True),
    _comparison("not_equal", np.not_equal, "`a != b`", cheap=True, commutative=True),
    replace(
        _comparison("and", np.logical_and, "`a and b`", cheap=True, commutative=True),
        infer=infer_condition,
    ),
    replace(
        _comparison("or", np.logical_or, "`a or b`", cheap=True, commutative=True),
        infer=infer_condition,
    ),
    Operation(
        "not",
        ("condition",),
        infer_condition,
        lambda frame, options, c: np.logical_not(c),
        gives="bool",
        elementwise=True,
        summary="`not c`",
        cheap=True,
    ),
    Operation(
        "where",
        ("condition", "then", "otherwise"),
        infer_where,
        _where,
        _where_adjoint,
        elementwise=True,
        summary="`then` where the condition holds, else `otherwise`",
        gives="number",
        slope="constant",
        picks=True,
        linear=((1, 2),),
        finite=True,
        cheap=True,
    ),
    Operation(
        "clip",
        ("x", "low", "high"),
        infer_numeric,
        _clip,
        _clip_adjoint,
        _clip_choices,
        elementwise=True,
        summary="x, kept between two bounds; at a bound the gradient is that of x",
        slope="constant",
        picks=True,
        finite=True,
        cheap=True,
    ),
    unary(
        "negate",
        np.negative,
        lambda g, y, x: [-g],
        "`-x`",
        signs=(-1,),
        slope="constant",
        linear="jointly",
        finite=True,
        cheap=True,
    ),
    unary(
        "stop",
        lambda x: x,
        None,
        "the value of x; no gradient passes",
        value_first=True,
        linear="jointly",
        finite=True,
        cheap=True,
        moves=True,
    ),
    Operation(
        "with_slope",
        ("value", "slope", "x"),
        infer_with_slope,
        _with_slope,
        lambda g, y, value, slope, x: [g, None, g * slope],
        elementwise=True,
        internal=True,
        summary="the value; x gets the cotangent times the slope, the value all of it",
        once=True,
        value_first=True,
        picks=(1,),
    ),
    Operation(
        "reached",
        ("value", "cotangent"),
        infer_numeric,
        _reached,
        lambda g, y, value, cotangent: [call("reached", g, cotangent), None],
        slope="constant",
        picks=True,
        elementwise=True,
        internal=True,
        summary="the value where a cotangent arrives, zero where that is zero",
        linear=FIRST,
        masks=(1,),
        finite=True,
        cheap=True,
    ),
    Operation(
        "identity",
        ("x",),
        infer_identity,
        _identity,
        lambda g, y, x: [g],
        elementwise=True,
        summary="the value of x under another name",
        gives="number",
        slope="constant",
        signs=(1,),
        linear="jointly",
        finite=True,
        cheap=True,
        moves=True,
    ),
    Operation(
        "along",
        ("x",),
        lambda operands, options: operands[0],
        lambda frame, options, x: x,
        lambda g, y, x, axis: [g],
        elementwise=True,
        required={"axis": AXIS},
        gives="operand",
        slope="constant",
        signs=(1,),
        linear="jointly",
        finite=True,
        cheap=True,
        moves=True,
        internal=True,
    ),
)
