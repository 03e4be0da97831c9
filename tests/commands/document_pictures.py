"""``python -m tests.commands.document_pictures``: draw the pictures that the documents show."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from rollc.autodiff.truncation import truncate
from rollc.drawing.picture import Picture, draw
from rollc.driver.sources import read_spec
from rollc.entries.stage_graphs import stage_graph
from rollc.ir.graph import Graph
from rollc.ir.traversal import needed
from rollc.lang.elaboration.expressions import Feed
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.paths import ROOT

FOLDER = ROOT / "docs" / "pictures"


@dataclass(frozen=True)
class Shown:
    """The page that has the spec, the file of it, and what of the checked graph is drawn."""

    page: str
    file: str
    drawn: Callable[[Graph], Graph]
    feed: Feed = "taught"


def stage(name: str, steps: int | None = None) -> Callable[[Graph], Graph]:
    return lambda graph: stage_graph(graph, name, None, steps)


def truncated(graph: Graph) -> Graph:
    """Four steps backwards, cut in the middle; what is zero at a step is left out."""
    return canonicalize(stage_graph(truncate(graph, 2), "adjoint", None, 4))


def forwards(graph: Graph) -> Graph:
    """Three steps of the outputs and their derivatives in one direction."""
    found = stage_graph(graph, "dag", "jvp", 3)
    return needed(found, (name for _, name in found.outputs))


UNROLLING = "docs/unrolling.md"
PICTURES = {
    "vanilla": Shown("README.md", "vanilla.roll", stage("adjoint", 3)),
    "circuit": Shown(UNROLLING, "small.roll", stage("checked")),
    "unrolled": Shown(UNROLLING, "small.roll", stage("dag", 3)),
    "adjoint": Shown(UNROLLING, "small.roll", stage("adjoint", 3)),
    "truncated": Shown(UNROLLING, "small.roll", truncated),
    "forwards": Shown(UNROLLING, "small.roll", forwards),
    "taught": Shown(UNROLLING, "letters.roll", stage("dag", 3)),
    "free": Shown(UNROLLING, "letters.roll", stage("dag", 3), feed="free"),
    "lstm": Shown("docs/paper-to-spec.md", "lstm.roll", stage("checked")),
}


def picture(name: str) -> Picture:
    shown = PICTURES[name]
    text = (ROOT / shown.page).read_text(encoding="utf-8")
    block = rf"^```roll {re.escape(shown.file)}\n(.*?)^```$"
    found = re.search(block, text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return draw(shown.drawn(read_spec(found[1], shown.file, feed=shown.feed)[0]))


def main() -> None:
    for name in PICTURES:
        picture(name).save(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
