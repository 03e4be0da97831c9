"""Operations that no module of rollc knows are verified, differentiated, fused, shared out to
threads, recomputed, left out where they are zero, drawn and explained like all others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rollc.drawing.picture import draw
from rollc.driver.build import build_source
from rollc.driver.pipeline import Compiled, compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.kernel.program import Nest, simple_statements
from rollc.kernel.remarks.report import print_remarks
from rollc.support import threads
from rollc.transforms.rematerialize import MARK
from tests.helpers import own_operations
from tests.helpers.compiled_networks import on_machine
from tests.helpers.own_operations import SPEC
from tests.helpers.processes import plain_python


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    own_operations.register(monkeypatch.setitem)


def kernel(entry: str, steps: int | None = None) -> Compiled:
    graph, _ = read_spec(SPEC, "own.roll")
    return compiled(kernel_graphs(graph)[entry](), "float64", steps)


def nests(made: Compiled) -> list[list[str]]:
    """The operations of each loop over elements."""
    return [
        [assign.operation for assign in statement.body]
        for function in made.program.functions
        for statement in simple_statements(function.body)
        if isinstance(statement, Nest)
    ]


@pytest.mark.long
def test_verified_and_differentiated() -> None:
    """All kernels as plain Python, the gradients to differences."""
    run = plain_python("tests.helpers.own_operations")
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]
    assert int(run.stdout.split()[0]) > 20


@pytest.mark.long
def test_compiled_and_shared_out_to_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROLLC_CACHE", str(tmp_path / "cache"))
    on_machine(monkeypatch, product_rows=1, thread_start=0)
    assert kernel("gradient").program.splits
    network, _ = build_source(SPEC, "own.roll", dtype="float64", cache=False)
    params, random = network.init(seed=1), np.random.default_rng(2)
    x, y = random.normal(size=(5, 6, 3)), random.normal(size=(5, 6, 4))
    found = []
    for count in (1, 2):
        threads.use(count)
        found.append(network.value_and_grad(params, {"x": x, "y": y}))
    threads.use(None)
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-14)
    for name, gradient in found[0][1].items():
        np.testing.assert_allclose(gradient, found[1][1][name], rtol=1e-12, atol=1e-15)


def test_fused() -> None:
    assert any({"cube", "tanh", "multiply", "add"} <= {*nest} for nest in nests(kernel("forward")))


def test_computed_again() -> None:
    nodes = kernel("gradient").schedule.graph.nodes
    again = {node.operation for node in nodes if node.name.endswith(MARK)}
    assert again == {"cube", "multiply"}


def test_left_out_where_it_is_zero() -> None:
    """There is no state before the first of a fixed number of steps."""
    items = [
        item for region in kernel("forward", steps=4).schedule.regions for item in region.items
    ]
    sums = {item.start: item.node.operation for item in items if item.node.name == "a"}
    assert sums == {0: "identity", 1: "add"}  # r is zero at the first step


@pytest.mark.parametrize("name", ["flip", "cube", "dead"])
def test_drawn_and_explained(name: str) -> None:
    made = kernel("forward")
    nodes = [node.name for node in made.graph.nodes if node.operation == name]
    assert nodes
    assert name in draw(made.graph, every_node=True).dot()
    explained = print_remarks(made.schedule, made.program, "float64")
    assert all(f" {node} " in explained for node in nodes)
