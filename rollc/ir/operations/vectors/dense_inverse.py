"""The inverse of a matrix and the logarithm of its determinant.

In a kernel both come from one elimination, ``gauss_jordan``, whose result is the inverse with
one row more: the logarithm of the absolute determinant, then zeros.  A matrix that is
singular has an inverse of NaN and the logarithm -inf; one that is not finite, NaN for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rollc.ir.expressions import Value, call
from rollc.ir.graph import Type
from rollc.ir.operations.operation import (
    Array,
    Frame,
    Operation,
    Options,
    TypeMismatch,
    known,
    need_numbers,
)


def square(operands: Sequence[Type | None]) -> Type | None:
    """The type of the one operand, a square matrix; raises :class:`TypeMismatch`."""
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    (a,) = types
    if len(a.shape) != 2 or a.shape[0] != a.shape[1]:
        raise TypeMismatch("a square matrix", [0])
    return a


def _infer_inverse(operands: Sequence[Type | None], options: Options) -> Type | None:
    a = square(operands)
    return None if a is None else Type("float", a.shape, a.axes)


def _infer_log_det(operands: Sequence[Type | None], options: Options) -> Type | None:
    a = square(operands)
    return None if a is None else Type("float", (), a.axes)


def _infer_gauss_jordan(operands: Sequence[Type | None], options: Options) -> Type | None:
    a = square(operands)
    return None if a is None else Type("float", (a.shape[0] + 1, a.shape[1]), a.axes)


def _log_det(frame: Frame, options: Options, a: Array) -> Array:
    finite = np.asarray(np.isfinite(a).all(axis=(-2, -1), keepdims=True))
    numbers = np.where(finite, a, 0).astype(frame.dtype, copy=False)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        found = np.linalg.slogdet(numbers).logabsdet
    return np.asarray(np.where(finite[..., 0, 0], found, frame.dtype.type(np.nan)))


def _inverse(frame: Frame, options: Options, a: Array) -> Array:
    regular = np.isfinite(_log_det(frame, options, a))[..., None, None]
    unit = np.eye(a.shape[-1], dtype=frame.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.linalg.inv(np.where(regular, a, unit).astype(frame.dtype, copy=False))
    return np.asarray(np.where(regular, found, frame.dtype.type(np.nan)))


def _gauss_jordan(frame: Frame, options: Options, a: Array) -> Array:
    inverse = _inverse(frame, options, a)
    last = np.zeros_like(inverse[..., :1, :])
    last[..., 0, 0] = _log_det(frame, options, a)
    return np.concatenate([inverse, last], axis=-2)


def _inverse_adjoint(g: Value, y: Value, a: Value) -> list[Value | None]:
    # Petersen and Pedersen, The matrix cookbook (2012), equation 124.
    return [-call("matmul", y, call("matmul", g, y, transpose_b=True), transpose_a=True)]


def _log_det_adjoint(g: Value, y: Value, a: Value) -> list[Value | None]:
    # The same, equation 57.
    return [g * call("transpose", call("inverse", a))]


def _gauss_jordan_adjoint(g: Value, y: Value, a: Value) -> list[Value | None]:
    size = a.type.shape[0]
    inverse = call("slice", y, start=0, stop=size)
    (cotangent,) = _inverse_adjoint(call("slice", g, start=0, stop=size), inverse, a)
    corner = call("slice", call("slice", g, start=size, stop=size + 1), start=0, stop=1, axis=1)
    assert cotangent is not None
    return [cotangent + call("sum", corner) * call("transpose", inverse)]


def _part(a: Value, start: int, stop: int) -> Value:
    """Rows of the elimination that an inverse and a determinant are both taken from."""
    return call("slice", call("gauss_jordan", a), start=start, stop=stop)


INVERSE = (
    Operation(
        "inverse",
        ("a",),
        _infer_inverse,
        _inverse,
        _inverse_adjoint,
        summary="the inverse of a square matrix; NaN where it has none",
        decompose=lambda a: _part(a, 0, a.type.shape[0]),
    ),
    Operation(
        "log_det",
        ("a",),
        _infer_log_det,
        _log_det,
        _log_det_adjoint,
        summary="the natural logarithm of the absolute determinant of a square matrix",
        decompose=lambda a: call("sum", _part(a, a.type.shape[0], a.type.shape[0] + 1)),
    ),
    Operation(
        "gauss_jordan",
        ("a",),
        _infer_gauss_jordan,
        _gauss_jordan,
        _gauss_jordan_adjoint,
        internal=True,
        summary="the inverse, and below it the logarithm of the absolute determinant",
    ),
)
