"""Worker teams: threads that compute chunks of the large products of calls.

See :mod:`.library.thread_team`.  All calls in one precision have the same workers, which help one
product at a time; a call waits for no worker that has not taken a chunk.  Workers stay for a while
after it, so that the next call, such as the next step of a stream, need not start them; then they
leave, and cost nothing.

The speedup depends on the latency between the processor's cores, and on its load, so it is
measured: at intervals a few calls run with a team and a few without, and the others as those that
were faster.  The results are the same.  Nothing here needs the compiler.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from queue import SimpleQueue
from time import perf_counter

import numpy as np

from rollc.backends.numba.jit.object_code import Array, Bindable
from rollc.backends.numba.library.team_layout import (
    CALLS,
    LIMIT,
    OWNED,
    TEAM,
    THREADS,
    TICKET,
    WORKERS,
)
from rollc.backends.protocol import Bound
from rollc.support.allocator import empty

MOST = 7  # workers: a product takes microseconds
TRIES = 3  # calls with and without a team, of which the fastest counts
PATIENCE = 0.02  # seconds, at least, of calls with a team; those without workers do not count
PERIOD = 128  # calls from one comparison to the next; doubled after each with the same outcome
LONGEST = 100 * PERIOD


class Workers:
    """The workers of all calls in one precision, and their control block, at ``address``.

    They have threads of their own, so that no shard of a batch waits for workers that stay; a
    process that ends does not wait for them.
    """

    def __init__(self, worker: Bindable, like: Array, count: int) -> None:
        block = empty((1, TEAM), np.dtype(np.int64))
        block[...] = 0
        block[0, THREADS] = 1 + count
        self.count = count
        self.fields = memoryview(block[0])
        self.address = int(block.ctypes.data)
        self._work = worker([self.address], [like])
        self.renew()

    def renew(self) -> None:
        """Forget all threads and calls, which are a parent's."""
        self._lock = threading.Lock()
        self._asked: list[bool] = []  # each thread, until it has left the team
        self._queue: SimpleQueue[int] = SimpleQueue()
        self.fields[WORKERS] = self.fields[CALLS] = self.fields[OWNED] = 0
        self.fields[TICKET] = (self.fields[TICKET] // LIMIT + 1) * LIMIT

    @property
    def there(self) -> bool:
        """Whether all workers are there."""
        return bool(self.fields[WORKERS] == self.count)

    def gather(self) -> None:
        """Ask the workers that have left to come again."""
        with self._lock:
            while len(self._asked) < self.count:
                serve = threading.Thread(target=self._serve, name="rollc team", daemon=True)
                try:
                    serve.start()
                except RuntimeError:  # no more threads can be started: go on with those there are
                    break
                self._asked.append(False)
            for place, asked in enumerate(self._asked):
                if not asked:
                    self._asked[place] = True
                    self._queue.put(place)

    def _serve(self) -> None:
        """Work whenever that is asked for."""
        asked, queue = self._asked, self._queue
        while True:
            place = queue.get()
            self._work()
            asked[place] = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call in which the workers stay."""
        self._add_call(1)
        try:
            self.gather()
            yield
        finally:
            self._add_call(-1)

    def _add_call(self, number: int) -> None:
        with self._lock:
            self.fields[CALLS] += number


_workers: dict[tuple[str, int], Workers] = {}


def _renew() -> None:
    for workers in _workers.values():
        workers.renew()


# A forked child has none of its parent's threads, nor the calls that they were in.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


class WorkerTeam:
    """A worker team for calls that are like one another, and whether it pays off for them."""

    def __init__(self, worker: Bindable, like: Array) -> None:
        """``worker`` is the function that workers run, for the precision of the array ``like``."""
        self._worker = worker
        self._like = like
        self.gain = True
        self.left = 0  # calls until the next comparison
        self._period = PERIOD
        self._asked = 0.0  # when workers were first asked for in this comparison
        self._begin()

    def call(self, function: Callable[[int], None], others: int) -> None:
        """Call a function with a team of ``others``, or without one where that is faster."""
        workers = self._workers(others)

        def run(teamed: bool) -> None:
            if teamed:
                with workers.call():
                    function(workers.address)
            else:
                function(0)

        if self.left:
            self.left -= 1
            run(self.gain)
        else:
            self.compare(run, workers)

    def repeated(self, bound: Bound, number: int, others: int) -> Callable[[], None]:
        """A function that is called often, with the team as its argument of that ``number``."""
        return _Repeated(self, bound, number, self._workers(others))

    def compare(self, run: Callable[[bool], None], workers: Workers) -> None:
        """One of the calls by which it is found out whether a team pays off."""
        began = perf_counter()
        if not self._asked:
            self._asked = began
        # Between short steps a worker takes many of them to get the interpreter, and on a busy
        # machine it has a core for some of them alone.
        waiting = began < self._asked + PATIENCE
        teamed = waiting or self._tries[True] < TRIES
        counts = not (teamed and waiting) or workers.there
        run(teamed)
        if not counts:
            return
        seconds = perf_counter() - began
        self._tries[teamed] += 1
        self._least[teamed] = min(self._least[teamed], seconds)
        if self._tries[False] == TRIES:
            alone, together = self._least
            gain = together < alone
            self._period = min(2 * self._period, LONGEST) if gain == self.gain else PERIOD
            self.gain = gain
            self.left = self._period
            self._begin()

    def _begin(self) -> None:
        self._tries = [0, 0]  # alone, and together
        self._least = [inf, inf]
        self._asked = 0.0

    def _workers(self, others: int) -> Workers:
        key = self._like.dtype.char, min(others, MOST)
        found = _workers.get(key)
        if found is None:
            found = _workers.setdefault(key, Workers(self._worker, self._like, key[1]))
        return found


class _Repeated:
    """A function that is called often: next to nothing is done before it.

    After a product that does not fit into a core's cache, each line of Python costs as much as
    many do otherwise.
    """

    __slots__ = ("_all", "_bound", "_fields", "_left", "_number", "_team", "_workers")

    def __init__(self, team: WorkerTeam, bound: Bound, number: int, workers: Workers) -> None:
        self._team, self._bound, self._number, self._workers = team, bound, number, workers
        self._all = workers.count
        self._left = 0
        self._fields: memoryview | None = None  # of the workers, where they help

    def __call__(self) -> None:
        if not self._left:
            self._compare()
            return
        self._left -= 1
        if self._fields is not None and self._fields[WORKERS] != self._all:
            self._workers.gather()
        self._bound()

    def _compare(self) -> None:
        team = self._team
        team.compare(self._run, self._workers)
        self._left, team.left = team.left, 0
        if self._left:
            self._choose(team.gain)

    def _choose(self, teamed: bool) -> None:
        self._fields = self._workers.fields if teamed else None
        self._bound.count(self._number, self._workers.address if teamed else 0)

    def _run(self, teamed: bool) -> None:
        self._choose(teamed)
        if teamed and not self._workers.there:
            self._workers.gather()
        self._bound()
