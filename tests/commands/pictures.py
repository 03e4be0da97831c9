"""Pictures of all specs that come with rollc, to be looked at.

``python -m tests.commands.pictures FOLDER [--only lstm] [--form png]`` writes the circuit, its
adjoint, both over three steps and the schedule of each, and says what overlaps in one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from rollc.drawing.picture import Picture, draw
from rollc.driver.sources import read_spec
from rollc.ir.graph import Graph
from rollc.network.diagnosis.stages import drawn_stage
from tests.drawing.overlaps import flaws
from tests.helpers.paths import ROOT

SPECS = ROOT / "specs"
SHOWN = (("checked", None), ("adjoint", None), ("dag", 3), ("adjoint", 3), ("schedule", None))


def pictures(graph: Graph, theme: str) -> Iterator[tuple[str, Picture]]:
    """The pictures of a network, with what each shows."""
    for stage, steps in SHOWN:
        shown, grid = drawn_stage(graph, stage, None, steps)
        name = stage if steps is None else f"{stage}-{steps}"
        yield name, draw(shown, theme=theme, steps=grid)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="specs with this in their names")
    parser.add_argument("--form", choices=["svg", "png", "pdf", "tex"], default="svg")
    parser.add_argument("--theme", choices=["auto", "light", "dark"], default="auto")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    written = wrong = 0
    for path in sorted(SPECS.rglob("*.roll")):
        name = str(path.relative_to(SPECS).with_suffix("")).replace("/", "-")
        if path.parent.name == "cells" or arguments.only not in name:
            continue
        graph, _ = read_spec(path.read_text(encoding="utf-8"), path.name)
        for stage, picture in pictures(graph, arguments.theme):
            picture.save(arguments.folder / f"{name}.{stage}.{arguments.form}")
            written += 1
            for flaw in flaws(picture.svg()):
                print(f"{name} {stage}: {flaw}")
                wrong += 1
    print(f"{written} pictures in {arguments.folder}, {wrong} overlaps")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
