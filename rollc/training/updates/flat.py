"""The parameters of a network as one vector, which optimisers update whole."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rollc.network.arrays import Spec

Array = NDArray[Any]


class Layout:
    """Where each parameter lies in the vector of all of them.

    ``views(vector)`` are arrays by name that share the vector's memory, and ``into(vector,
    arrays)`` fills it.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = dict(shapes)
        self.slices: dict[str, slice] = {}
        start = 0
        for name, shape in self.shapes.items():
            self.slices[name] = slice(start, start := start + prod(shape))
        self.size = start

    @classmethod
    def of(cls, params: Mapping[str, Spec]) -> Layout:
        """That of a network's parameters."""
        return cls({name: spec.shape for name, spec in params.items()})

    def views(self, vector: Array) -> dict[str, Array]:
        return {name: vector[part].reshape(self.shapes[name]) for name, part in self.slices.items()}

    def into(self, vector: Array, arrays: Mapping[str, Array]) -> None:
        for name, part in self.slices.items():
            vector[part] = arrays[name].reshape(-1)

    def vector(self, arrays: Mapping[str, Array], dtype: str) -> Array:
        """A new vector of the arrays' numbers."""
        found = np.empty(self.size, dtype)
        self.into(found, arrays)
        return found

    def each(self, numbers: Mapping[str, float], dtype: str) -> Array:
        """A vector with one number for all elements of a parameter."""
        found = np.empty(self.size, dtype)
        for name, part in self.slices.items():
            found[part] = numbers[name]
        return found
