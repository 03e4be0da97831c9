"""Complex values as pairs: the kernels are those of a pair written by hand, up to names."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from rollc.driver.build import build_source
from rollc.driver.stages import Choice, of_spec
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph

COMPLEX = """
net layer
dim N = 32, D = 8, K = 5
input u: [D]
target y: [K]
param l: complex[N] = complex(0.5, 0.1), B: complex[N, D], C: complex[K, N]
h = l * h[t-1] + B @ u
o = real(C @ h)
output o
loss mean(mse(o, y), over t)
"""
BY_HAND = """
net layer
dim N = 32, D = 8, K = 5
input u: [D]
target y: [K]
param l_re: [N], l_im: [N], B_re: [N, D], B_im: [N, D], C_re: [K, N], C_im: [K, N]
h_re = l_re * h_re[t-1] - l_im * h_im[t-1] + B_re @ u
h_im = l_re * h_im[t-1] + l_im * h_re[t-1] + B_im @ u
o = C_re @ h_re - C_im @ h_im
output o
loss mean(mse(o, y), over t)
"""


class Renamed(ast.NodeTransformer):
    """Gives all names numbers, in the order in which they appear."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def number(self, name: str) -> str:
        return self.names.setdefault(name, f"n{len(self.names)}")

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.number(node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(self.number(node.arg))


def kernel(spec: str, of: str) -> str:
    source = of_spec(spec, "layer.roll", {}, Choice("kernel", kernel=of, backend="numba"))
    code = ast.parse(source)
    functions = [node for node in code.body if isinstance(node, ast.FunctionDef)]
    return "\n".join(ast.unparse(Renamed().visit(function)) for function in functions)


@pytest.mark.parametrize("of", ["forward", "gradient"])
def test_a_diagonal_state_has_the_kernel_of_a_pair(of: str) -> None:
    assert kernel(COMPLEX, of) == kernel(BY_HAND, of)


LEAPFROG = """
net oscillators
dim N = 32
input x: [N]
param pace: [N] = 1
z: complex[N] = complex(real(z[t-1]) - pace * imag(z), imag(z[t-1]) + pace * real(z[t-1]) + x)
slope = grad(sum(real(z) ** 2), x)
output slope
loss mean(sum(real(z)), over t)
"""
LEAPFROG_BY_HAND = """
net oscillators
dim N = 32
input x: [N]
param pace: [N] = 1
z_re = z_re[t-1] - pace * z_im
z_im = z_im[t-1] + pace * z_re[t-1] + x
slope = grad(sum(z_re ** 2), x)
output slope
loss mean(sum(z_re), over t)
"""


def test_a_cycle_that_breaks_up_in_the_parts_is_none() -> None:
    """The real part at a step reads the imaginary one, and that no part of the step."""
    x = np.random.default_rng(0).normal(size=(5, 2, 32))
    found = []
    for text in (LEAPFROG, LEAPFROG_BY_HAND):
        network, _ = build_source(text, dtype="float64", backend="reference")
        loss, slopes = network.value_and_grad(network.init(0), {"x": x})
        found.append([loss, slopes["pace"], network.forward(network.init(0), {"x": x})["slope"]])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_cycle_in_the_parts_is_one() -> None:
    """Beside one that breaks up, which is not said to be one."""
    lines = ["z = complex(imag(z), x)", "v = complex(imag(v), real(v) + x)", "w = conj(w) + x"]
    text = "\n".join(["net n", "input x: [3]", *lines, "output z, v, w"])
    found = load_graph(Source("test.roll", text)).diagnostics
    assert [(item.code, item.notes) for item in found] == [
        ("R301", ("`v` reads `v`",)),
        ("R301", ("`w` reads `w`",)),
    ]


def graph_of(text: str) -> str:
    read = load_graph(Source("test.roll", text))
    assert read.graph is not None, read.diagnostics
    assert verify(read.graph) == []
    assert parse_graph(print_graph(read.graph)) == read.graph
    return print_graph(read.graph)


@pytest.mark.parametrize(
    "lines",
    [
        # Parts of other axes and shapes than the value: of one step, of one sequence, numbers.
        "param p: [3]\nz = complex(x, p)",
        "param p: [3]\nz = complex(p, x)",
        "z = complex(1, x) + complex(x, 2)",
        "z: complex[3] = x",
        "z: complex[3] = 0.5 * z[t-1] + x\ninit z = 1",
        "param s: complex[3]\nz = 0.5 * z[t-1] * s + x\ninit z = s",
        "param s: complex[2, 3]\nz: complex[3] = 0.5 * z[t-2] + x\ninit z = s",
        "z: complex[3] = 0.5 * z[t-1] + x\nreset z when sum(x) > 1",
        "z: complex[3] = z[t-1] + x\ninit z = complex(1, 2)\nreset z when sum(x) > 1",
        "v = complex(x, 1)\nz = v[t-1] * v\ninit v = last(v)",
        "z = feed(stop(w[t-1]), y)\nw = z + x\ntarget y: complex[3]",
        "a, b = split(concat(complex(x, x), x), 2)\nz = a * b",
        "fn f(v) -> w {\n a = v * v\n w = a + conj(v)\n}\nz = f(complex(x, 1))",
        "cell c(v; H) -> s {\n param a: complex[H]\n s = a * s[t-1] + v\n}\nz = c(c(x; H=3); H=3)",
        "z = complex(x, 0) * complex(0, 1) * complex(2, 3) * conj(complex(x, x))",
        "z = exp(real(complex(x, 1)) + imag(complex(1, x)) + angle(x) + conj(x)) + abs(x)",
    ],
)
def test_what_is_expanded_is_a_graph(lines: str) -> None:
    graph_of(f"net test\ninput x: [3]\n{lines}\noutput z\n")


def test_free_running_reads_both_parts() -> None:
    text = """
    net test
    input x: [3]
    target y: complex[3]
    z = feed(w[t-1], y[t-1])
    w = z * complex(1, 1) + x
    output w
    """
    for feed in ("taught", "free"):
        read = load_graph(Source("test.roll", text), feed=feed)
        assert read.graph is not None
        assert verify(read.graph) == []
        reads = {(edge.source, edge.delay) for node in read.graph.nodes for edge in node.operands}
        assert (("y're", 1) in reads) == (("y'im", 1) in reads) == (feed == "taught")
        assert {("w're", 1), ("w'im", 1)} <= reads  # taught, for a state to run free from
