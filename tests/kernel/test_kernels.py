"""The passes from a graph to a kernel: what they promise of any spec."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.driver.build import build_source
from rollc.driver.pipeline import Compiled, compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Node
from rollc.ir.interpreter import interpret
from rollc.ir.operations import operation_of
from rollc.ir.operations.operation import Operation
from rollc.kernel import fusion
from rollc.kernel.fusion import order
from rollc.kernel.program import Loop, MatMul, Nest, OuterProduct, Pack, Program, simple_statements
from rollc.kernel.schedule import Schedule
from rollc.kernel.text import (
    ProgramTextError,
    parse_program,
    parse_schedule,
    print_program,
    print_schedule,
)
from rollc.support import resources
from tests.helpers.compiled_networks import network_of

SEPARATE_GATES = """
net gates
dim D = 3, H = 4
input x: [D]
param A: [H, D], B: [H, D], P: [H, H], Q: [H, H], v: [H], h0: [H] = 0.5
z = sigmoid(A @ x + P @ h[t-1] + v)
n = tanh(B @ x + Q @ h[t-1])
h = z * h[t-1] + (1 - z) * n
init h = h0
output h
loss mean(mse(h, 0.1 * h), over t)
"""

# Every name is a word that the kernel's source uses itself.
HOSTILE = """
net kernel
dim T = 3, B = 2
input lib: [T], x: [T]
param F: [B, T], np: [B, B], n: [B], k: [B], range: [B], primal: [B], math: [B], T_panel: [B]
r = tanh(F @ lib + F @ x + np @ r[t-1] + n * k + range - primal + math * T_panel)
njit = r * 2
adjoint = njit + r[t-1]
output adjoint
loss mean(mse(adjoint, njit), over t)
"""


def stages(text: str, entry: str = "gradient", steps: int | None = None) -> Compiled:
    graph, _ = read_spec(text, "test.roll")
    return compiled(kernel_graphs(graph)[entry](), "float64", steps)


def loops(program: Program) -> list[Loop]:
    return [s for function in program.functions for s in function.body if isinstance(s, Loop)]


def test_what_is_on_no_cycle_runs_outside_the_loops() -> None:
    result = stages(SEPARATE_GATES)
    looped = {
        item.node.name
        for region in result.schedule.regions
        if region.kind != "free"
        for item in region.items
    }
    products = {node.name for node in result.graph.nodes if node.operation == "matmul"}
    inside = {
        str(edge)
        for name in products & looped
        for edge in result.graph[name].operands
        if edge.delay
    }
    assert inside == {"h[t-1]"}
    forward, backward = loops(result.program)
    assert [forward.direction, backward.direction] == ["forward", "backward"]


def test_weights_are_packed_and_their_gradients_summed_outside_the_loops() -> None:
    program = stages(SEPARATE_GATES).program
    for loop in loops(program):
        assert not any(isinstance(statement, Pack | OuterProduct) for statement in loop.body)
        assert not any(isinstance(statement, Pack) for statement in simple_statements([loop]))
    products = [
        s
        for f in program.functions
        for s in simple_statements(f.body)
        if isinstance(s, OuterProduct)
    ]
    assert {product.name for product in products} == {"~A", "~B", "~P", "~Q"}
    assert all(product.over == ("t", "batch") for product in products)


def test_what_only_a_loop_needs_is_computed_block_by_block() -> None:
    program = stages(SEPARATE_GATES).program
    forward, backward = loops(program)
    assert any(isinstance(statement, MatMul) for statement in forward.before)
    assert {s.name for s in backward.after if isinstance(s, OuterProduct)} >= {"~A", "~P"}
    # The cotangents of the gates have no rows for steps of other blocks.
    (product,) = (s for s in backward.after if isinstance(s, OuterProduct) and s.name == "~A")
    assert program.buffer(product.a.buffer).role == "block"


def test_products_of_one_operand_are_stacked() -> None:
    forward, _ = loops(stages(SEPARATE_GATES).program)
    products = [s for s in forward.body if isinstance(s, MatMul)]
    assert [len(product.names) for product in products] == [2]


def test_elementwise_work_of_a_step_is_one_nest() -> None:
    forward, backward = loops(stages(SEPARATE_GATES).program)
    assert sum(isinstance(statement, Nest) for statement in forward.body) == 1
    assert sum(isinstance(statement, Nest) for statement in backward.body) <= 2


def test_what_is_cheap_is_computed_in_the_nest_that_reads_it() -> None:
    """Attention's adjoint spreads the weight of each head, for a product with one of its sums.

    The weights are there before all else; spread then, they are a vector for each pair of steps.
    """
    text = resources.text_of(resources.find_spec("sequences/attention"))
    program = stages(text).program
    pairs = [buffer for buffer in program.buffers if len(buffer.axes) == 2]
    assert pairs
    assert {buffer.shape for buffer in pairs} <= {(), (2,)}


def test_fusion_takes_no_more_for_each_node_of_a_longer_spec(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values that are read a step later are nests of their own, as many as there are lines."""
    asked: list[Node] = []

    def counted(node: Node) -> Operation:
        asked.append(node)
        return operation_of(node)

    monkeypatch.setattr(fusion, "operation_of", counted)
    counts = []
    for lines in (10, 20):
        values = "".join(f"v{i} = tanh(v{i - 1} + v{i - 1}[t-1])\n" for i in range(1, lines + 1))
        schedule = stages(f"net lines\ninput v0\n{values}output v{lines}\n", "forward").schedule
        asked.clear()
        assert len(order(schedule)[0].groups) > lines
        counts.append(len(asked))
    assert counts[1] < 2.5 * counts[0]


