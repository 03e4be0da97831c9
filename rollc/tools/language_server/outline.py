"""What a text defines, as a tree: cells and functions have names of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rollc.lang.diagnostics.source import Span
from rollc.tools.language_server.document import Document
from rollc.tools.language_server.hover import summary
from rollc.tools.language_server.occurrences import Symbol


@dataclass(frozen=True)
class Entry:
    """``span`` is the whole definition, ``symbol.at`` the name in it."""

    symbol: Symbol
    detail: str
    span: Span
    entries: tuple[Entry, ...] = ()


def outline(document: Document) -> list[Entry]:
    defined = {
        each.symbol.at: each.symbol
        for each in document.names.all
        if each.span == each.symbol.at and document.owns(each.span)
    }
    return [*_entries(document, defined.values(), None)]


def _entries(
    document: Document, symbols: Iterable[Symbol], owner: Symbol | None
) -> Iterator[Entry]:
    of = None if owner is None else owner.statement
    for symbol in symbols:
        if symbol.owner is not of:
            continue
        inner: tuple[Entry, ...] = ()
        if symbol.kind in ("cell", "function"):
            inner = tuple(_entries(document, symbols, symbol))
        known = document.known.get(symbol.at, ())
        detail = summary(symbol, known[0] if len(known) == 1 else None).replace("`", "")
        span = symbol.statement.span.to(symbol.at)
        yield Entry(symbol, detail, span, inner)
