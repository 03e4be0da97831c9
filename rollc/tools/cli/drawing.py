"""``draw``: a picture of a graph or a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rollc.drawing.picture import TEXT, suffix_of
from rollc.drawing.picture import draw as drawn
from rollc.driver.stages import Choice
from rollc.ir.text import parse_graph
from rollc.network.diagnosis.stages import OF_KERNELS, drawn_stage
from rollc.tools import files
from rollc.tools.cli import building, effect

if TYPE_CHECKING:
    from rollc.lang.elaboration.expressions import Feed


def draw(
    spec: str,
    output: str,
    stage: str,
    kernel: str | None,
    steps: int | Mapping[str, int] | None,
    every_node: bool,
    opened: tuple[str, ...],
    theme: str,
    sets: Mapping[str, int],
    feed: Feed,
) -> None:
    """Write a picture of a stage, or the text that Graphviz makes one of."""
    suffix = TEXT[0] if output == files.STREAM else suffix_of(output)
    files.check_outputs(output, keep=[spec])
    if stage not in OF_KERNELS:
        effect.refuse(["kernel"], f"on `{stage}`, which is of the network itself")
    if suffix != ".svg" and theme == "auto":
        theme = "light"  # only SVG can follow its reader
    if suffix == ".tex":
        effect.refuse(["theme"], "on TikZ, whose colours are defined in the file")
    read = "graph" if stage == "graph" and steps is None else "checked"
    graph = parse_graph(building.stage_text(spec, sets, Choice(read, feed=feed)))
    shown, grid = drawn_stage(graph, stage, kernel, steps)
    picture = drawn(shown, every_node=every_node, opened=opened or None, theme=theme, steps=grid)
    content = picture.content(suffix)
    if suffix in TEXT:
        files.write_text(output, content.decode())
    else:
        files.write_bytes(output, content)
