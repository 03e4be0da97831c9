"""Error recovery: tokens are split into statements, so that an error is confined to one.

The end of a line ends a statement, except inside brackets.  A bracket that is never closed
does not extend to the end of the text: a line that is not indented further than the
statement and begins like a statement begins one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from lark import Token

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.syntax.grammar import grammar

# The minus sign of a typeset text, and the blanks of one, are read as those of a keyboard.
SAME = {0x2212: "-", **dict.fromkeys((0xA0, 0x2002, 0x2003, 0x2009, 0x202F), " ")}
OPENING = {")": "(", "]": "[", "}": "{"}
CLOSING = {opening: closing for closing, opening in OPENING.items()}
KEYWORDS = frozenset(
    ["net", "dim", "static", "input", "target", "param", "const", "init", "output", "loss"]
)
# Words that begin a statement where one of these follows them, and are names elsewhere.
BEGINNINGS = {
    **dict.fromkeys(("cell", "fn", "reset", "time"), ("NAME",)),
    "use": ("STRING",),
    "repeat": ("NAME", "NUMBER", "LPAR"),
}


def span_of(token: Token) -> Span:
    assert token.start_pos is not None
    assert token.end_pos is not None
    return Span(token.start_pos, token.end_pos)


@dataclass(frozen=True, slots=True)
class Piece:
    """The tokens of one statement, and the errors of its brackets.

    A cell, a function of several lines or a repetition is several pieces: its head up to the
    opening bracket, the statements of its body, and the closing bracket.
    """

    tokens: tuple[Token, ...]
    problems: tuple[Diagnostic, ...] = ()


def cut(text: str, base: int = 0) -> Iterator[Piece]:
    """The statements of a text; pieces without tokens are left out.

    ``base`` is the offset of the text among all texts of a spec.
    """
    tokens = list(grammar().lex(text.translate(SAME)))
    for token in tokens if base else ():
        token.start_pos = span_of(token).start + base
        token.end_pos = span_of(token).end + base
    cutter = _Cutter(tokens)
    while cutter.place < len(tokens):
        piece = cutter.next()
        if piece.tokens:
            yield piece


class _Cutter:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.place = 0
        # Once the end of the text was met inside a bracket, every line is a statement:
        # looking for the end of each again would take quadratic time.
        self.by_lines = False

    def next(self) -> Piece:
        start = self.place
        opened: list[Token] = []
        first_end = None
        while self.place < len(self.tokens):
            token = self.tokens[self.place]
            if not opened and token == "{" and self.has_body(start):
                return self.whole(start, self.place + 1)
            if token == "}" and not opened:
                return self.whole(start, max(self.place, start + 1))
            if token.type == "NEWLINE":
                first_end = self.place if first_end is None and opened else first_end
                if not opened or self.by_lines or self.begins(self.place + 1, start):
                    return self.finish(start, self.place, opened)
            elif token in ("(", "[", "{"):
                opened.append(token)
            elif token in OPENING:
                if not opened or opened[-1] != OPENING[token]:
                    return self.stray(start, token, opened)
                opened.pop()
            self.place += 1
        if opened and first_end is not None:
            self.by_lines = True
            in_line = [
                token for token in opened if span_of(token) < span_of(self.tokens[first_end])
            ]
            piece = self.finish(start, first_end, in_line or opened)
            self.skip_indented(self.tokens[start])
            return piece
        return self.finish(start, self.place, opened)

    def has_body(self, start: int) -> bool:
        head = self.tokens[start : start + 2]
        return any(is_form(head, word) for word in ("cell", "fn", "repeat"))

    def whole(self, start: int, end: int) -> Piece:
        """A piece that ends with no line: the next one begins right after it."""
        self.place = end
        return Piece(tuple(token for token in self.tokens[start:end] if token.type != "NEWLINE"))

    def skip_indented(self, first: Token) -> None:
        """Pass over the lines that were meant to be inside the bracket."""
        while self.place < len(self.tokens):
            token = self.tokens[self.place]
            if token.type != "NEWLINE" and (token.column or 1) <= (first.column or 1):
                return
            while self.place < len(self.tokens) and self.tokens[self.place].type != "NEWLINE":
                self.place += 1
            self.place += 1

    def begins(self, place: int, start: int) -> bool:
        """Whether a statement seems to begin here, inside a bracket of another."""
        tokens = self.tokens[place : place + 2]
        if len(tokens) < 2 or tokens[0].column is None or start >= len(self.tokens):
            return False
        if tokens[0].column > (self.tokens[start].column or 1):
            return False
        word, after = tokens
        if after.type in BEGINNINGS.get(word, ()):
            return True
        if word in KEYWORDS:
            return after.type == "NAME" or word in ("loss", "static")
        if word.type == "NAME" and after.type == "COLON":
            return self.declares(place + 2)
        return word.type == "NAME" and after.type in ("EQUAL", "COMMA")

    def declares(self, place: int) -> bool:
        """Whether a type and an `=` stand here; behind a `:` could be the end of a slice too."""
        depth = 0
        for token in islice(self.tokens, place, None):
            depth += (token in OPENING.values()) - (token in OPENING)
            if token.type == "NEWLINE" or depth < 0:
                return False
            if token.type == "EQUAL" and not depth:
                return True
        return False

    def finish(self, start: int, end: int, opened: list[Token]) -> Piece:
        self.place = end + 1
        tokens = tuple(token for token in self.tokens[start:end] if token.type != "NEWLINE")
        problems: tuple[Diagnostic, ...] = ()
        if opened:
            last = span_of(tokens[-1]).end
            closing = "".join(CLOSING[bracket] for bracket in reversed(opened))
            help_, edit = f"close it: `{closing}`", Edit(Span(last, last), closing)
            if opened[-1] == "{":  # that of a body stands behind its head
                help_, edit = "leave it out", Edit(span_of(opened[-1]), "")
            problems = (
                Diagnostic(
                    "R103",
                    f"`{opened[-1]}` is never closed",
                    Label(span_of(opened[-1]), "opened here"),
                    helps=(help_,),
                    edits=(edit,),
                ),
            )
        return Piece(tokens, problems)

    def stray(self, start: int, token: Token, opened: list[Token]) -> Piece:
        """A closing bracket that nothing opened; its line is given up."""
        while self.place < len(self.tokens) and self.tokens[self.place].type != "NEWLINE":
            self.place += 1
        also: tuple[Label, ...] = ()
        message = f"`{token}` closes nothing"
        if opened:
            message = f"`{token}` does not close `{opened[-1]}`"
            also = (Label(span_of(opened[-1]), "opened here"),)
        instead = CLOSING[opened[-1]] if opened else ""
        help_ = f"write `{instead}`" if opened else "leave it out"
        edits = (Edit(span_of(token), instead),)
        at = Label(span_of(token))
        problem = Diagnostic("R103", message, at, also, helps=(help_,), edits=edits)
        piece = self.finish(start, self.place, [])
        return Piece(piece.tokens, (problem,))


def is_form(tokens: Sequence[Token], word: str) -> bool:
    """Whether a statement begins with one of the words that are names elsewhere."""
    if len(tokens) < 2 or tokens[0].type != "NAME":
        return False
    return tokens[0] == word and tokens[1].type in BEGINNINGS.get(word, ())
