"""The target: a description of the machine that kernels run on, for the cost model.

A backend describes its machine (:mod:`rollc.backends.protocol`), and tests describe others.
:mod:`rollc.kernel.cost_model` makes decisions by it; no pass has constants of its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A machine: the defaults are those of a common processor of several cores.

    vector_bits      -- the size of a vector register
    tile_rows        -- the rows of a register tile of a matrix product, two vectors wide
    sums_in_flight   -- the independent additions that saturate a core: latency times throughput
    function_time    -- the latency of a function such as exp, in additions
    cache_bytes      -- the part of a core's own cache that the data of one product may take
    product_rows     -- the rows of a product from which on the cost of a row is constant
    stream_rows      -- the rows from which on the cost of loading the panel is amortized
    packed_numbers   -- the numbers that a thread packs in the time of a cache transfer from
                        another core
    job_start        -- the multiply-adds in the time in which a worker notices a job
    spins            -- the iterations of a spinning thread before it yields its core
    stay             -- the iterations of a worker without a call before it leaves
    thread_start     -- the operations of products in the time in which a thread starts on its shard
    team_start       -- the operations in the time in which a team transfers the data of a product
    code_steps       -- the largest number of steps for which loops are peeled
    code_pieces      -- the largest number of pieces of a peeled loop
    """

    vector_bits: int = 256
    tile_rows: int = 6
    sums_in_flight: int = 8
    function_time: int = 8
    cache_bytes: int = 262_144
    product_rows: int = 8
    stream_rows: int = 256
    packed_numbers: int = 40_000
    job_start: int = 100_000
    spins: int = 2_000
    stay: int = 4_000
    thread_start: int = 20_000_000
    team_start: int = 50_000_000
    code_steps: int = 64
    code_pieces: int = 6

    def lanes(self, itemsize: int) -> int:
        """The numbers in one vector register."""
        return self.vector_bits // (8 * itemsize)

    def tile_width(self, itemsize: int) -> int:
        """The columns of a register tile."""
        return VECTORS * self.lanes(itemsize)


VECTORS = 2
"""The width of a register tile, in vectors."""
GENERIC = Target()
