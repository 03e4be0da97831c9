"""The texts of the stages of a small spec, for golden files and for the hash seeds.

``python -m tests.helpers.stage_texts SPEC`` prints them one after the other.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rollc.autodiff.adjoint import adjoint
from rollc.drawing.picture import draw
from rollc.ir.graph import Graph
from rollc.ir.text import print_graph
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.unroll import unroll

STEPS = 3


def stages(path: Path) -> dict[str, Graph]:
    """The stages in their order; the DAG is that of the adjoint."""
    read = load_graph(Source(path.name, path.read_text(encoding="utf-8")))
    assert read.graph is not None, read.diagnostics
    simplified = canonicalize(read.graph)
    gradients = canonicalize(adjoint(simplified))
    return {
        "checked": read.graph,
        "simplified": simplified,
        "adjoint": gradients,
        "dag": canonicalize(unroll(gradients, STEPS)),
    }


def texts(path: Path) -> dict[str, str]:
    """The text of each stage, and the pictures of the first and the last."""
    found = stages(path)
    written = {f"{stage}.txt": print_graph(graph) for stage, graph in found.items()}
    written["checked.dot"] = draw(found["checked"]).dot()
    written["dag.dot"] = draw(found["dag"]).dot()
    return written


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(*texts(Path(path)).values(), sep="\n")
