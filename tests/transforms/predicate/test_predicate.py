"""Products that a clock holds back: where they are left out, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.driver.sources import read_spec
from rollc.ir.graph import Graph, Type
from rollc.ir.text import parse_graph
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.program import MatMul, OuterProduct, Program, simple_statements
from rollc.kernel.text import parse_program, print_program
from rollc.runtime.kernel import Kernel
from rollc.tools.verify.case import Given, finite_case
from rollc.tools.verify.passes import passes
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.predicate.predicate import guards
from tests.helpers.compiled_networks import agrees_in_undefined_memory, kernel_of

CLOCK = """
net clock
dim H = 3
input x: [H]
param W: [H, H], U: [H, H], V: [H, H], M: [H, H], b: [H]
p = where(p[t-1] + 1.5 < 3, p[t-1] + 1, 0)
init p = 2
q = where(q[t-1] + 1.5 < 2, q[t-1] + 1, 0)
h = where(p < 0.5, tanh(W @ x + U @ h[t-1] + b), h[t-1])
g = where(q < 0.5, sigmoid(V @ h + U @ g[t-1]), 0.5 * g[t-1])
m = M @ x
c = p > 1.5
k = where(c, tanh(m + k[t-1]), k[t-1])
l = where(c, m * l[t-1] + h, 0.3 * l[t-1])
output h, g
loss mean(sum(h * g + k * l), over t)
"""
# Its adjoint has no loop.
FLAT = """
net flat
dim H = 3
input x: [H]
param W: [H, H]
p = where(p[t-1] + 1.5 < 3, p[t-1] + 1, 0)
y = where(p < 0.5, tanh(W @ x), x)
output y
loss mean(sum(y), over t)
"""
# What all sequences share has one row a step.
SHARED = """
net shared
dim H = 3
input x: [H]
param W: [H, H], b: [H]
p = where(p[t-1] + 1.5 < 3, p[t-1] + 1, 0)
h = where(p < 0.5, sigmoid(W @ (h[t-1] + b)), 0.5 * h[t-1] + b)
output h
loss mean(sum(h * x), over t)
"""
# The second choice of a condition waits as the first does, and both may.
OTHER = """
net other
dim H = 3
input x: [H]
param W: [H, H], U: [H, H], V: [H, H], M: [H, H], Q: [H, H]
p = where(p[t-1] + 1.5 < 3, p[t-1] + 1, 0)
c = p > 0.5
h = where(c, h[t-1], tanh(W @ x))
g = where(c, 0.5 * g[t-1] + U @ h, sigmoid(V @ h) * (M @ g[t-1]))
k = where(c[t-1], 0.3 * k[t-1], tanh(Q @ h))
output h, g
loss mean(sum(h * g + k), over t)
"""
# Nothing of these may be left out: a line of a body, and what it reads.
NEVER = {
    "a condition of each sequence": "h = where(x[0] > 0, tanh(W @ x), h[t-1])",
    "read elsewhere": "m = W @ x\nh = where(c, tanh(m), m)",
    "read later": "m = W @ x\nh = where(c, tanh(m), h[t-1]) + m[t-1]",
    "infinite at zero": "h = where(c, log(W @ x), h[t-1])",
    "both choices": "m = W @ x\nh = where(c, tanh(m), 0.5 * m)",
    "wanted a step later": "m = W @ x\nh = where(c, tanh(m[t-1]), h[t-1])",
    "an output": "h = W @ x\nk = where(c, tanh(h), h[t-1])",
}
BODY = """
net never
dim H = 3
input x: [H]
param W: [H, H]
p = where(p[t-1] + 1.5 < 3, p[t-1] + 1, 0)
c = p < 0.5
{}
output h
"""


def graph_of(text: str, gradient: bool = True) -> Graph:
    graph = canonicalize(read_spec(text, "test.roll")[0])
    return canonicalize(adjoint(graph)) if gradient else graph


def conditions(program: Program) -> dict[str, str]:
    """The products with a condition, by name."""
    found = {}
    for function in program.functions:
        for part in simple_statements(function.body):
            if isinstance(part, MatMul | OuterProduct) and part.when is not None:
                name = part.names[0] if isinstance(part, MatMul) else part.name
                found[name] = part.when.buffer
    return found


def test_what_waits_for_a_clock() -> None:
    program = planned(scheduled(graph_of(CLOCK)))
    found = conditions(program)
    # Forward W, U and V, U; backward the same transposed (W only for x), and their gradients.
    assert len([name for name in found if name.startswith("h'")]) == 2
    assert len([name for name in found if name.startswith("g'")]) == 2
    assert {"m", "~W", "~V", "~M"} <= found.keys()
    assert "~U" not in found  # its two terms wait for two clocks
    assert len({name.removesuffix("^recomputed") for name in found.values()}) == 3
    assert parse_program(print_program(program)) == program


def test_what_waits_for_the_other_choice() -> None:
    found = conditions(planned(scheduled(graph_of(OTHER))))
    assert {found[name].removesuffix("^recomputed") for name in ("~W", "~V", "~M")} == {"c^not"}
    assert found["~U"].removesuffix("^recomputed") == "c"
    forward = conditions(planned(scheduled(graph_of(OTHER, gradient=False))))
    assert sorted(forward.values()) == ["c", "c^not", "c^not", "c^not"]


@pytest.mark.parametrize("line", NEVER.values(), ids=NEVER)
def test_what_may_be_wanted_at_any_step(line: str) -> None:
    assert not guards(scheduled(graph_of(BODY.format(line), gradient=False)).graph)


def test_a_condition_that_waits_for_the_product_is_none() -> None:
    graph = parse_graph("""rollc graph 1  stage simplified
