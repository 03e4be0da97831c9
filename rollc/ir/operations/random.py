"""Randomness: dropout, sampling, and the draw from a distribution by a given uniform number.

:mod:`rollc.transforms.randomness` replaces ``dropout`` and ``sample`` by operations on leaves of
random numbers.  Without them, dropout is off and a sample is the median.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rollc.ir.attributes import RATE, SWITCH
from rollc.ir.graph import Type
from rollc.ir.operations.elementwise.arithmetic import infer_numeric
from rollc.ir.operations.operation import (
    Array,
    Frame,
    Operation,
    Options,
    known,
    need_numbers,
    need_vector,
    union,
)


def _infer_index(operands: Sequence[Type | None], options: Options) -> Type | None:
    """An index into the first operand, a vector."""
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    need_vector(types, 0)
    return Type("index", (), union(types), types[0].shape[0])


def _draw(frame: Frame, options: Options, p: Array, number: Array) -> Array:
    p = p.astype(frame.dtype, copy=False)
    total = np.cumsum(p, axis=-1)
    below = (number.astype(frame.dtype) * total[..., -1])[..., None] < total
    # Where rounding leaves none, it is the last one of a probability above zero.
    last = p.shape[-1] - 1 - (p[..., ::-1] > 0).argmax(axis=-1)
    return np.asarray(np.where(below.any(axis=-1), below.argmax(axis=-1), last))


RANDOM = (
    Operation(
        "dropout",
        ("x",),
        infer_numeric,
        lambda frame, options, x: x.astype(frame.dtype, copy=False),
        lambda g, y, x, **options: [g],
        elementwise=True,
        defaults=(("rate", 0.5), ("same", 0)),
        summary="in training, zero with probability `rate` and else x / (1 - rate)",
        slope="constant",
        required={"rate": RATE},
        allowed={"same": SWITCH},
    ),
    Operation(
        "sample",
        ("p",),
        _infer_index,
        lambda frame, options, p: _draw(frame, options, p, np.full(p.shape[:-1], 0.5)),
        None,
        summary="an index drawn with the probabilities p; no gradient passes",
        gives="index",
    ),
    Operation(
        "draw",
        ("p", "number"),
        _infer_index,
        _draw,
        None,
        internal=True,
        summary="the index whose share of the sum of p holds a number from 0 to 1",
        gives="index",
    ),
)
