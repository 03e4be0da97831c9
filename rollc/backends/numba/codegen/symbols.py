"""Identifiers in generated source: letters, digits and underscores, for any names in a spec.

    h, the array         ->  h_      identifiers of arrays end with an underscore
    h, one element       ->  v_h     others that a spec has a part in begin with ``v_``,
    h, the step before   ->  v_h_past1                         and end with no underscore

All other identifiers, of the source itself, of Python and of the library, do neither, so that the
three kinds do not clash.  Names of one kind that give the same identifier are numbered.
"""

from __future__ import annotations

import re
import unicodedata

from rollc.ir.names import GREEK


class Names:
    """The identifiers of a program, each unique."""

    def __init__(self) -> None:
        self._identifiers: dict[tuple[str, ...], str] = {}
        self._taken: set[str] = set()

    def array(self, name: str) -> str:
        """The array of a buffer."""
        return self._identifier("{}_", name)

    def local(self, name: str, *more: str | int) -> str:
        """The variable of one element of a value; ``more`` distinguishes several of one value."""
        return self._identifier("v_{}", name, *map(str, more))

    def _identifier(self, form: str, *parts: str) -> str:
        key = (form, *parts)
        if key not in self._identifiers:
            stem = plain("_".join(parts))
            identifier, number = form.format(stem), 1
            while identifier in self._taken:
                number += 1
                identifier = form.format(f"{stem}_{number}")
            self._taken.add(identifier)
            self._identifiers[key] = identifier
        return self._identifiers[key]


def plain(text: str) -> str:
    """A text as letters, digits and single underscores between them, a letter in front."""
    latin = re.sub(rf"[{GREEK}]", _spelt, text.replace("~", "d_"))
    cleaned = re.sub(r"[^A-Za-z0-9]+", "_", latin).strip("_")
    return cleaned if cleaned[:1].isalpha() else f"n{cleaned}"


def _spelt(match: re.Match[str]) -> str:
    """A Greek letter as a word, a capital one with a capital: of λ_1 it is lamda_1."""
    word = unicodedata.name(match[0]).split()[-1]
    return word.capitalize() if match[0].isupper() else word.lower()


def shown(name: str) -> str:
    """A node's name in a comment, without characters that could end the line."""
    return re.sub(rf"[^\x21-\x7e{GREEK}]", "?", name)
