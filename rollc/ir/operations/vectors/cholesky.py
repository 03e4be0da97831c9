"""The factor of a matrix that is symmetric and positive definite, by Cholesky.

It is that of the symmetric part, so that the derivative in an element above the diagonal is that in
its partner below.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rollc.ir.expressions import Value, call
from rollc.ir.graph import Type
from rollc.ir.operations.operation import Array, Frame, Operation, Options
from rollc.ir.operations.vectors.dense_inverse import square


def _infer(operands: Sequence[Type | None], options: Options) -> Type | None:
    a = square(operands)
    return None if a is None else Type("float", a.shape, a.axes)


def _cholesky(frame: Frame, options: Options, a: Array) -> Array:
    with np.errstate(all="ignore"):
        a = ((a + np.swapaxes(a, -1, -2)) * 0.5).astype(frame.dtype, copy=False)
        found = np.zeros_like(a)
        for k in range(a.shape[-1]):
            row = found[..., k, :k]
            found[..., k, k] = pivot = np.sqrt(a[..., k, k] - (row * row).sum(axis=-1))
            rest = (found[..., k + 1 :, :k] * row[..., None, :]).sum(axis=-1)
            found[..., k + 1 :, k] = (a[..., k + 1 :, k] - rest) / pivot[..., None]
    good = np.isfinite(found) & ((found > 0) | ~np.eye(a.shape[-1], dtype=bool))
    regular = good.all(axis=(-2, -1), keepdims=True)
    return np.asarray(np.where(regular, found, frame.dtype.type(np.nan)))


def _adjoint(g: Value, y: Value, a: Value) -> list[Value | None]:
    # Murray, Differentiation of the Cholesky decomposition (2016), equation 10.
    size = y.type.shape[0]
    places = y.maker.make("range", (), size=size)
    row, column = (call("expand", places, axis=axis, size=size) for axis in (1, 0))
    whole = call("matmul", y, g, transpose_a=True)
    half = call("where", call("equal", row, column), whole * 0.5, whole)
    lower = call("where", call("less", row, column), 0.0, half)
    inverse = call("inverse", y)
    found = call("matmul", inverse, call("matmul", lower, inverse), transpose_a=True)
    return [(found + call("transpose", found)) * 0.5]


CHOLESKY = (
    Operation(
        "cholesky",
        ("a",),
        _infer,
        _cholesky,
        _adjoint,
        summary="the lower triangle L of a positive definite matrix a = L @ transpose(L);"
        " NaN where there is none",
    ),
)
