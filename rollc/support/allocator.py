"""The allocator of a kernel's arrays: aligned to cache lines, and reused.

A vector load that crosses a cache line takes two reads.  And fresh memory is costly: the system
clears it page by page, which for a small network can take as long as its arithmetic.  So the
memory of results is pooled: when no array that was returned lives any more, the next call reuses
it.
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
"""The blocks pooled for a result: a caller in a loop still holds the last call's results."""


def owner(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A block for an array: bytes, of which those from the first cache line on are used."""
    return np.empty(prod(shape) * dtype.itemsize + LINE, np.uint8)


def within(memory: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array in a block of :func:`owner`.  Its values are arbitrary."""
    first = -memory.ctypes.data % LINE
    return memory[first : first + prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array that is aligned to a cache line.  Its values are arbitrary."""
    return within(owner(shape, dtype), shape, dtype)


class Lender:
    """A pool of arrays, whose memory is reused when no view of it is left.

    Every view of an array refers to its block: while one is left, the block has more references
    than the pool's own.  Several threads can use a pool.
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
            for index in range(len(owners)):
                if _references(owners, index) == _LENDERS:
                    return arrays[index].view()
            if len(owners) == SPARES:
                del owners[0], arrays[0]
            memory = owner(shape, dtype)
            owners.append(memory)
            arrays.append(within(memory, shape, dtype))
            return arrays[-1].view()


def _references(owners: list[Array], index: int) -> int:
    return sys.getrefcount(owners[index])


def _lenders() -> int:
    """The number of references to a block of which no array is lent."""
    owners = [owner((1,), np.dtype(np.float32))]
    arrays = [within(owners[0], (1,), np.dtype(np.float32))]
    return _references(owners, 0) if arrays else 0


_LENDERS = _lenders()
# Without the interpreter's lock the count of references is not exact.
_COUNTED = getattr(sys, "_is_gil_enabled", lambda: True)()
