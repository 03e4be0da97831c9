"""Whole lines of other languages: comments, ends of lines, control flow, imports."""

from __future__ import annotations

import re

from rollc.lang.syntax.notations.notation import Notation

_FUNCTION = "a function is written `fn name(arguments) = value`"
_EQUATIONS = "the equations of a spec hold at every step, in no order"


def _comment(match: re.Match[str]) -> str:
    return f"# {match['comment'].strip()}".rstrip()


def _function(match: re.Match[str]) -> str | None:
    """A definition that only returns something."""
    found = re.fullmatch(r"\s*return\s+([^\n]+)\s*", match["body"])
    return None if found is None else f"fn {match[1]}({match[2]}) = {found[1].strip()}"


LINES = (
    Notation(r"^ //(?P<comment>[^\n]*)", "`//` begins no comment", _comment),
    Notation(r"//(?P<comment> (?:NAME +){1,}NAME[^\n]*)", "`//` begins no comment", _comment),
    Notation(r"/\*(?P<comment>[^\n]*?)\*/ $", "`/*` begins no comment", _comment),
    Notation(r"^ %(?P<comment>[^\n]*)", "`%` begins no comment", _comment),
    Notation(r"%(?P<comment> NAME +NAME[^\n]*)", "`%` begins no comment", _comment),
    Notation(r"^ \"\"\"(?P<comment>[^\n]*?)(?:\"\"\")? $", "a comment stands behind `#`", _comment),
    Notation(
        r"^ (?:\*|/|@|\+|-|\.) [^\n]*",
        "a statement begins with a name or a word of the language",
        None,
        "where this goes on with the line before, put brackets around both",
    ),
    Notation(r";(?= $)", "a statement ends with its line, without a `;`", ""),
    Notation(r" \\ \n[ \t]*", "a statement goes on inside brackets only", " "),
    Notation(
        r"(?<=[+*/@-])[ \t]*\n[ \t]*"
        r"(?!NAME [=:,]|(?:output|loss|init|net|param|input)\b)(?=[\w(])",
        "a statement goes on inside brackets only",
        " ",
        "write it on one line, or put brackets around all of it",
    ),
    Notation(
        r"^ (?:from NAME(?:\.NAME)* )?import (?![^\n]*[\"'])[^\n]*",
        "nothing is imported but files of cells and functions",
        "",
        'the functions are there already; `use "cells/lstm.roll"` brings cells',
    ),
    Notation(r"^ using NAME[^\n]*", "nothing is imported but files of cells", ""),
    Notation(
        r"^ for\b[^\n]*?(?::|\bdo|\{)? $\n?",
        f"there are no loops: {_EQUATIONS}",
        "",
        "leave the line out: `h[t-1]` is the value one step ago",
        of="whole",
    ),
    Notation(
        r"^ (?:while|if|elif|else)\b[^\n]*BLOCK",
        f"there is no control flow: {_EQUATIONS}",
        None,
        "write `where(condition, then, otherwise)` in an equation",
    ),
    Notation(
        r"^ def (NAME) \( (INSIDE) \) (?:->[^:\n]*)?:(?P<body>[^\n]*BLOCK)", _FUNCTION, _function
    ),
    Notation(
        r"^ def NAME[^\n]*BLOCK",
        _FUNCTION,
        None,
        "its value is one expression; for equations with a state write a cell: "
        "`cell name(x) -> h { … }`",
    ),
    Notation(
        r"^ (?:class|@|with|try|async)\b[^\n]*BLOCK",
        "a spec is equations, and no program",
        None,
        "write what the network is given (`input x: [3]`), what it learns (`param W: [4, 3]`), "
        "its equations and `output h`",
    ),
    Notation(r"^ end\w* $", "`end` ends nothing: a statement ends with its line", ""),
    Notation(r"^ print \(\s*(NAME) \)", "nothing is printed while a network runs", r"output \1"),
    Notation(r"[\u200b-\u200f\u2060\ufeff\u00ad]+", "a character that cannot be seen", ""),
)
