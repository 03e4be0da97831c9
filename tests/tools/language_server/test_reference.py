"""What an editor says of functions and words: the reference has all of them."""

from __future__ import annotations

from rollc.lang.diagnostics.source import Source
from rollc.lang.symbols.builtins import NO_OPERATIONS, SYMBOLS, functions
from rollc.lang.symbols.library import LIBRARY
from rollc.lang.syntax.contextual_words import USE_WORDS
from rollc.lang.syntax.statement_splitter import BEGINNINGS, KEYWORDS
from rollc.tools.language_server.completion import proposals
from rollc.tools.language_server.document import read_document
from rollc.tools.language_server.hover import hover
from rollc.tools.language_server.reference import (
    functions_of_language,
    keywords,
    operators,
    words_of_uses,
)


def test_every_function_has_a_meaning() -> None:
    assert {*functions(), *LIBRARY, *NO_OPERATIONS} == set(functions_of_language())


def test_every_word_that_begins_a_statement_has_a_meaning() -> None:
    assert {*KEYWORDS, *BEGINNINGS} - {"static"} <= set(keywords())


def test_every_operator_has_a_meaning() -> None:
    assert set(SYMBOLS) == set(operators())
    assert all(meaning.text for meaning in operators().values())


def test_every_word_of_a_use_has_a_meaning_where_it_stands() -> None:
    assert set(USE_WORDS) == set(words_of_uses())
    head = 'net a\nuse "cells/gru.roll"\ninput x: [3]\n'
    text = f"{head}both = gru(x; H=4, stack 2, both)\noutput both\n"
    document = read_document(Source("a.roll", text))
    for word, said in (("stack 2", "three layers"), ("both)", "once in each direction")):
        found = hover(document, text.index(word) + 1)
        assert found is not None and said in found[1]
    name = hover(document, text.index("both ="))
    assert name is not None and "a value: [8]" in name[1]
    texts = {each.text for each in proposals(document, text.index("stack 2"))}
    assert {"H=", *USE_WORDS} <= texts
