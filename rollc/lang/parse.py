"""Text to syntax tree, statement by statement, with every syntax error in one go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lark import Token, Tree
from lark.exceptions import UnexpectedToken

from rollc.lang.diagnostics import Diagnostic, Label, has_errors, in_order
from rollc.lang.grammar import grammar
from rollc.lang.reader import Reader
from rollc.lang.source import Source, Span
from rollc.lang.statements import Piece, cut, is_later, span_of
from rollc.lang.syntax import Spec, Statement

LONGEST_TEXT = 200_000  # characters
LONGEST_NAME = 100  # characters
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
    "OVER": "`over`",
    "$END": "the end of the line",
}
VALUE = frozenset(["NAME", "NUMBER", "LPAR", "SIGN"])
OPERATOR = frozenset(["SIGN", "STAR"])
OPERATORS = frozenset(["SIGN", "STAR", "POWER", "COMPARISON"])


def parse_spec(source: Source) -> tuple[Spec | None, list[Diagnostic]]:
    """The syntax tree of a text, or None where there are errors, and the diagnostics."""
    if len(source.text) > LONGEST_TEXT:
        message = f"the text has {len(source.text)} characters; a spec has {LONGEST_TEXT} at most"
        return None, [Diagnostic("R108", message)]
    statements: list[Statement] = []
    problems: list[Diagnostic] = []
    first = None
    for piece in cut(source.text):
        before, first = first, piece.tokens[0]
        if first == "grad" and before == "fn":
            continue  # it belongs to the function, which is not supported yet
        found, wrong = _statements(piece)
        statements.extend(found)
        problems.extend(wrong)
    if has_errors(problems):
        return None, list(in_order(problems))
    return Spec(tuple(statements)), problems


def _statements(piece: Piece) -> tuple[Sequence[Statement], Sequence[Diagnostic]]:
    if is_later(piece.tokens):
        return (), (_later(piece.tokens[0]),)
    problems = [*piece.problems, *_token_problems(piece.tokens)]
    if problems:
        return (), problems
    tree = _parse(piece.tokens)
    if isinstance(tree, Diagnostic):
        return (), (tree,)
    deep = _too_deep(tree)
    if deep is not None:
        return (), (deep,)
    reader = Reader()
    statements = reader.statements(tree)
    return statements, reader.problems


def _later(word: Token) -> Diagnostic:
    return Diagnostic(
        "R104",
        f"`{word}` is not supported yet",
        Label(span_of(word)),
        helps=("write the equations out in this file",) if word in ("cell", "use", "fn") else (),
    )


def _token_problems(tokens: Sequence[Token]) -> Iterator[Diagnostic]:
    for token in tokens:
        if token.type == "STRANGE":
            yield Diagnostic("R102", f"unknown character {_shown(token)}", Label(span_of(token)))
        elif token.type == "NAME" and len(token) > LONGEST_NAME:
            yield Diagnostic(
                "R108",
                f"a name of {len(token)} characters; {LONGEST_NAME} are the most",
                Label(span_of(token)),
            )


def _shown(token: Token) -> str:
    letter = str(token)
    return f"`{letter}`" if letter.isprintable() and letter != " " else f"U+{ord(letter):04X}"


def _parse(tokens: Sequence[Token]) -> Tree[Token] | Diagnostic:
    parser = grammar().parse_interactive(start="start")
    try:
        for token in tokens:
            parser.feed_token(token)
        last = tokens[-1]
        tree = parser.feed_token(Token.new_borrow_pos("$END", "", last))
    except UnexpectedToken as error:
        accepted = set(parser.accepts())  # type: ignore[no-untyped-call]
        return _unexpected(error.token, accepted, tokens)
    assert isinstance(tree, Tree)
    return tree


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
    rest = set(accepted)
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
