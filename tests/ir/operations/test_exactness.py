"""Values and slopes, held to arithmetic of forty digits; the bounds are those of the reference.

The interpreter has the formulas of the kernels, so that to compare the two finds no fault of a
formula.  Here each operation, at hundreds of points and at the ends of its range, is held to what
it is (``exact_operations.py``): interpreted, and as compiled code, which is compiled once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint, seed_name
from rollc.driver.pipeline import compiled
from rollc.ir.graph import BATCH, Graph
from rollc.ir.interpreter import interpret
from rollc.ir.operations import OPERATIONS
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.lang.symbols.builtins import functions
from rollc.lang.symbols.library import LIBRARY
from rollc.runtime.kernel import Kernel
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.operation_cases import Bench
from tests.helpers.paths import ROOT
from tests.reference.exact_operations import EXACT, Exact, Number, Pair

Array = NDArray[Any]

TEXT = (ROOT / "grammar" / "README.md").read_text(encoding="utf-8")
SIZES = {"t": 26, BATCH: 16}
COUNT = SIZES["t"] * SIZES[BATCH]
DTYPES = ("float32", "float64")
LEAST = {"silu": 1000}  # smallest normal numbers: what an error has to be to be counted
# What moves or chooses numbers, or rounds once.
MOVES = {
    *("where", "clip", "sign", "outer", "transpose", "embed", "one_hot", "argmax", "concat"),
    "expand",
    *("complex", "real", "imag", "conj", "angle"),
    *("first", "last", "dropout", "sample", "stop", "identity", "count", "any", "all"),
}
SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}


def bounds() -> dict[str, dict[tuple[str, str], tuple[float, str]]]:
    """The table of the reference: for a value or slope and a precision, units and of what."""
    found = {}
    section = TEXT.split("## How exact")[1].split("\n## ")[0]
    for line in re.findall(r"^\| `.*\|$", section, re.MULTILINE):
        names, *cells, _ = (cell.strip() for cell in line.strip("|").split("|"))
        read = [re.fullmatch(r"(\d+)(?: of (1|terms))?", cell) for cell in cells]
        row = {
            (what, dtype): (float(cell[1]), cell[2] or "")
            for (what, dtype), cell in zip(
                ((what, dtype) for what in ("value", "slope") for dtype in DTYPES),
                read,
                strict=True,
            )
            if cell is not None
        }
        for name in re.findall(r"`([^`]*)`", names):
            found[name] = row
    return found


BOUNDS = bounds()


def row_of(operation: str) -> dict[tuple[str, str], tuple[float, str]]:
    if operation in SYMBOLS:
        return BOUNDS[f"a {SYMBOLS[operation]} b"]
    return BOUNDS["A @ B" if operation == "matmul" else operation]


def test_the_table_has_what_is_held_to_it_and_every_function_that_computes() -> None:
    held = {operation for operation in EXACT if row_of(operation)}
    assert len(held) == len(EXACT) == len(BOUNDS)
    assert all(len(row) == 4 for row in BOUNDS.values())
    assert {*functions(), *LIBRARY} - EXACT.keys() == MOVES


def derived(operations: Iterable[str]) -> Graph:
    operations = list(operations)
    bench = Bench()
    for operation in operations:
        if operation in OPERATIONS:
            bench.bare(operation, EXACT[operation].case)
    graph, library = bench.graph("exact"), in_the_language(operations)
    if library is not None:
        outputs = (*graph.outputs, *library.outputs)
        graph = replace(graph, nodes=(*graph.nodes, *library.nodes), outputs=outputs)
    return adjoint(graph, "outputs")


def in_the_language(functions: Iterable[str]) -> Graph | None:
    """Those that the language defines in itself, each with the name of the function."""
    lines = []
    for function in functions:
        if function in LIBRARY:
            names = [f"{function}_{place}" for place in range(len(EXACT[function].operands))]
            for name, type_ in zip(names, EXACT[function].operands, strict=True):
                shape = f"[{type_.shape[0]}]" if type_.shape else "number"
                lines.append(f"input {name}: {shape}")
            lines += [f"{function} = {function}({', '.join(names)})", f"output {function}"]
    if not lines:
        return None
    return load_graph(Source("library", "\n".join(["net library", *lines]))).graph


DERIVED = derived(EXACT)
KERNELS = 6  # one of all operations takes twice as long to compile


class Points:
    """The points of an operation, and what is exact there."""

    def __init__(self, operation: str, exact: Exact, dtype: str) -> None:
        self.operation, self.exact = operation, exact
        kind, rng = np.dtype(dtype).type, np.random.default_rng(0)
        drawn = exact.points(kind, rng)
        self.ordinary = len(drawn)
        points = [*drawn, *(point for point, _, _ in exact.limits)]
        assert len(points) <= COUNT, operation
        self.leaves = {}
        for place, type_ in enumerate(exact.operands):
            column = np.array([point[place] for point in points])
            column = column.astype(np.int64 if type_.kind == "index" else kind)
            self.leaves[f"{operation}_{place}"] = column
        result = DERIVED[operation].type.shape
        self.seeds = rng.choice([0.5, -1.0, 0.75, 1.0], (len(points), *result)).astype(kind)
        if exact.operands[0].shape == ():
            self.seeds[...] = 1
        self.seeds[self.ordinary :] = 1

    def given(self) -> dict[str, Array]:
        """The leaves, with points again and again where there are fewer than places."""
        columns = {**self.leaves, seed_name(self.operation): self.seeds}
        return {
            name: np.resize(column, (COUNT, *column.shape[1:])).reshape(
                *SIZES.values(), *column.shape[1:]
            )
            for name, column in columns.items()
        }

    def sloping(self) -> list[str]:
        """The leaves that have a slope."""
        return [name for name, column in self.leaves.items() if column.dtype.kind == "f"]

    def found(self, results: dict[str, Array], name: str) -> Array:
        """An array of the results, a row for each point."""
        return results[name].reshape(COUNT, -1)

    @cached_property
    def expected(self) -> list[tuple[Sequence[Pair], Sequence[Sequence[Pair]]]]:
        """The value and the slopes at each ordinary point."""
        found = []
        for place in range(self.ordinary):
            operands = [_many(column[place]) for column in self.leaves.values()]
            g = [mpf(float(each)) for each in np.ravel(self.seeds[place])]
            found.append((self.exact.value(*operands), self.exact.slopes(g, *operands)))
        return found


def _many(array: Any) -> Any:
    if array.dtype.kind == "i":
        return int(array)
    if array.ndim == 2:
        return mp.matrix(array.astype(float).tolist())
    return [mpf(float(x)) for x in array] if array.ndim else mpf(float(array))


def units(found: float, pair: Pair, of: str, dtype: str, least: float) -> float:
    """An error in units in the last place; 0 if it is below so many smallest normal numbers."""
    exact, terms = pair
    info = np.finfo(dtype)
    if mp.isnan(exact):
        return 0.0 if np.isnan(found) else float("inf")
    if left(exact, info) and np.isinf(found):
        return 0.0 if (found > 0) == (exact > 0) else float("inf")
    if not np.isfinite(found):
        return float("inf")
    error = abs(mpf(float(found)) - exact)
    if error < least * mpf(float(info.tiny)):
        return 0.0
    size = {"": abs(exact), "1": max(abs(exact), 1), "terms": terms}[of]
    _, exponent = mp.frexp(max(size, mpf(float(info.tiny))))
    return float(error / mpf(2) ** (int(exponent) - info.nmant - 1))


def left(exact: Number, info: Any) -> bool:
    """Whether a number is larger than all, or as large as the largest to rounding."""
    return bool(abs(exact) > float(info.max) * (1 - 8 * mpf(float(info.eps))))


def errors(
    points: Points, results: dict[str, Array], dtype: str
) -> Iterator[tuple[str, float, str]]:
    """The errors of values and slopes, in units, and where they are."""
    row, least = row_of(points.operation), LEAST.get(points.operation, 1)
    names = points.sloping()
    for place, (value, slopes) in enumerate(points.expected):
        at = ", ".join(str(column[place]) for column in points.leaves.values())
        compared = [("value", f"output {points.operation}", value)]
        if not any(left(exact, np.finfo(dtype)) for exact, _ in value):
            # Where a value has left the numbers, what is made of it has too.
            compared += [
                ("slope", f"gradient {name}", slope)
                for name, slope in zip(names, slopes, strict=True)
            ]
        for what, name, pairs in compared:
            of = row[what, dtype][1]
            for found, pair in zip(points.found(results, name)[place], pairs, strict=True):
                error = units(found, pair, of, dtype, least)
                yield what, error, f"{name} at {at}: {found}, not {mp.nstr(pair[0], 12)}"


def wrong_limits(points: Points, results: dict[str, Array]) -> Iterator[str]:
    """Limits that are not met, the numbers among them to the precision of the table."""
    names = points.sloping()
    for number, (point, value, slopes) in enumerate(points.exact.limits, points.ordinary):
        wanted = [(f"output {points.operation}", value)]
        wanted += [(f"gradient {name}", slope) for name, slope in zip(names, slopes, strict=True)]
        for name, numbers in wanted:
            found = points.found(results, name)[number]
            if numbers is None:
                if not np.isfinite(found).all():
                    yield f"{name} at {point}: {found} is not finite"
                continue
            right = np.allclose(found, np.ravel(numbers), rtol=1e-6, atol=1e-7, equal_nan=True)
            if not right:
                yield f"{name} at {point}: {found}, not {numbers}"


@pytest.fixture(scope="module", params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def drawn(dtype: str) -> dict[str, Points]:
    return {operation: Points(operation, exact, dtype) for operation, exact in EXACT.items()}


def given(drawn: dict[str, Points]) -> dict[str, Array]:
    return {name: array for points in drawn.values() for name, array in points.given().items()}


@pytest.fixture(scope="module")
def interpreted(drawn: dict[str, Points], dtype: str) -> dict[str, Array]:
    arrays = interpret(DERIVED, given(drawn), SIZES, dtype)
    found = {f"output {label}": arrays[name] for label, name in DERIVED.outputs}
    return found | {f"gradient {label}": arrays[name] for label, name in DERIVED.gradients}


@pytest.fixture(scope="module")
def run(
    drawn: dict[str, Points], dtype: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Array]:
    found, folder = {}, tmp_path_factory.mktemp("kernels")
    for part in range(KERNELS):
        some = {operation: drawn[operation] for operation in [*drawn][part::KERNELS]}
        made = compiled(canonicalize(derived(some)), dtype)
        source = folder / f"exact_{dtype}_{part}.py"
        source.write_text(made.source, encoding="utf-8")
        kernel = Kernel(made.program, source, dtype)
        phases = ("primal", "adjoint", "inputs")
        results = kernel.run(given(some), SIZES["t"], SIZES[BATCH], phases)
        found |= {f"{sort} {label}": array for (sort, label), array in results.items()}
    return found


RUN = pytest.param("run", marks=(pytest.mark.long, pytest.mark.sampled(1)))  # in one precision


@pytest.mark.long
@pytest.mark.parametrize("way", ["interpreted", RUN])
def test_errors_are_within_the_bounds_of_the_reference(
    way: str, drawn: dict[str, Points], dtype: str, request: pytest.FixtureRequest
) -> None:
    results = request.getfixturevalue(way)
    beyond = []
    for operation, points in drawn.items():
        worst = {"value": (0.0, ""), "slope": (0.0, "")}
        for what, error, where in errors(points, results, dtype):
            worst[what] = max(worst[what], (error, where))
        for what, (error, where) in worst.items():
            if error > row_of(operation)[what, dtype][0]:
                beyond.append(f"{operation}, {what}: {error:.1f} units; {where}")
    assert beyond == []


@pytest.mark.parametrize("way", ["interpreted", RUN])
def test_limits_are_what_they_are(
    way: str, drawn: dict[str, Points], request: pytest.FixtureRequest
) -> None:
    results = request.getfixturevalue(way)
    assert [text for points in drawn.values() for text in wrong_limits(points, results)] == []
