"""Random programs of the whole language: some of them now, and that they have all there is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollc.driver.sources import read_spec
from rollc.lang.symbols.builtins import (
    DERIVATIVES,
    ENDS,
    MOVED,
    OVER_TIME,
    SHAPED,
    SYMBOLS,
    functions,
)
from rollc.lang.symbols.library import LIBRARY
from tests.helpers.paths import ROOT

pytest.importorskip("torch", reason="programs are held to PyTorch: pip install .[torch]")

from tests.commands.random_programs import language as la
from tests.commands.random_programs.features import FORMS, features
from tests.commands.random_programs.generate import Writer, generate
from tests.commands.random_programs.language import Call, Float, Name, Number
from tests.commands.random_programs.library import files_of_cells
from tests.commands.random_programs.writing.scope import Settings

COUNT = 10
W, X = Name("w"), Name("x")


def test_some_programs_mean_what_they_say(tmp_path: Path) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.commands.random_programs",
            "--count",
            str(COUNT),
            "--seed",
            "100000",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "ROLLC_CACHE": str(tmp_path)},
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = int(run.stdout.rsplit("\n", 2)[-2].split()[0])
    assert passed >= COUNT * 0.9, run.stdout


@pytest.fixture(scope="module")
def programs() -> list[tuple[la.Program, Settings]]:
    return [generate(seed) for seed in range(700)]


def test_programs_have_every_operation_and_every_form(
    programs: list[tuple[la.Program, Settings]],
) -> None:
    found = set[str]().union(*(features(*each) for each in programs))
    wanted = {
        f"`{name}`"
        for name in (
            *(*functions(), *LIBRARY, *SHAPED, *MOVED, *DERIVATIVES, *SYMBOLS),
            *("split", "neg", "[]"),
        )
    }
    wanted |= {
        "`einsum",
        "`reshape`",
        "`stack`",
    }
    wanted |= {"`along` over", "`softmax` axis", "`norm` axis", "`top_k` k axis"}
    wanted |= {f"`{name}` over" for name in (*OVER_TIME, *ENDS)}
    found |= {" ".join(name.split()[:1]) for name in found if name.startswith("`")}
    assert not wanted - found
    assert not FORMS - found
    assert not {f"cell {name} of the library" for name in files_of_cells()} - found


def test_programs_are_computed_in_every_way() -> None:
    from tests.commands.random_programs.compare import WAYS, ways_of

    assert {way for seed in range(200) for way in ways_of(settings(seed=seed))} == {*WAYS}


@pytest.mark.long
def test_cells_in_cells_tell_their_axis_wherever_there_are_two(
    programs: list[tuple[la.Program, Settings]],
) -> None:
    seen = 0
    for program, settings in programs:
        if {"two axes", "cell in a cell"} <= features(program, settings):
            read_spec(la.text(program), "random.roll", settings.sets, settings.feed)
            seen += 1
    assert seen > 20


def test_what_a_cell_defines_hides_no_size_that_it_reads() -> None:
    for seed in range(1500):
        writer = Writer(seed)
        writer.numbers()
        writer.own_cell()
        sizes = {*writer.dims, *writer.consts}
        for cell in (each for each in writer.statements if isinstance(each, la.Cell)):
            own = {
                name
                for part in cell.body
                for name in (part.names if isinstance(part, la.Equation) else (part.name,))
            }
            assert not own & sizes, seed


def test_an_input_that_a_cell_reads_along_its_axis_has_to_run_over_it() -> None:
    for seed in range(600):
        writer = Writer(seed)
        writer.own_cell()
        (cell,) = (each for each in writer.statements if isinstance(each, la.Cell))
        reads = any(
            isinstance(part, Name) and part.name == "x" and (part.delay or part.marked)
            for statement in cell.body
            for value in la.expressions(statement)
            for part in la.walk(value)
        )
        assert writer.uses[-1].delayed_input or not reads, seed


def settings(**options: Any) -> Settings:
    plain = Settings({}, "taught", None, False, {"t": 4}, 2, 0)
    return replace(plain, **options)


def number(name: str, value: la.Expression) -> la.Equation:
    return la.Equation((name,), value, (Float(),))


def over_steps(name: str) -> la.Loss:
    return la.Loss(Call("mean", (Name(name),), over="t"))


def test_the_side_of_feed_that_is_not_taken_has_its_parameters() -> None:
    from tests.commands.random_programs.compare import run

    cell = la.Cell(
        "cell", ("x",), (("H", None),), ("h",), (la.Param("w"), number("h", Call("*", (W, X))))
    )
    use = Call("cell", (Name("x"),), sizes=(("H", Number(1)),), types=(Float(),))
    program = la.Program(
        (
            la.Input("x", Float()),
            cell,
            number("v", Call("feed", (use, Name("x")))),
            over_steps("v"),
            la.Output(("v",)),
        )
    )
    for feed in ("taught", "free"):
        assert run(program, settings(feed=feed), ["interpreter"]) > 0


def test_numbers_that_are_equal_by_luck_decide_nothing() -> None:
    from tests.commands.random_programs.compare import Unsure, run

    def decided(by: la.Expression, symbol: str, other: la.Expression) -> la.Program:
        choice = Call("where", (Call(symbol, (by, other)), X, W))
        m = Call("tanh", (Call("+", (W, Name("m", 2))),))
        return la.Program(
            (
                la.Input("x", Float()),
                la.Param("w", (), "0.5"),
                number("m", m),  # m[0] and m[1] are equal, and rounded as a kernel likes
                number("v", choice),
                over_steps("v"),
                la.Output(("v",)),
            )
        )

    m, before = Name("m"), Name("m", 1)
    for by, symbol, other in ((m, "==", m), (Call("relu", (X,)), ">", Number(0)), (X, "<", W)):
        assert run(decided(by, symbol, other), settings(), ["interpreter"]) > 0
    for symbol in ("==", "!=", "<", ">="):
        with pytest.raises(Unsure, match="from a border"):
            run(decided(m, symbol, before), settings(), ["interpreter"])
