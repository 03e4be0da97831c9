"""Programs held to the graphs that they are planned from: interpreted, with no code made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import BATCH, LEAVES, Graph
from rollc.ir.interpreter import interpret
from rollc.ir.names import lengths_leaves
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.program import Program
from rollc.kernel.schedule import Schedule
from rollc.kernel.text import parse_program, parse_schedule, print_program, print_schedule
from rollc.runtime.kernel import Kernel

Array = NDArray[Any]
Results = dict[tuple[str, str], Array]
PHASES = ("primal", "adjoint", "inputs")


def program_of(graph: Graph, steps: int | None = None, rows: int | None = None) -> Program:
    """The program of a kernel's graph, by way of its texts."""
    read: Schedule = parse_schedule(print_schedule(scheduled(replace(graph, steps=steps))))
    return parse_program(print_program(planned(read, rows)))


def reference_kernel(program: Program, dtype: str = "float64") -> Kernel:
    """A kernel whose program is interpreted."""
    return Kernel(program, Path("none"), dtype, "", "reference")


def random_leaves(graph: Graph, sizes: dict[str, int], seed: int = 0) -> dict[str, Array]:
    """Values for all leaves but the constants; lengths go up to all steps."""
    random = np.random.default_rng(seed)
    leaves: dict[str, Array] = {}
    for node in graph.nodes:
        if node.operation in LEAVES and node.operation != "constant":
            shape = (*(sizes[axis] for axis in node.type.axes), *node.type.shape)
            if node.type.kind == "index":
                leaves[node.name] = random.integers(0, node.type.bound or 1, shape)
            elif node.type.kind == "bool":
                leaves[node.name] = random.random(shape) < 0.5
            elif node.operation == "noise":
                leaves[node.name] = random.random(shape)
            else:
                leaves[node.name] = 0.3 * random.normal(size=shape)
    for axis, name in lengths_leaves(graph.axes).items():
        if name in leaves:
            leaves[name] = leaves[name] % (1 + sizes[axis])
    return leaves


def meaning(graph: Graph, leaves: dict[str, Array], sizes: dict[str, int]) -> Results:
    """What a kernel has to give."""
    values = interpret(graph, leaves, sizes)
    found = {("output", label): values[name] for label, name in graph.outputs}
    found |= {("gradient", label): values[name] for label, name in graph.gradients}
    if graph.loss is not None:
        found["loss", "loss"] = values[graph.loss]
    return found


def assert_equal(found: Results, expected: Results) -> None:
    assert found.keys() == expected.keys()
    for key, array in found.items():
        assert array.shape == expected[key].shape, key
        finite = np.abs(expected[key][np.isfinite(expected[key])])
        scale = max(1.0, float(finite.max(initial=0.0)))
        np.testing.assert_allclose(
            array, expected[key], rtol=1e-9, atol=1e-9 * scale, err_msg=str(key)
        )


def assert_means_the_same(
    graph: Graph, program: Program, sizes: dict[str, int], seed: int = 0
) -> None:
    """A program computes what its graph does, at once and with the adjoint later, and again."""
    leaves = random_leaves(graph, sizes, seed)
    expected = meaning(graph, leaves, sizes)
    steps = {axis: count for axis, count in sizes.items() if axis != BATCH}
    kernel = reference_kernel(program)
    assert_equal(kernel.run(leaves, steps, sizes[BATCH], PHASES), expected)
    first = next((one for one in program.functions if one.phase == PHASES[0]), None)
    if first is None:  # results that are leaves
        return
    late = {
        name: leaves[name]
        for name, sort in program.leaves
        if sort == "cotangent" and name not in first.buffers  # gradients can be what is computed
    }
    early = {name: np.array(array) for name, array in leaves.items() if name not in late}
    results, call = kernel.record(early, steps, sizes[BATCH])
    kept = {key: array.copy() for key, array in results.items()}
    first = call.run({name: array + 1 for name, array in late.items()}, PHASES[1:])
    for array in (*early.values(), *results.values(), *first.values()):
        array[...] = 77
    assert_equal(kept | call.run(late, PHASES[1:]), expected)