net turned
axis t

x    = input()                          : float[3] over t, batch
W    = param() {initialiser=zeros}      : float[3, 3]
zero = constant() {value=0.0}           : float
m    = matmul(W, x)                     : float[3] over t, batch
s    = sum(h[t-1])                      : float over t, batch
a    = sum_over(s) {over=[batch]}       : float over t
c    = less(a, zero)                    : bool over t
h    = where(c, m, zero)                : float[3] over t, batch

output h
""")
    assert not guards(graph)
    assert guards(
        graph.with_nodes(
            replace(
                node,
                operation="extent",
                operands=(),
                attributes=(("axis", "t"),),
                type=Type("float", (), ("t",)),
            )
            if node.name == "a"
            else node
            for node in graph.nodes
            if node.name != "s"
        )
    ) == {"m": "c"}


def test_gates_of_one_clock_are_stacked() -> None:
    text = BODY.replace("param W: [H, H]", "param W: [H, H], U: [H, H]")
    for other, products in (("c", 1), ("p > 1.5", 2)):
        line = f"g = where({other}, tanh(U @ x), g[t-1])\nh = g + where(c, tanh(W @ x), h[t-1])"
        program = planned(scheduled(graph_of(text.format(line), gradient=False)))
        parts = [p for f in program.functions for p in simple_statements(f.body)]
        assert sum(isinstance(part, MatMul) for part in parts) == products


@pytest.fixture(
    scope="module", params=[CLOCK, OTHER, FLAT, SHARED], ids=["clock", "other", "flat", "shared"]
)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Graph, Kernel]:
    graph = graph_of(request.param)
    return graph, kernel_of(graph, 8, tmp_path_factory.mktemp("due"))


@pytest.mark.long
@pytest.mark.sampled(8)
@pytest.mark.parametrize("batch", [1, 3, 9])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20])
def test_what_is_left_out_is_not_read(
    made: tuple[Graph, Kernel], steps: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    agrees_in_undefined_memory(*made, steps, batch, monkeypatch)


TWO = """
net two
time s, t
dim H = 2
input x[s]: [H]
param W: [H, H], U: [H, H]
p = where(p[t-1] > 0.5, 0, 1)
h = where(p > 0.5, tanh(W @ x + U @ h[t-1]), h[t-1])
output h
"""
STATIC = TWO.replace("time s, t\n", "").replace("input x[s]", "static input x")
# The choice itself reads the product; and gradients, of what is the same at every step of either.
PICKED = TWO.replace("tanh(W @ x + U @ h[t-1])", "W @ x")
TRAINED = TWO + "target y[t]: [H]\nloss mean(mean(mse(h, y), over t), over s)\n"
SUMMED = TRAINED.replace("W @ x", "W @ (x * (V @ v))").replace(
    "param ", "param v: [H], V: [H, H], "
)


@pytest.mark.parametrize("text", [TWO, STATIC, PICKED, TRAINED, SUMMED])
def test_a_product_that_is_one_for_all_steps_of_a_clock_does_not_wait(text: str) -> None:
    """Along another axis, or for the whole sequence, it is due at any of the steps."""
    graph, _ = read_spec(text, "two.roll")
    case = finite_case(graph, np.random.default_rng(0), Given())
    assert case is not None
    assert not [row for row in passes(case) if row.failed]
