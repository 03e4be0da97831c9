"""Every operation of the table: its adjoint is its slope and its kernel its meaning, alone and
inside a cycle; and at the extremes nothing breaks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.driver.pipeline import compiled
from rollc.ir.graph import BATCH, Graph
from rollc.ir.interpreter import interpret
from rollc.ir.operations import OPERATIONS
from rollc.ir.time.causality import check
from rollc.ir.verifier import verify
from rollc.runtime.kernel import Kernel
from rollc.tools.verify import Case as Compared
from rollc.tools.verify import largest_error, slopes
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.operation_cases import CASES, SIZES, Bench, Case, each_case, on_a_bench, values
from tests.helpers.processes import plain_python

Array = NDArray[Any]
Run = Callable[[dict[str, Array]], dict[str, Array]]

LONG = {"s": 60, "t": 60, BATCH: 2}

# Made for any finite score: neither the value nor the slope is ever NaN.
SAFE = (
    *("tanh", "sigmoid", "relu", "softplus", "gelu", "silu", "abs", "sign", "minimum", "maximum"),
    *("clip", "where", "softmax", "log_softmax", "logsumexp", "argmax", "layer_norm", "normal_cdf"),
    *("log_sigmoid", "log_normal_cdf", "normal_density", "normal_ratio"),
    *("floor", "round", "atan", "erf", "erfc", "erf_slope"),
    *("mse", "cross_entropy", "binary_cross_entropy", "logistic_loss"),
)


def test_every_operation_has_its_cases() -> None:
    assert sorted(CASES) == sorted(OPERATIONS)


@pytest.mark.parametrize(("operation", "case"), each_case())
def test_the_adjoint_is_the_slope(operation: str, case: Case) -> None:
    graph = on_a_bench(operation, case, operation)
    assert verify(graph) == []
    assert check(graph).graph is not None
    compared = Compared(graph, values(graph, SIZES), SIZES)
    if operation == "stop":  # its slope is 1, and no gradient passes
        assert not interpret(adjoint(graph), compared.leaves, SIZES)["~stop_alone_0"].any()
        return
    for slope in slopes(compared, np.random.default_rng(1)):
        assert slope.error < 1e-6, slope


def test_the_angle_of_nothing_has_no_slope() -> None:
    bench = Bench()
    bench.alone("angle", "atan2", CASES["atan2"][0])
    derived = adjoint(bench.graph("angle"))
    leaves = values(derived, SIZES)
    leaves |= {name: np.zeros_like(leaves[name]) for name in ("angle_0", "angle_1")}
    found = interpret(derived, leaves, SIZES)
    assert not found["~angle_0"].any() and not found["~angle_1"].any()


@pytest.mark.parametrize("words", [["--first"], pytest.param([], marks=pytest.mark.long)])
def test_every_kernel_is_the_meaning(words: list[str]) -> None:
    """In all ways, run as plain Python."""
    run = plain_python("tests.commands.operation_kernels", *words)
    assert run.returncode == 0, run.stderr[-3000:]


def test_many_operands_make_long_code_and_not_deep_code() -> None:
    case = Case((CASES["max_of"][0].operands[0],) * 400)
    bench = Bench()
    bench.bare("max_of", case)
    source = compiled(bench.graph("many"), "float64").source
    assert len(source) < 400 * 400
    compile(source, "many.py", "exec")


# Compiled: each operation once, on inputs, with cotangents from outside --------------------


KERNELS = 6  # one of all operations takes several times as long to compile


def some_operations(part: int) -> Graph:
    """Operations side by side."""
    bench = Bench()
    for operation in [*CASES][part::KERNELS]:
        bench.bare(operation, CASES[operation][0])
    return bench.graph(f"operations{part}")


@pytest.fixture(scope="module", params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def derived() -> list[Graph]:
    return [adjoint(some_operations(part), "outputs") for part in range(KERNELS)]


@pytest.fixture(scope="module")
def kernel(derived: list[Graph], dtype: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, kernels = tmp_path_factory.mktemp("kernels"), []
    for graph in derived:
        made = compiled(canonicalize(graph), dtype)
        source = folder / f"{graph.name}_{dtype}.py"
        source.write_text(made.source, encoding="utf-8")
        kernels.append(Kernel(made.program, source, dtype))

    def run(leaves: dict[str, Array]) -> dict[str, Array]:
        found = {}
        for one in kernels:
            given = {
                name: array.astype(dtype) if array.dtype.kind == "f" else array
                for name, array in ((name, leaves[name]) for name, _ in one.program.leaves)
            }
            results = one.run(given, LONG, LONG[BATCH], ("primal", "adjoint", "inputs"))
            found |= {f"{sort} {label}": array for (sort, label), array in results.items()}
        return found

    return run


def leaves_of(derived: list[Graph]) -> dict[str, Array]:
    return {name: array for graph in derived for name, array in values(graph, LONG).items()}


def meaning(derived: list[Graph], leaves: dict[str, Array], dtype: str) -> dict[str, Array]:
    found = {}
    for graph in derived:
        arrays = interpret(graph, leaves, LONG, dtype)
        found |= {f"output {label}": arrays[name] for label, name in graph.outputs}
        found |= {f"gradient {label}": arrays[name] for label, name in graph.gradients}
    return found


def drawn_from(derived: list[Graph], pool: list[float], seed: int = 0) -> dict[str, Array]:
    """Leaves whose elements are of the pool; the cotangents are ordinary numbers."""
    random = np.random.default_rng(seed)
    cotangents = {node.name for graph in derived for node in graph.leaves("cotangent")}
    return {
        name: random.choice(pool, array.shape)
        if array.dtype.kind == "f" and name not in cotangents
        else array
        for name, array in leaves_of(derived).items()
    }


@pytest.mark.long
@pytest.mark.sampled(1)
def test_compiled_kernels_are_the_meaning(derived: list[Graph], kernel: Run, dtype: str) -> None:
    leaves = leaves_of(derived)
    for name in ("log_0", "sqrt_0", "power_0"):
        leaves[name] = np.abs(leaves[name]) + 0.1
    expected, found = meaning(derived, leaves, "float64"), kernel(leaves)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        error, _ = largest_error({name: array}, {name: found[name]})
        assert error < (1e-4 if dtype == "float32" else 1e-9), name


@pytest.mark.long
@pytest.mark.sampled(1)
def test_large_scores_give_no_nan(derived: list[Graph], kernel: Run, dtype: str) -> None:
    leaves = drawn_from(derived, [1e4, -1e4, 0.0, 0.5, -0.5])
    for results in (kernel(leaves), meaning(derived, leaves, dtype)):
        for name, array in results.items():
            if name.split(" ")[1].rpartition("_")[0] in SAFE or name.split(" ")[1] in SAFE:
                assert not np.isnan(array).any(), name


@pytest.mark.long
@pytest.mark.sampled(1)
def test_what_is_not_finite_is_the_same_in_kernels(
    derived: list[Graph], kernel: Run, dtype: str
) -> None:
    """NaN in, NaN out, and infinities where the meaning has them."""
    leaves = drawn_from(derived, [np.nan, np.inf, -np.inf, 1e4, -1e4, 0.0, 0.5, -1.5])
    for name, array in leaves.items():
        if name.startswith(("log_det_", "inverse_", "cholesky_")):
            # Whether a singular matrix of numbers is found to be one is a matter of rounding.
            finite = np.isfinite(array).all(axis=(-2, -1), keepdims=True)
            leaves[name] = np.where(finite, np.eye(array.shape[-1]), array)
    expected, found = meaning(derived, leaves, dtype), kernel(leaves)
    tests = (np.isnan, np.isposinf, np.isneginf)
    wrong = [
        (test.__name__, name)
        for name, array in expected.items()
        for test in tests
        if array.dtype.kind == "f" and not np.array_equal(test(found[name]), test(array))
    ]
    assert wrong == []