def test_the_first_step_has_no_product_with_a_zero_state() -> None:
    zero_state = SEPARATE_GATES.replace("init h = h0\n", "").replace(", h0: [H] = 0.5", "")
    result = stages(zero_state, "forward", steps=5)
    (loop,) = loops(result.program)
    assert (loop.span.start, loop.span.stop) == (1, 5)
    before = result.program.functions[0].body[: result.program.functions[0].body.index(loop)]
    recurrent = [s for s in before if isinstance(s, MatMul) and s.operand.buffer == "h"]
    assert recurrent == []


def test_a_long_dag_is_a_loop_and_its_code_does_not_grow() -> None:
    lengths = {steps: len(stages(SEPARATE_GATES, steps=steps).source) for steps in (100, 10_000)}
    assert lengths[100] == pytest.approx(lengths[10_000], rel=0.01)


@pytest.mark.parametrize("steps", [None, 1, 2, 7])
@pytest.mark.parametrize("entry", ["forward", "gradient", "vjp", "stream"])
def test_schedule_and_program_read_back(entry: str, steps: int | None) -> None:
    result = stages(SEPARATE_GATES, entry, steps)
    assert parse_schedule(print_schedule(result.schedule)) == result.schedule
    assert parse_program(print_program(result.program)) == result.program


def test_every_item_of_a_schedule_runs_once() -> None:
    scheduled: Schedule = stages(SEPARATE_GATES, steps=6).schedule
    ran = [item for region in scheduled.regions for item in region.items]
    grouped = [
        item for section in order(scheduled) for group in section.groups for item in group.items
    ]
    assert len(ran) == len(grouped)
    assert {(item.node.name, item.start) for item in ran} == {
        (item.node.name, item.start) for item in grouped
    }


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "rollc program 4\n",
        "rollc program 4\nloop direction=forward\n",
        "rollc program 4\nprogram name=x oops=1 leaves=()\n",
        "rollc program 4\nnothing\n",
    ],
)
def test_a_damaged_program_is_told_apart(damage: str) -> None:
    with pytest.raises(ProgramTextError):
        parse_program(damage)


