"""Kernels of random graphs and random specs against the interpreter, run as plain Python.

To compile a kernel takes seconds and finds nothing that running its source does not, so
this is a program of its own, started with ``NUMBA_DISABLE_JIT=1`` by ``test_random_kernels.py``:

    NUMBA_DISABLE_JIT=1 python -m tests.commands.fuzz_kernels --count 300 --seed 0
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.segments import segments
from rollc.autodiff.tangent import DIRECTION
from rollc.autodiff.truncation import truncate
from rollc.autodiff.window_split import CannotSplit
from rollc.backends import registry
from rollc.backends.numba.codegen.module import emit
from rollc.backends.numba.jit import parallel_loops
from rollc.entries.forward_mode import hessian_products, jvp_graph, tangent_kernels
from rollc.entries.streaming import stream_kernels
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.names import lengths_leaves
from rollc.ir.text import print_graph
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.text import parse_program, parse_schedule, print_program, print_schedule
from rollc.runtime.kernel import Kernel
from rollc.support import threads
from rollc.support.target import Target
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.ragged import why_no_lengths, with_lengths
from tests.helpers.strategies.delay_graphs import delay_graphs, random_leaves, streamed_graphs
from tests.helpers.strategies.random_specs import spec_graphs
from tests.helpers.strategies.two_axis_graphs import two_axis_graphs
from tests.helpers.strategies.wavefront_graphs import wavefront_graphs

GRAPHS = {
    "graphs": partial(delay_graphs, clocks=True),
    "states": streamed_graphs,
    "specs": spec_graphs,
    "axes": lambda: st.booleans().flatmap(two_axis_graphs),
    "fronts": wavefront_graphs,
}
# Threads share any work, and clocked products wait for their clock with any number of sequences.
MACHINE = Target(thread_start=0, product_rows=1)
registry.backend().target = MACHINE
PHASES = ("primal", "adjoint", "inputs")


def in_any_order(*bounds: int) -> list[int]:
    """The iterations of a loop over ``simd_range``, which must not depend on each other."""
    indices = list(range(*bounds))
    random.Random(len(indices)).shuffle(indices)
    return indices


parallel_loops.simd_range = in_any_order  # type: ignore[assignment,misc]


def iterations_are_independent(source: str) -> bool:
    """Whether each iteration writes elements of its own: a sum would be the same in any order."""
    return all(
        any(isinstance(part, ast.Name) and part.id == loop.target.id for part in ast.walk(place))
        for loop in ast.walk(ast.parse(source))
        if isinstance(loop, ast.For) and ast.unparse(loop.iter).startswith("simd_range(")
        for place in ast.walk(loop)
        if isinstance(place, ast.Subscript) and isinstance(place.ctx, ast.Store)
        if isinstance(loop.target, ast.Name)
    )


def kernel_of(graph: Graph, steps: int | None, folder: Path, rows: int = 4) -> Kernel:
    """The kernel of a graph, by way of the text of its schedule and of its program."""
    schedule = scheduled(replace(graph, steps=steps))
    assert parse_schedule(print_schedule(schedule)) == schedule
    program = planned(schedule, rows)
    assert parse_program(print_program(program)) == program
    source = emit(program, "float64", MACHINE)
    assert source == emit(
        planned(parse_schedule(print_schedule(schedule)), rows), "float64", MACHINE
    )
    assert iterations_are_independent(source), source
    path = folder / f"kernel_{len(list(folder.iterdir()))}.py"
    path.write_text(source)
    return Kernel(program, path, "float64")


def same(
    graph: Graph, kernel: Kernel, steps: int, batch: int, seed: int, directions: int | None = None
) -> None:
    # Along the second of two axes there are other numbers of steps.
    axes = tuple(axis for axis in graph.axes if axis != DIRECTION)
    counts = {axis: 1 + (steps + 3 * i) % 7 if i else steps for i, axis in enumerate(axes or "t")}
    counts |= {} if directions is None else {DIRECTION: directions}
    sizes = {**counts, "batch": batch}
    leaves = random_leaves(graph, sizes, seed)
    for axis, lengths in lengths_leaves(axes).items():
        if lengths in leaves:
            leaves[lengths] = leaves[lengths] % (1 + counts[axis])
    expected = interpret(graph, leaves, sizes)
    # The second run finds the buffers as the first one left them.
    kernel.run(leaves, counts, batch, PHASES)
    threads.use(1 + seed % 3)
    found = kernel.run(leaves, counts, batch, PHASES)
    in_two_parts = run_in_two_parts(kernel, leaves, counts, batch)
    threads.use(1)
    for key, array in found.items():
        np.testing.assert_array_equal(in_two_parts[key], array, err_msg=str(key))
    names: dict[str, Any] = {
        "output": dict(graph.outputs),
        "loss": {"loss": graph.loss},
        "gradient": dict(graph.gradients),
    }
    assert {(sort, label) for sort, label in found} == {
        *(("output", label) for label, _ in graph.outputs),
        *([("loss", "loss")] if graph.loss else []),
        *(("gradient", label) for label, _ in graph.gradients),
    }
    for (sort, label), array in found.items():
        value = expected[names[sort][label]]
        assert array.shape == value.shape, (sort, label)
        scale = max(1.0, float(np.abs(value).max(initial=0.0)))
        np.testing.assert_allclose(array, value, rtol=1e-9, atol=1e-9 * scale, err_msg=label)


def run_in_two_parts(
    kernel: Kernel, leaves: dict[str, Any], steps: dict[str, int], batch: int
) -> dict[tuple[str, str], Any]:
    """The results where the adjoint runs later, and again: all arrays have been written over."""
    cotangents = {name for name, operation in kernel.program.leaves if operation == "cotangent"}
    early = {name: array.copy() for name, array in leaves.items() if name not in cotangents}
    late = {name: array for name, array in leaves.items() if name in cotangents}
    results, call = kernel.record(early, steps, batch)
    kept = {key: array.copy() for key, array in results.items()}
    first = call.run({name: array + 1 for name, array in late.items()}, PHASES[1:])
    for array in (*early.values(), *results.values(), *first.values()):
        array[...] = 77
    return kept | call.run(late, PHASES[1:])


def main() -> None:
    if os.environ.get("NUMBA_DISABLE_JIT") != "1":
        sys.exit("expected NUMBA_DISABLE_JIT=1 in the environment")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", choices=list(GRAPHS), default="graphs")
    arguments = parser.parse_args()

    @seeded(arguments.seed)
    @settings(
        max_examples=arguments.count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(
        graph=GRAPHS[arguments.of](),
        of=st.sampled_from(["loss", "outputs"]),
        steps=st.integers(1, 7),
        rolled=st.booleans(),
        batch=st.integers(1, 5),
        seed=st.integers(0, 99),
        ragged=st.booleans(),
        window=st.sampled_from([None, None, 1, 2, 3]),
    )
    def kernels_agree(
        graph: Graph,
        of: Any,
        steps: int,
        rolled: bool,
        batch: int,
        seed: int,
        ragged: bool,
        window: int | None,
    ) -> None:
        plain = graph
        graph = graph if window is None else truncate(graph, window)
        ragged = ragged and why_no_lengths(graph) is None
        graph = with_lengths(graph) if ragged else graph
        rolled = rolled or len(graph.axes) > 1
        with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
            built = canonicalize(adjoint(canonicalize(graph), of=of))
            note(print_graph(built))
            kernel = kernel_of(built, None if rolled else steps, Path(folder))
            same(built, kernel, steps, batch, seed)
            forward = canonicalize(replace(canonicalize(graph), loss=None))
            kernel = kernel_of(forward, None if rolled else steps, Path(folder))
            same(forward, kernel, steps, batch, seed)
            built = (jvp_graph, hessian_products)[seed % 2](canonicalize(graph))
            kernel = kernel_of(built, None if rolled else steps, Path(folder))
            same(built, kernel, steps, batch, seed)
            tangents_agree(canonicalize(graph), steps, batch, seed, Path(folder))
            for make in stream_kernels(plain).values() if len(plain.axes) > 1 else ():
                built = make()
                same(built, kernel_of(built, None, Path(folder)), steps, batch, seed)

    kernels_agree()
    print(f"{arguments.count} {arguments.of}: kernels and interpreter agree")


def tangents_agree(graph: Graph, steps: int, batch: int, seed: int, folder: Path) -> None:
    """The kernels of forward sensitivities, for graphs that have them."""
    try:
        found = segments(graph)
    except CannotSplit:
        return
    makers = tangent_kernels(found)
    for segment, make in zip(found.segments, makers.values(), strict=True):
        built = make()
        count = sum(built[name].type.size for name in segment.cuts)
        same(built, kernel_of(built, None, folder), steps, batch, seed, count)


if __name__ == "__main__":
    main()
