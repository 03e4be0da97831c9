"""The grammar for TextMate, which VS Code and others read: `editors/vscode/syntaxes/`."""

from __future__ import annotations

from rollc.tools.highlighting.words import (
    INITIALISERS,
    INSIDE,
    LETTERS,
    NAME,
    NUMBER,
    STATEMENTS,
    SYMBOLS,
    TYPES,
    USED,
    USES,
    functions,
)

Rule = dict[str, object]
# The edges of a word: `\b` does not know that Greek letters are letters in every engine.
BEFORE, AFTER = f"(?<![{LETTERS}0-9])", f"(?![{LETTERS}0-9])"


def grammar() -> dict[str, object]:
    """The grammar, to be written as JSON."""
    patterns = [
        _rule("comment.line.number-sign.roll", "#.*$"),
        _rule("string.quoted.double.roll", '"[^"]*"'),
        {
            "match": rf"^\s*({'|'.join(STATEMENTS)}){AFTER}(?:\s+(input|target){AFTER})?"
            r"(?=\s+[^\s=,:+*/@])",
            "captures": {
                "1": {"name": "keyword.control.roll"},
                "2": {"name": "keyword.control.roll"},
            },
        },
        _rule("keyword.other.roll", _one_of(INSIDE)),
        {
            "match": rf"([;,])\s*({'|'.join(USES)}){USED}",
            "captures": {
                "1": {"name": "punctuation.separator.roll"},
                "2": {"name": "keyword.other.roll"},
            },
        },
        _rule("constant.numeric.roll", f"{BEFORE}{NUMBER}"),
        {
            "match": rf"(:)\s*({'|'.join(TYPES)}){AFTER}",
            "captures": {
                "1": {"name": "punctuation.separator.roll"},
                "2": {"name": "storage.type.roll"},
            },
        },
        {
            "match": rf"(=)\s*({'|'.join(INITIALISERS)})(?=\s*(?:\(|,|$|#|frozen))",
            "captures": {
                "1": {"name": "keyword.operator.roll"},
                "2": {"name": "support.constant.roll"},
            },
        },
        {  # the axis of a delay
            "match": rf"(\[)\s*({NAME})(?=\s*[-+−])",
            "captures": {"2": {"name": "variable.parameter.roll"}},
        },
        _rule("support.function.roll", rf"{_one_of(functions())}(?=\s*\()"),
        _rule("entity.name.function.roll", rf"{BEFORE}{NAME}(?=\s*\()"),
        _rule("variable.other.roll", f"{BEFORE}{NAME}"),
        _rule("keyword.operator.roll", SYMBOLS),
    ]
    return {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "rollc",
        "scopeName": "source.roll",
        "fileTypes": ["roll"],
        "patterns": patterns,
    }


def _rule(name: str, match: str) -> Rule:
    return {"name": name, "match": match}


def _one_of(words: tuple[str, ...]) -> str:
    return f"{BEFORE}({'|'.join(words)}){AFTER}"
