"""What is decided for a machine is decided otherwise for another one, and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import rollc
from rollc.backends.numba.codegen.module import emit
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph
from rollc.kernel import cost_model
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.program import Loop, Pack, Program, simple_statements
from rollc.support.passes import Runner
from rollc.support.resources import specs, text_of
from rollc.support.target import GENERIC, Target

PACKAGE = Path(rollc.__file__).parent
PLANNING = ("transforms", "autodiff", "entries", "kernel", "runtime", "backends/numba/codegen")
BOUNDS = {
    # How much the compiler looks at, whatever the machine.
    "transforms/reassociate/factorize.py": {"_MOST"},
    "transforms/reassociate/sum_chains.py": {"_MOST"},
    "transforms/reassociate/critical_path.py": {"_STEP"},
    "transforms/canonicalize.py": {"_ROUNDS", "_PER_NODE"},
    "transforms/unroll.py": {"MOST_NODES"},
    # Of reports and of source, of what verifies programs and of what measures them.
    "kernel/remarks/report.py": {"WIDTH", "WIDEST", "MOST_ON_CYCLE"},
    "kernel/refine/laps.py": {"ENOUGH"},
    "backends/numba/codegen/printer.py": {"WIDTH"},
    "kernel/verification/account.py": {"FAR", "BLOCK"},
    "kernel/verification/schedule_flaws.py": {"ENDLESS"},
    # Of memory that is kept for later calls.
    "runtime/frames.py": {"SMALL"},
    "kernel/cost_model.py": {"_BUFFERS", "_NARROW", "_MOST_CARRIED"},
}


@cache
def graph(name: str, kernel: str = "gradient") -> Graph:
    checked, _ = read_spec(text_of(specs()[name]), name)
    return kernel_graphs(checked)[kernel]()


def program(name: str, target: Target, steps: int | None = None) -> Program:
    run = Runner(target=target)
    return planned(scheduled(replace(graph(name), steps=steps), run), run=run)


def test_blocks_of_steps_fit_the_cache() -> None:
    small = replace(GENERIC, cache_bytes=4096, stream_rows=8)
    assert program("lstm", GENERIC).block > program("lstm", small).block >= 8


def test_a_long_unrolled_sequence_has_no_code_for_its_ends() -> None:
    def loops(target: Target) -> int:
        body = [one for function in program("lstm", target, 8).functions for one in function.body]
        return sum(isinstance(one, Loop) for one in body)

    short = replace(GENERIC, code_steps=7)
    assert program("lstm", short, 8).functions != program("lstm", GENERIC, 8).functions
    assert loops(short) == 2


def test_panels_are_packed_together_where_that_is_worth_it() -> None:
    def jobs(target: Target) -> set[bool]:
        found = (simple_statements(one.body) for one in program("lstm", target).functions)
        return {one.job is not None for body in found for one in body if isinstance(one, Pack)}

    assert jobs(replace(GENERIC, packed_numbers=0)) == {True}
    assert jobs(replace(GENERIC, packed_numbers=10**9)) == {False}


def test_clocked_products_of_few_rows_are_done_together() -> None:
    made = program("delays/clockwork", GENERIC)
    assert "if B < 8:" in emit(made, "float32")
    assert "if B < 3:" in emit(made, "float32", replace(GENERIC, product_rows=3))


def test_steps_share_products_or_sequences_whichever_is_more_work() -> None:
    """Where what a team does not divide takes long, threads have sequences of their own."""
    steps = planned(scheduled(graph("lstm", "stream")))

    def shared(batch: int, **facts: int) -> bool:
        return cost_model.is_divisible_often(replace(GENERIC, **facts), steps, 1, batch)

    assert not shared(1)
    assert shared(1, job_start=1)
    assert shared(1000)
    assert not shared(1000, function_time=10_000)
    assert not shared(1000, thread_start=0)


def test_sums_end_with_what_is_known_last() -> None:
    """Where a function takes no time, the order of a sum in a cycle is another one."""
    text = (
        "net n\ninput x\nparam a, b, c\n"
        "u = tanh(h[t-1])\nv = relu(c * relu(b * relu(a * h[t-1])))\n"
        "h = u + v + x\noutput h\n"
    )
    graph = kernel_graphs(read_spec(text, "n.roll")[0])["forward"]()
    found = {
        str(scheduled(graph, Runner(target=replace(GENERIC, function_time=time))).graph)
        for time in (1, 1000)
    }
    assert len(found) == 2


def _numbers(path: Path) -> Iterator[str]:
    """The names that a module gives to numbers."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        value = getattr(statement, "value", None)
        parts = list(ast.walk(value)) if value is not None and targets else []
        arithmetic = ast.Constant | ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop
        if parts and all(isinstance(part, arithmetic) for part in parts):
            numbers = [part.value for part in parts if isinstance(part, ast.Constant)]
            if numbers and all(type(number) in (int, float) for number in numbers):
                yield from (one.id for one in targets if isinstance(one, ast.Name))


@pytest.mark.parametrize("folder", PLANNING)
def test_no_pass_has_numbers_of_its_own(folder: str) -> None:
    paths = sorted((PACKAGE / folder).rglob("*.py"))
    assert paths
    for path in paths:
        known = BOUNDS.get(path.relative_to(PACKAGE).as_posix(), set())
        assert {*_numbers(path)} == known, path
