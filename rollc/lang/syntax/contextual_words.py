"""Words of the language at their place alone: elsewhere they are names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile

from lark import Token

from rollc.lang.syntax.statement_splitter import BEGINNINGS, CLOSING, OPENING, is_form

ENDS_VALUE = ("NUMBER", "RPAR", "RSQB")
# The words of a use of a cell, and what stands behind them.
USE_WORDS = {"reverse": "", "both": "", "stack": "3", "residual": "", "dropout": "0.1"}


def is_grad(tokens: Sequence[Token]) -> bool:
    return (
        tokens[0] == "grad"
        and len(tokens) > 1
        and tokens[1].type not in ("EQUAL", "COMMA", "COLON")
    )


def with_words(tokens: Sequence[Token], grad: bool) -> list[Token]:
    """The tokens, with a name that is a word of the language at its place become one."""
    found = list(tokens)

    def word(place: int) -> None:
        token = tokens[place]
        found[place] = Token.new_borrow_pos(token.upper(), str(token), token)

    if grad or any(is_form(tokens, beginning) for beginning in BEGINNINGS):
        word(0)
    counts = _counts(tokens)
    if counts is not None:
        word(counts)
        word(counts + 2)
    for place in _places(tokens, counts):
        found[place] = Token.new_borrow_pos("PLACE", "[", tokens[place])
    for place in range(2, len(tokens)) if is_form(tokens, "reset") else ():
        if tokens[place] == "when" and (place == 2 or tokens[place - 1] == "]"):
            word(place)
            break
    for place in _words_of_uses(tokens):
        found[place] = Token.new_borrow_pos("WORD", str(tokens[place]), tokens[place])
    for place in range(2, len(tokens)) if tokens[0] == "param" else ():
        # Behind a name or a value no other name can stand.
        if tokens[place] == "frozen" and tokens[place - 1].type in ("NAME", *ENDS_VALUE):
            word(place)
    begun = 1 + (found[0].type != tokens[0].type)  # what a statement begins with, and its name
    for place in range(begun, len(tokens) - 1):
        follows, after = tokens[place + 1], tokens[place + 1].type
        if found[place - 1].type in ("NAME", *ENDS_VALUE):
            operator = tokens[place] in ("and", "or") and after not in ("EQUAL", "COLON")
        else:
            # `not [a, b]` is of a vector, and `not[t-1]` reads a value of that name.
            apart = after == "LSQB" and follows.start_pos != tokens[place].end_pos
            begins = apart or after in ("NAME", "NUMBER", "LPAR", "SIGN")
            operator = tokens[place] == "not" and begins
        if operator:
            word(place)
    return found


def _places(tokens: Sequence[Token], counts: int | None) -> list[int]:
    """The brackets of elements that a statement defines: of `h[k] = …`, and of `h[0] = …`."""
    if tokens[0].type != "NAME" or len(tokens) < 2 or tokens[1] != "[":
        return []
    found: list[int] = []
    depth = 0
    for place, token in enumerate(tokens):
        if token == "=" and not depth:
            return found
        defines = tokens[place - 1].type == "NAME" and (place < 2 or tokens[place - 2] == ",")
        if token == "[" and not depth and defines:
            if counts is None and _is_step(tokens[place + 1 :]):
                return []
            found.append(place)
        depth += (token in CLOSING) - (token in OPENING)
    return []


def _is_step(tokens: Sequence[Token]) -> bool:
    """Whether a step stands in a bracket: `t`, or `n+1` of an axis `n` that is read behind it."""
    inside = list(takewhile(lambda token: token != "]", tokens))
    if "t" in inside:
        return True
    form = [token.type for token in inside] == ["NAME", "SIGN", "NUMBER"]
    letter = form and len(inside[0]) == 1
    return letter and any(pair == ("[", inside[0]) for pair in pairwise(tokens))


def _words_of_uses(tokens: Sequence[Token]) -> Iterator[int]:
    """Where `reverse` and its like stand behind the semicolon of a use, alone or before a value."""
    behind: list[bool] = []  # of each open bracket, whether a semicolon stands in it
    for place, token in enumerate(() if is_form(tokens, "cell") else tokens):
        if token in CLOSING:
            behind.append(False)
        elif token in OPENING and behind:
            behind.pop()
        elif token == ";" and behind:
            behind[-1] = True
        elif (
            token in USE_WORDS
            and behind
            and behind[-1]
            and tokens[place - 1] in (";", ",")
            and tokens[place + 1] != "="
        ):
            yield place


def _counts(tokens: Sequence[Token]) -> int | None:
    """Where `for k in` stands behind what is said of elements, `h[k] = …`, if it does."""
    begun = int(tokens[0] == "init" or is_form(tokens, "reset"))
    forms = [token.type for token in tokens[begun : begun + 3]]
    said = is_form(tokens, "reset") or "EQUAL" in (token.type for token in tokens)
    if forms[:2] != ["NAME", "LSQB"] or not said:
        return None
    for place in range(len(tokens) - 4, 5, -1):
        said = tokens[place] == "for" and tokens[place + 2] == "in"
        if said and tokens[place - 1].type in ("NAME", *ENDS_VALUE):
            return place
    return None
