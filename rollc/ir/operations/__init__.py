"""The one table of operations.  Adding one is adding one entry to one of the modules here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rollc.ir.graph import Node
from rollc.ir.operations.elementwise.arithmetic import ELEMENTWISE
from rollc.ir.operations.elementwise.combination import COMBINATION
from rollc.ir.operations.elementwise.distribution import DISTRIBUTION
from rollc.ir.operations.elementwise.elementary import ELEMENTARY
from rollc.ir.operations.elementwise.functions import FUNCTIONS
from rollc.ir.operations.elementwise.rounding import ROUNDING
from rollc.ir.operations.elementwise.special import SPECIAL
from rollc.ir.operations.history import HISTORY
from rollc.ir.operations.loss import LOSS
from rollc.ir.operations.operation import Frame, Operation, TypeMismatch
from rollc.ir.operations.random import RANDOM
from rollc.ir.operations.time_axis import TIME_AXIS
from rollc.ir.operations.unit_directions import UNIT_DIRECTIONS
from rollc.ir.operations.vectors.along_vector import ALONG_VECTOR
from rollc.ir.operations.vectors.cholesky import CHOLESKY
from rollc.ir.operations.vectors.dense_inverse import INVERSE
from rollc.ir.operations.vectors.linear import LINEAR
from rollc.ir.operations.vectors.normalization import NORMALIZATION
from rollc.ir.operations.vectors.places import PLACES
from rollc.ir.operations.vectors.reductions import REDUCTIONS
from rollc.ir.operations.vectors.vector import VECTOR

OPERATIONS: Mapping[str, Operation] = {
    entry.name: entry
    for entries in (
        *(ELEMENTWISE, ROUNDING, COMBINATION, FUNCTIONS, ELEMENTARY, DISTRIBUTION, SPECIAL),
        *(LINEAR, INVERSE, CHOLESKY, REDUCTIONS, VECTOR, ALONG_VECTOR, PLACES),
        *(NORMALIZATION, LOSS, RANDOM, TIME_AXIS, HISTORY, UNIT_DIRECTIONS),
    )
    for entry in entries
}
_LEAF = Operation("leaf", (), lambda operands, options: None, lambda *_: np.zeros(()))


def operation_of(node: Node) -> Operation:
    """The entry of the operation of a node; one without any traits where it is a leaf."""
    return OPERATIONS.get(node.operation, _LEAF)


__all__ = ["OPERATIONS", "Frame", "Operation", "TypeMismatch", "operation_of"]
