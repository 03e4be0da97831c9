"""Which operands a call takes, and which of them is being typed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rollc.tools.language_server.document import Document
from rollc.tools.language_server.hover import head_of, of_symbol
from rollc.tools.language_server.reference import functions_of_language

LONGEST = 1000  # characters before a place that are searched for the bracket of its call
_NAME = re.compile(r"(\w+)[ \t]*$")


@dataclass(frozen=True, slots=True)
class Signature:
    """``form`` is how the call is written, ``operands`` parts of it; ``active`` is typed now."""

    form: str
    operands: tuple[str, ...]
    active: int
    meaning: str


def opened_call(text: str) -> tuple[str, str] | None:
    """The name of the call in which a text ends, and what stands in its bracket so far."""
    text = re.sub(r"#[^\n]*", lambda comment: " " * len(comment[0]), text[-LONGEST:])
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += (text[place] in ")]}") - (text[place] in "([{")
        if depth < 0:
            name = _NAME.search(text[:place]) if text[place] == "(" else None
            if name is not None:
                return name[1], text[place + 1 :]
            depth = 0  # a bracket of another sort: its call is further out
    return None


def signature(document: Document, offset: int) -> Signature | None:
    """That of the innermost call around an offset; None where there is none that is known."""
    found = opened_call(document.source.text[:offset])
    if found is None:
        return None
    name, given = found
    symbol = document.names.definitions.get(name)
    if symbol is not None:
        form, meaning = head_of(symbol), of_symbol(document, symbol)
        form = re.sub(r"^(?:cell|fn) ", "", form)
    elif name in functions_of_language():
        known = functions_of_language()[name]
        form, meaning = known.form, known.text
    else:
        return None
    inside = form[form.index("(") + 1 : form.index(")")]
    operands = tuple(part.strip() for part in re.split(r"[,;]", inside) if part.strip())
    return Signature(form, operands, _active(operands, given), meaning)


def _active(operands: tuple[str, ...], given: str) -> int:
    """The operand that is typed: by its name, else by its place."""
    while (flat := re.sub(r"[(\[][^()\[\]]*[)\]]", "", given)) != given:
        given = flat
    parts = re.split(r"[,;]", re.sub(r"^.*[(\[]", "", given, flags=re.DOTALL))
    name, equal, _ = parts[-1].partition("=")
    names = [operand.partition("=")[0] for operand in operands]
    if equal and name.strip() in names:
        return names.index(name.strip())
    return min(len(parts), max(len(operands), 1)) - 1
