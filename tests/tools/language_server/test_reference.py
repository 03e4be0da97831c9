"""What an editor says of functions and words: the reference has all of them."""

from __future__ import annotations

from rollc.lang.symbols.builtins import NO_OPERATIONS, SYMBOLS, functions
from rollc.lang.symbols.library import LIBRARY
from rollc.lang.syntax.statement_splitter import BEGINNINGS, KEYWORDS
from rollc.tools.language_server.reference import functions_of_language, keywords, operators


def test_every_function_has_a_meaning() -> None:
    assert {*functions(), *LIBRARY, *NO_OPERATIONS} == set(functions_of_language())


def test_every_word_that_begins_a_statement_has_a_meaning() -> None:
    assert {*KEYWORDS, *BEGINNINGS} - {"static"} <= set(keywords())


def test_every_operator_has_a_meaning() -> None:
    assert set(SYMBOLS) == set(operators())
    assert all(meaning.text for meaning in operators().values())
