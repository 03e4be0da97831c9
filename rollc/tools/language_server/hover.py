"""What is said of a name: kind, shape and axes, its equation, and the comment beside it."""

from __future__ import annotations

import re

from rollc.ir.graph import BATCH, Type
from rollc.lang.diagnostics.source import Span
from rollc.lang.elaboration.initialisers import default_initialiser
from rollc.lang.resolve import Known
from rollc.lang.syntax.ast import Cell, Function, Param, Spec
from rollc.lang.syntax.formatter import format_spec
from rollc.tools.language_server.document import Document
from rollc.tools.language_server.occurrences import Symbol
from rollc.tools.language_server.reference import (
    functions_of_language,
    keywords,
    operators,
    words_of_uses,
)

MOST_USES = 4  # of a cell, that are shown

KINDS = {
    "net": "the network",
    "axis": "a time axis",
    "size": "a size",
    "const": "a constant",
    "input": "an input",
    "target": "a target",
    "param": "a parameter",
    "value": "a value",
    "cell": "a cell",
    "function": "a function",
    "argument": "an argument",
}
_WORD = re.compile(r"[^\W\d]\w*|\*\*|[<>=!]=|[-+*/@<>]")


def hover(document: Document, offset: int) -> tuple[Span, str] | None:
    """The characters that are meant, and Markdown; None where nothing is known."""
    found = document.names.at(offset)
    if found is not None and document.owns(found.span):
        return found.span, of_symbol(document, found.symbol)
    text = document.source.text
    start = text.rfind("\n", 0, offset) + 1
    for match in _WORD.finditer(text, start):
        if match.start() > offset or "#" in text[start : match.start()].partition('"')[0]:
            break
        if match.end() < offset:
            continue
        meaning = of_word(text, match)
        if meaning is not None:
            return Span(match.start(), match.end()), meaning
    return None


def of_word(text: str, match: re.Match[str]) -> str | None:
    """A function, an operator or a word of the language."""
    called = text[match.end() :].lstrip(" ").startswith("(")
    known = functions_of_language() if called else {**keywords(), **operators()}
    before = text[: match.start()].rstrip()
    if before.endswith((";", ",")) and not called:
        known = {**known, **words_of_uses()}
    meaning = known.get(match[0])
    return None if meaning is None else f"{_code(meaning.form)}\n\n{meaning.text}"


def of_symbol(document: Document, symbol: Symbol) -> str:
    """A name of the text, or of a file that it uses."""
    parts = [_code(head_of(symbol))]
    known = document.known.get(symbol.at, ())
    parts.append(summary(symbol, known[0] if len(known) == 1 else None))
    if len(known) > 1:
        parts.append("\n".join(f"- `{each.name}`: {told(each)}" for each in known[:MOST_USES]))
        if len(known) > MOST_USES:
            parts.append(f"and {len(known) - MOST_USES} more")
    remark = _remark(document, symbol)
    if remark:
        parts.append(remark)
    file, _ = document.source.at(symbol.at.start)
    if not document.owns(symbol.at):
        parts.append(f"*{file.name}*")
    return "\n\n".join(parts)


def summary(symbol: Symbol, known: Known | None) -> str:
    """A line: what a name is, and its shape."""
    text = KINDS[symbol.kind]
    if isinstance(symbol.statement, Param) and symbol.statement.frozen:
        text += " that is not learned"
    if known is None or not told(known):
        return text
    start = ""
    if isinstance(symbol.statement, Param) and known.type is not None:
        said, shape = symbol.statement.initialiser, known.type.shape
        start = f"; it starts as `{default_initialiser(shape)}`" if said is None else ""
    return f"{text}: {told(known)}{start}"


def told(known: Known) -> str:
    """The number or the type of a name; empty where it is not known."""
    if known.number is not None:
        return f"{known.number:.12g}"
    return "" if known.type is None else described(known.type, known.whole)


def described(type_: Type, whole: bool = False) -> str:
    """A type in words, with the axes that it runs over; ``whole`` is whether it is complex."""
    shape = f"[{', '.join(map(str, type_.shape))}]" if type_.shape else ""
    if type_.kind == "index":
        text = f"index({type_.bound}){shape}"
    elif type_.kind == "bool":
        text = f"condition{shape}"
    else:
        text = f"complex{shape}" if whole else shape or "number"
    if type_.time:
        return f"{text}, at every step along {' and '.join(f'`{axis}`' for axis in type_.time)}"
    same = "one for each sequence" if BATCH in type_.axes else "the same at every step"
    return f"{text}, {same}"


def _code(text: str) -> str:
    return f"```roll\n{text}\n```"


def head_of(symbol: Symbol) -> str:
    """The statement that defines a name; of a cell its first line."""
    text = format_spec(Spec((symbol.statement,))).rstrip()
    if isinstance(symbol.statement, (Cell, Function)):
        return text.partition("\n")[0].removesuffix("{").rstrip()
    return text


def _remark(document: Document, symbol: Symbol) -> str:
    """The comment behind a definition, or the lines of comments right above that of a cell."""
    file, _ = document.source.at(symbol.at.start)
    number = document.source.line_of(symbol.at.start)
    _, mark, behind = file.line(number).partition("#")
    if mark:
        return behind.strip()
    if symbol.kind not in ("cell", "function"):
        return ""
    lines: list[str] = []
    while number > 1 and file.line(number - 1).startswith("#"):
        number -= 1
        lines.insert(0, file.line(number).removeprefix("#").removeprefix(" "))
    return f"```text\n{chr(10).join(lines)}\n```" if lines else ""
