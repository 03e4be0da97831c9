"""Handles of worker processes: started, asked, and always ended."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rollc.errors import RollcError
from rollc.tools.bench.worker import environment


class PeerError(RollcError):
    """A peer cannot run a task."""


class WorkerLost(PeerError):
    """A worker ended, or took too long to answer."""


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


class Worker:
    """A process that runs peers on as many cores as it has threads.

    It is halted while it is not asked: threads that wait for work by looking for it again and
    again would take the cores from whoever has the turn.
    """

    def __init__(self, threads: int) -> None:
        places = cores()[:threads]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the process
        # A session of its own: an interruption at the terminal is the conductor's to handle.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rollc.tools.bench.worker", ",".join(map(str, places))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **environment(threads)},
            start_new_session=True,
        )

    def halt(self) -> None:
        """Keep the process from running until :meth:`resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def ask(self, limit: float, **request: Any) -> dict[str, Any]:
        """The answer to a request, which must come within ``limit`` seconds."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise WorkerLost(self._last_words()) from None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(limit):
                raise WorkerLost(f"no answer within {limit:.0f} s")
        line = process.stdout.readline()
        if not line:
            raise WorkerLost(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"].strip().splitlines()[0])
        return answer

    def end(self) -> None:
        """End the process and all that it started."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f"ended with status {self._process.returncode}" + (f": {lines[-1]}" if lines else "")


class Workers:
    """A worker for each library, started when it is first asked."""

    def __init__(self, threads: int, limit: float) -> None:
        self.threads = threads
        self.limit = limit
        self._by_library: dict[str, Worker] = {}

    def ask(self, library: str, **request: Any) -> dict[str, Any]:
        """Ask the worker of a library; one that does not answer is ended."""
        if library not in self._by_library:
            self._by_library[library] = Worker(self.threads)
        worker = self._by_library[library]
        worker.resume()
        try:
            return worker.ask(self.limit, **request)
        except WorkerLost:
            self._by_library.pop(library).end()
            raise
        finally:
            if library in self._by_library:
                worker.halt()

    def forget(self) -> None:
        """All workers let go of what they have prepared."""
        for library in tuple(self._by_library):
            with suppress(PeerError):
                self.ask(library, do="forget")

    def end(self) -> None:
        while self._by_library:
            self._by_library.popitem()[1].end()


@contextmanager
def workers(threads: int, limit: float) -> Iterator[Workers]:
    """Workers that are gone afterwards."""
    made = Workers(threads, limit)
    try:
        yield made
    finally:
        made.end()
