"""A notation of another language: how it looks, what is said of it, and what it is here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

# Words of the patterns, which are regular expressions but for these and for spaces: a space stands
# for any number of blanks.  Repetitions are possessive, so that a search takes linear time.
_NESTED = r"[^()\[\]{}]"
for _ in range(6):
    _NESTED = rf"(?:[^()\[\]{{}}]|[(\[{{](?:{_NESTED})*+[)\]}}])"
_PAIRS = rf"[(\[](?:{_NESTED})*+[)\]]"
_NAME = r"\b[^\W\d]\w*+"
_NUMBER = r"(?<![\w.])(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?"
_VALUE = rf"(?:(?:{_NAME}|\((?:{_NESTED})*+\))(?:{_PAIRS})*+|{_NUMBER})"
WORDS = {
    "NAME": _NAME,
    "NUMBER": _NUMBER,
    "INSIDE": rf"(?:{_NESTED})*+",  # what stands between two brackets
    "VALUE": _VALUE,  # a number, a name or brackets, with what is behind them in brackets
    # Up to a comma, an `=` or a bracket that opened before; as little as fits.
    "SOME": rf"(?=[^\s])(?:[^()\[\]{{}},;=\n?:]|[=!<>]=|{_PAIRS})+?",
    "^": r"\A",  # the beginning of the statement
    " +": r"[ \t]++",
    " ": r"[ \t]*+",
    # The lines below that are indented.
    "BLOCK": r"(?:\n[ \t]++[^\n]++|\n[ \t]*+(?=\n[ \t]))*+",
}
# A word of the patterns; what is escaped, or one of several characters, is left as it is.
_WORD = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]| \+| |\^|\b(?:[A-Z]{4,})\b")

Form = str | Callable[[re.Match[str]], str | None]


@cache
def pattern(text: str) -> re.Pattern[str]:
    """The regular expression of a pattern in the words above."""
    return re.compile(_WORD.sub(lambda match: WORDS.get(match[0], match[0]), text), re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Correction:
    """What is said of one place of a text, from ``start`` to ``end``, and the text to put there.

    ``instead`` is None where there is no one text to put there.  ``key`` is the same for all
    places of one fault.
    """

    start: int
    end: int
    message: str
    label: str
    help: str
    instead: str | None
    key: str = ""


@dataclass(frozen=True)
class Notation:
    """``found`` is the pattern; the others are templates of what it matched, as `re` expands them.

    ``instead`` is the text to put there, or makes it, and gives None where it is not this notation
    after all.  Without one ``help`` says what to do.  Where ``help`` is empty it is `write …` with
    that text.
    ``of`` is "whole" where all places with one ``message`` are one fault.  With ``here`` it begins
    just where parsing failed, otherwise somewhere before.
    """

    found: str
    message: str
    instead: Form | None
    help: str = ""
    label: str = ""
    of: Literal["place", "whole"] = "place"
    here: bool = False

    def at(self, text: str, place: int) -> Correction | None:
        """What it says of a text whose parsing failed at a place; None where it is not there."""
        if self.here:
            found = pattern(self.found).match(text, place)
            return None if found is None else self._of(found)
        for match in pattern(self.found).finditer(text):
            if match.start() > place:
                return None
            if not text[match.end() : place].strip(" \t") and match.end() > match.start():
                return self._of(match)
        return None

    def _of(self, match: re.Match[str]) -> Correction | None:
        instead = self.instead(match) if callable(self.instead) else self.instead
        if isinstance(self.instead, str):
            instead = match.expand(self.instead)
        if instead is None and self.instead is not None:
            return None
        message = _expanded(match, self.message)
        help_ = _expanded(match, self.help)
        if not help_ and instead is not None:
            help_ = f"write `{_short(instead)}`" if instead.strip() else "leave it out"
        key = message if self.of == "whole" else ""
        start, end = match.span()
        return Correction(start, end, message, _expanded(match, self.label), help_, instead, key)


def in_brackets(match: re.Match[str]) -> bool:
    """Whether a match stands inside brackets of its statement."""
    before = match.string[: match.start()]
    return any(before.count(opened) > before.count(closed) for opened, closed in ("()", "[]"))


def _expanded(match: re.Match[str], template: str) -> str:
    return " ".join(match.expand(template).split())


def _short(text: str) -> str:
    """A text as a message shows it: its first line."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return lines[0] if len(lines) == 1 else "` and `".join(lines[:2])
