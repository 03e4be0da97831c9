"""The one table of operations.  Adding one is adding one entry to one of the modules here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rollc.ir.graph import Node
from rollc.ir.operations.along_vector import ALONG_VECTOR
from rollc.ir.operations.combination import COMBINATION
from rollc.ir.operations.dense_inverse import INVERSE
from rollc.ir.operations.distribution import DISTRIBUTION
from rollc.ir.operations.elementary import ELEMENTARY
from rollc.ir.operations.elementwise import ELEMENTWISE
from rollc.ir.operations.functions import FUNCTIONS
from rollc.ir.operations.history import TAIL
from rollc.ir.operations.linear import LINEAR
from rollc.ir.operations.loss import LOSS
from rollc.ir.operations.normalization import NORMAL
from rollc.ir.operations.operation import Frame, Operation, TypeMismatch
from rollc.ir.operations.places import PLACES
from rollc.ir.operations.random import RANDOM
from rollc.ir.operations.reductions import REDUCTIONS
from rollc.ir.operations.rounding import ROUNDING
from rollc.ir.operations.special import SPECIAL
from rollc.ir.operations.time_axis import SEQUENCE
from rollc.ir.operations.unit_directions import DIRECTION
from rollc.ir.operations.vector import VECTOR

OPERATIONS: Mapping[str, Operation] = {
    entry.name: entry
    for entries in (
        *(ELEMENTWISE, ROUNDING, COMBINATION, FUNCTIONS, ELEMENTARY, DISTRIBUTION, SPECIAL),
        *(LINEAR, INVERSE, REDUCTIONS, VECTOR, ALONG_VECTOR, PLACES),
        *(NORMAL, LOSS, RANDOM, SEQUENCE, TAIL, DIRECTION),
    )
    for entry in entries
}
_LEAF = Operation("leaf", (), lambda operands, options: None, lambda *_: np.zeros(()))


def operation_of(node: Node) -> Operation:
    """The entry of the operation of a node; one without any traits where it is a leaf."""
    return OPERATIONS.get(node.operation, _LEAF)


__all__ = ["OPERATIONS", "Frame", "Operation", "TypeMismatch", "operation_of"]
