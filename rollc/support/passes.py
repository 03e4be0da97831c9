"""What a pass is, and what runs passes.

A :class:`Runner` can leave some out, and remembers what it has run::

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
    """A pass: its name, what runs, and in words what it needs and what it guarantees.

    Without an ``optional`` one all values are the same, and slower to compute.  One that asks for
    the ``machine`` takes a ``target``.
    """

    name: str
    run: Callable[..., Any]
    needs: str
    guarantees: str
    optional: bool = False
    machine: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A pass that has run: what it was given and has made, if that is kept, in how long."""

    name: str
    seconds: float
    before: Any = None
    after: Any = None


@dataclass
class Runner:
    """Runs passes, less those that are left out, and remembers what has run.

    ``keep`` remembers what each has made too.  ``verify`` is called with what a pass has made.
    ``target`` is the machine that they plan for.
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
