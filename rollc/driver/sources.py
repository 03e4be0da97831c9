"""Reading of sources: a spec with the files that it uses, or the text of a graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from rollc.entries.passes import NOISE
from rollc.ir.graph import Graph
from rollc.ir.text import IRTextError, is_graph_text, parse_graph
from rollc.lang.diagnostics.spec_error import SpecError
from rollc.support.passes import Runner

if TYPE_CHECKING:
    from rollc.lang.diagnostics.source import Source
    from rollc.lang.elaboration.expressions import Feed


def read_spec(
    text: str, name: str, sets: Mapping[str, int] | None = None, feed: Feed = "taught"
) -> tuple[Graph, dict[str, str]]:
    """The checked graph of a spec, or of the text of a graph; and the texts of its stages.

    Raises :class:`SpecError` with all diagnostics.
    """
    return read_source(source_of(text, name), sets, feed)


def source_of(text: str, name: str) -> Source:
    """A text together with the texts of the files that it uses."""
    from rollc.lang.diagnostics.source import Source
    from rollc.lang.expansion.imports import with_used

    source = Source(name, text)
    return source if is_graph_text(text) else with_used(source)


def read_source(
    source: Source,
    sets: Mapping[str, int] | None = None,
    feed: Feed = "taught",
    run: Runner | None = None,
) -> tuple[Graph, dict[str, str]]:
    """As :func:`read_spec`, of texts that :func:`source_of` has read."""
    run = run or Runner()
    from rollc.lang.diagnostics.diagnostic import render
    from rollc.lang.load import load_graph
    from rollc.lang.syntax.formatter import format_spec

    if is_graph_text(source.text):
        return run(NOISE, _read_graph_text(source.text, source.name)), {}
    read = load_graph(source, dict(sets or {}), feed)
    if read.graph is None or read.spec is None:
        raise SpecError(read.diagnostics, render(read.diagnostics, read.source), read.source)
    return run(NOISE, read.graph), {"syntax": format_spec(read.spec)}


def _read_graph_text(text: str, name: str) -> Graph:
    """A graph that a person can have edited, which is verified and checked."""
    from rollc.driver.given_graph import given_flaws, with_plain_names
    from rollc.ir.time.causality import check
    from rollc.ir.verifier import verify

    try:
        graph = parse_graph(text)
    except IRTextError as error:
        raise SpecError((), f"{name}: {error}") from None
    flaws = verify(graph) or [*given_flaws(graph)]
    problems = [(_line_of(text, flaw.node, flaw.line), str(flaw)) for flaw in flaws]
    if not flaws:
        problems = [(0, str(finding)) for finding in check(graph).findings]
    if problems:
        messages = (f"line {line}: {problem}" if line else problem for line, problem in problems)
        raise SpecError((), "\n".join(f"{name}: {message}" for message in messages))
    return replace(with_plain_names(graph), stage="checked")


def _line_of(text: str, node: str | None, start: str = "") -> int:
    """The line that defines a node, or that begins with ``start``; 0 where there is none."""
    form = (
        rf"{re.escape(node)}[ \t]*="
        if node is not None
        else r"[ \t]+".join(map(re.escape, start.split()))
    )
    found = re.search(rf"^[ \t]*{form}(?![\w.:'~^])", text, re.MULTILINE) if form else None
    return 0 if found is None else text.count("\n", 0, found.start()) + 1
