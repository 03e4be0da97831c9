"""Variadic elementwise operations: what reductions over steps are when they are unrolled."""

from __future__ import annotations

from typing import Any

import numpy as np

from rollc.ir.expressions import Value, call
from rollc.ir.operations.elementwise.arithmetic import extremes, infer_numeric, pick
from rollc.ir.operations.operation import Adjoint, Array, Choices, Frame, Operation, Options, Slope


def _combination(
    name: str,
    function: Any,
    adjoint: Adjoint,
    summary: str,
    choices: Choices | None = None,
    slope: Slope = "constant",
    picks: bool = False,
    **facts: Any,
) -> Operation:

    def evaluate(frame: Frame, options: Options, *operands: Array) -> Array:
        result = operands[0].astype(frame.dtype, copy=False)
        for operand in operands[1:]:
            result = function(result, operand.astype(frame.dtype, copy=False))
        return np.asarray(result)

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
        variadic=True,
        internal=True,
        summary=summary,
        **facts,
    )


def _extreme_of_choices(y: Value, *operands: Value) -> list[Value]:
    return [call("equal", operand, y) for operand in operands]


def _extreme_of_adjoint(g: Value, y: Value, *operands: Value) -> list[Value | None]:
    # Equal extremes share the gradient.
    taken = [extremes(operand, y) for operand in operands]
    share = g / call("sum_of", *taken)
    return [pick(call("greater", each, 0.0), share, 0.0) for each in taken]


COMBINATION: tuple[Operation, ...] = (
    _combination(
        "sum_of",
        np.add,
        lambda g, y, *operands: [g for _ in operands],
        "the sum of several values",
        linear="jointly",
        finite=True,
    ),
    _combination(
        "max_of",
        np.maximum,
        _extreme_of_adjoint,
        "the largest of several values; equal ones share the gradient",
        _extreme_of_choices,
        slope="constant",
        picks=True,
        zero=True,
        finite=True,
    ),
    _combination(
        "min_of",
        np.minimum,
        _extreme_of_adjoint,
        "the smallest of several values; equal ones share the gradient",
        _extreme_of_choices,
        slope="constant",
        picks=True,
        zero=True,
        finite=True,
    ),
)
