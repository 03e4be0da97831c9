"""The host processor: the size of its vector registers, and of a tile in them.

Vectors have 512 bits with AVX-512, 256 with AVX2, 128 elsewhere (NEON, SSE).  A tile is two
of them wide, and has as many rows as registers allow.
"""

from __future__ import annotations

from functools import cache

from llvmlite import binding

from rollc.support.target import Target


@cache
def host() -> Target:
    """This machine."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return Target(vector_bits=512, tile_rows=8)
    if features.get("avx2") and features.get("fma"):
        return Target(vector_bits=256, tile_rows=6)
    return Target(vector_bits=128, tile_rows=4)


def panel_size(inner: int, width: int, itemsize: int) -> int:
    """The elements of a packed panel, whose columns are padded to whole tiles."""
    tile_width = host().tile_width(itemsize)
    return inner * tile_width * -(-width // tile_width)
