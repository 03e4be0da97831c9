"""The server's texts, and places in them: offsets here, lines and columns in the protocol."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path
from pygls.workspace import PositionCodec

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit
from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.expansion.imports import ENDING, LONGEST_TEXT
from rollc.support.version import VERSION
from rollc.tools.language_server import rename
from rollc.tools.language_server.document import Document, gathered, read_document
from rollc.tools.language_server.occurrences import Symbol

MOST_FOLDERS = 1000  # of a workspace, that are searched for a name
UNSEARCHED = (".", "node_modules")


class RollServer(LanguageServer):
    """Documents are read when something is asked of them, and anew where a text has changed."""

    def __init__(self) -> None:
        full = lsp.TextDocumentSyncKind.Full
        super().__init__("rollc", VERSION, text_document_sync_kind=full)
        self.read: dict[str, Document] = {}
        self.waiting: dict[str, asyncio.Task[None]] = {}

    def document(self, uri: str) -> Document:
        text = self.workspace.get_text_document(uri).source
        source = gathered(Source(to_fs_path(uri) or uri, text), self.opened())
        if uri not in self.read or self.read[uri].source != source:
            self.read[uri] = read_document(source)
        return self.read[uri]

    def opened(self) -> dict[Path, str]:
        """The texts that are open in the editor, saved or not."""
        documents = self.workspace.text_documents.values()
        return {_resolved(document.path): document.source for document in documents}

    def uri_of(self, path: str | Path) -> str:
        """The name of a file, as the editor has it where it is open there."""
        place = _resolved(path)
        for document in self.workspace.text_documents.values():
            if _resolved(document.path) == place:
                return str(document.uri)
        return from_fs_path(str(place)) or str(path)

    # Places: offsets here, lines and columns there

    def offset(self, document: Document, position: lsp.Position) -> int:
        lines = document.source.text.split("\n")
        own = self.codec.position_from_client_units(lines, position)
        starts = document.source.line_starts
        if own.line >= len(starts):
            return len(document.source.text)
        return min(starts[own.line] + own.character, len(document.source.text))

    def position(self, source: Source, offset: int) -> lsp.Position:
        file, _ = source.at(offset)
        number = source.line_of(offset)
        before = file.line(number)[: source.column_of(offset) - 1]
        return lsp.Position(number - 1, self.codec.client_num_units(before))

    def range(self, source: Source, span: Span) -> lsp.Range:
        file, start = source.at(span.start)
        end = min(span.end, span.start + len(file.text) - start)  # the end of a text has no letter
        return lsp.Range(self.position(source, span.start), self.position(source, end))

    def location(self, source: Source, span: Span) -> lsp.Location:
        file, _ = source.at(span.start)
        return lsp.Location(self.uri_of(file.name), self.range(source, span))

    @property
    def codec(self) -> PositionCodec:
        return self.workspace.position_codec

    # Diagnostics

    def diagnose(self, uri: str) -> None:
        document = self.document(uri)
        found = [self.diagnostic(document, each) for each in document.diagnostics]
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, found))

    def diagnostic(self, document: Document, found: Diagnostic) -> lsp.Diagnostic:
        error = found.severity == "error"
        at = found.at.span if found.at is not None else Span(0, 0)
        own = document.own(at)
        related = [
            lsp.DiagnosticRelatedInformation(
                self.location(document.source, label.span), label.text or "here"
            )
            for label in found.labels
            if label is not found.at or own != at
        ]
        said = [found.message, *([found.at.text] if found.at and found.at.text else [])]
        said += [*(f"note: {note}" for note in found.notes), *(f"help: {h}" for h in found.helps)]
        return lsp.Diagnostic(
            range=self.range(document.source, own),
            message="\n".join(said),
            severity=lsp.DiagnosticSeverity.Error if error else lsp.DiagnosticSeverity.Warning,
            code=found.code,
            source="rollc",
            related_information=related,
        )

    def edits(self, document: Document, edits: Iterable[Edit]) -> lsp.WorkspaceEdit:
        changes: dict[str, list[lsp.TextEdit]] = {}
        for edit in edits:
            location = self.location(document.source, edit.span)
            changes.setdefault(location.uri, []).append(lsp.TextEdit(location.range, edit.text))
        return lsp.WorkspaceEdit(changes=dict(changes))

    # Names in several files

    def written(self, document: Document, symbol: Symbol) -> Iterator[tuple[Document, list[Span]]]:
        """The texts that have a name, and where."""
        place = rename.place_of(document, symbol)
        documents = {Path(document.source.name).resolve(): document}
        if rename.shared(symbol):
            for path in (place[0], *self.files()):
                if path not in documents and _is_spec(path):
                    documents[path] = self.document(self.uri_of(path))
        for each in documents.values():
            if spans := rename.written(each, place):
                yield each, spans

    def files(self) -> Iterator[Path]:
        """The specs of the workspace, and those that are open."""
        yield from self.opened()
        given = self.workspace.folders.values()
        roots = [path for folder in given if (path := to_fs_path(folder.uri))]
        walks = (os.walk(root) for root in roots)
        for folder, folders, names in islice(chain(*walks), MOST_FOLDERS):
            folders[:] = [name for name in folders if not name.startswith(UNSEARCHED)]
            yield from (_resolved(Path(folder) / name) for name in names if name.endswith(ENDING))


def _is_spec(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= LONGEST_TEXT


def _resolved(path: str | Path) -> Path:
    return Path(path).resolve()
