"""Derivatives in a spec against those of its loss, and against derivatives by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.driver.sources import read_spec
from rollc.entries.forward_mode import hessian_products
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.verifier import verify
from rollc.kernel.passes import lowered
from rollc.transforms.canonicalize import canonicalize

Array = NDArray[Any]
SIZES = {"t": 1, "batch": 1}
HEAD = "net n\ndim N = 3\nparam x: [N], m: [N, N], y: [N], v: [N]\n"

# Numbers that are computed from x, which is between 0.5 and 1.
VALUES = (
    "dot(x, tanh(m @ x))",
    "sum(x ** 3) / sum(y * x) - log_det(m + outer(x, x))",
    "logsumexp(m @ x) + softmax(x)[1]",
    "sum(where(x > y, log(x), exp(x)))",
    "log(x[0] / 0.75) ** 2 + sqrt(x[1]) * x[2]",
    "max(x) * min(x) + sum(maximum(x, y) * x)",
    "norm(x) ** 3 + prod(x)",
    "sum(layer_norm(x, y, x) ** 2)",
    "mse(x * x, y) + huber(x, y) + kl_divergence(x, y)",
    "cross_entropy(x, argmax(y)) * x[0]",
    "sum(concat(x, x * y)[1:5] ** 2)",
    "sum(shift(x, 1) * x + roll(x, -1) * y)",
    "dot(x, inverse(m) @ x) + sum(transpose(m) @ x)",
    "sum(sort(x) * y * x) + cumprod(x)[2] + sum(convolve(x, x) ** 2)",
    "sum((x * expand(x, axis=1)) @ m)",
    "sum([x[0], x[1] * x[2]] ** 2)",
    "clip(x[0], 0.6, 0.9) ** 2 + abs(x[1] - 0.75) * x[0]",
    "sum(erf(x) + lgamma(x) * digamma(x) + atan2(x, y) + gelu(x) + silu(x))",
    "gaussian_nll(x, x * x, y) + poisson_nll(x, y)",
    "mean(x * stop(x)) + mean(floor(3 * x) * x)",
    'sum(einsum("i,j->ij", x, x * y) ** 2) + m[1, 2] * x[1]',
)


def graph_of(text: str) -> Graph:
    graph, _ = read_spec(HEAD + text, "n.roll")
    assert not verify(graph)
    assert parse_graph(print_graph(graph)) == graph
    return graph


def leaves() -> dict[str, Array]:
    random = np.random.default_rng(5)
    m = random.normal(size=(3, 3)) + 3 * np.eye(3)
    x, y = random.uniform(0.5, 1, size=(2, 3))
    return {"x": x, "m": m, "y": y, "v": random.normal(size=3)}


def test_slopes_are_those_of_the_loss() -> None:
    for text in VALUES:
        given = leaves()
        found = interpret(graph_of(f"g = grad({text}, x)\noutput g"), given, SIZES)
        expected = interpret(adjoint(graph_of(f"loss {text}\noutput x")), given, SIZES)
        np.testing.assert_allclose(found["g"], expected["~x"], rtol=1e-11, atol=1e-12, err_msg=text)


def test_slopes_of_slopes_are_products_with_the_hessian() -> None:
    for text in VALUES:
        given = leaves()
        taken = graph_of(f"loss dot(v, grad({text}, x))\noutput x")
        found = interpret(adjoint(taken), given, SIZES)
        products = hessian_products(graph_of(f"loss {text}\noutput x, m, y, v"))
        still = {name: np.zeros_like(array) for name, array in given.items()}
        moved = {f"{name}^dot": array for name, array in (still | {"x": given["v"]}).items()}
        label = dict(products.outputs)["x^dot"]
        expected = interpret(products, given | moved, SIZES)[label]
        np.testing.assert_allclose(found["~x"], expected, rtol=1e-10, atol=1e-11, err_msg=text)
        kernel = lowered(canonicalize(graph_of(f"g = grad({text}, x)\noutput g")))
        plain = interpret(graph_of(f"g = grad({text}, x)\noutput g"), given, SIZES)["g"]
        np.testing.assert_allclose(
            interpret(kernel, given, SIZES)["g"], plain, rtol=1e-12, atol=1e-13, err_msg=text
        )


def value(text: str, **given: Array | float) -> Array:
    graph = graph_of(f"{text}\noutput o")
    arrays = {name: np.asarray(array) for name, array in (leaves() | given).items()}
    return interpret(graph, arrays, SIZES)["o"]


def slope(text: str, name: str = "x", **given: Array | float) -> Array:
    arrays = {key: np.asarray(array) for key, array in (leaves() | given).items()}
    return interpret(adjoint(graph_of(text)), arrays, SIZES)[f"~{name}"]


def test_a_jacobian_has_a_row_for_each_element() -> None:
    x, m = leaves()["x"], leaves()["m"]
    np.testing.assert_allclose(value("o = jacobian(m @ x, x)"), m)
    np.testing.assert_allclose(value("o = jacobian(x * x, x)"), np.diag(2 * x))
    np.testing.assert_allclose(value("o = jacobian(x, x)"), np.eye(3))
    rows = value("o = jacobian([x[0] * x[1], sin(x[2]), 1], x)")
    np.testing.assert_allclose(rows, [[x[1], x[0], 0], [0, 0, np.cos(x[2])], [0, 0, 0]])
    by_matrix = np.einsum("ij,k->ijk", np.eye(3), x)
    np.testing.assert_allclose(value("o = jacobian(m @ x, m)"), by_matrix)
    of_number = "a = x[0]\no = jacobian([a, a * a, sin(a)], a)"
    np.testing.assert_allclose(value(of_number), [1, 2 * x[0], np.cos(x[0])])


def test_a_hessian_is_the_jacobian_of_a_slope() -> None:
    x, m = leaves()["x"], leaves()["m"]
    found = value("o = jacobian(grad(dot(x, m @ x) / 2 + sum(x ** 3), x), x)")
    np.testing.assert_allclose(found, (m + m.T) / 2 + np.diag(6 * x))


def test_where_a_cotangent_happens_to_be_zero_its_slope_is_not() -> None:
    """The logarithm of 1 is 0: its square has the slope 0 there, and that the slope 2."""
    ones = np.ones(3)
    assert (value("o = grad(sum(log(x) ** 2), x)", x=ones) == 0).all()
    np.testing.assert_allclose(slope("loss sum(grad(sum(log(x) ** 2), x))", x=ones), [2, 2, 2])


def test_what_is_not_chosen_passes_nothing() -> None:
    text = "grad(sum(where(x > 0, x * sqrt(x), x * x)), x)"
    x = np.array([0.25, 0.0, -1.0])
    np.testing.assert_allclose(value(f"o = {text}", x=x), [0.75, 0, -2])
    np.testing.assert_allclose(slope(f"loss sum({text})", x=x), [1.5, 2, 2])


def test_two_arguments_of_one_value_are_two() -> None:
    """The derivative in one of them, of a function that is given the same for both."""
    product = "fn f(a, b) = grad(sum(a * a * b), a)\n"
    x = leaves()["x"]
    np.testing.assert_allclose(value(f"{product}o = f(x, x)"), 2 * x * x)
    named = "fn f(a) -> g {\n  g = grad(sum(c * c * a), c)\n  c = a\n}\n"
    np.testing.assert_allclose(value(f"{named}o = f(x)"), 2 * x * x)
    np.testing.assert_allclose(value("c = x\no = grad(sum(c * x), c)"), x)
    np.testing.assert_allclose(value("c = x\no = grad(sum(c * x), x)"), 2 * x)


def test_a_read_with_a_delay_is_a_value_of_its_own() -> None:
    text = "input u\nq = q[t-1] + u\ne = q[t-1] ** 2 * q\n"
    graph = graph_of(f"{text}a = grad(e, q[t-1])\nb = grad(e, q)\nc = grad(e, u)\noutput a, b, c")
    u = np.array([1.0, 2.0, 4.0]).reshape(3, 1)
    found = interpret(graph, leaves() | {"u": u}, {"t": 3, "batch": 1})
    q, before = np.array([1, 3, 7]), np.array([0, 1, 3])
    # The step's own q follows from the one before.
    np.testing.assert_allclose(found["a"].ravel(), 2 * before * q + before**2)
    np.testing.assert_allclose(found["b"].ravel(), before**2)
    np.testing.assert_allclose(found["c"].ravel(), before**2)


def test_each_sequence_and_step_has_a_slope_of_its_own() -> None:
    graph = graph_of("input u: [N]\ng = grad(dot(x, u) ** 2, x)\noutput g")
    u, x = np.random.default_rng(0).normal(size=(4, 2, 3)), leaves()["x"]
    found = interpret(graph, leaves() | {"u": u}, {"t": 4, "batch": 2})["g"]
    np.testing.assert_allclose(found, 2 * (u @ x)[..., None] * u)


def test_too_many_nodes_are_said() -> None:
    layers = "".join(f"a{n + 1} = tanh(V @ a{n})\n" for n in range(40))
    text = f"{HEAD}param V: [200, 200], a0: [200]\n{layers}g = jacobian(a40, a0)\noutput g"
    with pytest.raises(Exception, match="a graph of more than 10000 nodes"):
        read_spec(text, "n.roll")
