"""Finding the grammar: beside the package in a checkout, inside it when installed."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from lark import Lark


def grammar_text() -> str:
    """The text of ``rollc.lark``."""
    installed = files("rollc") / "grammar" / "rollc.lark"
    if installed.is_file():
        return installed.read_text(encoding="utf-8")
    checkout = Path(__file__).resolve().parents[2] / "grammar" / "rollc.lark"
    return checkout.read_text(encoding="utf-8")


@cache
def grammar() -> Lark:
    """The lexer and the parser of one statement."""
    return Lark(
        grammar_text(),
        parser="lalr",
        lexer="basic",
        start=["start", "between"],
        propagate_positions=True,
        maybe_placeholders=False,
    )
