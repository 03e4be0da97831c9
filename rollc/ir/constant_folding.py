"""The values of operations on numbers that are known."""

from __future__ import annotations

from math import isfinite

import numpy as np

from rollc.ir.graph import Node, Type
from rollc.ir.operations import OPERATIONS, Frame


def evaluated(node: Node, numbers: list[float]) -> float | None:
    """Elementwise work on numbers; what is not finite is left to be seen in the graph."""
    frame = Frame((), {}, np.dtype(np.float64), Type(node.type.kind))
    with np.errstate(all="ignore"):
        value = OPERATIONS[node.operation].evaluate(
            frame, node.options, *(np.asarray(number) for number in numbers)
        )
    number = float(value)
    return number if isfinite(number) else None
