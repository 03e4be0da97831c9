"""Every spec that comes with rollc: what it says is what its kernels compute."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rollc
from rollc.driver.sources import read_spec
from rollc.ir.operations import OPERATIONS
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.support.resources import specs
from rollc.tools.verify import Row, verify
from rollc.tools.verify.kernels import variants
from tests.commands.plain_kernels import failures

SPECS = specs()
SMALL = {"D": 3, "H": 5, "K": 4, "S": 4, "V": 6, "N": 5}  # the sizes that specs share
COMPILED = ("gru", "sequences/labels", "delays/biquad")
WAYS = ("kernels", "variants", "checkpointed")  # of calling a network; it takes each a minute
PARTS = 3  # of the variants, which are the most
PROCESSES = 12  # that the specs are shared out to


def text_of(name: str) -> str:
    return SPECS[name].read_text(encoding="utf-8")


def small(name: str) -> dict[str, int]:
    graph, _ = read_spec(text_of(name), name)
    return {size: SMALL[size] for size, _ in graph.dims if size in SMALL}


def test_the_systems_are_there() -> None:
    assert {"lstm", "gru", "sunspots"} <= SPECS.keys()
    assert len(SPECS) > 12


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_is_clean(name: str) -> None:
    read = load_graph(Source(name, text_of(name)))
    assert read.diagnostics == ()
    assert read.graph is not None
    assert read.graph.outputs
    assert read.graph.loss is not None


@pytest.mark.long
@pytest.mark.sampled(2)
@pytest.mark.parametrize("part", range(PROCESSES))
def test_every_stage_of_a_spec_means_the_same(part: int, tmp_path: Path) -> None:
    """With kernels that run as plain Python; `tests/reference/systems/` compiles them."""
    names = [*SPECS][part::PROCESSES]
    assert failures({str(SPECS[name]): small(name) for name in names}, tmp_path) == ""


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("ways", "part"),
    [(ways, part) for ways in WAYS for part in range(PARTS if ways == "variants" else 1)],
)
@pytest.mark.parametrize("name", COMPILED)
def test_every_compiled_kernel_means_the_same(
    name: str, ways: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in {*WAYS} - {ways}:
        monkeypatch.setattr(f"rollc.tools.verify.{other}", lambda *_: [])
    if ways == "variants":
        monkeypatch.setattr("rollc.tools.verify.variants", partial(some_variants, part))
    text, dtypes = text_of(name), ("float64",)
    rows = verify(text, f"{name}.roll", sets=small(name), dtypes=dtypes, compile_all=True)
    assert [row for row in rows if not row.passed] == []
    found = {row.what.split(",")[0] for row in rows if row.what.endswith(", float64")}
    assert len(found) > 2  # those of so many steps are in each


def some_variants(part: int, *given: Any) -> list[Row]:
    """Each third one; the others are rows that pass."""
    numbers, names = count(), variants.__globals__
    compare = names["compare"]

    def some(*given: Any) -> Row:
        return compare(*given) if next(numbers) % PARTS == part else Row("left out", 0.0, 1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(names, "compare", some)
        return variants(*given)


def test_verify_finds_a_wrong_adjoint(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(OPERATIONS["tanh"], adjoint=lambda g, y, x: [g * (1.001 - y * y)])
    monkeypatch.setattr("rollc.autodiff.adjoint.OPERATIONS", {**OPERATIONS, "tanh": wrong})
    rows = verify(text_of("sequences/labels"), sets={"H": 3}, dtypes=())
    assert "adjoint, central differences" in {row.what for row in rows if not row.passed}


def test_a_row_passes_up_to_its_tolerance() -> None:
    assert Row("it", 1e-9, 1e-9).passed
    assert not Row("it", 1.1e-9, 1e-9).passed
    assert not Row("it", float("nan"), 1e-9).passed


def test_data_without_finite_results_is_said() -> None:
    text = "net never\ninput x\ny = log(-1 - x ** 2)\noutput y\nloss mean(y, over t)\n"
    with pytest.raises(rollc.InputError, match="no finite results"):
        verify(text)


@pytest.mark.long
def test_a_spec_trains() -> None:
    """The biquad finds the filter that its sound went through."""
    network = rollc.build(SPECS["delays/biquad"], dtype="float64")
    random = np.random.default_rng(0)
    sound = random.normal(size=200)
    wanted = {name: np.asarray(value) for name, value in FILTER.items()}
    heard = network.forward(wanted, {"x": sound})["y"]
    data = {"x": sound, "heard": heard}
    losses = rollc.fit(network, data, rate=0.02, epochs=400).curve()
    assert losses[-1] < 1e-3 * losses[0]


FILTER = {"b0": 0.4, "b1": 0.3, "b2": -0.2, "p": -0.5, "q": 0.6}


def test_the_biquad_is_the_filter_of_the_book() -> None:
    """Against the difference equation, a sample at a time."""
    network = rollc.build(SPECS["delays/biquad"], dtype="float64")
    sound = np.random.default_rng(1).normal(size=50)
    found = network.forward({name: np.asarray(v) for name, v in FILTER.items()}, {"x": sound})
    b0, b1, b2 = (FILTER[name] for name in ("b0", "b1", "b2"))
    a2 = np.tanh(FILTER["q"])
    a1 = (1 + a2) * np.tanh(FILTER["p"])
    x, y = np.concatenate([[0, 0], sound]), np.zeros(52)
    for t in range(2, 52):
        y[t] = b0 * x[t] + b1 * x[t - 1] + b2 * x[t - 2] - a1 * y[t - 1] - a2 * y[t - 2]
    np.testing.assert_allclose(found["y"], y[2:], atol=1e-12)


def test_the_data_say_where_they_are_from() -> None:
    folder = Path(SPECS["lstm"]).parent / "data"
    sources = (folder / "README.md").read_text(encoding="utf-8")
    for file in folder.iterdir():
        assert f"`{file.name}`" in sources or file.name == "README.md"
