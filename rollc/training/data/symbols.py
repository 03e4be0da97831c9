"""A text as the numbers of its symbols: characters, or words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError

Array = NDArray[Any]

UNKNOWN = "<unknown>"
"""What stands for all words that are not among the symbols."""

_WORDS = re.compile(r"\n|\w+|[^\w\s]")  # the end of a line, a word, a mark


@dataclass(frozen=True)
class Symbols:
    """The symbols of a text; each one's number is its place."""

    names: tuple[str, ...]
    words: bool = False

    @classmethod
    def of(cls, text: str, words: bool, most: int) -> Symbols:
        """The characters of a text in their order, or its most frequent words and one for the
        others.  Raises :class:`InputError` where there are more than ``most`` characters."""
        if not text:
            raise InputError("the text is empty")
        if not words:
            names = tuple(sorted(set(text)))
            if len(names) > most:
                raise InputError(
                    f"the text has {len(names)} characters, and the network takes {most}: build it"
                    " for so many, such as with `--set V=" + f"{len(names)}`"
                )
            return cls(names)
        counts = Counter(_WORDS.findall(text))
        if len(counts) <= most:
            return cls(tuple(sorted(counts)), words=True)
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        return cls((*sorted(ordered[: most - 1]), UNKNOWN), words=True)

    def numbers(self, text: str, file: str) -> Array:
        """The numbers of a text; :class:`InputError` with the line and column of a character that
        is none of the symbols."""
        places = {name: at for at, name in enumerate(self.names)}
        if not self.words:
            unknown = next((at for at, each in enumerate(text) if each not in places), None)
            if unknown is not None:
                line = text.count("\n", 0, unknown) + 1
                column = unknown - text.rfind("\n", 0, unknown)
                raise InputError(
                    f"{file}, line {line}, column {column}: {text[unknown]!r} is none of the"
                    f" {len(self.names)} characters that the network was trained on"
                )
            return np.array([places[each] for each in text], np.int64)
        other = places.get(UNKNOWN)
        found = [places.get(word, other) for word in _WORDS.findall(text)]
        if None in found:
            word = _WORDS.findall(text)[found.index(None)]
            raise InputError(f"{file}: `{word:.40}` is no word that the network was trained on")
        return np.array(found, np.int64)

    def text(self, numbers: Iterable[int]) -> str:
        """The text of numbers; those that are no symbol's are left out."""
        found = [self.names[number] for number in numbers if number < len(self.names)]
        if not self.words:
            return "".join(found)
        said, before = "", "\n"
        for word in found:
            apart = before != "\n" and (word[0].isalnum() or word == UNKNOWN)
            said += (" " if apart else "") + word
            before = word
        return said
