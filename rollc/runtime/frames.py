"""Frames: a kernel's own arrays, and its functions bound to them, reused by calls of one size.

A call owns a frame for as long as it lives; then the next call of the same size has it.
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

SMALL = 4_000_000
"""The bytes of idle frames that are kept besides the spare ones."""

Array = NDArray[Any]
Argument = tuple[str, tuple[int, int], np.dtype[Any]]
"""The name, shape and type of an array."""


@dataclass(frozen=True, slots=True)
class View:
    """The view of a result in the array of its buffer.

    It has the ``shape`` of the result, steps and sequences in front.  A result that is not all of
    its buffer is at ``index`` of the array in the shape ``rows``.  One that is not ``alone`` in
    its buffer leaves as a copy.
    """

    shape: tuple[int, ...]
    alone: bool
    rows: tuple[int, ...] | None = None
    index: tuple[slice, ...] = ()

    def of(self, array: Array) -> Array:
        """The result in an array."""
        if self.rows is None:
            return array.reshape(self.shape)
        return array.reshape(self.rows)[self.index].reshape(self.shape)

    def given_away(self, array: Array) -> Array:
        """The result as an array of the caller's."""
        found = self.of(array)
        return found if self.alone else found.copy()


@dataclass
class Frame:
    """What calls of one size reuse.

    ``arrays`` are the kernel's own, with ``copied`` the views of them that leaves are copied to.
    ``given`` leaves and ``results``, by phase, are other arrays in each call, with ``lender``
    their memory.  ``leaving`` are the results of the program, and their views.  ``bound`` are the
    functions with the arguments of the last call, and ``replaced`` the positions of arguments
    that differ from call to call.  ``teams`` are the worker teams, by phases, where products are
    ``divisible``.
    """

    sizes: Mapping[str, int]
    lender: Lender = field(default_factory=Lender)
    arrays: dict[str, Array] = field(default_factory=dict)
    copied: dict[str, Array] = field(default_factory=dict)
    given: list[Argument] = field(default_factory=list)
    results: dict[str, list[Argument]] = field(default_factory=dict)
    leaving: list[tuple[tuple[str, str], Result, View]] = field(default_factory=list)
    bound: dict[tuple[Any, ...], Bound] = field(default_factory=dict)
    replaced: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    divisible: bool | None = None
    teams: dict[tuple[str, ...], Team] = field(default_factory=dict)


class Frames:
    """The idle frames.  No method takes a lock: the garbage collector can end a call anywhere."""

    def __init__(self) -> None:
        self._idle: list[Frame] = []

    def __len__(self) -> int:
        return len(self._idle)

    def clear(self) -> None:
        """Give up all idle frames."""
        self._idle.clear()

    def take(self, sizes: Mapping[str, int]) -> Frame | None:
        """An idle frame of that size, if there is one; else those of other sizes are given up."""
        others: list[Frame] = []
        try:
            while (frame := self._idle.pop()).sizes != sizes:
                others.append(frame)
        except IndexError:  # none is left, or another thread has taken the last one
            return None
        self._idle.extend(others)
        return frame

    def give_back(self, frames: Sequence[Frame], *, spare: bool = False) -> None:
        """Return the frames of a call; if ``spare``, only as long as few are idle, or small ones.

        Any number of calls can have kept frames, but only as many as there are threads run.  Where
        many tapes are kept at once, as of calls of one step each, their frames are small.
        """
        idle = len(self._idle)
        if spare and idle >= SPARES * len(frames):
            own = sum(array.nbytes for frame in frames for array in frame.arrays.values())
            if (idle // len(frames) + 1) * own > SMALL:
                return
        self._idle.extend(frames)


def plain(
    array: Array, dtype: np.dtype[Any], lender: Lender, name: Hashable, *, copy: bool = False
) -> Array:
    """An array as a contiguous one of a type: a copy only if it has to be."""
    if not copy and array.flags.c_contiguous and array.dtype == dtype:
        return array
    own = lender.lend(name, array.shape, dtype)
    own[...] = array
    return own


def lead(buffer: Buffer, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The leading dimensions of a buffer: steps by axis, then sequences."""
    steps = (sizes[axis] + (buffer.around if axis == buffer.axis else 0) for axis in buffer.axes)
    return (*steps, *((sizes[BATCH],) if buffer.batch else ()))


def inside(rows: Array, buffer: Buffer, sizes: Mapping[str, int], first: int) -> Array:
    """The view of the steps of the sequence, from the row ``first`` of the buffer on."""
    if not buffer.around:
        return rows
    before = (slice(None),) * buffer.axes.index(buffer.axis)
    return rows[(*before, slice(first, first + sizes[buffer.axis]))]
