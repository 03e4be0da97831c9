"""How work grows with its size, counted and not timed: a busy machine changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def calls(work: Callable[[], Any]) -> int:
    """The number of calls that some work makes, of Python's functions and of C's."""
    count = 0

    def counted(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def assert_linear(work: Callable[[int], Any], size: int) -> None:
    """Four times the size takes little more than four times the calls.

    ``work`` does what its argument says how much of; what grows with the square would take
    sixteen times as many.
    """
    small, large = calls(lambda: work(size)), calls(lambda: work(4 * size))
    assert large < 6 * small, f"{small} calls for {size}, {large} for {4 * size}"
