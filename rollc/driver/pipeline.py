"""The pass pipeline: every pass of the compiler in its order, and all stages of one kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rollc.backends import registry
from rollc.entries.passes import GRAPH_PASSES
from rollc.ir.graph import Graph
from rollc.kernel.passes import PLANNING, planned, scheduled
from rollc.kernel.program import Program
from rollc.kernel.schedule import Schedule
from rollc.support.passes import Pass, Runner

EMIT = Pass(
    "emit",
    lambda program, dtype, backend=None: registry.backend(backend).emit(program, dtype),
    "a program",
    "the source of its functions for a backend: a Python module that Numba compiles",
)
COMPILE = Pass(
    "compile",
    lambda kernel: kernel.compile(),
    "the source of a kernel",
    "functions that can be called: object code, saved to a file",
)
KERNEL_PASSES = (*PLANNING, EMIT, COMPILE)
PASSES = (*GRAPH_PASSES, *KERNEL_PASSES)
"""Every pass of the compiler, in the order in which they run; nothing else runs."""


@dataclass(frozen=True)
class Compiled:
    """The stages of one kernel."""

    graph: Graph
    schedule: Schedule
    program: Program
    source: str


def compiled(
    graph: Graph,
    dtype: str,
    steps: int | None = None,
    run: Runner | None = None,
    backend: str | None = None,
) -> Compiled:
    """The stages of the kernel of a graph, or of its DAG of ``steps`` steps.

    ``backend`` is the name of one, None for the default.
    """
    run = replace(run or Runner(), target=registry.backend(backend).target)
    schedule = scheduled(replace(graph, steps=steps), run)
    program = planned(schedule, run=run)
    return Compiled(graph, schedule, program, run(EMIT, program, dtype, backend))
