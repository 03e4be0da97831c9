"""Rounding to whole numbers, and remainders.  Where they jump their derivative is taken as zero."""

from __future__ import annotations

import numpy as np

from rollc.ir.expressions import Value, call
from rollc.ir.operations.elementwise.arithmetic import binary, unary
from rollc.ir.operations.operation import Operation


def _mod_adjoint(g: Value, y: Value, a: Value, b: Value) -> list[Value | None]:
    return [g, -(g * _quotient(y, a, b))]


def _quotient(y: Value, a: Value, b: Value) -> Value:
    """How often b was taken from a: a whole number, but for the rounding of y."""
    return call("round", (a - y) / b)


ROUNDING: tuple[Operation, ...] = (
    unary(
        "floor",
        np.floor,
        None,
        "the largest whole number that is not above x; no gradient passes",
        lambda y, x: [y],
        zero=True,
        finite=True,
        cheap=True,
    ),
    unary(
        "round",
        np.rint,
        None,
        "the nearest whole number, an even one from the middle; no gradient passes",
        lambda y, x: [y],
        zero=True,
        finite=True,
        cheap=True,
    ),
    binary(
        "mod",
        np.mod,
        _mod_adjoint,
        "the remainder a - b * floor(a / b), which has the sign of b",
        lambda y, a, b: [_quotient(y, a, b)],
        domain="the remainder of a division by 0: keep the divisor away from 0",
        slope="infinite",
        picks=(1,),
    ),
)
