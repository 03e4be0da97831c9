"""A text and what is known of it: diagnostics, names, types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rollc.ir.graph import Graph
from rollc.lang.diagnostics.diagnostic import Diagnostic
from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.expansion.imports import located, with_used
from rollc.lang.load import library_flaws, load_graph
from rollc.lang.resolve import Known, resolve
from rollc.lang.syntax.ast import Use
from rollc.lang.syntax.parser import statements_of
from rollc.tools.language_server.occurrences import Occurrences, occurrences


@dataclass(frozen=True)
class Document:
    """``known`` has what each name is, by the place that defines it: once for each use of a cell.

    ``source`` has the texts of the files that it uses.  ``graph`` is None where there are errors.
    """

    source: Source
    diagnostics: tuple[Diagnostic, ...]
    names: Occurrences
    known: Mapping[Span, tuple[Known, ...]]
    graph: Graph | None

    def owns(self, span: Span) -> bool:
        """Whether a span lies in the text itself, and in none that it uses."""
        return span.start <= len(self.source.text)  # where it ends, its end can be found wrong

    def own(self, span: Span) -> Span:
        """The place in the text itself of what is in a file that it uses.

        That is the use of a cell, or else the statement that names the file.
        """
        while not self.owns(span) and span.use is not None:
            span = span.use
        if self.owns(span):
            return span
        file, _ = self.source.at(span.start)
        uses = statements_of(self.source).of(Use)
        named = [use.span for use in uses if Path(file.name) == located(use.path, self.source)]
        return next(iter([*named, *(use.span for use in uses)]), Span(0, 0))


def gathered(source: Source, opened: Mapping[Path, str]) -> Source:
    """A text with those of the files that it uses; ``opened`` take the place of files."""
    source = with_used(source)
    return replace(source, used=tuple(_opened(file, opened) for file in source.used))


def read_document(source: Source) -> Document:
    """What is known of a text, and of the files that it uses."""
    if not source.used:
        source = with_used(source)
    checked = load_graph(source)
    flaws = library_flaws(checked)
    diagnostics = checked.diagnostics if flaws is None else flaws
    known = checked.known or _known(source)
    places: dict[Span, tuple[Known, ...]] = {}
    for each in known:
        places[each.at] = (*places.get(each.at, ()), each)
    return Document(source, diagnostics, occurrences(source), places, checked.graph)


def _opened(file: Source, opened: Mapping[Path, str]) -> Source:
    text = opened.get(Path(file.name).resolve())
    return file if text is None else Source(file.name, text)


def _known(source: Source) -> tuple[Known, ...]:
    """What is known of a text with syntax errors, from the statements that have none."""
    own, *used = (statements_of(source, place) for place in range(len(source.used) + 1))
    library = [statement for spec in used for statement in spec.statements]
    return resolve(own, source, library=library).known
