"""A text to a checked graph, with everything that is wrong with it in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rollc.graph.check import check
from rollc.graph.graph import Graph
from rollc.lang.cycles import cycle_diagnostics
from rollc.lang.diagnostics import Diagnostic, has_errors, in_order
from rollc.lang.parse import parse_spec
from rollc.lang.resolve import resolve
from rollc.lang.source import Source
from rollc.lang.syntax import Spec

MOST_SHOWN = 100


@dataclass(frozen=True)
class Checked:
    """What became of a text.

    ``graph`` has the stage "checked" and is None where there are errors; ``unchecked`` is
    the graph before the check (stage "graph"), and ``spec`` the syntax, as far as they
    exist.
    """

    graph: Graph | None
    diagnostics: tuple[Diagnostic, ...]
    spec: Spec | None
    unchecked: Graph | None = None


def load_graph(source: Source, sets: Mapping[str, int] | None = None) -> Checked:
    """The checked graph of a spec; ``sets`` overrides sizes by name.

    Never raises: what is wrong with the text is in the diagnostics, in its order.
    """
    spec, problems = parse_spec(source)
    if spec is None:
        return Checked(None, _bounded(tuple(problems)), None)
    resolved = resolve(spec, source, sets)
    # The wiring has the cycles of the graph, and every node of it is somewhere in the text.
    findings = check(resolved.wiring).findings
    found = cycle_diagnostics(findings, resolved.places.operands)
    diagnostics = in_order([*problems, *resolved.diagnostics, *found])
    graph = None
    if resolved.graph is not None and not has_errors(diagnostics):
        graph = check(resolved.graph).graph
    return Checked(graph, _bounded(diagnostics), spec, resolved.graph)


def _bounded(diagnostics: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    """No more than a person would read; errors first where some must go."""
    if len(diagnostics) <= MOST_SHOWN:
        return diagnostics
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    shown = (errors or list(diagnostics))[:MOST_SHOWN]
    note = f"these are {MOST_SHOWN} of {len(diagnostics)} messages"
    shown[-1] = replace(shown[-1], notes=(*shown[-1].notes, note))
    return tuple(shown)
