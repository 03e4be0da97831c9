"""The lexer for Pygments: Sphinx, MkDocs and whatever else colours texts with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import (
    Comment,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Text,
    Whitespace,
    _TokenType,
)

from rollc.tools.highlighting.words import (
    INSIDE,
    NAME,
    NUMBER,
    STATEMENTS,
    SYMBOLS,
    USED,
    USES,
    functions,
)

Found = Iterator[tuple[int, _TokenType, str]]


def _called(lexer: RegexLexer, match: re.Match[str]) -> Found:
    """A name before a bracket: a function of the language, or one's own."""
    own = Name.Builtin if match[0] in functions() else Name.Function
    yield match.start(), own, match[0]


class RollLexer(RegexLexer):  # type: ignore[misc]
    """Specs of rollc."""

    name = "rollc"
    aliases: ClassVar = ["roll", "rollc"]
    filenames: ClassVar = ["*.roll"]
    flags = re.MULTILINE
    tokens: ClassVar = {
        "root": [
            (
                r"^(\s*)(static)(\s+)(input|target)\b",
                bygroups(Whitespace, Keyword, Whitespace, Keyword),
            ),
            (
                rf"^(\s*)({'|'.join(STATEMENTS)})(?=[ \t]+[{NAME[1:2]}\w\"(.\[0-9-])",
                bygroups(Whitespace, Keyword),
            ),
            (r"\s+", Whitespace),
            (r"#.*$", Comment.Single),
            (r'"[^"\n]*"', String),
            (NUMBER, Number),
            (words(INSIDE, prefix=r"\b", suffix=r"\b"), Operator.Word),
            (
                rf"([;,])(\s*)({'|'.join(USES)}){USED}",
                bygroups(Punctuation, Whitespace, Operator.Word),
            ),
            (
                r"(:)(\s*)(index(?=\s*\()|(?:number|complex|condition)\b)",
                bygroups(Punctuation, Whitespace, Keyword.Type),
            ),
            (rf"{NAME}(?=\s*\()", _called),
            (NAME, Name),
            (SYMBOLS, Operator),
            (r"[()\[\]{},;:]", Punctuation),
            (r".", Text),
        ]
    }
