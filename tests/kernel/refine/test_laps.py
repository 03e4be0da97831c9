"""Programs with a clock: the same results, and what each part does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rollc.backends.registry import backend
from rollc.driver.loop_times import loop_times
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph
from rollc.kernel.program import Loop
from rollc.kernel.refine.laps import LAPS, Part, with_laps
from rollc.runtime.kernel import Kernel
from tests.helpers.interpreted_programs import PHASES, program_of, random_leaves

BLOCKED = """\
net n
dim D = 3, H = 2
input x: [D]
target y
param U: [H, D], W: [H, H]
h = tanh(U @ x + W @ h[t-1])
output h
loss mean((sum(h) - y) ** 2, over t)
"""
TWO_AXES = """\
net n
time s, t
input x[s], y[t]
param w
h = tanh(w * h[s-1] + x * h[t-1] + y)
o = sum(h, over s)
output o
loss mean(o ** 2, over t)
"""
SIZES = {"t": 7, "batch": 4}


def gradient(text: str) -> Graph:
    graph, _ = read_spec(text, "n.roll", {}, "taught")
    return kernel_graphs(graph)["gradient"]()


@pytest.mark.parametrize(("text", "sizes"), [(BLOCKED, SIZES), (TWO_AXES, {**SIZES, "s": 5})])
def test_the_results_are_the_same(text: str, sizes: dict[str, int]) -> None:
    graph = gradient(text)
    program = program_of(graph, rows=8)
    timed, parts = with_laps(program, sizes, "float64")
    assert any(isinstance(one, Loop) for one in timed.functions[0].body)
    leaves = random_leaves(graph, sizes)
    steps = {axis: count for axis, count in sizes.items() if axis != "batch"}
    laps = np.zeros(len(parts) + 1, np.int64)
    found = [
        Kernel(one, Path("none"), "float64", "", "reference").run(given, steps, 4, PHASES)
        for one, given in ((program, leaves), (timed, {**leaves, LAPS: laps}))
    ]
    assert found[0].keys() == found[1].keys()
    for key, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][key])
    assert laps[0] > 0 and (laps >= 0).all() and laps[1:].any()
    places = [name for phase in timed.functions for name in phase.buffers if name == LAPS]
    assert len(places) == len(timed.functions)
    source = backend("numba").emit(timed, "float64")
    assert source.count("lap = nanoseconds()") >= len(parts)


def test_what_a_part_does() -> None:
    _, parts = with_laps(program_of(gradient(BLOCKED), rows=8), SIZES, "float32")
    product, loop = (_part(parts, name) for name in ("h'1", "h'2"))
    assert (product.operations, product.bytes) == (2 * 28 * 6, 4 * (28 * 3 + 28 * 2 + 6))
    assert (product.loop, loop.loop, loop.runs) == ("", "t", 1)  # a step does little: one part
    assert loop.operations >= 2 * 28 * 4


def test_a_loop_over_diagonals_does_each_cell_once() -> None:
    _, parts = with_laps(program_of(gradient(TWO_AXES)), {**SIZES, "s": 5}, "float32")
    loop = next(part for part in parts if part.loop)
    assert loop.loop == "diagonals of s and t" and loop.operations % (5 * 7 * 4) == 0
    assert 4 * 140 <= loop.operations <= 8 * 140


def test_the_statements_of_a_step_that_does_much_are_parts() -> None:
    text = BLOCKED.replace("H = 2", "H = 200")
    _, parts = with_laps(program_of(gradient(text), rows=8), SIZES, "float32")
    product, rest = (_part(parts, name) for name in ("h'2", "h"))
    assert product is not rest
    assert (product.inside, product.runs, product.loop) == (("t",), 7, "")
    assert product.operations == 7 * 2 * 4 * 200 * 200


def _part(parts: tuple[Part, ...], name: str) -> Part:
    return next(part for part in parts if f"'{name}'" in repr(part) or f'"{name}"' in repr(part))


@pytest.mark.long
@pytest.mark.compiled
def test_a_compiled_kernel_has_times() -> None:
    text = "net n\ninput x\nh = 0.5 * h[t-1] + x\noutput h\n"
    graph, _ = read_spec(text, "n.roll", {}, "taught")
    program = program_of(kernel_graphs(graph)["forward"]())
    leaves = {"x": np.ones((7, 4), np.float32)}
    found = loop_times(program, "float32", leaves, {"t": 7}, 4, "numba")
    assert found.calls >= 3 and 0 < sum(found.seconds) <= found.timed
    assert min(found.seconds) >= 0 and len(found.seconds) == len(found.parts)
