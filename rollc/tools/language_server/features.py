"""The requests and notifications that the server answers, on standard input and output."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcInvalidParams

from rollc.errors import RollcError
from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit
from rollc.lang.diagnostics.source import Span
from rollc.lang.expansion.imports import located
from rollc.lang.syntax.ast import Use
from rollc.lang.syntax.layout import laid_out
from rollc.lang.syntax.parser import statements_of
from rollc.tools.language_server import completion, hover, outline, rename, signature
from rollc.tools.language_server.server import RollServer

DELAY = 0.15  # seconds without a change before a text is read
SYMBOLS = {
    "net": lsp.SymbolKind.Module,
    "axis": lsp.SymbolKind.Namespace,
    "size": lsp.SymbolKind.Constant,
    "const": lsp.SymbolKind.Constant,
    "input": lsp.SymbolKind.Interface,
    "target": lsp.SymbolKind.Interface,
    "param": lsp.SymbolKind.Field,
    "value": lsp.SymbolKind.Variable,
    "argument": lsp.SymbolKind.Variable,
    "cell": lsp.SymbolKind.Class,
    "function": lsp.SymbolKind.Function,
}
PROPOSED = {
    "size": lsp.CompletionItemKind.Constant,
    "const": lsp.CompletionItemKind.Constant,
    "param": lsp.CompletionItemKind.Field,
    "cell": lsp.CompletionItemKind.Class,
    "function": lsp.CompletionItemKind.Function,
    "builtin": lsp.CompletionItemKind.Function,
    "keyword": lsp.CompletionItemKind.Keyword,
    "path": lsp.CompletionItemKind.File,
}

server = RollServer()


@server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
@server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
def did_open(
    ls: RollServer, params: lsp.DidOpenTextDocumentParams | lsp.DidSaveTextDocumentParams
) -> None:
    ls.diagnose(params.text_document.uri)


@server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
def did_change(ls: RollServer, params: lsp.DidChangeTextDocumentParams) -> None:
    """Read the text when nothing was typed for a while, and those that use it."""
    for task in ls.waiting.values():
        task.cancel()
    ls.waiting = {
        document.uri: asyncio.get_running_loop().create_task(_soon(ls, document.uri))
        for document in ls.workspace.text_documents.values()
    }


async def _soon(ls: RollServer, uri: str) -> None:
    await asyncio.sleep(DELAY)
    ls.diagnose(uri)


@server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
def did_close(ls: RollServer, params: lsp.DidCloseTextDocumentParams) -> None:
    uri = params.text_document.uri
    if task := ls.waiting.pop(uri, None):
        task.cancel()
    ls.read.pop(uri, None)
    ls.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))


@server.feature(lsp.TEXT_DOCUMENT_HOVER)
def hovered(ls: RollServer, params: lsp.HoverParams) -> lsp.Hover | None:
    document = ls.document(params.text_document.uri)
    found = hover.hover(document, ls.offset(document, params.position))
    if found is None:
        return None
    span, text = found
    content = lsp.MarkupContent(lsp.MarkupKind.Markdown, text)
    return lsp.Hover(content, ls.range(document.source, span))


@server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
def definition(ls: RollServer, params: lsp.DefinitionParams) -> lsp.Location | None:
    document = ls.document(params.text_document.uri)
    offset = ls.offset(document, params.position)
    found = document.names.at(offset)
    if found is not None:
        return ls.location(document.source, found.symbol.at)
    for use in statements_of(document.source).of(Use):
        path = located(use.path, document.source)
        if use.span.start <= offset <= use.span.end and path is not None:
            start = lsp.Position(0, 0)
            return lsp.Location(ls.uri_of(str(path)), lsp.Range(start, start))
    return None


@server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
def references(ls: RollServer, params: lsp.ReferenceParams) -> list[lsp.Location]:
    document = ls.document(params.text_document.uri)
    found = document.names.at(ls.offset(document, params.position))
    if found is None:
        return []
    texts = ls.written(document, found.symbol)
    return [ls.location(text.source, span) for text, spans in texts for span in spans]


@server.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
def prepare_rename(ls: RollServer, params: lsp.PrepareRenameParams) -> lsp.Range:
    document = ls.document(params.text_document.uri)
    try:
        found = rename.renamed(document, ls.offset(document, params.position))
    except RollcError as error:
        raise JsonRpcInvalidParams(str(error)) from error
    return ls.range(document.source, found.span)


@server.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
def renaming(ls: RollServer, params: lsp.RenameParams) -> lsp.WorkspaceEdit:
    document = ls.document(params.text_document.uri)
    changes: dict[str, list[lsp.TextEdit]] = {}
    try:
        found = rename.renamed(document, ls.offset(document, params.position))
        place = rename.place_of(document, found.symbol)
        for text, spans in ls.written(document, found.symbol):
            rename.check_name(text, place, params.new_name)
            changes[ls.uri_of(text.source.name)] = [
                lsp.TextEdit(ls.range(text.source, span), params.new_name) for span in spans
            ]
    except RollcError as error:
        raise JsonRpcInvalidParams(str(error)) from error
    return lsp.WorkspaceEdit(changes=dict(changes))


@server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=['"', ";"]))
def complete(ls: RollServer, params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
    document = ls.document(params.text_document.uri)
    offset = ls.offset(document, params.position)
    return [
        lsp.CompletionItem(
            label=each.text,
            kind=PROPOSED.get(each.sort, lsp.CompletionItemKind.Variable),
            detail=each.detail,
            documentation=lsp.MarkupContent(lsp.MarkupKind.Markdown, each.meaning),
        )
        for each in completion.proposals(document, offset)
    ]


@server.feature(
    lsp.TEXT_DOCUMENT_SIGNATURE_HELP, lsp.SignatureHelpOptions(trigger_characters=["(", ",", ";"])
)
def signatures(ls: RollServer, params: lsp.SignatureHelpParams) -> lsp.SignatureHelp | None:
    document = ls.document(params.text_document.uri)
    found = signature.signature(document, ls.offset(document, params.position))
    if found is None:
        return None
    shown = lsp.SignatureInformation(
        label=found.form,
        documentation=lsp.MarkupContent(lsp.MarkupKind.Markdown, found.meaning),
        parameters=[lsp.ParameterInformation(each) for each in found.operands],
    )
    return lsp.SignatureHelp([shown], active_signature=0, active_parameter=found.active)


@server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
def document_symbols(
    ls: RollServer, params: lsp.DocumentSymbolParams
) -> Sequence[lsp.DocumentSymbol]:
    document = ls.document(params.text_document.uri)

    def shown(entry: outline.Entry) -> lsp.DocumentSymbol:
        return lsp.DocumentSymbol(
            name=entry.symbol.name,
            kind=SYMBOLS[entry.symbol.kind],
            range=ls.range(document.source, entry.span),
            selection_range=ls.range(document.source, entry.symbol.at),
            detail=entry.detail,
            children=[shown(each) for each in entry.entries],
        )

    return [shown(entry) for entry in outline.outline(document)]


@server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
def formatting(ls: RollServer, params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
    """The text in its layout; nothing where it cannot be parsed."""
    document = ls.document(params.text_document.uri)
    text, _ = laid_out(document.source)
    if text is None or text == document.source.text:
        return []
    return [lsp.TextEdit(ls.range(document.source, Span(0, len(document.source.text))), text)]


@server.feature(
    lsp.TEXT_DOCUMENT_CODE_ACTION,
    lsp.CodeActionOptions([lsp.CodeActionKind.QuickFix, lsp.CodeActionKind.SourceFixAll]),
)
def code_actions(ls: RollServer, params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
    """The changes that the helps of diagnostics tell, and all of them at once."""
    document = ls.document(params.text_document.uri)
    first, last = (ls.offset(document, place) for place in (params.range.start, params.range.end))
    fixable = [
        each
        for each in document.diagnostics
        if each.edits and all(document.owns(edit.span) for edit in each.edits)
    ]
    actions = [
        lsp.CodeAction(
            title=each.helps[0] if each.helps else each.message,
            kind=lsp.CodeActionKind.QuickFix,
            diagnostics=[ls.diagnostic(document, each)],
            is_preferred=True,
            edit=ls.edits(document, each.edits),
        )
        for each in fixable
        if any(label.span.start <= last and first <= label.span.end for label in each.labels[:1])
    ]
    if apart := _apart(fixable):
        title = "do what all messages tell"
        kind, edit = lsp.CodeActionKind.SourceFixAll, ls.edits(document, apart)
        actions.append(lsp.CodeAction(title=title, kind=kind, edit=edit))
    return actions


@server.command("rollc.draw")
def draw(ls: RollServer, uri: str) -> str:
    """The circuit of a text as SVG."""
    from rollc.drawing.picture import draw

    graph = ls.document(uri).graph
    if graph is None:
        raise JsonRpcInvalidParams("there is no picture of a text with errors")
    try:
        return draw(graph, theme="light").svg()
    except RollcError as error:
        raise JsonRpcInvalidParams(str(error)) from error


def _apart(diagnostics: Iterable[Diagnostic]) -> list[Edit]:
    """The changes of all diagnostics, less those of one that would change what another does."""
    taken: list[Edit] = []
    for diagnostic in diagnostics:
        free = all(
            edit.span.end < other.span.start or other.span.end < edit.span.start
            for edit in diagnostic.edits
            for other in taken
        )
        taken += diagnostic.edits if free else ()
    return taken


def serve() -> None:
    """Answer until the client says `exit`; nothing but messages goes to standard output."""
    with open(os.dup(sys.stdout.fileno()), "wb") as messages, redirect_stdout(sys.stderr):
        server.start_io(stdout=messages)
