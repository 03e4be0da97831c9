"""Where no cotangent arrives, none leaves: what a branch that was not taken holds is nobody's
concern, whatever its value and its slope are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint, seed_name
from rollc.autodiff.window_split import CannotSplit
from rollc.driver.sources import read_spec
from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import BATCH, Graph, Type
from rollc.ir.interpreter import interpret
from rollc.ir.operations import OPERATIONS
from rollc.ir.operations.vectors.linear import over_axes
from rollc.ir.verifier import verify
from rollc.tools.verify.kernels import interpreted
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.forward_gradients import forward_gradients
from tests.helpers.operation_cases import OVER, SIZES, Case, each_case, values
from tests.helpers.processes import plain_python

Array = NDArray[Any]

BAD = (0.0, -1.0, np.inf, -np.inf, np.nan, 1e300)
SLOPED = each_case(lambda each: each.adjoint is not None and each.slope != "constant")


def result_type(operation: str, case: Case) -> Type:
    found = OPERATIONS[operation].infer(case.operands, case.options)
    assert found is not None
    return found


def network(operation: str, case: Case, by_element: bool = False) -> Graph:
    """The operation where a condition holds, as part of what drives a state.

    Each operand is a leaf times a parameter; ``by_element`` has a condition for each element.
    """
    build = Builder()
    operands: list[Value] = []
    for place, type_ in enumerate(case.operands):
        build.prefix = f"given{place}"
        given = _leaf(build, f"x{place}", type_)
        scale = _leaf(build, f"k{place}", Type("float"))
        operands.append(given * scale if type_.kind == "float" else given)
    build.prefix = "r"
    made = build.define("r", operation, tuple(operands), **case.options)
    ok = call("greater", _leaf(build, "ok", Type("float", made.type.shape * by_element, OVER)), 0.0)
    number = call("where", ok, made, 0.0) * _leaf(build, "w", Type("float", made.type.shape))
    number = call("sum", number) if number.type.shape else number
    build.promise("h", Type("float", (), OVER))
    build.define("h", "add", (number, build.read("h", 1, "t") * 0.5))
    build.define("loss", "mean_over", (build.read("h"),), over=OVER)
    graph = Graph("branch", "checked", tuple(build.nodes.values()), (("r", "r"),), "loss")
    assert verify(graph) == []
    return graph


def _leaf(build: Builder, name: str, type_: Type) -> Value:
    if BATCH in type_.axes:
        return build.leaf(name, "input", type_)
    return build.leaf(name, "param", type_, initialiser="zeros")


def taken(operation: str, case: Case) -> Array:
    """Which steps of which sequences are taken: those that an operation joins together."""
    result, over = result_type(operation, case), over_axes(case.options)
    steps, sequences = np.array([1, 0, 0, 1]), np.array([1, 0])
    by_step, by_sequence = (axis in result.axes and axis not in over for axis in ("t", BATCH))
    if by_step and by_sequence:
        return np.array([[1, 0], [0, 1], [1, 1], [0, 0]]) == 1
    if by_step:
        return np.broadcast_to(steps[:, None], (4, 2)) == 1
    return np.broadcast_to(sequences if by_sequence else 0, (4, 2)) == 1


def ordinary(graph: Graph, ok: Array) -> dict[str, Array]:
    """Leaves that suit every operation, and the condition.

    Numbers are from 0.5 to 1, and 2 larger on the diagonal of a square matrix: it is definite.
    """
    leaves = {
        name: 0.5 + 0.45 * np.tanh(np.abs(array)) if array.dtype.kind == "f" else array
        for name, array in values(graph, SIZES).items()
    }
    for name in leaves:
        shape = graph[name].type.shape
        if len(shape) == 2 and shape[0] == shape[1]:
            leaves[name] = leaves[name] + 2 * np.eye(*shape)
    return {**leaves, "ok": np.where(ok, 1.0, -1.0)}


def gradients(derived: Graph, leaves: dict[str, Array]) -> dict[str, Array]:
    with np.errstate(all="ignore"):
        found = interpret(derived, leaves, SIZES)
    return {label: found[name] for label, name in derived.gradients}


def changed(
    leaves: dict[str, Array], names: list[str], where: Array, to: float
) -> dict[str, Array]:
    """Leaves with other numbers at some steps of some sequences, or elements."""
    other = dict(leaves)
    for name in names:
        array = leaves[name]
        place = where.reshape(where.shape + (1,) * (array.ndim - where.ndim))
        other[name] = np.where(place, to, array)
    return other


def varying(case: Case) -> list[str]:
    return [
        f"x{place}"
        for place, type_ in enumerate(case.operands)
        if type_.kind == "float" and type_.axes == OVER
    ]


def sets_of(names: list[str]) -> Iterator[list[str]]:
    yield from ([name] for name in names)
    if len(names) > 1:
        yield names


@pytest.mark.parametrize(("operation", "case"), SLOPED)
def test_a_branch_that_is_not_taken_passes_nothing_on(operation: str, case: Case) -> None:
    graph = network(operation, case)
    ok = taken(operation, case)
    leaves = ordinary(graph, ok)
    derived = canonicalize(adjoint(canonicalize(graph)))
    expected = gradients(derived, leaves)
    assert all(np.isfinite(array).all() for array in expected.values())
    for bad in BAD:
        for names in sets_of(varying(case)):
            found = gradients(derived, changed(leaves, names, ~ok, bad))
            for label, array in expected.items():
                assert np.array_equal(found[label], array), (names, bad, label)


@pytest.mark.parametrize(
    ("operation", "case"), [case for case in SLOPED if OPERATIONS[case.values[0]].elementwise]
)
def test_an_element_that_is_not_taken_passes_nothing_on(operation: str, case: Case) -> None:
    graph = network(operation, case, by_element=True)
    ok = np.random.default_rng(1).random((*taken(operation, case).shape, 3)) < 0.5
    leaves = ordinary(graph, ok)
    derived = canonicalize(adjoint(canonicalize(graph)))
    expected = gradients(derived, leaves)
    names = [name for name in varying(case) if graph[name].type.shape]
    for bad in BAD:
        found = gradients(derived, changed(leaves, names, ~ok, bad))
        for label, array in expected.items():
            assert np.array_equal(found[label], array), (bad, label)


@pytest.mark.parametrize(("operation", "case"), SLOPED)
def test_a_cotangent_of_zero_from_outside_passes_nothing_on(operation: str, case: Case) -> None:
    graph = replace(network(operation, case), loss=None)
    graph = canonicalize(graph)
    derived = canonicalize(adjoint(graph, "outputs"))
    result, ok = graph["r"].type, taken(operation, case)
    seed = np.random.default_rng(2).normal(size=values(derived, SIZES)[seed_name("r")].shape)
    places = tuple(place for place, axis in enumerate(OVER) if axis not in result.axes)
    arrives = ok.any(axis=places)
    seed = seed * arrives.reshape(arrives.shape + (1,) * (seed.ndim - arrives.ndim))
    leaves = {**ordinary(graph, ok), seed_name("r"): seed}
    expected = gradients(derived, leaves)
    for bad in BAD:
        found = gradients(derived, changed(leaves, varying(case), ~ok, bad))
        for label, array in expected.items():
            assert np.array_equal(found[label], array), (bad, label)


@pytest.mark.parametrize(("operation", "case"), SLOPED)
def test_forward_in_time_it_passes_nothing_on_either(operation: str, case: Case) -> None:
    graph = canonicalize(network(operation, case))
    ok = taken(operation, case)
    leaves = ordinary(graph, ok)
    try:
        _, expected = forward_gradients(graph, leaves, SIZES, 3)
    except CannotSplit:
        return
    for bad in BAD:
        with np.errstate(all="ignore"):
            other = changed(leaves, varying(case), ~ok, bad)
            _, found = forward_gradients(graph, other, SIZES, 3)
        for label, array in expected.items():
            assert np.array_equal(found[label], array), (bad, label)


@pytest.mark.parametrize(("operation", "case"), SLOPED)
def test_what_is_taken_still_shows(operation: str, case: Case) -> None:
    graph = network(operation, case)
    ok = taken(operation, case)
    if not ok.any():
        return
    leaves = changed(ordinary(graph, ok), varying(case), ok, np.nan)
    found = gradients(canonicalize(adjoint(canonicalize(graph))), leaves)
    assert not all(np.isfinite(array).all() for array in found.values())


@pytest.mark.long
def test_kernels_pass_nothing_on_either() -> None:
    """Run as plain Python."""
    run = plain_python("tests.commands.masked_kernels")
    assert run.returncode == 0, run.stderr[-3000:]


def test_what_is_also_read_from_outside_gets_all_that_it_should() -> None:
    """A condition decides what its reader passes on, and not what comes from outside."""
    build = Builder()
    x, k = _leaf(build, "x", Type("float", (), OVER)), _leaf(build, "k", Type("float"))
    build.define("n", "tanh", (x * k,))
    picked = call("where", call("greater", x, 0.0), build.read("n"), 0.0)
    build.define("total", "sum_over", (picked,), over=OVER)
    outputs = (("n", "n"), ("total", "total"))
    graph = Graph("two", "checked", tuple(build.nodes.values()), outputs)
    leaves = values(adjoint(graph, "outputs"), SIZES)
    found = [
        gradients(adjoint(graph, "outputs", arriving), leaves) for arriving in ((), ("total",))
    ]
    for label, array in found[0].items():
        np.testing.assert_allclose(found[1][label], array, rtol=1e-12)
    assert (found[0]["x"] != 0).all()


@pytest.mark.parametrize("off", ["relu(a)", "where(a > 0, a, 0)", "maximum(a, 0)", "clip(a, 0, 9)"])
def test_a_layer_that_is_off_passes_nothing_on(off: str) -> None:
    """Where all units of a layer are off, what they are computed from may be infinite.

    That is what the masks of a relu network are for: its slopes are 0 and 1, but those of the
    products behind them are what the products read.
    """
    text = f"""