# What a concatenation joins is also read by the adjoint: its place needs a value a step.
JOINED = """
net joined
input x: [3]
param v
e = 0.5 * r[t-1] + v
r = tanh(sum(tanh(concat(e, sum(x)) + x[0:2])) + sin(e))
output r
loss mean(mse(r, 0.3), over t)
"""

# The initial value has a row for a depth that nothing is left to read.
UNREAD_ROW = """
net rows
input x: [3]
param a: [3], h0: [2, 3] = normal(1.0)
h = tanh(a * h[t-1] + x + 0 * h[t-2])
init h = h0
output h
loss mean(mse(h, 0.3 * h), over t)
"""


# A condition is the number 0 or 1 wherever a number is read.
CONDITIONS = """
net conditions
input x: [3]
param W: [3, 3], V: [3, 3], c: [3]
b = W @ x > c
h = tanh(V @ b + sin(b) + 0.5 * h[t-1] + -b * sum(b) + abs(b[t-1]))
output h
loss mean(mse(h, W @ x), over t)
"""


@pytest.mark.parametrize(
    "text", [CONDITIONS, *(pytest.param(t, marks=pytest.mark.long) for t in (JOINED, UNREAD_ROW))]
)
def test_the_kernel_is_the_meaning_where_buffers_are_shared_or_deep(text: str) -> None:
    network, _ = build_source(text, dtype="float64", cache=False)
    params = network.init(1)
    inputs = {"x": np.random.default_rng(2).normal(size=(6, 2, 3))}
    loss, gradients = network.value_and_grad(params, inputs)
    derived = adjoint(network.graph)
    expected = interpret(derived, {**params, **inputs}, {"t": 6, "batch": 2})
    assert loss == pytest.approx(float(expected["loss"]))
    for label, name in derived.gradients:
        np.testing.assert_allclose(gradients[label], expected[name], rtol=1e-9, atol=1e-12)


def test_of_a_negative_zero_relu_and_sign_give_a_plain_one() -> None:
    net = network_of("net n\ninput x\na = 1 / relu(x)\nb = 1 / sign(x)\noutput a, b", "float64")
    found = net.forward({}, {"x": [-1.0, -0.0, 0.0, 1.0, np.nan]})
    np.testing.assert_array_equal(found["a"], [np.inf, np.inf, np.inf, 1, np.nan])
    np.testing.assert_array_equal(found["b"], [-1, np.inf, np.inf, 1, np.nan])


def test_names_of_a_spec_never_become_code(tmp_path: Path) -> None:
    network, _ = build_source(HOSTILE, dtype="float64", cache=False)
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(5, 2, 3)) for name in ("lib", "x")}
    params = network.init(0)
    loss, gradients = network.value_and_grad(params, inputs)
    expected = interpret(network.graph, {**params, **inputs}, {"t": 5, "batch": 2})
    assert loss == pytest.approx(float(expected["loss"]))
    assert set(gradients) == {*params, *inputs}

    # Threads that call at once have buffers of their own, and results are the caller's.
    batches = [{name: rng.normal(size=(4, b, 3)) for name in inputs} for b in (1, 2, 3, 2)]
    alone = [network.forward(params, batch)["adjoint"] for batch in batches]
    together: dict[int, list[np.ndarray]] = {}

    def work(index: int) -> None:
        together[index] = [network.forward(params, batches[index])["adjoint"] for _ in range(20)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, outputs in together.items():
        assert all(np.array_equal(output, alone[index]) for output in outputs)


@pytest.mark.long
@pytest.mark.compiled
def test_the_same_spec_gives_the_same_bytes() -> None:
    program = f"""
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.kernel.text import print_program, print_schedule
for text in ({SEPARATE_GATES!r}, {HOSTILE!r}):
    graph, texts = read_spec(text, "test.roll")
    print(texts)
    for entry, make in kernel_graphs(graph).items():
        for steps in (None, 4):
            made = compiled(make(), "float32", steps)
            print(print_schedule(made.schedule), print_program(made.program), made.source)
"""
    outputs = set()
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        )
        outputs.add(run.stdout)
    assert len(outputs) == 1
