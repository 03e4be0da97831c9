"""Another name for what stands at a place, wherever it is written."""

from __future__ import annotations

import re
from pathlib import Path

from rollc.errors import RollcError
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.builtins import NO_OPERATIONS, functions
from rollc.lang.syntax.grammar import grammar
from rollc.lang.syntax.parser import LONGEST_NAME
from rollc.lang.syntax.statement_splitter import KEYWORDS
from rollc.support.resources import folder
from rollc.tools.language_server.document import Document
from rollc.tools.language_server.occurrences import Occurrence, Symbol

Place = tuple[Path, int]  # of a definition: its file, and the offset in that


class CannotRename(RollcError):
    """Why a name stays what it is."""


def place_of(document: Document, symbol: Symbol) -> Place:
    file, offset = document.source.at(symbol.at.start)
    return Path(file.name).resolve(), offset


def written(document: Document, place: Place) -> list[Span]:
    """Where a text has the name that is defined at a place, of its own or of another file."""
    found = {
        each.span
        for each in document.names.all
        if document.owns(each.span) and place_of(document, each.symbol) == place
    }
    return sorted(found)


def shared(symbol: Symbol) -> bool:
    """Whether other files can have the name: that of a cell or a function, or of its sizes."""
    return symbol.kind in ("cell", "function") or symbol.owner is not None


def renamed(document: Document, offset: int) -> Occurrence:
    """The name at a place.  Raises :class:`CannotRename` where there is none to be changed."""
    found = document.names.at(offset)
    if found is None or not document.owns(found.span):
        raise CannotRename("there is no name here that a spec defines")
    file, _ = place_of(document, found.symbol)
    if file.is_relative_to(folder("specs").resolve()):
        raise CannotRename(f"`{found.symbol.name}` is defined in a file that comes with rollc")
    return found


def check_name(document: Document, place: Place, name: str) -> None:
    """Raise :class:`CannotRename` where a name cannot take the place of another in a text."""
    (terminal,) = (each for each in grammar().terminals if each.name == "NAME")
    wrong = not re.fullmatch(terminal.pattern.to_regexp(), name) or len(name) > LONGEST_NAME
    if wrong or name in KEYWORDS:
        raise CannotRename(f"`{name:.100}` cannot be a name")
    names = document.names
    for each in names.all:
        symbol = each.symbol
        if place_of(document, symbol) != place or symbol.kind == "net":
            continue
        if symbol.kind in ("cell", "function"):
            taken = name in names.definitions or name in (*functions(), *NO_OPERATIONS)
        else:
            seen = names.seen_from(each.span.start)
            taken = seen.get(symbol.name) == symbol and name in seen
        if taken:
            raise CannotRename(f"`{name}` is the name of something else")
