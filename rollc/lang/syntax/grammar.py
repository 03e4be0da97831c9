"""The lexer and the parser that Lark makes from the grammar."""

from __future__ import annotations

from functools import cache

from lark import Lark

from rollc.support.resources import folder


@cache
def grammar() -> Lark:
    """The parser of one statement, and the lexer of a whole text."""
    return Lark(
        (folder("grammar") / "rollc.lark").read_text(encoding="utf-8"),
        parser="lalr",
        lexer="basic",
        start=["start", "between"],
        propagate_positions=True,
        maybe_placeholders=False,
    )
