"""The threads of kernels: their number, and their pool.

A large batch is sharded, and each shard runs independently from the first step to the last: no
thread waits for another inside a loop.  For few sequences one thread runs the loops, and a worker
team, of other threads, shares the large products.  The caller can choose the number of threads; the
pool is rollc's own, and only kernels run in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

from rollc.errors import InputError
from rollc.support.checks import whole

VARIABLE = "ROLLC_THREADS"
QUOTA = Path("/sys/fs/cgroup/cpu.max")

Given = TypeVar("Given")
Made = TypeVar("Made")

_chosen: int | None = None


def count() -> int:
    """The number of threads: that of :func:`use`, ``$ROLLC_THREADS``, or one a core."""
    if _chosen is not None:
        return _chosen
    text = os.environ.get(VARIABLE, "")
    if text:
        if not text.isdecimal() or len(text) > 4 or not 1 <= int(text) <= 1024:
            raise InputError(f"${VARIABLE}: expected 1 to 1024 threads, found `{text:.40}`")
        return int(text)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, _quota())


@cache
def _quota() -> int:
    """The cores of a container's CPU quota on Linux (cgroup v2)."""
    try:
        most, period = QUOTA.read_text(encoding="ascii").split()
        return max(1, ceil(int(most) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # there is none
        return sys.maxsize


def chosen() -> int | None:
    """The number that :func:`use` was told."""
    return _chosen


def use(number: int | None) -> None:
    """Set the number of threads of kernels; no other library's threads are touched.

    Parameters
    ----------
    number : int or None
        At most so many; None restores the default, ``$ROLLC_THREADS`` or one a core.

    Raises
    ------
    InputError
        For another number than 1 to 1024.

    Examples
    --------
    >>> from rollc import threads
    >>> threads.use(1)
    >>> threads.count()
    1
    >>> threads.use(None)
    """
    global _chosen
    _chosen = None if number is None else whole("threads", number, 1, 1024)


@cache
def _pool(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, thread_name_prefix="rollc")


# A forked child has none of its parent's threads, and makes its own pool.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def beside(function: Callable[..., Made], *arguments: Any) -> Future[Made]:
    """Run a function in the pool, which has one thread less than :func:`count`."""
    return _pool(max(count() - 1, 1)).submit(function, *arguments)


def each(function: Callable[[Given], Made], values: Sequence[Given]) -> list[Made]:
    """The results of a function for each value: the first in this thread, others in the pool."""
    first, *others = values
    futures = [beside(function, value) for value in others]
    own = function(first)
    return [own, *(future.result() for future in futures)]
