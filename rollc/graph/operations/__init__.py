"""The one table of operations.  Adding one is adding one entry to one of the modules here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rollc.graph.graph import Node
from rollc.graph.operations.chance import CHANCE
from rollc.graph.operations.direction import DIRECTION
from rollc.graph.operations.distribution import DISTRIBUTION
from rollc.graph.operations.elementwise import ELEMENTWISE
from rollc.graph.operations.inverse import INVERSE
from rollc.graph.operations.linear import LINEAR
from rollc.graph.operations.loss import LOSS
from rollc.graph.operations.normal import NORMAL
from rollc.graph.operations.sequence import SEQUENCE
from rollc.graph.operations.table import Frame, Operation, TypeMismatch
from rollc.graph.operations.tail import TAIL
from rollc.graph.operations.vector import VECTOR

OPERATIONS: Mapping[str, Operation] = {
    entry.name: entry
    for entries in (
        *(ELEMENTWISE, DISTRIBUTION, LINEAR, INVERSE, VECTOR, NORMAL, LOSS),
        *(CHANCE, SEQUENCE, TAIL, DIRECTION),
    )
    for entry in entries
}
_LEAF = Operation("leaf", (), lambda operands, options: None, lambda *_: np.zeros(()))


def operation_of(node: Node) -> Operation:
    """What is known of the operation of a node: nothing at all, where it is a leaf."""
    return OPERATIONS.get(node.operation, _LEAF)


__all__ = ["OPERATIONS", "Frame", "Operation", "TypeMismatch", "operation_of"]
