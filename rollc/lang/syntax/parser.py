"""The parser: from a text to a syntax tree, statement by statement, with all syntax errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from lark import Token, Tree
from lark.exceptions import UnexpectedToken

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label, has_errors, in_order
from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.syntax.ast import (
    Cell,
    Const,
    Dim,
    Each,
    Elements,
    Equation,
    Function,
    Init,
    Input,
    Name,
    Negate,
    Number,
    Output,
    Param,
    Repeat,
    Reset,
    Slope,
    Spec,
    Statement,
    Use,
)
from rollc.lang.syntax.ast_builder import Reader
from rollc.lang.syntax.contextual_words import is_grad, with_words
from rollc.lang.syntax.corrections import Mended, mended
from rollc.lang.syntax.grammar import grammar
from rollc.lang.syntax.notations import INITIAL
from rollc.lang.syntax.statement_splitter import Piece, cut, is_form, span_of

LONGEST_TEXT = 200_000  # characters
LONGEST_NAME = 100  # characters
MOST_MENDED = 100  # messages of a text before corrections are no longer looked for
DEEPEST = 100  # levels of nesting in an expression

SAID = {
    "COMMA": "`,`",
    "COLON": "`:`",
    "EQUAL": "`=`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "NAME": "a name",
    "PLACE": "`[`",
    "OVER": "`over`",
    "SEMICOLON": "`;`",
    "LBRACE": "`{`",
    "ARROW": "`->`",
    "STRING": "a path in quotes",
    "$END": "the end of the line",
}
VALUE = frozenset(["NAME", "NUMBER", "LPAR", "LSQB", "SIGN"])
OPERATOR = frozenset(["SIGN", "STAR"])
OPERATORS = frozenset(["SIGN", "STAR", "POWER", "COMPARISON"])


def parse_spec(source: Source, place: int = 0) -> tuple[Spec | None, list[Diagnostic]]:
    """The syntax tree of a text, or None where there are errors, and the diagnostics.

    ``place`` is the number of the file: 0 is the spec itself, 1 the first that it uses.
    """
    text = (source, *source.used)[place].text
    if len(text) > LONGEST_TEXT:
        message = f"the text has {len(text)} characters; a spec has {LONGEST_TEXT} at most"
        return None, [Diagnostic("R108", message)]
    gathered = _gathered(source, place)
    if has_errors(gathered.problems):
        return None, list(in_order(gathered.problems))
    return Spec(tuple(gathered.statements)), list(gathered.problems)


def readable(source: Source) -> tuple[Spec, frozenset[str]] | None:
    """The statements of an erroneous text that can be parsed, and the names in the others.

    None where there are cells, functions or other files, whose missing parts are not known.
    """
    if len(source.text) > LONGEST_TEXT:
        return None
    gathered = _gathered(source, 0)
    plain = not any(isinstance(item, (Cell, Function, Use)) for item in gathered.statements)
    if not plain or gathered.opened():
        return None
    return Spec(tuple(gathered.statements)), frozenset(gathered.broken)


def statements_of(source: Source, place: int = 0) -> Spec:
    """The statements of a text that can be parsed, whatever is wrong with the others."""
    if len((source, *source.used)[place].text) > LONGEST_TEXT:
        return Spec(())
    return Spec(tuple(_gathered(source, place).statements))


@lru_cache(maxsize=1)
def _gathered(source: Source, place: int) -> _Gathered:
    gathered = _Gathered((source, *source.used)[place].text, source.offsets[place])
    gathered.read()
    return gathered


class _Gathered:
    """Pieces become statements: a cell takes those of its body, a function its ``grad``."""

    def __init__(self, text: str, base: int) -> None:
        self.text = text
        self.base = base
        self.statements: list[Statement] = []
        self.problems: list[Diagnostic] = []
        self.said: dict[str, int] = {}  # faults of several places, to the place of their message
        self.head: tuple[Piece, Cell | Function | None] | None = None
        self.body: list[Statement] = []
        # Repetitions that are open, with what is in them.
        self.repeated: list[tuple[Piece, Repeat | None, list[Statement]]] = []
        self.after_function = False
        self.broken: set[str] = set()  # the names in what could not be read

    def read(self) -> None:
        end = 0
        for piece in cut(self.text, self.base):
            if span_of(piece.tokens[0]).start >= end:
                end = self.add(piece)
        self.close()

    def add(self, piece: Piece) -> int:
        """The statement of a piece; the offset where the next one can begin."""
        first = piece.tokens[0]
        if first == "}" and not piece.problems:
            self.end_body(first)
            return 0
        grad = self.after_function and is_grad(piece.tokens)
        read = _statements(piece, grad)
        if has_errors(read[1]) and len(self.problems) < MOST_MENDED:
            meant = mended(self.text, self.base, piece, partial(_failure, grad=grad))
            if meant is not None:
                self.add_meant(meant, piece)
                return meant.end
        self.add_read(piece, grad, *read)
        return 0

    def first_steps(self, statements: Sequence[Statement]) -> list[Statement]:
        """`h[0] = e` of what has an equation of its own is meant as what comes before it."""
        plain = {name.name for item in statements for name in _plainly_defined(item)}
        return [
            self.first_step(item, item.names[0])
            if isinstance(item, Elements) and _of_one(item) and item.names[0].name in plain
            else item
            for item in statements
        ]

    def first_step(self, item: Elements, name: Name) -> Statement:
        end = self.text.index("]", item.places[0].span.end - self.base) + 1 + self.base
        at = Span(item.span.start, end)
        edits = () if item.types[0] else (Edit(at, f"init {name.name}"),)
        helps = (f"write `init {name.name} =`",)
        self.problems.append(Diagnostic("R115", INITIAL, Label(at), helps=helps, edits=edits))
        return Init(name, item.value, (), item.span)

    def add_meant(self, meant: Mended, piece: Piece) -> None:
        """A statement as it was meant, and what was wrong with it; one message for one fault."""
        for key, problem in meant.problems:
            if key in self.said:
                known = self.problems[self.said[key]]
                edits = (*known.edits, *problem.edits)
                self.problems[self.said[key]] = replace(known, edits=edits)
                continue
            if key:
                self.said[key] = len(self.problems)
            self.problems.append(problem)
        if not meant.pieces:
            text = self.text[span_of(piece.tokens[0]).start - self.base : meant.end - self.base]
            self.broken.update(re.findall(r"[^\W\d]\w*", text))
        for part in meant.pieces:
            first = part.tokens[0]
            if first == "}" and not part.problems:
                self.end_body(first)
            else:
                grad = self.after_function and is_grad(part.tokens)
                self.add_read(part, grad, *_statements(part, grad))

    def add_read(
        self, piece: Piece, grad: bool, found: Sequence[Statement], wrong: Sequence[Diagnostic]
    ) -> None:
        function = is_form(piece.tokens, "fn")
        self.problems.extend(wrong)
        if has_errors(wrong):
            self.broken.update(str(token) for token in piece.tokens if token.type == "NAME")
        self.after_function = function or grad
        if is_form(piece.tokens, "repeat") and piece.tokens[-1] == "{":
            self.begin_passes(piece, found)
        elif is_form(piece.tokens, "cell") or (function and piece.tokens[-1] == "{"):
            self.begin_body(piece, found)
        elif grad:
            self.add_slopes(found)
        else:
            self.add_statements(found)

    def add_statements(self, found: Sequence[Statement]) -> None:
        if self.repeated:
            self.problems.extend(_outside(found, "repeat"))
            self.repeated[-1][2].extend(found)
        elif self.head is not None:
            self.problems.extend(_outside(found, str(self.head[0].tokens[0])))
            self.body.extend(found)
        else:
            self.statements.extend(found)

    def add_slopes(self, slopes: Sequence[Statement]) -> None:
        function = self.statements[-1] if self.statements else None
        for slope in slopes:
            if isinstance(slope, Slope) and isinstance(function, Function):
                span = function.span.to(slope.span)
                function = replace(function, slopes=(*function.slopes, slope), span=span)
                self.statements[-1] = function

    def begin_body(self, piece: Piece, found: Sequence[Statement]) -> None:
        self.problems.extend(map(_unclosed, self.opened()))
        self.repeated.clear()
        head = found[0] if found else None
        self.head = (piece, head if isinstance(head, (Cell, Function)) else None)
        self.body = []

    def begin_passes(self, piece: Piece, found: Sequence[Statement]) -> None:
        head = found[0] if found else None
        self.repeated.append((piece, head if isinstance(head, Repeat) else None, []))

    def end_passes(self, bracket: Token) -> None:
        _, repeat, passes = self.repeated.pop()
        if repeat is not None:
            body = tuple(item for item in passes if isinstance(item, (Equation, Repeat)))
            span = repeat.span.to(span_of(bracket))
            self.add_statements([replace(repeat, body=body, span=span)])

    def end_body(self, bracket: Token) -> None:
        if self.repeated:
            self.end_passes(bracket)
            return
        if self.head is None:
            message = "`}` closes nothing"
            self.problems.append(Diagnostic("R103", message, Label(span_of(bracket))))
            return
        _, head = self.head
        span = span_of(bracket) if head is None else head.span.to(span_of(bracket))
        if isinstance(head, Cell):
            parts = tuple(self.first_steps(self.body))
            self.statements.append(replace(head, body=parts, span=span))
        elif head is not None:
            body = tuple(item for item in self.body if isinstance(item, Equation))
            self.statements.append(replace(head, body=body, span=span))
        self.after_function = isinstance(head, Function)
        self.head = None

    def close(self) -> None:
        """The end of the text."""
        self.statements = self.first_steps(self.statements)
        if not has_errors(self.problems):
            self.problems.extend(map(_unclosed, self.opened()))

    def opened(self) -> list[Piece]:
        """The heads of what is not closed yet."""
        heads = [] if self.head is None else [self.head[0]]
        return [*heads, *(piece for piece, _, _ in self.repeated)]


def _of_one(elements: Elements) -> bool:
    """Whether one element is defined, by a number that stands in the text."""
    if elements.counted is not None or len(elements.names) > 1:
        return False
    place = elements.places[0]
    return isinstance(place.operand if isinstance(place, Negate) else place, Number)


def _plainly_defined(statement: Statement) -> Iterator[Name]:
    match statement:
        case Equation(names):
            yield from names
        case Input(name) | Param(name):
            yield name


def _unclosed(head: Piece) -> Diagnostic:
    opened = Label(span_of(head.tokens[-1]), "opened here")
    return Diagnostic("R103", "`{` is never closed", opened)


# What can stand in a body, by the word that it begins with.
_PARTS: dict[str, tuple[str, str, tuple[type[Statement], ...]]] = {
    "fn": ("function", "a function has equations alone; a cell can have more", (Equation,)),
    "repeat": (
        "repetition",
        "it has equations and repetitions alone: what they read can be defined before it",
        (Equation, Repeat),
    ),
    "cell": (
        "cell",
        "a cell has `dim`, `param`, `const`, `init`, `reset`, `repeat` and equations",
        (Dim, Param, Const, Equation, Init, Reset, Each, Elements, Repeat),
    ),
}


# Where what cannot stand in a cell stands.
_ELSEWHERE: dict[type[Statement], str] = {
    Function: "a function stands before the cell, which can call it",
    Input: "the inputs of a cell stand in its brackets: `cell f(x, y; H) -> h {`",
    Output: "the results of a cell stand behind its arrow: `cell f(x; H) -> h, c {`",
    Use: "`use` stands before the cell",
}


def _outside(statements: Sequence[Statement], word: str) -> Iterator[Diagnostic]:
    """What cannot stand in a body."""
    what, help_, allowed = _PARTS[word]
    for statement in statements:
        if not isinstance(statement, allowed):
            message = f"this cannot be part of a {what}"
            helps = (_ELSEWHERE.get(type(statement), help_),) if word == "cell" else (help_,)
            yield Diagnostic("R111", message, Label(statement.span), helps=helps)


def _statements(
    piece: Piece, grad: bool = False
) -> tuple[Sequence[Statement], Sequence[Diagnostic]]:
    problems = [*piece.problems, *_token_problems(piece.tokens)]
    if problems:
        return (), problems
    tree = _parse(with_words(piece.tokens, grad))
    if isinstance(tree, Diagnostic):
        return (), (tree,)
    deep = _too_deep(tree)
    if deep is not None:
        return (), (deep,)
    reader = Reader()
    statements = reader.statements(tree)
    return statements, reader.problems


def _failure(piece: Piece, grad: bool) -> int | None:
    """Where a piece cannot be parsed."""
    if piece.problems:
        at = piece.problems[0].at
        return at.span.start if at is not None else None
    if piece.tokens[0] == "}":
        return None
    _, result = _fed(with_words(piece.tokens, grad))
    if not isinstance(result, UnexpectedToken):
        return None
    token = result.token
    return span_of(piece.tokens[-1]).end if token.type == "$END" else span_of(token).start


def _token_problems(tokens: Sequence[Token]) -> Iterator[Diagnostic]:
    for token in tokens:
        if token.type == "STRANGE":
            yield Diagnostic("R102", f"unknown character {_shown(token)}", Label(span_of(token)))
        elif token.type in ("NAME", "STRING") and len(token) > LONGEST_NAME:
            what = "a name" if token.type == "NAME" else "a path"
            yield Diagnostic(
                "R108",
                f"{what} of {len(token)} characters; {LONGEST_NAME} are the most",
                Label(span_of(token)),
            )


def _shown(token: Token) -> str:
    letter = str(token)
    return f"`{letter}`" if letter.isprintable() else f"U+{ord(letter):04X}"


def _parse(tokens: Sequence[Token]) -> Tree[Token] | Diagnostic:
    parser, result = _fed(tokens)
    if isinstance(result, UnexpectedToken):
        accepted = set(parser.accepts())
        return _unexpected(result.token, accepted, tokens)
    return result


def _fed(tokens: Sequence[Token]) -> tuple[Any, Tree[Token] | UnexpectedToken]:
    """The parser, and the tree that it made of the tokens or the error."""
    parser = grammar().parse_interactive(start="start")
    try:
        for token in tokens:
            parser.feed_token(token)
        last = tokens[-1]
        tree = parser.feed_token(Token.new_borrow_pos("$END", "", last))
    except UnexpectedToken as error:
        return parser, error
    assert isinstance(tree, Tree)
    return parser, tree


def _unexpected(token: Token, accepted: set[str], tokens: Sequence[Token]) -> Diagnostic:
    expected = _expected(accepted)
    if token.type == "$END":
        end = span_of(tokens[-1]).end
        at = Span(end, end + 1)
        found = "the end of the line"
    else:
        at = span_of(token)
        found = f"`{token}`"
    helps: tuple[str, ...] = ()
    if token.type == "$END" and tokens[0].type == "NAME" and "EQUAL" in accepted:
        helps = (f"an equation says what a name is: `{tokens[0]} = …`",)
    if token.type not in ("NAME", "NUMBER", "$END") and str(token).isidentifier():
        found += ", a word of the language"
    return Diagnostic(
        "R101",
        f"expected {expected}, found {found}",
        Label(at, f"expected {expected}"),
        helps=helps,
    )


def _expected(accepted: set[str]) -> str:
    """What may stand at a place, in words."""
    # Where one of these can stand other operators or values can.
    rest = accepted - {"AND", "OR", "NOT", "FOR", "WORD"}
    rest = rest - {"PLACE"} or rest
    said = []
    if rest >= VALUE:
        said.append("a value")
        rest -= VALUE | {"OVER"}
    if rest >= OPERATOR:
        said.append("an operator")
        rest -= OPERATORS | {"LSQB", "LPAR"}
    if {"NET", "LOSS"} <= rest:
        return "a statement"
    said.extend(SAID.get(name, f"`{name.lower()}`") for name in sorted(rest))
    if len(said) == 1:
        return said[0]
    return f"{', '.join(said[:-1])} or {said[-1]}"


def _too_deep(tree: Tree[Token]) -> Diagnostic | None:
    """Found without recursion, and before anything that recurses."""
    pending = [(tree, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > DEEPEST:
            assert node.meta.start_pos is not None
            return Diagnostic(
                "R105",
                f"an expression nested more than {DEEPEST} deep",
                Label(Span(node.meta.start_pos, node.meta.end_pos)),
                helps=("give parts of it names of their own",),
            )
        pending.extend((child, depth + 1) for child in node.children if isinstance(child, Tree))
    return None
