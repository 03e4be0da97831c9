"""``report``: one page of every stage, and of what flowed on a user's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rollc.driver.artefact import checked_graph
from rollc.driver.sources import read_spec
from rollc.ir.graph import Graph
from rollc.tools import console, files
from rollc.tools.cli import effect, sources
from rollc.tools.cli.data_commands.tracing import flows_of, read_files, verdicts
from rollc.tools.cli.options import READING
from rollc.tools.report.collect import stages
from rollc.tools.report.page import page
from rollc.training.runs.run_folder import RunFolder, is_run


def report(spec: str, output: str, kernel: str | None, unroll: int, **given: Any) -> None:
    """Write the report of a spec, an artefact or a run."""
    files.check_outputs(output, keep=read_files(spec, **given), endings=[".html"])
    if given["inputs"] is None:
        effect.refuse(["params", "seed", "steps", *READING], "without `--inputs`")
    with console.waiting(f"compiling {spec}"):
        text, graph = _read(spec, given["sets"], given["feed"])
        found = stages(text, graph, kernel, unroll)
    flows = flows_of(spec, (), **given) if given["inputs"] is not None else ()
    files.write_text(output, page(graph.name, found, flows, verdicts(flows)))


def _read(spec: str, sets: dict[str, int], feed: Any) -> tuple[str, Graph]:
    """The text of a spec and its checked graph, from wherever they are."""
    folder = RunFolder(Path(spec)).network if is_run(Path(spec)) else Path(spec)
    if files.is_artefact(str(folder)):
        manifest = sources.open_artefact(str(folder), sets, "float32", feed)
        texts = manifest.entry("stages", dict)
        return manifest.text(texts.get("spec", texts["checked"])), checked_graph(manifest)
    source = sources.read_source(spec)
    return source.text, read_spec(source.text, source.name, sets, feed)[0]
