"""Passes, and the pass manager.

A :class:`Runner` can leave passes out, and records those that it has run::

    run = Runner(without=["canonicalize"], keep=True)
    graph = run(ADJOINT, run(CANONICALIZE, graph))
    [record.name for record in run.records]          # ["adjoint"]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from rollc.support.target import GENERIC, Target


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass: its name, its function, and in words what it needs and what it guarantees.

    Without an ``optional`` pass all values are the same, and slower to compute.  One that depends
    on the ``machine`` takes a ``target``.
    """

    name: str
    run: Callable[..., Any]
    needs: str
    guarantees: str
    optional: bool = False
    machine: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A run of a pass: its argument and result, if they are kept, and its time."""

    name: str
    seconds: float
    before: Any = None
    after: Any = None


@dataclass
class Runner:
    """Runs passes, except for those in ``without``, and records them.

    With ``keep`` records have arguments and results.  ``verify`` is called with the result of each
    pass.  ``target`` is the machine that passes optimize for.
    """

    without: Collection[str] = ()
    keep: bool = False
    verify: Callable[[Pass, Any], None] | None = None
    target: Target = GENERIC
    records: list[Record] = field(default_factory=list)

    def __call__(self, pass_: Pass, value: Any, /, *arguments: Any, **options: Any) -> Any:
        if pass_.name in self.without:
            assert pass_.optional, pass_.name
            return value
        if pass_.machine:
            options = {"target": self.target, **options}
        start = time.perf_counter()
        made = pass_.run(value, *arguments, **options)
        seconds = time.perf_counter() - start
        kept = (value, made) if self.keep else ()
        self.records.append(Record(pass_.name, seconds, *kept))
        if self.verify is not None:
            self.verify(pass_, made)
        return made
