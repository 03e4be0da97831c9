"""Walks over a graph: who reads what, what is reached, what is on a cycle, in which order.

Each is here once.  What an edge is stands with who asks: all reads of a node, its operands, those
of the same step, or items of a schedule in the place of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from rollc.graph.graph import Edge

Reader = TypeVar("Reader")


def users(
    readers: Iterable[Reader], reads: Callable[[Reader], Iterable[Edge]]
) -> dict[str, list[tuple[Reader, Edge]]]:
    """Who reads each value, by which edge, in the order of the readers; no entry for no reader."""
    found: dict[str, list[tuple[Reader, Edge]]] = {}
    for reader in readers:
        for edge in reads(reader):
            found.setdefault(edge.source, []).append((reader, edge))
    return found
