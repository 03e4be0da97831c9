"""What is worth its cost, on a machine: every decision of planning that depends on one.

The work itself is counted by :mod:`rollc.kernel.cost`.
"""

from __future__ import annotations

from rollc.kernel.cost import divisible_work, product_work
from rollc.kernel.program import Program
from rollc.support.target import Target

_BUFFERS = 16  # that a block of steps keeps in the cache, in bytes of one number of each
_NARROW = 4  # elements; vectors with fewer leave most of a tile empty
_MOST_CARRIED = 4  # rows; with more, carrying them from block to block takes what it saves


def block_rows(target: Target, widest: int) -> int:
    """The rows of a block of steps: the buffers of a block stay in the cache."""
    return max(target.stream_rows, target.cache_bytes // _BUFFERS // widest)


def is_carried(back: int) -> bool:
    """Whether what is read so many steps back is worth carrying from block to block."""
    return 1 <= back <= _MOST_CARRIED


def kept_in_registers(target: Target, back: int) -> bool:
    """Whether a number read so many steps back stays in a register until then."""
    return 1 <= back <= target.sums_in_flight


def packed_together(target: Target, size: int) -> bool:
    """Whether the threads of a call pack one panel for all, not each its own."""
    return size >= target.packed_numbers


def has_ends(target: Target, steps: int) -> bool:
    """Whether the ends of an unrolled sequence are looked at for code of their own."""
    return steps <= target.code_steps


def is_narrow(size: int) -> bool:
    """Whether values have too few elements for a product by tiles."""
    return size < _NARROW


def fewest_sequences(target: Target, multiplies_each_step: bool) -> int:
    """The sequences that a thread has at least: more where each step reads a matrix for them."""
    return max(target.product_rows // 2, 1) if multiplies_each_step else 1


def is_shared(target: Target, program: Program, steps: int, batch: int) -> bool:
    """Whether other threads are worth asking for a part of a batch."""
    return product_work(program, steps, batch) >= target.thread_start


def is_divisible(target: Target, program: Program, steps: int, batch: int) -> bool:
    """Whether other threads are worth asking for help with the products of all steps."""
    return divisible_work(program, steps, batch) >= target.team_start
