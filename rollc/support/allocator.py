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
SMALL = 16_384  # bytes that need no fresh pages
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

    Every view of an array refers to the memory's owner: while one is left, the owner has more
    references than the lender's own.  May be asked by several threads.
    """

    def __init__(self) -> None:
        self._owners: dict[Hashable, list[Array]] = {}
        self._arrays: dict[Hashable, list[Array]] = {}
        self._lock = threading.Lock()

    def lend(self, key: Hashable, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array for ``key``, whose arrays usually have the same size."""
        if prod(shape) * dtype.itemsize < SMALL or not _COUNTED:
            return np.empty(shape, dtype)
        with self._lock:
            owners = self._owners.setdefault(key, [])
            arrays = self._arrays.setdefault(key, [])
            if arrays and arrays[0].shape != shape:
                owners.clear()
                arrays.clear()
            for place in range(len(owners)):
                if _references(owners, place) == _LENDERS:
                    return arrays[place].view()
            if len(owners) == SPARES:
                del owners[0], arrays[0]
            memory = owner(shape, dtype)
            owners.append(memory)
            arrays.append(within(memory, shape, dtype))
            return arrays[-1].view()


def _references(owners: list[Array], place: int) -> int:
    return sys.getrefcount(owners[place])


def _lenders() -> int:
    """The references to a memory of which no array is lent."""
    owners = [owner((1,), np.dtype(np.float32))]
    arrays = [within(owners[0], (1,), np.dtype(np.float32))]
    return _references(owners, 0) if arrays else 0


_LENDERS = _lenders()
# Without the interpreter's lock the count of references is not exact.
_COUNTED = getattr(sys, "_is_gil_enabled", lambda: True)()
