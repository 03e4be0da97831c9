"""The typing rules of `grad` and `jacobian`, which are operations until all types are known.

Then :mod:`rollc.autodiff.step_derivatives` makes ordinary nodes of them.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from rollc.autodiff.step_derivatives import GRAD, JACOBIAN, OPERANDS
from rollc.ir.graph import Type
from rollc.ir.operations.operation import (
    Array,
    Frame,
    Operation,
    Options,
    TypeMismatch,
    known,
    union,
)
from rollc.lang.symbols.operations import OPERATIONS


def _infer_grad(operands: Sequence[Type | None], options: Options) -> Type | None:
    return _infer(operands, 0, "one number", "of a vector, `jacobian(f, x)` has a row an element")


def _infer_jacobian(operands: Sequence[Type | None], options: Options) -> Type | None:
    return _infer(operands, 1, "a vector", "of one number write `grad({0}, {1})`")


def _infer(
    operands: Sequence[Type | None], dimensions: int, expected: str, hint: str
) -> Type | None:
    """The shape of the value, then that of what it is differentiated in."""
    types = known(operands)
    if types is None:
        return None
    for place, type_ in enumerate(types):
        if type_.kind != "float":
            raise TypeMismatch("a number", [place], hint="only of real numbers there are slopes")
    value, at = types
    if len(value.shape) != dimensions:
        raise TypeMismatch(expected, [0], hint=hint)
    if len(value.shape + at.shape) > 4:
        raise TypeMismatch("a derivative of four dimensions at most", [0, 1])
    return replace(at, shape=value.shape + at.shape, axes=union(types))


def _evaluate(frame: Frame, options: Options, *operands: Array) -> Array:
    raise AssertionError("a derivative is made of other nodes before any is evaluated")


DERIVATIVES = (
    Operation(GRAD, OPERANDS[GRAD], _infer_grad, _evaluate),
    Operation(JACOBIAN, OPERANDS[JACOBIAN], _infer_jacobian, _evaluate),
)
RULES: Mapping[str, Operation] = ChainMap(
    {entry.name: entry for entry in DERIVATIVES}, cast("dict[str, Operation]", OPERATIONS)
)
"""What inference knows: the table of operations, those of complex numbers, and derivatives."""
