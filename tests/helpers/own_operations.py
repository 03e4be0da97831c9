"""Three operations that no module of rollc knows: nothing but entries of the table.

``python -m tests.helpers.own_operations`` verifies a network of them, its kernels as plain Python.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, MutableMapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rollc.backends.numba.codegen.spellings import CALLS, EXPRESSIONS
from rollc.backends.numba.jit.routine import routine, uint
from rollc.backends.numba.library import routines
from rollc.ir.expressions import call
from rollc.ir.operations import OPERATIONS, Operation
from rollc.ir.operations.elementwise.arithmetic import unary
from rollc.ir.operations.vectors.reductions import infer_same_vector

Array = NDArray[Any]

SPEC = """
net own
dim D = 3, H = 4
input x: [D]
target y: [H]
param W: [H, D], U: [H, H], k: [H]
r = dead(U @ h[t-1])
a = flip(W @ x) + r
h = cube(0.2 * h[t-1]) * tanh(a) + 0.5 * a
output h
loss mean(mse(flip(h) + k, y), over t)
"""


@routine
def flip(
    x: Array,
    out: Array,
    size: int,
    x_row: int = 0,
    x_column: int = 0,
    out_row: int = 0,
    out_column: int = 0,
) -> None:
    for k in range(size):
        out[out_row, uint(out_column + k)] = x[x_row, uint(x_column + size - 1 - k)]


FLIP = Operation(
    "flip",
    ("x",),
    infer_same_vector,
    lambda frame, options, x: x[..., ::-1].astype(frame.dtype, copy=False),
    lambda g, y, x: [call("flip", g)],
    summary="a vector from its last element to its first",
    slope="constant",
    linear="jointly",
    finite=True,
    moves=True,
)
CUBE = unary(
    "cube",
    lambda x: x * x * x,
    lambda g, y, x: [g * 3.0 * x * x],
    "the third power",
    cheap=True,
    finite=True,
)
DEAD = unary(
    "dead",
    lambda x: np.where(np.abs(x) < 0.1, 0, x),
    lambda g, y, x: [call("where", call("less", call("abs", x), 0.1), 0.0, g)],
    "x, and zero where it is small",
    slope="constant",
    picks=True,
    zero=True,
    finite=True,
    cheap=True,
)


def register(put: Callable[[Any, str, Any], None]) -> None:
    """Put the operations into the table; ``put`` sets an item of a dictionary.

    What is written for Numba is for its backend alone; the reference needs nothing.
    """
    for operation in (FLIP, CUBE, DEAD):
        put(OPERATIONS, operation.name, operation)
    put(EXPRESSIONS, "cube", "{0} * {0} * {0}")
    put(EXPRESSIONS, "dead", "(F(0) if abs({0}) < F(0.1) else {0})")
    put(CALLS, "flip", "flip(x={0}, out={out}, size={size0})")
    put(vars(routines), "flip", flip)


if __name__ == "__main__":
    from rollc.tools.verify import verify

    register(lambda table, name, value: cast(MutableMapping[str, Any], table).update({name: value}))
    rows = verify(SPEC, "own.roll")
    print(len(rows), "rows")
    sys.exit(any(row.failed for row in rows))
