"""What calls of one size use again: a kernel's own arrays, and its functions bound to them.

A call has a frame to itself for as long as it lives.  A frame is no one's then, and the next
call of its size has it again.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.backends.protocol import Bound, Team
from rollc.ir.graph import BATCH
from rollc.kernel.program import Buffer, Result
from rollc.support.allocator import SPARES, Lender

Array = NDArray[Any]
Place = tuple[str, tuple[int, int], np.dtype[Any]]


@dataclass
class Frame:
    """What calls of one size use again.

    ``arrays`` stay, with ``copied`` the places in them that leaves are copied to; ``given``
    leaves and ``results``, by the phase that takes them, are the caller's, and others in each
    call, with ``lender`` their memory; ``leaving`` are the values that the caller gets, with
    ``whole`` the shapes of those that are a buffer as it is; ``bound`` are the functions, as they
    were last called, and ``places`` those of the arguments that are not kept; ``teams`` are for
    calls of some phases, where the work of large products is ``divisible``.
    """

    sizes: Mapping[str, int]
    lender: Lender = field(default_factory=Lender)
    arrays: dict[str, Array] = field(default_factory=dict)
    copied: dict[str, Array] = field(default_factory=dict)
    given: list[Place] = field(default_factory=list)
    results: dict[str, list[Place]] = field(default_factory=dict)
    leaving: list[tuple[tuple[str, str], Result]] = field(default_factory=list)
    whole: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    bound: dict[tuple[Any, ...], Bound] = field(default_factory=dict)
    places: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    divisible: bool | None = None
    teams: dict[tuple[str, ...], Team] = field(default_factory=dict)


class Frames:
    """The frames that no call has.  Nothing waits: a call may end anywhere, in a lock too."""

    def __init__(self) -> None:
        self._idle: list[Frame] = []

    def __len__(self) -> int:
        return len(self._idle)

    def clear(self) -> None:
        """Have every call make its own."""
        self._idle.clear()

    def take(self, sizes: Mapping[str, int]) -> Frame | None:
        """A frame of that size, if there is one; else those of other sizes are given up."""
        others: list[Frame] = []
        try:
            while (frame := self._idle.pop()).sizes != sizes:
                others.append(frame)
        except IndexError:  # none is left, or another thread has taken the last one
            return None
        self._idle.extend(others)
        return frame

    def give_back(self, frames: Sequence[Frame], *, spare: bool = False) -> None:
        """Have other calls use a call's frames; if ``spare``, no more than a few such calls do.

        Any number of calls may have kept their frames, but those that run are as few as threads.
        """
        if not spare or len(self._idle) < SPARES * len(frames):
            self._idle.extend(frames)


def plain(
    array: Array, dtype: np.dtype[Any], lender: Lender, name: Hashable, *, copy: bool = False
) -> Array:
    """An array with its elements side by side, in a precision: a copy only if it has to be."""
    if not copy and array.flags.c_contiguous and array.dtype == dtype:
        return array
    own = lender.lend(name, array.shape, dtype)
    own[...] = array
    return own


def lead(buffer: Buffer, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The dimensions that a buffer's rows are: steps by axis, then sequences."""
    steps = (sizes[axis] + (buffer.around if axis == buffer.axis else 0) for axis in buffer.axes)
    return (*steps, *((sizes[BATCH],) if buffer.batch else ()))


def inside(rows: Array, buffer: Buffer, sizes: Mapping[str, int], first: int) -> Array:
    """As many steps as the sequence has, from the step ``first`` of the buffer on."""
    if not buffer.around:
        return rows
    place = (slice(None),) * buffer.axes.index(buffer.axis)
    return rows[(*place, slice(first, first + sizes[buffer.axis]))]
