"""How many threads a kernel may use.

A large batch is cut into parts, and each part runs by itself from the first step to the
last: no thread waits for another inside a loop.  Of few sequences one thread runs the loops,
and others help with the products of all steps (:mod:`.worker_team`).  The number is the
caller's to choose; it is no one else's pool, and nothing but kernels runs in it.
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
    """The number of threads: what :func:`use` said, ``$ROLLC_THREADS``, or one a core."""
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
    """The cores whose time a container may use, as Linux counts it."""
    try:
        most, period = QUOTA.read_text(encoding="ascii").split()
        return max(1, ceil(int(most) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # there is none
        return sys.maxsize


def use(number: int | None) -> None:
    """Let kernels use up to ``number`` threads; None is the default again."""
    global _chosen
    _chosen = None if number is None else whole("threads", number, 1, 1024)


@cache
def _pool(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, thread_name_prefix="rollc")


# The threads of a pool stay behind when a process forks: the child makes its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def beside(function: Callable[..., Made], *arguments: Any) -> Future[Made]:
    """A function of some values in another thread: this one is the first of :func:`count`."""
    return _pool(max(count() - 1, 1)).submit(function, *arguments)


def each(function: Callable[[Given], Made], values: Sequence[Given]) -> list[Made]:
    """A function of each value: the first in this thread, the others beside it."""
    first, *others = values
    waiting = [beside(function, value) for value in others]
    own = function(first)
    return [own, *(one.result() for one in waiting)]
