"""What the words and functions of the language mean: the tables of its reference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from rollc.lang.symbols.builtins import NO_OPERATIONS, functions
from rollc.lang.symbols.library import LIBRARY
from rollc.lang.syntax.contextual_words import USE_WORDS
from rollc.support.resources import folder

_ROW = re.compile(r"^\| (`.*?) \| (.+) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Meaning:
    """How a word or a function is written, and what that means."""

    form: str
    text: str


@cache
def functions_of_language() -> dict[str, Meaning]:
    """Every function of the language, by its name."""
    names = {*functions(), *LIBRARY, *NO_OPERATIONS}
    found: dict[str, Meaning] = {}
    for forms, text in _rows("Expressions", "Cells"):
        for form in re.findall(r"`([^`]*)`", forms):
            name = form.partition("(")[0]
            if name in names and form.endswith(")"):
                found.setdefault(name, Meaning(form, text))
    for name, form, text in _IN_PROSE:
        found.setdefault(name, Meaning(form, text))
    return found


# What the reference explains in sentences, not in a table.
_IN_PROSE = (
    ("split", "split(x, n)", "a vector, cut into n equal parts: n results"),
    ("size", "size(x, axis=k)", "the length of a vector, or of one dimension: a size"),
    ("feed", "feed(free, taught)", "the second in training, the first where a network runs free"),
)


@cache
def keywords() -> dict[str, Meaning]:
    """Every word that a statement begins with."""
    found: dict[str, Meaning] = {}
    for forms, text in _rows("Statements", "Time"):
        for form in re.findall(r"`([^`]*)`", forms):
            word = re.match(r"(?:static )?[a-z]+(?= )", form)
            if word is not None and re.match(r"[a-z]+ [^=]", form):
                found.setdefault(word[0], Meaning(form, text))
    return found


@cache
def words_of_uses() -> dict[str, Meaning]:
    """Every word among the sizes of a use of a cell."""
    found: dict[str, Meaning] = {}
    for form, text in _rows("Cells", "Repetition"):
        word = form.strip("`").partition(" ")[0]
        if word in USE_WORDS:
            found[word] = Meaning(form.strip("`"), text)
    return found


@cache
def operators() -> dict[str, Meaning]:
    """Every operator between two values, by its symbol."""
    found: dict[str, Meaning] = {}
    for forms, text in _rows("Expressions", "Cells"):
        for form in re.findall(r"`([^`]*)`", forms):
            symbol = re.fullmatch(r"(?:\w (\S+) \w|([<>=!]=?))", form)
            if symbol is not None:
                symbols = symbol[1] or symbol[2]
                found.setdefault(symbols, Meaning(form if symbol[1] else f"a {form} b", text))
    return found


def _rows(begin: str, end: str) -> list[tuple[str, str]]:
    """The rows of the tables between two headings."""
    text = (folder("grammar") / "README.md").read_text(encoding="utf-8")
    text = text[text.index(f"\n## {begin}\n") : text.index(f"\n## {end}\n")]
    return [(row[1], row[2]) for row in _ROW.finditer(text)]
