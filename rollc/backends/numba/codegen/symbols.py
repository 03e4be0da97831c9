"""Names in generated source: letters, digits and underscores, whatever a spec calls things.

    h, the array         ->  h_      the words of arrays end with an underscore
    h, one element       ->  v_h     other words that a spec has a part in begin with ``v_``,
    h, the step before   ->  v_h_past1                             and end with no underscore

No word that the source has of its own, of Python or of the library does either, so the three
sorts never meet.  Within a sort names that become the same word are numbered.
"""

from __future__ import annotations

import re


class Names:
    """The words of a program, each of them given once."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, ...], str] = {}
        self._taken: set[str] = set()

    def array(self, name: str) -> str:
        """The array of a buffer."""
        return self._word("{}_", name)

    def local(self, name: str, *more: str | int) -> str:
        """One element of a node's or buffer's value; ``more`` tells several of them apart."""
        return self._word("v_{}", name, *map(str, more))

    def _word(self, form: str, *parts: str) -> str:
        key = (form, *parts)
        if key not in self._words:
            stem = plain("_".join(parts))
            word, number = form.format(stem), 1
            while word in self._taken:
                number += 1
                word = form.format(f"{stem}_{number}")
            self._taken.add(word)
            self._words[key] = word
        return self._words[key]


def plain(text: str) -> str:
    """A text as letters, digits and single underscores between them, a letter in front."""
    cleaned = re.sub(r"[^A-Za-z0-9]+", "_", text.replace("~", "d_")).strip("_")
    return cleaned if cleaned[:1].isalpha() else f"n{cleaned}"


def shown(name: str) -> str:
    """A node's name in a comment: nothing that could end the line."""
    return re.sub(r"[^\x21-\x7e]", "?", name)
