"""Names in generated source: letters, digits and underscores, whatever a spec calls things."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

_RESERVED = frozenset(
    {
        *keyword.kwlist,
        *("T", "B", "N", "K", "F", "t", "n", "k", "r", "now", "begin", "end", "at"),
        *("team", "words", "each"),
        *("np", "lib", "kernel", "range", "abs", "min", "max"),
        *("primal", "adjoint", "inputs", "exp", "log", "sigmoid", "softplus", "tanh"),
        *("cos", "erf", "power", "sin"),
    }
)


class Names:
    """A Python name for every node and buffer: unique, and never a word of the language."""

    def __init__(self, names: Iterable[str]) -> None:
        self._known: dict[str, str] = {}
        self._taken: set[str] = set(_RESERVED)
        for name in names:
            self[name]

    @staticmethod
    def word(text: str) -> str:
        cleaned = re.sub(r"[^A-Za-z0-9]+", "_", text.replace("~", "d_")).strip("_")
        return cleaned if cleaned[:1].isalpha() else f"v_{cleaned}"

    def __getitem__(self, name: str) -> str:
        if name not in self._known:
            word = self.word(name)
            while word in self._taken:
                word += "_"
            self._taken.add(word)
            self._known[name] = word
        return self._known[name]

    def local(self, name: str) -> str:
        """The name of one element of a node."""
        return self["v_" + name]


def shown(name: str) -> str:
    """A node's name in a comment: nothing that could end the line."""
    return re.sub(r"[^\x21-\x7e]", "?", name)
