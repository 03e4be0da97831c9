"""The helpers of a call: threads that take parts of its large products (:mod:`.thread_team`).

They are there only while the call runs, and no call waits for one that has not begun a part.
What they gain depends on how far apart the processor's cores are, and on who else uses them, so
it is measured: now and then a few calls run with helpers and a few without, and the others as
those that took less time.  The numbers are the same.  Nothing here needs the compiler.
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

MOST = 7  # helpers: what is divided takes microseconds
TRIES = 3  # calls of either way, of which the fastest counts
PERIOD = 128  # calls from one comparison to the next; twice as many after each like the last
LONGEST = 100 * PERIOD


class Helpers:
    """What helps in calls of one kind."""

    def __init__(self, helping: Bindable, like: Array) -> None:
        """``helping`` is the function that helps, in the precision of the array ``like``."""
        self._helping = helping
        self._like = like
        self._calls = 0  # since the last comparison began
        self._period = PERIOD
        self._least = [inf, inf]
        self._gain = True

    def call(self, function: Callable[[int], None], others: int) -> None:
        """A function of a team, in which ``others`` help; of no team where that is faster."""
        trying = self._calls < 2 * TRIES
        helped = self._calls % 2 == 0 if trying else self._gain
        began = perf_counter()
        if helped:
            self._with_team(function, min(others, MOST))
        else:
            function(0)
        if trying:
            self._least[helped] = min(self._least[helped], perf_counter() - began)
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
        helping = self._helping([team], [self._like])

        def help_in(block: Array = block) -> None:  # which lives as long as someone looks at it
            helping()

        waiting: list[Future[None]] = []
        with suppress(RuntimeError):  # no more threads can be started: it goes without
            for _ in range(others):
                waiting.append(threads.beside(help_in))
        try:
            function(team)
        finally:
            block[0, CLOSED] = 1
            for one in waiting:
                one.cancel()
