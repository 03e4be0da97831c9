"""The cost model: every decision of a pass that depends on the machine.

The operations of a program are counted by :mod:`rollc.kernel.cost`.
"""

from __future__ import annotations

from rollc.kernel.cost import divisible_work, product_work, work
from rollc.kernel.program import Program
from rollc.support.target import Target

_BUFFERS = 16  # the working set of a block of steps, in bytes for each element of a row
_NARROW = 4  # elements; vectors with fewer leave most of a register tile empty
_MOST_CARRIED = 4  # rows; copying more from block to block costs what it saves


def block_rows(target: Target, widest: int) -> int:
    """The rows of a block of steps, whose buffers stay in the cache."""
    return max(target.stream_rows, target.cache_bytes // _BUFFERS // widest)


def is_carried(back: int) -> bool:
    """Whether it pays off to copy the last ``back`` rows of a buffer from block to block."""
    return 1 <= back <= _MOST_CARRIED


def kept_in_registers(target: Target, back: int) -> bool:
    """Whether a number that is read ``back`` steps later stays in a register until then."""
    return 1 <= back <= target.sums_in_flight


def is_by_diagonals(weights: tuple[int, int]) -> bool:
    """Whether it pays off to compute all steps of a diagonal at once, and not a row step by step.

    With larger weights there are more diagonals, and few steps on each of them.
    """
    return max(map(abs, weights)) <= 1


def packed_together(target: Target, size: int) -> bool:
    """Whether the threads of a call share one panel of that size, and pack it together."""
    return size >= target.packed_numbers


def is_peeled(target: Target, steps: int) -> bool:
    """Whether loops over an unrolled sequence are peeled."""
    return steps <= target.code_steps


def is_narrow(size: int) -> bool:
    """Whether vectors are too short for a register-blocked product."""
    return size < _NARROW


def fewest_sequences(target: Target, multiplies_each_step: bool) -> int:
    """The smallest shard of a batch: larger where each step reads a matrix for it."""
    return max(target.product_rows // 2, 1) if multiplies_each_step else 1


def is_sharded(target: Target, program: Program, steps: int, batch: int) -> bool:
    """Whether it pays off to shard a batch among threads."""
    return product_work(program, steps, batch) >= target.thread_start


def is_divisible(target: Target, program: Program, steps: int, batch: int) -> bool:
    """Whether it pays off to divide products among a worker team."""
    return divisible_work(program, steps, batch, _job(target)) >= target.team_start


def is_divisible_often(target: Target, program: Program, steps: int, batch: int) -> bool:
    """The same for calls that follow one another: workers are there, and their caches warm.

    Where the operations beside products, which a team does not divide, take longer than the start
    of a thread, the sequences are sharded instead.
    """
    others = work(program, steps, batch) - product_work(program, steps, batch)
    if target.function_time * others >= target.thread_start:
        return False
    return divisible_work(program, steps, batch, _job(target)) >= _job(target)


def _job(target: Target) -> int:
    """The least operations of a product that is divided."""
    return 2 * target.job_start
