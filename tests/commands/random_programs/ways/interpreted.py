"""Ways without code generation: graphs, what passes make of them, and the reference backend."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from rollc.autodiff.adjoint import adjoint
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.kernel.interpretation.interpreter import interpret_program
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.program import Program
from rollc.kernel.verification.verifier import verify_any
from rollc.network.noise_draws import draw_noise
from rollc.support.passes import Runner
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.covering import step_leaves
from rollc.transforms.unroll import unroll
from tests.commands.random_programs.evaluate import Batch
from tests.commands.random_programs.ways.called import (
    called,
    pulled_back,
)
from tests.commands.random_programs.ways.case import (
    Case,
    Compared,
    Different,
)


def _leaves(case: Case) -> dict[str, Any]:
    net = case.network()
    leaves, _ = net._interface.leaves(case.params, case.inputs, case.steps)
    sizes = {**case.steps, "batch": case.count}
    return leaves | draw_noise(
        case.graph, sizes, case.settings.seed, case.settings.training, case.dtype
    )


def interpreter(case: Case) -> Compared:
    """The graph as it was read, simplified, and with its adjoint, all interpreted."""
    batch, leaves = case.meant(), _leaves(case)
    sizes = {**case.steps, "batch": case.count}
    graph, simple = case.graph, canonicalize(case.graph)
    rough = random.Random(case.settings.seed).random() < 0.5
    derived = adjoint(graph) if rough else canonicalize(adjoint(simple))
    # Of a spec without a batch a sequence of one is interpreted.
    for what, built in (("graph", graph), ("simplified", simple), ("adjoint", derived)):
        values = interpret(built, leaves, sizes)
        for label, name in built.outputs:
            right = batch.output(label)
            if "batch" not in built[name].type.axes:
                right = right.select(len(batch.output_axes(label)), 0)
            yield f"{what} output {label}", values[name], right
        assert built.loss is not None
        yield f"{what} loss", values[built.loss], batch.loss()
    found = {}
    for label, name in derived.gradients:
        array = values[name]
        if "batch" in derived[name].type.axes and case.settings.batch is None:
            array = array.take(0, axis=derived[name].type.axes.index("batch"))
        found[label] = array
    yield from case.gradient(batch, found, batch.loss(), what)


def passes(case: Case) -> Compared:
    """What each pass makes on the way to the main kernels, interpreted."""
    batch, leaves = case.meant(), _leaves(case)
    sizes = {**case.steps, "batch": case.count}
    for entry in ("forward", "gradient"):
        run = Runner(keep=True)
        make = kernel_graphs(case.graph, run=run)[entry]
        run.records.clear()  # of what looks which kernels there are
        planned(scheduled(make(), run), run=run)
        for record in run.records:
            if record.before == record.after:
                continue
            what = f"{entry} after {record.name}"
            if flaws := verify_any(record.after):
                raise Different(f"{what}: {flaws[0]}")
            yield from _interpreted(case, batch, record.after, leaves, sizes, what)


def _interpreted(
    case: Case, batch: Batch, made: Any, leaves: dict[str, Any], sizes: dict[str, int], what: str
) -> Compared:
    """A graph or a program; a schedule says no more than its graph."""
    found: dict[tuple[str, str], Any] = {}
    sequences: dict[str, int] = {}  # the dimension of the batch in gradients that have one
    if isinstance(made, Graph):
        values = interpret(made, leaves, sizes)
        found = {("output", label): values[name] for label, name in made.outputs}
        found |= {("gradient", label): values[name] for label, name in made.gradients}
        found |= {} if made.loss is None else {("loss", "loss"): values[made.loss]}
        axes = {label: made[name].type.axes for label, name in made.gradients}
        sequences = {label: own.index("batch") for label, own in axes.items() if "batch" in own}
    elif isinstance(made, Program):
        found = interpret_program(made, leaves, sizes)
        buffers = {one.label: made.buffer(one.ref.buffer) for one in made.results}
        sequences = {label: len(own.axes) for label, own in buffers.items() if own.batch}
    gradients = {}
    for (sort, label), array in found.items():
        if sort == "output":
            yield f"{what} output {label}", array, case.output(batch, label, array)
        elif sort == "loss":
            yield f"{what} loss", array, batch.loss()
        elif label in sequences and case.settings.batch is None:
            gradients[label] = array.take(0, axis=sequences[label])
        else:
            gradients[label] = array
    if gradients:
        yield from case.gradient(batch, gradients, batch.loss(), what)


def reference(case: Case) -> Compared:
    """Kernels on the backend that interprets programs, and some of its other calls."""
    net = case.network(backend="reference")
    lengths = case.settings.seed % 2 == 0 and net._interface.no_lengths is None
    batch = case.meant(lengths=lengths)
    more = {"lengths": case.given_lengths} if lengths else {}
    way = random.Random(case.settings.seed).choice([called, pulled_back])
    yield from way(case, net, batch, "reference", **more)


def unrolled(case: Case) -> Compared:
    """Kernels for a number of steps; the graph over two axes, interpreted as a grid."""
    if len(case.steps) > 1:
        yield from _grid(case)
        return
    (steps,) = case.steps.values()
    yield from called(case, case.network(None, steps), case.meant(), "unrolled")


def _grid(case: Case) -> Compared:
    batch, graph = case.meant(), canonicalize(adjoint(canonicalize(case.graph)))
    dag = unroll(graph, case.steps)
    sizes = {**case.steps, "batch": case.count}
    values = interpret(dag, step_leaves(dag, _leaves(case)), sizes)
    yield "unrolled loss", values[dag.loss or ""], batch.loss()
    copies, found = dict(dag.gradients), {}
    for label, name in graph.gradients:
        axes = graph[name].type.axes
        time = [axis for axis in axes if axis != "batch"]
        mark = "" if len(time) > 1 else "".join(time)
        counts = [case.steps[axis] for axis in time]
        places = np.ndindex(*counts)
        steps = [label + "".join(f".{mark}{step}" for step in place) for place in places]
        array = np.stack([values[copies[step]] for step in steps])
        array = array.reshape((*counts, *array.shape[1:]))
        one = case.settings.batch is None and "batch" in axes
        found[label] = array.take(0, axis=len(time)) if one else array
    yield from case.gradient(batch, found, batch.loss(), "unrolled")
