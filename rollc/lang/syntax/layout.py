"""The layout of a text: its blanks, and nothing else.

Lines stay where the author broke them, brackets and comments as they are.  Within a line blanks
are regular; bodies and what stands inside brackets are indented; one empty line separates, at most.
In a paragraph the names of inputs, targets and parameters stand below each other, and so do the
comments behind statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lark import Token

from rollc.lang.diagnostics.diagnostic import Diagnostic, has_errors
from rollc.lang.diagnostics.source import Source
from rollc.lang.syntax.contextual_words import is_grad, with_words
from rollc.lang.syntax.parser import parse_spec
from rollc.lang.syntax.statement_splitter import CLOSING, OPENING, cut, is_form, span_of

INDENT = " " * 4
COLUMN = 38  # where comments behind statements begin, if these are shorter
BEHIND = "  "  # before a comment behind a longer one
OPERATORS = ("SIGN", "STAR", "POWER")
VALUE_ENDS = ("NAME", "NUMBER", "RPAR", "RSQB")
_DECLARES = re.compile(r"(static )?(input|target|param) (.*)")


def laid_out(source: Source) -> tuple[str | None, list[Diagnostic]]:
    """The text in its layout, and the diagnostics; None where it cannot be parsed."""
    source = Source(source.name, source.text)
    spec, problems = parse_spec(source)
    if spec is None or has_errors(problems):
        return None, problems
    parts = (_aligned(part) for part in _paragraphs(_lines(source.text)))
    text = "\n".join("".join(f"{line}\n" for line in part) for part in parts)
    if source.line_starts[1:] and source.text[: source.line_starts[1]].endswith("\r\n"):
        text = text.replace("\n", "\r\n")  # as its first line
    again, wrong = parse_spec(Source(source.name, text))
    if again is None:  # it has become too long
        return None, wrong
    assert again == spec, "a layout that changes the meaning"
    return text, problems


@dataclass(frozen=True, slots=True)
class _Line:
    """``depth`` counts the bodies and the brackets that it stands in."""

    code: str
    comment: str
    depth: int


@dataclass(frozen=True, slots=True)
class _Bracket:
    """``tight`` where operators inside have no blanks; ``depth`` is that of its line."""

    token: Token
    tight: bool
    depth: int


class _Layout:
    """The depth of each token, if it begins a line, and the blanks before it, if it does not."""

    def __init__(self) -> None:
        self.bodies: list[bool] = []  # those that are open: whether of a function
        self.after_function = False

    def statement(self, tokens: Sequence[Token]) -> _Statement:
        closes = tokens[0] == "}"
        grad = self.after_function and is_grad(tokens)
        self.after_function = is_form(tokens, "fn") or grad
        if closes and self.bodies:
            self.after_function = self.bodies.pop()
        depth = len(self.bodies) + grad
        if tokens[-1] == "{":
            self.bodies.append(is_form(tokens, "fn"))
        return _Statement(with_words(tokens, grad), depth)


class _Statement:
    def __init__(self, tokens: Sequence[Token], depth: int) -> None:
        self.tokens = tokens
        self.depth = depth  # of the line that is written
        self.opened: list[_Bracket] = []
        self.declared = False  # behind a `:` that a type follows

    def begin_line(self, place: int) -> None:
        if self.opened:
            bracket = self.opened[-1]
            self.depth = bracket.depth + (self.tokens[place] not in OPENING)

    def blanks(self, place: int) -> str:
        """What stands between a token and the one before it."""
        token, before = self.tokens[place], self.tokens[place - 1]
        tight = bool(self.opened) and self.opened[-1].tight
        if (before, token) == (",", ":"):
            return " "
        if before in ("(", "[") or token in (")", "]", ",", ";", ":"):
            return ""
        if before == ":" or "=" in (token, before):
            return "" if self.opened else " "
        if self._is_unary(place - 1):
            return ""
        if token in ("(", "[") and before.type in VALUE_ENDS:
            return ""
        return "" if tight and not {token.type, before.type}.isdisjoint(OPERATORS) else " "

    def take(self, place: int) -> None:
        """Note what a token that is written opens, closes or begins."""
        token = self.tokens[place]
        if token in CLOSING:
            tight = self.declared or bool(self.opened and self.opened[-1].tight)
            if token == "[" and place:
                tight = tight or self.tokens[place - 1].type in VALUE_ENDS
            self.opened.append(_Bracket(token, tight, self.depth))
        elif token in OPENING and self.opened:
            self.opened.pop()
        elif not self.opened:
            if token == ":" and self.tokens[0].type != "GRAD":
                self.declared = True
            elif token in ("=", ","):
                self.declared = False

    def _is_unary(self, place: int) -> bool:
        if self.tokens[place].type != "SIGN":
            return False
        return place == 0 or self.tokens[place - 1].type not in VALUE_ENDS


def _lines(text: str) -> Iterator[_Line]:
    """The lines of a text, with regular blanks between their tokens."""
    layout, end, depth = _Layout(), 0, 0
    code: list[str] = []
    for piece in cut(text):
        statement = layout.statement(piece.tokens)
        for place, token in enumerate(statement.tokens):
            span = span_of(token)
            behind, *below = _comments(text[end : span.start])
            end = span.end
            if below or place == 0:
                yield _Line("".join(code), behind, depth)
                statement.begin_line(place)
                depth, code = statement.depth, [token]
                inside = depth + (token in OPENING)
                yield from (_Line("", comment, inside) for comment in below[:-1])
            else:
                code += statement.blanks(place), token
            statement.take(place)
    behind, *below = _comments(text[end:])
    yield _Line("".join(code), behind, depth)
    yield from (_Line("", comment, 0) for comment in below)


def _comments(between: str) -> list[str]:
    """The comments between two tokens, line by line; "" where a line has none."""
    return [re.sub(r"^#(?=[^\s#!])", "# ", line.strip()) for line in between.split("\n")]


def _paragraphs(lines: Iterable[_Line]) -> Iterator[list[_Line]]:
    """The lines between empty ones, of which none stands at the edge of a bracket."""
    part: list[_Line] = []
    apart = False
    for line in lines:
        if not line.code and not line.comment:
            apart = bool(part)
            continue
        edge = line.code[:1] in OPENING or (part and part[-1].code[-1:] in CLOSING)
        if apart and not edge:
            yield part
            part = []
        part.append(line)
        apart = False
    if part:
        yield part


def _aligned(lines: Sequence[_Line]) -> Iterator[str]:
    """The lines of a paragraph as text."""
    declared = [found[2] for line in lines if (found := _DECLARES.match(line.code))]
    width = max(map(len, declared), default=0)
    codes = [INDENT * line.depth + _declaration(line.code, width) for line in lines]
    behind = [len(code) for code, line in zip(codes, lines, strict=True) if line.comment]
    column = max(COLUMN, max(behind, default=0) + len(BEHIND))
    for code, line in zip(codes, lines, strict=True):
        apart = f"{code:<{column}}" if line.code else code
        yield apart + line.comment if line.comment else code


def _declaration(code: str, width: int) -> str:
    """A line whose names begin where those of other declarations do."""
    found = _DECLARES.match(code)
    if found is None or found[1]:
        return code
    return f"{found[2]:<{width}} {found[3]}"
