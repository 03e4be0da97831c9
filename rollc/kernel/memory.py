"""Memory for a kernel's arrays: it begins at a cache line, and is used again.

A vector that crosses a cache line takes two reads.  And fresh memory is costly: the system
clears it page by page, which for a small network can take as long as its arithmetic.  So the
memory of results is lent: once no array that was given away lives any more, the next call has
it again.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Hashable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LINE = 64  # bytes
SPARES = 2
"""The memories kept for a result: a caller in a loop still holds the last call's results."""


def owner(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Memory for an array: bytes, of which those from the first cache line on are used."""
    return np.empty(prod(shape) * dtype.itemsize + LINE, np.uint8)


def within(memory: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array in memory that :func:`owner` made.  Its values are arbitrary."""
    first = -memory.ctypes.data % LINE
    return memory[first : first + prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array at a cache line.  Its values are arbitrary."""
    return within(owner(shape, dtype), shape, dtype)


class Lender:
    """Arrays that are given away, in memory that is lent again when none of them is left.

    Every view of an array refers to the memory's owner, so its references tell whether one is
    left.  May be asked by several threads.
    """

    def __init__(self) -> None:
        self._owners: dict[Hashable, list[Array]] = {}
        self._lock = threading.Lock()

    def lend(self, key: Hashable, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array for ``key``, whose arrays usually have the same size."""
        size = prod(shape) * dtype.itemsize + LINE
        with self._lock:
            owners = self._owners.setdefault(key, [])
            owners[:] = [memory for memory in owners if memory.size == size]
            for place in range(len(owners)):
                if _references(owners, place) == _ALONE:
                    return within(owners[place], shape, dtype)
            memory = owner(shape, dtype)
            if _COUNTED:
                owners[: max(0, len(owners) - SPARES + 1)] = []
                owners.append(memory)
            return within(memory, shape, dtype)


def _references(owners: list[Array], place: int) -> int:
    return sys.getrefcount(owners[place])


_ALONE = _references([np.empty(1)], 0)
# Without the interpreter's lock the count of references is not exact.
_COUNTED = getattr(sys, "_is_gil_enabled", lambda: True)()
