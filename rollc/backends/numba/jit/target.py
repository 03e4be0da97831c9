"""The processor: its vectors, and what a tile of a matrix product holds on it.

Vectors have 512 bits with AVX-512, 256 with AVX2, 128 elsewhere (NEON, SSE).  A tile is two
of them wide, and has as many rows as registers allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from llvmlite import binding

VECTORS = 2


@dataclass(frozen=True, slots=True)
class Host:
    """What the processor's vector unit can hold."""

    bits: int
    rows: int

    def lanes(self, itemsize: int) -> int:
        """The numbers in one vector."""
        return self.bits // (8 * itemsize)

    def width(self, itemsize: int) -> int:
        """The columns of a tile."""
        return VECTORS * self.lanes(itemsize)


@cache
def host() -> Host:
    """The vector unit of this machine."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return Host(512, 8)
    if features.get("avx2") and features.get("fma"):
        return Host(256, 6)
    return Host(128, 4)


def panel_size(inner: int, width: int, itemsize: int) -> int:
    """The elements of a packed panel: its columns are filled up to whole tiles."""
    tile_width = host().width(itemsize)
    return inner * tile_width * -(-width // tile_width)
