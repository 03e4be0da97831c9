"""The worker team of a call: threads that compute chunks of its large products.

See :mod:`.library.thread_team`.  Workers run only during the call, which waits for none that has
not taken a chunk.  The speedup depends on the latency between the processor's cores, and on its
load, so it is measured: at intervals a few calls run with a team and a few without, and the
others as those that were faster.  The results are the same.  Nothing here needs the compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from math import inf
from time import perf_counter

import numpy as np

from rollc.backends.numba.jit.object_code import Array, Bindable
from rollc.backends.numba.library.team_layout import CLOSED, TEAM, THREADS
from rollc.support import threads
from rollc.support.allocator import empty

MOST = 7  # workers: a product takes microseconds
TRIES = 3  # calls with and without a team, of which the fastest counts
PERIOD = 128  # calls from one comparison to the next; doubled after each with the same outcome
LONGEST = 100 * PERIOD


class WorkerTeam:
    """The worker team of calls with the same phases, and whether it pays off."""

    def __init__(self, worker: Bindable, like: Array) -> None:
        """``worker`` is the function that workers run, for the precision of the array ``like``."""
        self._worker = worker
        self._like = like
        self._calls = 0  # since the last comparison began
        self._period = PERIOD
        self._least = [inf, inf]
        self._gain = True

    def call(self, function: Callable[[int], None], others: int) -> None:
        """Call a function with a team of ``others``, or without one where that is faster."""
        trying = self._calls < 2 * TRIES
        teamed = self._calls % 2 == 0 if trying else self._gain
        began = perf_counter()
        if teamed:
            self._with_team(function, min(others, MOST))
        else:
            function(0)
        if trying:
            self._least[teamed] = min(self._least[teamed], perf_counter() - began)
        self._calls += 1
        if self._calls == 2 * TRIES:
            self._compare()
        if self._calls == self._period:
            self._calls = 0
            self._least = [inf, inf]

    def _compare(self) -> None:
        alone, together = self._least
        gain = together < alone
        self._period = min(2 * self._period, LONGEST) if gain == self._gain else PERIOD
        self._gain = gain

    def _with_team(self, function: Callable[[int], None], others: int) -> None:
        block = empty((1, TEAM), np.dtype(np.int64))
        block[...] = 0
        block[0, THREADS] = 1 + others
        team = int(block.ctypes.data)
        worker = self._worker([team], [self._like])

        def work(block: Array = block) -> None:  # holds the block while the worker runs
            worker()

        workers: list[Future[None]] = []
        with suppress(RuntimeError):  # no more threads can be started: go on with those there are
            for _ in range(others):
                workers.append(threads.beside(work))
        try:
            function(team)
        finally:
            block[0, CLOSED] = 1
            for one in workers:
                one.cancel()