net off
input x: [2], y: [3]
param W: [3, 3] = 0.1, U: [3, 2] = 0.1
a = W @ h[t-1] + U @ x
h = {off}
loss mean(mse(h, y), over t)
"""
    network = interpreted(read_spec(text, "off.roll")[0])
    data = {"x": np.ones((5, 1, 2)), "y": np.ones((5, 1, 3))}
    data["x"][2] = -np.inf
    _, found = network.value_and_grad(network.init(), data)
    data["x"][2] = -1e9  # as off as that
    _, expected = network.value_and_grad(network.init(), data)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, err_msg=name)


def test_a_deviation_of_zero_passes_nothing_on_for_a_factor_of_zero() -> None:
    text = """
net flat
input x: [3], m
param k = 1
y = layer_norm(k * x, 1, 0, epsilon=0)
loss sum(sum(m * y), over t)
"""
    network = interpreted(read_spec(text, "flat.roll")[0])
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    data = {"x": x, "m": np.ones((4, 2))}
    data["m"][1] = 0.0
    _, expected = network.value_and_grad(network.init(), data)
    data["x"] = x.copy()
    data["x"][1] = 2.0  # elements that are equal
    _, found = network.value_and_grad(network.init(), data)
    np.testing.assert_allclose(found["k"], expected["k"], atol=1e-12)
    assert not found["x"][1].any()
