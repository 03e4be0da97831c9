"""``python -m tests.commands.document_pictures``: draw the pictures that the documents show."""

from __future__ import annotations

import re

from rollc.drawing.picture import Picture, draw
from rollc.driver.sources import read_spec
from rollc.network.diagnosis.stages import drawn_stage
from tests.helpers.paths import ROOT

FOLDER = ROOT / "docs" / "pictures"
# The page that has the spec, the file of it, the stage, and its steps.
PICTURES = {
    "vanilla": ("README.md", "vanilla.roll", "adjoint", 3),
    "circuit": ("docs/unrolling.md", "small.roll", "checked", None),
    "unrolled": ("docs/unrolling.md", "small.roll", "dag", 3),
    "adjoint": ("docs/unrolling.md", "small.roll", "adjoint", 3),
    "lstm": ("docs/paper-to-spec.md", "lstm.roll", "checked", None),
}


def picture(name: str) -> Picture:
    page, file, stage, steps = PICTURES[name]
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(rf"^```roll {re.escape(file)}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    shown, grid = drawn_stage(read_spec(found[1], file)[0], stage, None, steps)
    return draw(shown, steps=grid)


def main() -> None:
    for name in PICTURES:
        picture(name).save(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
