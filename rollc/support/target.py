"""The machine that kernels run on, as far as the cost of work depends on it.

A backend describes its machine (:mod:`rollc.backends.protocol`), and tests describe others.  What
follows for a kernel is decided by :mod:`rollc.kernel.cost_model`; no pass has numbers of its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A machine: the defaults are those of a common processor of several cores.

    vector_bits      -- the size of a vector register
    tile_rows        -- the rows of a matrix product that vector registers hold, two vectors wide
    sums_in_flight   -- the additions that a core has begun and not ended: their latency times
                        how many begin at once
    function_time    -- what a function such as exp takes, in additions
    cache_bytes      -- what of a core's own cache the data of one product may take
    product_rows     -- the rows of a product from which on each costs the same
    stream_rows      -- those from which on it no longer matters what a product finds in caches
    packed_numbers   -- the numbers that a thread copies in the time in which it gets another's
    job_start        -- the multiply-adds in the time in which a helping thread sees a job
    spins            -- how often a waiting thread looks before it leaves the core to others
    thread_start     -- the operations of products in the time in which another thread has its data
    team_start       -- those in which all numbers of a team's products go to and fro
    code_steps       -- the steps of an unrolled sequence whose ends are worth code of their own
    code_pieces      -- the pieces that a loop may be cut into for that
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
    thread_start: int = 20_000_000
    team_start: int = 50_000_000
    code_steps: int = 64
    code_pieces: int = 6

    def lanes(self, itemsize: int) -> int:
        """The numbers in one vector."""
        return self.vector_bits // (8 * itemsize)

    def tile_width(self, itemsize: int) -> int:
        """The columns of a tile."""
        return VECTORS * self.lanes(itemsize)


VECTORS = 2
"""The vectors that a tile is wide."""
GENERIC = Target()
