"""The tables in ``docs/systems.md`` have all systems that are held, and measured errors."""

from __future__ import annotations

import re

from rollc.support.resources import CELLS, folder, specs
from tests.reference.errors import FOLDER, PAGE, PLACE, row, table
from tests.reference.systems_table import GROUPS

SYSTEMS = [system for group in GROUPS.values() for system in group]
FIGURES = re.compile(r"\| ([\de-]+) \| ([\de-]+) \|$", re.MULTILINE)


def test_the_page_has_every_system() -> None:
    """`python -m tests.reference.errors` writes it."""
    found = PLACE.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert FIGURES.sub("|  |  |", found[0]) == f"{found[1]}\n{table({})}\n\n{found[2]}"
    figures = [
        figure for pair in FIGURES.findall(found[0]) for figure in pair if "-:" not in figure
    ]
    assert len(figures) == 2 * len(SYSTEMS)
    assert max(map(float, figures)) < 1e-9


def test_rows_name_what_is_there() -> None:
    cells = {f"{CELLS}/{path.stem}" for path in (folder("specs") / CELLS).glob("*.roll")}
    known = {*cells, *specs(), "gated/*", ""}
    assert {system.spec for system in SYSTEMS} <= known
    for system in SYSTEMS:
        for test in system.tests:
            file, name = re.split(r"::|\[", test)[:2]
            text = (PAGE.parents[1] / FOLDER / file).read_text(encoding="utf-8")
            assert f"def {name}(" in text


def test_a_row_has_the_largest_of_its_cases() -> None:
    system = next(system for system in SYSTEMS if system.spec == "cells/mamba")
    test = f"{FOLDER}{system.tests[0]}"
    other = test.replace("[mamba]", "[mamba2]")
    measured = {(test, "values"): 2e-16, (other, "values"): 1.0, (test, "gradients"): 0.0}
    assert row(system, measured).endswith(" | 2e-16 | 0 |")
