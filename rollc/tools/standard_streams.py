"""Faults of standard output and error, distinguished from all others.

An output that cannot be written is an error of one line, and no bug report; messages that cannot be
written are dropped.  A reader that closes the pipe (``| head``) is no error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rollc.errors import StoreError


class CannotWrite(StoreError):
    """Standard output is closed, full or broken."""


class _Guarded:
    """A text stream whose errors are ours; ``quiet`` ones are passed over."""

    def __init__(self, stream: Any, quiet: bool) -> None:
        self._stream = stream
        self._quiet = quiet

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._failing():
            return int(self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        with self._failing():
            self._stream.flush()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            if not self._quiet:
                raise cannot_write(error) from error
            _forget(self._stream.fileno())


def cannot_write(error: OSError) -> CannotWrite:
    return CannotWrite(f"cannot write to standard output: {error.strerror}")


def _forget(descriptor: int) -> None:
    """What is still in a stream's buffer must not fail when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


@contextmanager
def guarded() -> Iterator[None]:
    """Standard output and error for a command.  Raises :class:`CannotWrite` without an output."""
    if sys.stderr is None:  # closed: what is printed there would go to standard output
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        raise CannotWrite("cannot write to standard output: it is closed")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a letter is no error
            stream.reconfigure(errors="replace")
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Guarded(before[0], False), _Guarded(before[1], True)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def forget_output() -> None:
    """Nobody reads standard output any more, or it cannot be written."""
    if sys.stdout is not None:
        _forget(sys.stdout.fileno())
