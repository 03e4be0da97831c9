"""The passes from a kernel's graph to its program, in the order in which they run."""

from __future__ import annotations

from rollc.ir.decomposition import decomposed
from rollc.ir.graph import Graph
from rollc.kernel.bufferize import bufferize
from rollc.kernel.peeling import peel
from rollc.kernel.program import Program
from rollc.kernel.refine.contraction_fusion import fuse_contractions
from rollc.kernel.refine.halo_elision import elide_halos
from rollc.kernel.refine.prologue import separate_prologue
from rollc.kernel.refine.skewed_buffers import skew_buffers
from rollc.kernel.refine.strided_io import stride_io
from rollc.kernel.refine.time_blocking import block_time
from rollc.kernel.schedule import Schedule
from rollc.support.passes import Pass, Runner
from rollc.transforms import primitive_forms
from rollc.transforms.predicate.predicate import predicate
from rollc.transforms.reassociate import recurrence_height
from rollc.transforms.reassociate.factorize import factorize
from rollc.transforms.rematerialize import rematerialize

LOWERING = (
    Pass(
        "decompose",
        decomposed,
        "the graph of a kernel, canonical",
        "every operation is one that backends have code for",
    ),
    Pass(
        "fuse-dots",
        primitive_forms.with_dots,
        "primitive operations",
        "the sum of the products of two vectors' elements is one operation",
        optional=True,
    ),
    Pass(
        "convert-conditions",
        primitive_forms.with_numbers,
        "primitive operations",
        "conditions are numbers where numbers are read",
    ),
    Pass(
        "sink-slices",
        primitive_forms.with_early_slices,
        "primitive operations",
        "slices come before elementwise operations, whose parts can then be fused with others",
        optional=True,
    ),
    Pass(
        "collect-delayed-sums",
        recurrence_height.collected,
        "primitive operations",
        "a sum of delayed values reads one value with a delay",
        optional=True,
    ),
    Pass(
        "delay-before-scaling",
        recurrence_height.with_late_scaling,
        "primitive operations",
        "no delayed value is a loop-invariant multiple of another one",
        optional=True,
    ),
    Pass(
        "factorize",
        factorize,
        "primitive operations",
        "a cycle multiplies by a common factor once",
        optional=True,
        machine=True,
    ),
    Pass(
        "order-sums",
        recurrence_height.ordered,
        "primitive operations",
        "in a cycle, the term that is ready last is added last",
        optional=True,
        machine=True,
    ),
    Pass(
        "rematerialize",
        rematerialize,
        "primitive operations",
        "cheap values are recomputed by the adjoint, not kept for it",
        optional=True,
    ),
    Pass(
        "predicate",
        predicate,
        "primitive operations",
        "products are computed only at the steps at which they are used",
        optional=True,
    ),
)
SCHEDULE = Pass(
    "schedule",
    peel,
    "a graph of primitive operations",
    "regions in the order of execution; for a known number of steps, the first and the last are"
    " peeled off a loop where they are simpler",
    machine=True,
)
BUFFERIZE = Pass(
    "bufferize",
    bufferize,
    "a schedule",
    "statements over buffers, each computed before it is read",
    machine=True,
)
BLOCK = Pass(
    "block-time",
    block_time,
    "a program",
    "loops run in blocks of steps, with the statements that only they need in each block",
    optional=True,
    machine=True,
)
REFINING = (
    Pass(
        "fuse-contractions",
        fuse_contractions,
        "a program",
        "products of all steps and their sum are one statement",
        optional=True,
    ),
    BLOCK,
    Pass(
        "elide-halos",
        elide_halos,
        "a program",
        "leaves that are read with a delay are not copied into padded buffers",
        optional=True,
    ),
    Pass(
        "skew-buffers",
        skew_buffers,
        "a program",
        "numbers that only diagonals of two axes use are in their order in memory",
        optional=True,
    ),
    Pass(
        "stride-io",
        stride_io,
        "a program",
        "rows of the caller's arrays are read and written in place",
        optional=True,
    ),
    Pass(
        "separate-prologue",
        separate_prologue,
        "a program",
        "values of parameters alone, such as packed weights, are computed first, and can be kept",
        optional=True,
    ),
)
PLANNING = (*LOWERING, SCHEDULE, BUFFERIZE, *REFINING)


def lowered(graph: Graph, run: Runner | None = None) -> Graph:
    """The graph of a kernel in the form that schedules are made from."""
    run = run or Runner()
    for pass_ in LOWERING:
        graph = run(pass_, graph)
    return graph


def scheduled(graph: Graph, run: Runner | None = None) -> Schedule:
    """The schedule of a kernel's graph."""
    run = run or Runner()
    made: Schedule = run(SCHEDULE, lowered(graph, run))
    return made


def planned(schedule: Schedule, rows: int | None = None, run: Runner | None = None) -> Program:
    """The program of a schedule, its loops in blocks of about ``rows`` rows."""
    run = run or Runner()
    program: Program = run(BUFFERIZE, schedule)
    for pass_ in REFINING:
        program = run(pass_, program, *((rows,) if pass_ is BLOCK else ()))
    return program
