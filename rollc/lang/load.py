"""The front end as a whole: a text to a checked graph, with all its diagnostics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rollc.ir.graph import Graph
from rollc.ir.time.causality import check
from rollc.lang.diagnostics.diagnostic import Diagnostic, Label, has_errors, in_order
from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.elaboration.expressions import Feed
from rollc.lang.elaboration.free_running import run_free, without_reads
from rollc.lang.expansion.imports import unread, with_used
from rollc.lang.inference.cycle_errors import cycle_diagnostics, unbroken
from rollc.lang.resolve import Known, resolve
from rollc.lang.syntax.ast import Cell, Function, Spec, Statement, Use
from rollc.lang.syntax.parser import parse_spec, readable

MOST_SHOWN = 100


@dataclass(frozen=True)
class Checked:
    """The results of the front end.

    ``graph`` has the stage "checked" and is None where there are errors; ``unchecked`` is
    the graph before the check (stage "graph"), and ``spec`` the syntax tree, as far as they
    exist.  ``source`` has the texts of the files that the spec uses, in which diagnostics can have
    spans.  ``known`` is what an editor shows of each name.
    """

    graph: Graph | None
    source: Source
    diagnostics: tuple[Diagnostic, ...]
    spec: Spec | None
    unchecked: Graph | None = None
    known: tuple[Known, ...] = ()


def load_graph(
    source: Source, sets: Mapping[str, int] | None = None, feed: Feed = "taught"
) -> Checked:
    """The checked graph of a spec; ``sets`` overrides sizes by name, ``feed`` is a side of `feed`.

    The files that it uses are read, if the source does not have their texts yet.
    Never raises: errors of the text are in the diagnostics, in its order.
    """
    if not source.used:
        source = with_used(source)
    spec, problems = parse_spec(source)
    library: list[Statement] = []
    for place in range(1, len(source.used) + 1):
        used, wrong = parse_spec(source, place)
        problems += wrong
        library += used.statements if used is not None else ()
    if spec is None or has_errors(problems):
        problems += _besides(source, sets)
        return Checked(None, source, _bounded(in_order(problems)), spec)
    missing = list(_unread(spec, library, source))
    problems += missing
    resolved = resolve(spec, source, sets, library, complete=not missing, feed=feed)
    # The wiring has the cycles of the graph, and every node of it is somewhere in the text.
    findings = unbroken(check(resolved.wiring).findings, resolved.graph)
    found = cycle_diagnostics(findings, resolved.places.operands, resolved.wiring.axes, source)
    diagnostics = in_order([*problems, *resolved.diagnostics, *found])
    diagnostics = _once(diagnostics, resolved.repeated)
    diagnostics = tuple(map(_with_uses, diagnostics))
    graph = None
    if resolved.graph is not None and not has_errors(diagnostics):
        graph = check(resolved.graph).graph
        if graph is not None and resolved.others:
            graph = without_reads(graph, resolved.others)
        if graph is not None and feed == "free":
            graph = run_free(graph, resolved.said)
    diagnostics = _bounded(diagnostics)
    return Checked(graph, source, diagnostics, spec, resolved.graph, resolved.known)


def library_flaws(checked: Checked) -> tuple[Diagnostic, ...] | None:
    """The diagnostics of a file of cells and functions; None for a text that is a spec.

    Such a file has no network, and need not use its cells.
    """
    if checked.spec is None or not checked.spec.statements:
        return None
    if not all(isinstance(item, (Cell, Function, Use)) for item in checked.spec.statements):
        return None
    return tuple(
        diagnostic
        for diagnostic in checked.diagnostics
        if diagnostic.severity == "error" and diagnostic.code not in ("R110", "R218")
    )


# Errors that a line which cannot be read does not bring about.
_INDEPENDENT = frozenset(
    {"R201", "R202", "R203", "R204", "R205", "R206", "R207", "R210", "R221", "R222"}
)


def _besides(source: Source, sets: Mapping[str, int] | None) -> Iterator[Diagnostic]:
    """What else is wrong with a text whose syntax is, as far as it can be told."""
    found = readable(source)
    if found is None:
        return
    spec, broken = found
    for diagnostic in resolve(spec, source, sets, ()).diagnostics:
        words = set(re.findall(r"`(\w+)", diagnostic.message))
        if diagnostic.code in _INDEPENDENT and words.isdisjoint(broken):
            yield diagnostic


def _unread(spec: Spec, library: Iterable[Statement], source: Source) -> Iterator[Diagnostic]:
    for use in (*spec.of(Use), *(item for item in library if isinstance(item, Use))):
        problem = unread(use, source.at(use.span.start)[0], source)
        if problem is not None:
            yield problem


def _with_uses(diagnostic: Diagnostic) -> Diagnostic:
    """What is wrong in a cell, with the use that it was put in place for."""
    uses = []
    use = diagnostic.at.span.use if diagnostic.at is not None else None
    while use is not None:
        uses.append(Label(use, "in this use"))
        use = use.use
    return replace(diagnostic, also=(*diagnostic.also, *uses)) if uses else diagnostic


def _once(found: tuple[Diagnostic, ...], repeated: Sequence[Span]) -> tuple[Diagnostic, ...]:
    """The diagnostics; of what is repeated one for each place and code, as it is written once."""
    seen: set[tuple[str, Span]] = set()
    kept = []
    for diagnostic in found:
        at = diagnostic.at.span if diagnostic.at is not None else None
        if at is not None and any(of.start <= at.start and at.end <= of.end for of in repeated):
            if (diagnostic.code, at) in seen:
                continue
            seen.add((diagnostic.code, at))
        kept.append(diagnostic)
    return tuple(kept)


def _bounded(diagnostics: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    """No more than a person would read; errors first where some must go."""
    if len(diagnostics) <= MOST_SHOWN:
        return diagnostics
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    shown = (errors or list(diagnostics))[:MOST_SHOWN]
    note = f"these are {MOST_SHOWN} of {len(diagnostics)} messages"
    shown[-1] = replace(shown[-1], notes=(*shown[-1].notes, note))
    return tuple(shown)
