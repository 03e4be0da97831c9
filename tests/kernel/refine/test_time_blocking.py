"""Loops in blocks of steps, whatever the numbers of steps and sequences."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.backends.numba.codegen.module import emit
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.interpreter import interpret
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.program import Loop, Program
from rollc.runtime.kernel import Kernel
from rollc.support.target import GENERIC
from rollc.transforms.canonicalize import canonicalize

# A chain from each end, so that each function has a loop each way; and numbers that are
# carried from step to step, and over more steps than are.
BOTH_WAYS = """
net both
dim D = 3, H = 4
input x: [D]
target y: [H]
param U: [H, D], W: [H, H], V: [H, D], P: [H, H], b: [H], a, q
f = tanh(U @ x + W @ f[t-1] + b)
g = tanh(V @ x + P @ g[t+1] + 0.3 * g[t+2])
n = tanh(a * n[t-1] + 0.4 * n[t-2] - 0.3 * n[t-9] + sum(x))
m = sigmoid(q * m[t+1] - 0.5 * m[t+3] + x[0])
o = f * g + n * m
output o
loss mean(mse(o, y), over t)
"""

ROWS = GENERIC.stream_rows


def program_of(text: str) -> Program:
    return compiled(canonicalize(adjoint(read_spec(text, "test.roll")[0])), "float64").program


@pytest.fixture(scope="module")
def kernel(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    graph = canonicalize(adjoint(read_spec(BOTH_WAYS, "test.roll")[0]))
    program = planned(scheduled(graph), GENERIC.stream_rows)
    path: Path = tmp_path_factory.mktemp("block") / "kernel.py"
    path.write_text(emit(program, "float64"))
    return Kernel(program, path, "float64", None, backend)


def test_a_function_may_have_several_loops_in_blocks() -> None:
    for function in program_of(BOTH_WAYS).functions:
        loops = [part for part in function.body if isinstance(part, Loop)]
        assert {loop.direction for loop in loops if loop.blocks} == {"forward", "backward"}


@pytest.mark.parametrize(
    ("steps", "batch"),
    [
        (1, 1),
        (2, 1),
        (ROWS, 1),  # one block
        (ROWS + 1, 1),  # a block of one step
        (2 * ROWS + 77, 1),
        (3, ROWS),  # a step a block
        (3, ROWS + 44),  # and that has more rows than a block wants
        (13, ROWS // 5),  # the last block is shorter
    ],
)
def test_any_number_of_steps_and_sequences(kernel: Kernel, steps: int, batch: int) -> None:
    graph, _ = read_spec(BOTH_WAYS, "test.roll")
    random = np.random.default_rng(steps)
    sizes = {"t": steps, "batch": batch}
    leaves = {
        name: 0.5 * random.normal(size=(*(sizes[a] for a in type_.axes), *type_.shape))
        for sort in ("param", "input", "target")
        for name, type_ in ((node.name, node.type) for node in graph.leaves(sort))
    }
    derived = adjoint(graph)
    expected = interpret(derived, leaves, sizes)
    names = {"output": graph.outputs, "gradient": derived.gradients, "loss": (("loss", "loss"),)}
    for phases in (("primal", "adjoint", "inputs"), ("primal", "adjoint")):
        found = kernel.run(leaves, steps, batch, phases)
        assert len(found) == 9 + ("inputs" in phases)
        for (sort, label), array in found.items():
            wanted = expected[dict(names[sort])[label]]
            scale = np.abs(wanted).max()
            np.testing.assert_allclose(array, wanted, rtol=1e-10, atol=1e-12 * scale, err_msg=label)


@pytest.mark.parametrize("sign", ["-", "+"])
def test_numbers_are_carried_from_step_to_step(sign: str) -> None:
    text = f"net n\nparam a, b\nn = tanh(a * n[t{sign}2] + b * n[t{sign}1] + 0.1)\noutput n\n"
    graph, _ = read_spec(text, "test.roll")
    source = compiled(kernel_graphs(graph)["forward"](), "float64").source
    start, loop = re.split(r"for t in .*:\n", source)
    assert len(re.findall(r"= n_\[", start)) == 2
    assert re.search(r"^ +n_\[", loop, re.MULTILINE)  # what comes is written
    assert not re.search(r"=.*\bn_\[", loop)  # and what was is known


def roles(text: str) -> dict[str, str]:
    graph = kernel_graphs(read_spec(text, "test.roll")[0])["forward"]()
    return {buffer.name: buffer.role for buffer in compiled(graph, "float64").program.buffers}


CHAIN = "net chain\ninput x: [3]\nparam a: [3]\nh = tanh(x + a * h[t-1])\n"


def test_what_one_loop_reads_a_few_steps_back_lives_in_a_block() -> None:
    assert roles(f"{CHAIN}y = 2 * h\noutput y\n")["h"] == "block"


@pytest.mark.parametrize(
    "rest",
    [
        "g = tanh(h + g[t+1])\noutput g\n",  # another loop reads it
        "y = h + h[t-5]\noutput y\n",  # many steps back
        "output h\n",  # it leaves the kernel
    ],
)
def test_what_else_is_needed_has_all_steps(rest: str) -> None:
    assert roles(CHAIN + rest)["h"] in ("scratch", "result")
