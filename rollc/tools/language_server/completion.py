"""What can stand at a place: names that it sees, functions, words, sizes of a cell, paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rollc.lang.expansion.imports import known_paths
from rollc.lang.syntax.ast import Cell
from rollc.tools.language_server.document import Document
from rollc.tools.language_server.hover import of_symbol, summary
from rollc.tools.language_server.occurrences import Kind
from rollc.tools.language_server.reference import (
    functions_of_language,
    keywords,
    words_of_uses,
)
from rollc.tools.language_server.signature import opened_call

Sort = Kind | Literal["keyword", "builtin", "path"]
_PATH = re.compile(r'\buse\s*"([^"\n]*)$')
_OVER = re.compile(r"(?:\bover\s+|\balong\([^()]*,\s*)\w*$")
_BEGUN = re.compile(r"\s*(?:static\s+)?\w*$")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A text to put in, a line on it, and Markdown."""

    text: str
    sort: Sort
    detail: str
    meaning: str = ""


def proposals(document: Document, offset: int) -> list[Proposal]:
    text = document.source.text
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    if "#" in line.partition('"')[0]:
        return []
    if path := _PATH.search(line):
        known = sorted(set(known_paths(path[1], document.source)))
        return [Proposal(each, "path", "a file") for each in known]
    return [*_proposals(document, offset, line)]


def _proposals(document: Document, offset: int, line: str) -> Iterator[Proposal]:
    over = _OVER.search(line) is not None
    for name, symbol in document.names.seen_from(offset).items():
        if over == (symbol.kind == "axis"):
            known = document.known.get(symbol.at, ())
            detail = summary(symbol, known[0] if len(known) == 1 else None)
            yield Proposal(name, symbol.kind, detail.replace("`", ""), of_symbol(document, symbol))
    if over:
        return
    if _BEGUN.fullmatch(line):
        for word, meaning in keywords().items():
            yield Proposal(word, "keyword", meaning.form, meaning.text)
        return
    cell = _cell_around(document, document.source.text[:offset])
    for size in cell.sizes if cell is not None else ():
        yield Proposal(f"{size.name.name}=", "size", "a size of the cell")
    for word, meaning in words_of_uses().items() if cell is not None else ():
        yield Proposal(word, "keyword", meaning.form, meaning.text)
    for name, symbol in document.names.definitions.items():
        yield Proposal(name, symbol.kind, summary(symbol, None), of_symbol(document, symbol))
    for name, meaning in functions_of_language().items():
        if name not in document.names.definitions:
            yield Proposal(name, "builtin", meaning.form, meaning.text)


def _cell_around(document: Document, text: str) -> Cell | None:
    """The cell among whose sizes a text ends."""
    name, given = opened_call(text) or ("", "")
    symbol = document.names.definitions.get(name)
    found = symbol.statement if symbol is not None else None
    return found if isinstance(found, Cell) and ";" in given else None
