"""Constant folding: elementwise operations on known numbers."""

from __future__ import annotations

from math import isfinite

import numpy as np

from rollc.ir.graph import Node, Type
from rollc.ir.operations import OPERATIONS, Frame


def evaluated(node: Node, numbers: list[float]) -> float | None:
    """An elementwise node on constants; None where the result is not finite.

    Such a result stays an operation in the graph, where a reader sees how it comes about.
    """
    frame = Frame((), {}, np.dtype(np.float64), Type(node.type.kind))
    with np.errstate(all="ignore"):
        value = OPERATIONS[node.operation].evaluate(
            frame, node.options, *(np.asarray(number) for number in numbers)
        )
    number = float(value)
    return number if isfinite(number) else None
