"""Whether arrays are as they were: what a caller could have changed while no one looked.

To copy them would take the memory that is to be saved, and a sum over them misses what has
only changed places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError

Array = NDArray[Any]


class Noted:
    """The check sums of some arrays, as they are now."""

    def __init__(self, call: str, arrays: Mapping[str, Array]) -> None:
        """``call`` is what took the arrays."""
        self._call = call
        self._arrays = dict(arrays)
        self._sums = {name: _sum(array) for name, array in arrays.items()}

    def check(self) -> None:
        """Raise :class:`InputError` where one of the arrays holds something else by now."""
        for name, array in self._arrays.items():
            if _sum(array) != self._sums[name]:
                raise InputError(
                    f"`{name}` has changed since `{self._call}` took it, which keeps no copy:"
                    f" call `{self._call}` again"
                )


def _sum(array: Array) -> int:
    return crc32(np.ascontiguousarray(array).data)
