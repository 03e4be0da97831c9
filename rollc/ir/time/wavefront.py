"""Wavefronts: an order of the steps along two axes in which a component is computed.

The pairs of steps (s, t) with the same ``a s + b t`` are a diagonal.  Where every cycle of a
component has a positive total delay in such a combination of the axes, the diagonals are computed
one after the other, each of them at once: no value needs another one of its own diagonal.  The
weights a and b, which can be negative, have no common divisor and are the smallest that do.

What is said of one axis in :mod:`rollc.ir.time.retiming` holds for the diagonals: nodes can run at
shifted ones.

Lamport, The parallel execution of DO loops (1974), CACM 17(2): the hyperplane method.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from math import gcd

from rollc.ir.graph import Edge
from rollc.ir.time.retiming import Timing, Weights, violated_cycle

_TEXT = re.compile(r"(\d{1,4})?([^\W\d]\w*)([+-])(\d{1,4})?([^\W\d]\w*)")
MOST = 64  # the largest weight that is tried


def wavefront_of(reads: Iterable[tuple[str, Edge]], axes: Sequence[str]) -> Timing | None:
    """The diagonals of two axes that order some reads, each with its reader; None if none do."""
    reads = list(reads)
    across, axis = axes
    cycles: list[tuple[int, int]] = []  # the total delays along both axes of some cycles
    for a, b in _candidates():
        if any(a * x + b * y <= 0 for x, y in cycles):
            continue
        sign = 1 if b > 0 else -1
        loop = Timing(1 if b > 0 else -1, {}, axis, across=across, weights=(sign * a, sign * b))
        shifts, cycle = violated_cycle(reads, loop)
        if not cycle:
            return Timing(loop.direction, shifts, axis, across=across, weights=loop.weights)
        cycles.append(
            (
                sum(edge.delay for edge in cycle if edge.axis == across),
                sum(edge.delay for edge in cycle if edge.axis == axis),
            )
        )
    return None


def _candidates() -> Iterator[Weights]:
    """Weights of both signs without a common divisor, small ones first."""
    for size in range(2, 2 * MOST + 1):
        for a in range(max(1, size - MOST), min(size, MOST + 1)):
            b = size - a
            if gcd(a, b) == 1:
                yield from ((a, b), (-a, b), (a, -b), (-a, -b))


def are_weights(weights: Weights) -> bool:
    """Whether diagonals can have some weights: that of the loop's axis is positive."""
    a, b = weights
    return a != 0 and b > 0 and gcd(a, b) == 1


def print_diagonals(across: str, axis: str, weights: Weights) -> str:
    """The number of a diagonal: ``s+t`` or ``2t-3s``."""

    def term(weight: int, axis: str) -> str:
        return axis if weight == 1 else f"{weight}{axis}"

    a, b = weights
    if a > 0:
        return f"{term(a, across)}+{term(b, axis)}"
    return f"{term(b, axis)}-{term(-a, across)}"


def parse_diagonals(text: str) -> tuple[str, str, Weights]:
    """The axes and weights of a text by :func:`print_diagonals`; raises ValueError."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(f"expected diagonals such as `s+t`, found `{text[:60]}`")
    first, second = ((int(found[i] or 1), found[i + 1]) for i in (1, 4))
    if found[3] == "+":
        return first[1], second[1], (first[0], second[0])
    return second[1], first[1], (-second[0], first[0])


def diagonals(weights: Weights, rows: int, columns: int) -> range:
    """The diagonals of so many steps along the axis across and along the axis of the loop."""
    a, b = weights
    return range(min(a * (rows - 1), 0), max(a * (rows - 1), 0) + b * (columns - 1) + 1)


def cells(weights: Weights, diagonal: int, rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """The pairs of steps of a diagonal."""
    a, b = weights
    for row in range(rows):
        column, rest = divmod(diagonal - a * row, b)
        if not rest and 0 <= column < columns:
            yield row, column
