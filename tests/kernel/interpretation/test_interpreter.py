"""Programs, interpreted, compute what the graphs mean that they are planned from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from textwrap import dedent
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.tangent import DIRECTION
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import BATCH, Graph
from rollc.ir.time.same_steps import made_alike
from rollc.kernel.interpretation.interpreter import interpret_program
from rollc.kernel.interpretation.storage import ProgramFault
from rollc.kernel.program import Fill, Loop, Program
from rollc.kernel.text import parse_program
from rollc.kernel.verification.verifier import verify_program
from rollc.network.network import Network
from rollc.support.resources import specs
from rollc.tools.verify.case import finite_case
from rollc.tools.verify.kernels import checkpointed, kernels, variants
from rollc.transforms.canonicalize import canonicalize
from tests.commands.operation_kernels import along_another_axis
from tests.helpers import own_operations
from tests.helpers.interpreted_programs import (
    PHASES,
    assert_equal,
    assert_means_the_same,
    meaning,
    program_of,
    random_leaves,
    reference_kernel,
)
from tests.helpers.operation_cases import SIZES, Case, each_case, on_a_bench
from tests.helpers.shipped_specs import each_spec

if TYPE_CHECKING:
    from rollc.runtime.kernel import Kernel

SPECS = specs()
SMALL = {"D": 3, "H": 4, "K": 3, "S": 3, "V": 5, "N": 4}  # the sizes that specs share
MAIN = ("forward", "gradient", "vjp", "gradient.state.lengths")


@cache
def checked(name: str) -> Graph:
    text = SPECS[name].read_text(encoding="utf-8")
    graph, _ = read_spec(text, name)
    sets = {size: SMALL[size] for size, _ in graph.dims if size in SMALL}
    return read_spec(text, name, sets)[0]


def sizes_of(graph: Graph, steps: int = 5, batch: int = 2) -> dict[str, int]:
    """Numbers of steps, another one along each axis that is free to have one."""
    own = {axis: steps + i for i, axis in enumerate(graph.axes)}
    return {**made_alike(graph, own), BATCH: batch}


@pytest.mark.parametrize("name", each_spec(SPECS))
def test_programs_of_a_spec(name: str) -> None:
    """In blocks of two steps, of which the last one is short."""
    makers = kernel_graphs(checked(name))
    for entry in makers.keys() & {*MAIN}:
        graph = makers[entry]()
        assert_means_the_same(graph, program_of(graph, rows=4), sizes_of(graph))


@pytest.mark.long
@pytest.mark.sampled(3)
@pytest.mark.parametrize(("steps", "batch", "rows"), [(1, 1, None), (7, 3, 6), (5, 2, 1)])
@pytest.mark.parametrize("name", SPECS)
def test_all_programs_of_a_spec(name: str, steps: int, batch: int, rows: int | None) -> None:
    """Of all kernels, in blocks and not, for any number of steps and for one: without a flaw."""
    for make in kernel_graphs(checked(name)).values():
        graph = make()
        sizes = sizes_of(graph, steps, batch)
        hold_program(graph, program_of(graph, rows=rows), sizes)
        # Directions of tangents are as many as a caller gives at a time.
        if len(graph.axes) == 1 and DIRECTION not in graph.axes:
            hold_program(graph, program_of(graph, steps), sizes)


def hold_program(graph: Graph, program: Program, sizes: dict[str, int]) -> None:
    assert [*map(str, verify_program(program))] == []
    assert_means_the_same(graph, program, sizes)


@pytest.mark.parametrize("name", ["lstm", "delays/biquad", "delays/retimed", "delays/clockwork"])
def test_programs_of_a_number_of_steps(name: str) -> None:
    graph = kernel_graphs(checked(name))["gradient"]()
    for steps in (1, 2, 6):
        sizes = sizes_of(graph, steps)
        assert_means_the_same(graph, program_of(graph, steps, rows=4), sizes)


PLANNED = {
    "what is read ahead of its loop": """
        net ahead
        input x
        param a, b
        h = tanh(a * h[t-1] + x)
        y = b * h[t+2] + h[t-3]
        output y
        loss mean(y * y, over t)
    """,
    "what a loop and others read": """
        net shared
        dim D = 3
        input x: [D]
        param W: [D, D], U: [D, D]
        p = W @ x
        h = tanh(p + U @ h[t-1])
        y = sum(h * p) + last(sum(p)) + first(sum(h[t+1]))
        output y
        loss mean(y, over t)
    """,
    "one product for several readers": """
        net products
        dim D = 2
        input x: [D]
        param a: [D], W: [D, D]
        h = a * h[t-1] + x
        q = x * h
        y = mean(q, over t)
        z = W @ q
        output z, y
        loss mean(sum(z), over t) + sum(y)
    """,
    "inputs some steps ago": """
        net past
        dim D = 2
        input x: [D], u
        param W: [D, D], b
        h = tanh(W @ x[t-1] + b * h[t-1] + x[t-2])
        v = b * v[t-1] + u[t-1] + u[t+1]
        output h, v
        loss mean(sum(h) + v, over t)
    """,
    "delays of both signs": """
        net both
        input x
        param a
        p = tanh(a * q[t+1] + x)
        q = a * p[t-2] + x
        output p, q
        loss mean(p * q, over t)
    """,
    "a part of a vector, and vectors side by side": """
        net parts
        input x: [4], u
        param W: [3, 3]
        c = concat(x[1:3], u)
        h = tanh(W @ h[t-2] + c)
        y = concat(h, h[t-1], x[0:2])
        k = y[2:6]
        output y, k
        loss mean(sum(y[1:4]), over t)
    """,
}


def planned_graphs(what: str) -> Iterator[Graph]:
    """The graphs of the kernels of a small network."""
    graph, _ = read_spec(dedent(PLANNED[what]), "small.roll")
    makers = kernel_graphs(graph)
    yield from (makers[entry]() for entry in ("forward", "gradient", "vjp"))


@pytest.mark.parametrize("what", PLANNED)
def test_programs_of(what: str) -> None:
    for graph in planned_graphs(what):
        for rows in (2, 6, None):
            assert_means_the_same(graph, program_of(graph, rows=rows), sizes_of(graph, 7))


@pytest.mark.parametrize(("operation", "case"), each_case())
def test_operations(operation: str, case: Case) -> None:
    graph = canonicalize(adjoint(on_a_bench(operation, case, operation)))
    assert_means_the_same(graph, program_of(graph, rows=4), {**SIZES})


def test_tails_along_another_axis() -> None:
    graph = canonicalize(adjoint(along_another_axis()))
    for steps in (2, 5, 9):  # fewer than there are rows, and more
        assert_means_the_same(graph, program_of(graph), {**SIZES, "s": steps})


def test_operations_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own_operations.register(monkeypatch.setitem)
    graph = kernel_graphs(read_spec(own_operations.SPEC, "own.roll")[0])["gradient"]()
    assert_means_the_same(graph, program_of(graph, rows=4), sizes_of(graph))


def network_of(name: str) -> Network:
    """A network whose programs are interpreted."""
    graph = checked(name)
    makers = kernel_graphs(graph)

    @cache
    def kernel(entry: str) -> Kernel:
        return reference_kernel(program_of(makers[entry](), rows=6))

    return Network(graph, kernel, "float64")


@pytest.mark.long
@pytest.mark.parametrize("name", ["gated/minimal", "sequences/bidirectional", "sequences/reverse"])
def test_all_that_a_network_offers(name: str) -> None:
    """An interpreter is called as kernels are: with lengths, a state, step by step, in windows."""
    network = network_of(name)
    case = finite_case(checked(name), np.random.default_rng(0))
    assert case is not None
    rows = [*kernels(case, network, ""), *variants(case, network, "")]
    rows += checkpointed(case, network, "")
    assert len(rows) >= 6
    assert [row for row in rows if not row.passed] == []


def test_in_single_precision() -> None:
    graph = kernel_graphs(checked("lstm"))["gradient"]()
    sizes = sizes_of(graph)
    leaves = random_leaves(graph, sizes)
    found = reference_kernel(program_of(graph), "float32").run(leaves, 5, 2, PHASES)
    expected = meaning(graph, leaves, sizes)
    for key, array in found.items():
        assert array.dtype == np.float32, key
        np.testing.assert_allclose(array, expected[key], rtol=1e-4, atol=1e-5)


def test_phases_that_are_not_asked_for() -> None:
    graph = kernel_graphs(checked("lstm"))["gradient"]()
    sizes = sizes_of(graph)
    leaves = random_leaves(graph, sizes)
    expected = meaning(graph, leaves, sizes)
    program = program_of(graph)
    of_phase = {(one.kind, one.label): one.phase for one in program.results}
    assert {*of_phase.values()} == {*PHASES}
    for phases in (PHASES[:1], PHASES[:2]):
        found = reference_kernel(program).run(leaves, 5, 2, phases)
        assert_equal(found, {k: v for k, v in expected.items() if of_phase[k] in phases})


@cache
def forward() -> tuple[Graph, Program]:
    graph = kernel_graphs(checked("sequences/labels"))["forward"]()
    return graph, program_of(graph)


def hold(program: Program) -> None:
    graph, _ = forward()
    sizes = sizes_of(graph)
    leaves = random_leaves(graph, sizes)
    assert_equal(reference_kernel(program).run(leaves, 5, 2, PHASES), meaning(graph, leaves, sizes))


def test_what_nobody_has_written_is_no_number() -> None:
    """A loop that goes the other way reads steps that are still to come."""
    _, program = forward()
    hold(program)
    (function,) = program.functions

    def changed(*body: object) -> Program:
        return replace(program, functions=(replace(function, body=body),))  # type: ignore[arg-type]

    with pytest.raises(AssertionError, match="nan"):
        hold(changed(*(one for one in function.body if not isinstance(one, Fill))))
    with pytest.raises(AssertionError, match="nan"):
        hold(
            changed(
                *(
                    replace(one, direction="backward") if isinstance(one, Loop) else one
                    for one in function.body
                )
            )
        )


ONE_NEST = """\
rollc program 4
program name=one leaves=((x,input)) axes=(t)
  buffers:
    buffer name=x role=leaf kind=float shape=(3) axes=(t) batch=true
    buffer name=y role=result kind=float shape=(3) axes=(t) batch=true axis=t before=1
    buffer name=i role=tape kind=index shape=() axes=(t)
  functions:
    function phase=primal buffers=(x,y,i)
        fill buffer=y initial=#2.0
        nest over=(t,batch) shape=(3)
            assign name=z operation=multiply operands=(x[:3],#3.0)
            assign name=y operation=add operands=(%z,x[:3]) store=y[t+1:3]
        nest over=(t) shape=()
            assign name=i operation=step operands=() options=((axis,t)) store=i[]
  results:
    result label=y kind=output ref=y[t+1:3] phase=primal
"""


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("%z,x[:3]", "%z,y[t-1:3]", "rows -1 to 3 of `y`"),
        ("%z,x[:3]", "%z,x[;1:3]", "elements 1 to 4 of `x`, which has 3"),
        ("%z,x[:3]", "%z,w[:3]", "`w` is not among the buffers"),
        ("%z,x[:3]", "%z,%v", "`v` has not been computed"),
        ("operation=add", "operation=plus", "there is no operation `plus`"),
        ("(%z,x[:3])", "(%z,x[:2])", "`add` takes equal shapes"),
        ("store=i[]", "store=q[]", "`q` is not among the buffers"),
        ("over=(t,batch) shape=(3)", "over=(t,batch) shape=(3) span=block", "of a block"),
        ("role=tape", "role=block", "`i` holds the steps of a block"),
        ("buffers=(x,y,i)", "buffers=(x,y,i,j)", "`j` is no buffer"),
    ],
)
def test_a_program_that_cannot_be_run(old: str, new: str, problem: str) -> None:
    assert old in ONE_NEST
    program = parse_program(ONE_NEST.replace(old, new))
    with pytest.raises(ProgramFault, match=problem):
        interpret_program(program, {"x": np.ones((4, 2, 3))}, {"t": 4, "batch": 2})


def test_a_program_as_it_is_written() -> None:
    x = np.arange(24.0).reshape(4, 2, 3)
    found = reference_kernel(parse_program(ONE_NEST)).run({"x": x}, 4, 2, PHASES)
    np.testing.assert_array_equal(found["output", "y"], 4 * x)


def test_a_leaf_that_is_missing() -> None:
    with pytest.raises(KeyError, match="x"):
        interpret_program(parse_program(ONE_NEST), {}, {"t": 4, "batch": 2})


def test_no_code_is_made() -> None:
    """The interpreter of programs knows no compiler, and neither does the backend that is it."""
    text = (
        "import sys, rollc.runtime.kernel\nfrom rollc.backends.registry import backend\n"
        "backend('reference')\n"
        "code = {'numba', 'llvmlite', 'rollc.backends.numba.codegen.module'}\n"
        "sys.exit(bool(code & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", text], timeout=120).returncode == 0
