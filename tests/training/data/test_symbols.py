"""Texts as numbers, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollc.errors import InputError
from rollc.training.data.symbols import UNKNOWN, Symbols


@given(st.text(min_size=1, max_size=200))
def test_characters_come_back(text: str) -> None:
    symbols = Symbols.of(text, words=False, most=200)
    assert symbols.text(symbols.numbers(text, "f")) == text


def test_words_come_back_but_for_spaces() -> None:
    text = "Let there be light: and\nthere was light."
    symbols = Symbols.of(text, words=True, most=50)
    assert symbols.names == ("\n", ".", ":", "Let", "and", "be", "light", "there", "was")
    assert symbols.text(symbols.numbers("Let  there be light .", "f")) == "Let there be light."
    assert symbols.text([0, 3, 99]) == "\nLet"


def test_rare_words_are_unknown() -> None:
    symbols = Symbols.of("a a a b b c d", words=True, most=3)
    assert symbols.names == ("a", "b", UNKNOWN)
    np.testing.assert_array_equal(symbols.numbers("c b e", "f"), [2, 1, 2])
    assert symbols.text([0, 2, 1]) == f"a {UNKNOWN} b"


def test_what_is_not_known_is_named() -> None:
    with pytest.raises(InputError, match="the text has 3 characters, and the network takes 2"):
        Symbols.of("abc", words=False, most=2)
    with pytest.raises(InputError, match="the text is empty"):
        Symbols.of("", words=True, most=2)
    with pytest.raises(InputError, match=r"f, line 2, column 3: 'q' is none of the 4 characters"):
        Symbols.of("ab\nc", words=False, most=9).numbers("a\nabq", "f")
    with pytest.raises(InputError, match="f: `b` is no word"):
        Symbols.of("a", words=True, most=9).numbers("a b", "f")
