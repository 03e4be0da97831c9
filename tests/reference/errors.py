"""Measure how far systems are from what they are held to, for the table in ``docs/systems.md``.

    python -m tests.reference.errors

runs their tests, interpreted in float64, and writes what was found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from tests.helpers.agreement import MEASURED, Kind
from tests.helpers.paths import ROOT
from tests.reference.systems_table import GROUPS, System

FOLDER = "tests/reference/"
PAGE = ROOT / "docs" / "systems.md"
HEAD = """\
| system | spec | held to | values | gradients |
| --- | --- | --- | ---: | ---: |"""
PLACE = re.compile(r"(<!-- systems: .* -->\n).*(<!-- end of systems -->)", re.DOTALL)


def table(measured: Mapping[tuple[str, Kind], float]) -> str:
    """The tables of all groups; a system without a measurement has none in its row."""
    parts = []
    for group, systems in GROUPS.items():
        rows = [row(system, measured) for system in systems]
        parts.append("\n".join([f"### {group}\n", HEAD, *rows]))
    return "\n\n".join(parts)


def row(system: System, measured: Mapping[tuple[str, Kind], float]) -> str:
    kinds: tuple[Kind, ...] = ("values", "gradients")
    largest = [
        [far for (test, of), far in measured.items() if of == kind and is_of(test, system)]
        for kind in kinds
    ]
    figures = [f"{max(found):.0e}".replace("0e+00", "0") if found else "" for found in largest]
    spec = f"`{system.spec}`" if system.spec else "in the test"
    held_to = f"{system.held_to}: `{system.tests[0].partition('::')[0].rpartition('/')[2]}`"
    return f"| {' | '.join([system.name, spec, held_to, *figures])} |"


def is_of(test: str, system: System) -> bool:
    name, *cases = re.split(r"[][-]", test.removeprefix(FOLDER))
    wanted = [re.split(r"[][]", one) for one in system.tests]
    return any(name == own and set(case) <= {*cases, ""} for own, *case in wanted)


def main() -> None:
    files = {
        FOLDER + system.tests[0].partition("::")[0] for group in GROUPS.values() for system in group
    }
    chosen = "not numba and not compiled and not float32"
    options = ["-q", "-p", "no:xdist", "-m", "long or not long", "--sample", "all", "-k", chosen]
    if pytest.main([*options, *sorted(files)]):
        raise SystemExit("a test failed: nothing is written")
    text = PAGE.read_text(encoding="utf-8")
    whole = PLACE.sub(lambda found: f"{found[1]}\n{table(MEASURED)}\n\n{found[2]}", text)
    PAGE.write_text(whole, encoding="utf-8")


if __name__ == "__main__":
    main()
