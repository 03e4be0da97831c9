"""Broadcasting: values and shapes are NumPy's, and kernels hold no copy of what is broadcast."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.backends.registry import backend
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph, Type
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.verifier import verify
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.text import print_program
from rollc.lang.inference.broadcasting import broadcast

Array = NDArray[Any]

SHAPES = ((), (1,), (3,), (2, 1), (1, 3), (2, 3), (1, 1), (4, 1, 3), (4, 2, 1))
HEAD = (
    "net n\ndim N = 3, M = 4\ninput x: [N], y: [M], u\nparam m: [N, M], c: [N, 1], r: [2, N, M]\n"
)


def graph_of(*lines: str) -> Graph:
    graph, _ = read_spec("\n".join([HEAD, *lines, "output o"]), "n.roll")
    assert verify(graph) == []
    assert parse_graph(print_graph(graph)) == graph
    return graph


@pytest.mark.parametrize(("a", "b"), [*product(SHAPES, SHAPES)])
def test_two_shapes_broadcast_as_in_numpy(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        assert broadcast(a, b) is None
        return
    assert broadcast(a, b) == expected
    shapes = [", ".join(map(str, shape)) for shape in (a, b)]
    sizes = [f": [{text}]" if text else "" for text in shapes]
    text = f"net n\nparam a{sizes[0]}, b{sizes[1]}\nd = a - b\ne = where(a > b, a, b)\n"
    graph, _ = read_spec(f"{text}f = where(a > 0, b, 2)\noutput d, e, f", "n.roll")
    assert verify(graph) == []
    random = np.random.default_rng(0)
    given = {"a": random.normal(size=a), "b": random.normal(size=b)}
    found = interpret(graph, given, {"t": 1, "batch": 1})
    assert found["d"].shape == expected
    np.testing.assert_array_equal(found["d"], given["a"] - given["b"])
    np.testing.assert_array_equal(found["e"], np.maximum(given["a"], given["b"]))
    np.testing.assert_array_equal(found["f"], np.where(given["a"] > 0, given["b"], 2))


@pytest.mark.parametrize(
    ("lines", "shape"),
    [
        (["o = o[t-1] * y + outer(x, y)"], (3, 4)),
        (["o = c * o[t-1] + outer(x, y)"], (3, 4)),
        (["o = tanh(o[t-1] + x) * expand(y, axis=1)"], (4, 3)),
        (["o = 0.5 * o[t-1] + y", "init o = zeros(N, M)"], (3, 4)),
        (["o = 0.5 * o[t-1] + y", "init o = m"], (3, 4)),
        (["o = 0.5 * o[t-3] + y", "init o = m"], (4,)),  # a row for each step
        (["o: [N, M] = c * o[t-1] + y"], (3, 4)),
        (["o = p * y", "p = c * o[t-1] + m"], (3, 4)),
        (["o = where(u > 0, o[t-1], r) - y"], (2, 3, 4)),
        (["W = m @ transpose(m)", "o = 0.5 * (W @ o[t-1]) * u + x"], (3,)),
        (["o = concat(o[t-1][0:1], x[1:]) * ones(1)"], (3,)),
    ],
)
def test_a_cycle_has_the_shape_that_its_operands_broadcast_to(
    lines: list[str], shape: tuple[int, ...]
) -> None:
    assert graph_of(*lines)["o"].type.shape == shape


@pytest.mark.parametrize(
    ("a", "b"),
    [((1, 1), (2, 1, 1)), ((2, 3, 1), (1,)), ((2, 1, 1), (1, 1)), ((1, 1, 1), (2, 1, 4))],
)
def test_a_factor_of_one_element_stays_a_matrix_or_a_vector(
    a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    text = f"net n\nparam a: {[*a]}, b: {[*b]}\no = a @ b\np = a * b + sum(a @ b)\noutput o, p"
    graph, _ = read_spec(text, "n.roll")
    assert verify(graph) == []
    random = np.random.default_rng(0)
    given = {"a": random.normal(size=a), "b": random.normal(size=b)}
    found = interpret(graph, given, {"t": 1, "batch": 1})
    product = given["a"] @ given["b"]
    np.testing.assert_allclose(found["o"], product, rtol=1e-15)
    np.testing.assert_allclose(found["p"], given["a"] * given["b"] + product.sum(), rtol=1e-15)


def test_a_matrix_that_is_multiplied_may_be_declared() -> None:
    graph = graph_of("o: [N, M] = tanh((m @ transpose(m) @ o[t-1]) * y)")
    assert graph["o"].type == Type("float", (3, 4), ("t", "batch"))


def test_what_is_broadcast_is_in_no_buffer() -> None:
    graph = graph_of("o = tanh(o[t-1] * y + expand(x, axis=1) * m)", "loss mean(sum(o), over t)")
    program = planned(scheduled(kernel_graphs(graph)["gradient"]()))
    copies = {node.name for node in graph.nodes if node.operation == "expand"}
    assert copies and not copies & {buffer.name for buffer in program.buffers}
    source = backend("numba").emit(program, "float64")
    assert "% " not in source and "//" not in source.split("kernel\n")[1]


def test_what_parameters_alone_broadcast_to_is_computed_once() -> None:
    graph = graph_of("o = o[t-1] * u + c * range(M) + m[1:2] * eye(M)[0:N]")
    program = planned(scheduled(kernel_graphs(graph)["forward"]()))
    (function,) = program.functions
    text = print_program(replace(program, functions=(replace(function, body=()),)))
    assert all(f"operation={name}" in text for name in ("expand", "range", "eye", "slice"))
