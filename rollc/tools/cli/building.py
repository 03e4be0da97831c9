"""``check``, ``build`` and ``ir``: from a spec to an artefact, and every stage between."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollc.errors import InputError
from rollc.ir.text import is_graph_text
from rollc.lang.diagnostics.spec_error import SpecError
from rollc.tools import console, files
from rollc.tools.cli import effect
from rollc.tools.cli.sources import open_artefact, read_source

if TYPE_CHECKING:
    from rollc.driver.artefact_store import Made
    from rollc.driver.stages import Choice
    from rollc.lang.diagnostics.source import Source
    from rollc.lang.elaboration.expressions import Feed
    from rollc.network.network import Network


KERNEL_STAGES = ("adjoint", "tangent", "schedule", "program", "why", "kernel")


def check(specs: Sequence[str], sets: Mapping[str, int], feed: Feed, form: str) -> int:
    """Print the diagnostics of the specs; 1 where there is an error."""
    from rollc.lang.diagnostics.diagnostic import as_data, has_errors
    from rollc.lang.load import library_flaws, load_graph

    data: list[dict[str, object]] = []
    wrong = sound = libraries = 0
    for spec in specs:
        source = read_source(spec)
        if is_graph_text(source.text):
            message = _wrong_graph(source)
            wrong += message is not None
            sound += message is None
            if message is not None and form == "text":
                print(f"error: {console.plain(message)}")
            elif message is not None:
                data.append({"severity": "error", "message": message, "file": source.name})
            continue
        read = load_graph(source, sets, feed)
        flaws = library_flaws(read)
        libraries += flaws is not None
        diagnostics = read.diagnostics if flaws is None else flaws
        wrong += has_errors(diagnostics)
        sound += flaws is None and not has_errors(diagnostics)
        if form == "json":
            data += as_data(diagnostics, read.source)
        else:
            console.diagnostics(diagnostics, read.source, sys.stdout)
    if form == "json":
        print(json.dumps(data, indent=2))
    if libraries < len(specs):
        console.say(f"{sound} of {len(specs) - libraries} can be built")
    if libraries:
        console.say(f"files of cells for other specs to use: {libraries}")
    return 1 if wrong else 0


def _wrong_graph(source: Source) -> str | None:
    """What is wrong with the text of a graph."""
    from rollc.driver.sources import read_spec

    try:
        read_spec(source.text, source.name)
    except SpecError as error:
        return str(error)
    return None


def build(spec: str, output: Path | None, options: Mapping[str, Any], timings: bool) -> None:
    """Build an artefact and print the name of its folder."""
    from rollc.driver.build import EAGER
    from rollc.support.passes import Runner
    from rollc.tools.cli import passes

    if output is None and not options["cache"]:
        raise InputError("without the cache there has to be a folder for the artefact: give -o DIR")
    run = Runner()
    network, made = build_network(spec, temporary=False, directory=output, run=run, **options)
    if made.hit:
        console.say(f"{made.manifest.entry('name', str)}: unchanged, from the cache")
    print(made.manifest.folder)
    if timings:
        built = made.manifest.entry("kernels", dict)
        first = [name for name in EAGER[options["feed"]] if name in built]
        passes.show_timings(run, [network._kernel(name) for name in first])


def build_network(spec: str, **options: Any) -> tuple[Network, Made]:
    """The network of a spec, built now if it is not in the cache; then it is said."""
    from rollc.driver.build import build_source

    source = read_source(spec)
    start = time.perf_counter()
    with console.waiting(f"building {source.name}"):
        network, made = build_source(source.text, source.name, **options)
    if not made.hit:
        _show_warnings(source, options["sets"], options["feed"])
        length = "any number of steps" if network.steps is None else f"{network.steps} steps"
        seconds = time.perf_counter() - start
        console.say(f"{network.name}: built in {seconds:.1f} s for {length} in {network.dtype}")
    return network, made


def _show_warnings(source: Source, sets: Mapping[str, int], feed: Feed) -> None:
    """Say what is odd about a spec that could be built."""
    from rollc.lang.load import load_graph

    if not is_graph_text(source.text):
        read = load_graph(source, sets, feed)
        console.diagnostics(read.diagnostics, read.source, sys.stderr)


def show_stage(spec: str, choice: Choice, sets: Mapping[str, int], form: str, output: str) -> None:
    """Print the text of a stage or of what a pass makes, or its picture."""
    from rollc.driver import stages

    files.check_outputs(output, keep=[spec])
    stage = choice.stage
    if stage and stage not in KERNEL_STAGES and stage != "dag":
        effect.refuse(["kernel", "steps"], f"on `{stage}`, which is of the network itself")
    if stage not in ("why", "kernel") and choice.after != "emit":
        why = f"on `{stage or choice.after}`"
        effect.refuse(["dtype"], f"{why}: no number in it has a type")
        effect.refuse(["backend"], f"{why}, which is the same for all")
    if stage in ("syntax", "graph", "checked"):
        effect.refuse(["without"], f"on `{stage}`, which no pass has made")
    if stage == "syntax":
        effect.refuse(["sets", "feed"], "on `syntax`, which is the spec as it stands")
    if form == "dot" and stage and stage not in stages.GRAPH_STAGES:
        known = ", ".join(f"`{name}`" for name in stages.GRAPH_STAGES)
        raise InputError(f"`{stage}` is no graph; there is a picture of {known}")
    if files.is_artefact(spec) and (choice.after is not None or choice.without):
        raise InputError(f"`{spec}` is built, and its passes have run; give its spec instead")
    text = stage_text(spec, sets, choice)
    if form == "dot" and not is_graph_text(text):
        raise InputError(f"what `{choice.after}` makes is no graph, and has no picture")
    if form == "dot":
        from rollc.drawing.picture import draw
        from rollc.ir.text import parse_graph

        text = draw(parse_graph(text), every_node=True, theme="light").dot()
    files.write_text(output, text)


def show_reasons(
    spec: str,
    nodes: tuple[str, ...],
    kernel: str | None,
    steps: int | None,
    sets: Mapping[str, int],
    dtype: str,
    feed: Feed,
) -> None:
    """Print why a kernel is as it is."""
    from rollc.driver import stages

    choice = stages.Choice("why", kernel, steps, dtype, feed, nodes)
    files.write_text(files.STREAM, stage_text(spec, sets, choice))


def stage_text(spec: str, sets: Mapping[str, int], choice: Choice) -> str:
    """The text of a stage of a spec or of an artefact."""
    from rollc.driver import stages

    if files.is_artefact(spec):
        given = (choice.dtype, choice.feed, choice.backend)
        return stages.of_artefact(open_artefact(spec, sets, *given), choice)
    source = read_source(spec)
    return stages.of_spec(source.text, source.name, sets, choice)
