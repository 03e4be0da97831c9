"""The types that a text declares: shapes, indices, kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from lark import Token, Tree

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.other_names import INDEX_TYPES, NUMBER_TYPES
from rollc.lang.syntax.ast import Expression, Index, Name, Shape
from rollc.lang.syntax.statement_splitter import span_of

Branch = Tree[Token]
KINDS: Mapping[str, Literal["complex", "condition"]] = {
    "complex": "complex",
    "condition": "condition",
}


def span_of_tree(tree: Branch | Token) -> Span:
    if isinstance(tree, Token):
        return span_of(tree)
    return Span(tree.meta.start_pos, tree.meta.end_pos)


def trees_of(tree: Branch) -> list[Branch]:
    return [child for child in tree.children if isinstance(child, Tree)]


def tokens_of(tree: Branch) -> list[Token]:
    return [child for child in tree.children if isinstance(child, Token)]


class TypeReader:
    """Reads what stands behind the `:` of a name; ``problems`` is what it found wrong."""

    def __init__(self) -> None:
        self.problems: list[Diagnostic] = []

    def expression(self, tree: Branch) -> Expression:
        raise NotImplementedError

    def name(self, token: Token) -> Name:
        return Name(str(token), span_of(token))

    def type_of(self, tree: Branch) -> Shape | Index | None:
        """The type that stands behind a name, where one does."""
        for child in trees_of(tree):
            match child.data:
                case "shape":
                    return self.shape(child)
                case "index":
                    return self.index(child)
                case "word":
                    return self.number_type(child)
                case "kinded":
                    return self.kinded(child)
        return None

    def shape(self, tree: Branch) -> Shape:
        sizes = tuple(self.expression(child) for child in trees_of(tree))
        return Shape(sizes, span_of_tree(tree))

    def kinded(self, tree: Branch) -> Shape:
        """A shape behind the kind of its elements."""
        (word,), (child,) = tokens_of(tree), trees_of(tree)
        kind = KINDS.get(str(word))
        if kind is None:
            before = Edit(span_of(word), "")
            help_ = "write `[…]`, `complex[…]` or `condition[…]`"
            self.no_type(word, f"{word}[…]", help_, before)
        return replace(self.shape(child), span=span_of_tree(tree), kind=kind or "")

    def number_type(self, tree: Branch) -> Shape:
        """`number` says that there are no sizes."""
        word, span = tokens_of(tree)[0], span_of_tree(tree)
        if word == "number" or word in KINDS:
            return Shape((), span, KINDS.get(str(word), ""))
        if word in INDEX_TYPES:
            self.no_type(word, str(word), "write how many there are: `index(5)`")
        elif word in NUMBER_TYPES:
            self.no_type(word, str(word), "write `number`", Edit(span, "number"))
        else:
            self.no_type(word, str(word), f"write `[{word}]`", Edit(span, f"[{word}]"))
            return Shape((self.name(word),), span)
        return Shape((), span)

    def index(self, tree: Branch) -> Shape | Index:
        word, span = tokens_of(tree)[0], span_of_tree(tree)
        size = self.expression(trees_of(tree)[0])
        shape = self.shape(trees_of(tree)[1]).sizes if trees_of(tree)[1:] else ()
        if word == "index":
            return Index(size, span, shape)
        if word in INDEX_TYPES:
            self.no_type(word, f"{word}(…)", "write `index(…)`", Edit(span_of(word), "index"))
            return Index(size, span, shape)
        opened = Edit(Span(span.start, size.span.start), "[")
        closed = Edit(Span(size.span.end, span.end), "]")
        self.no_type(word, f"{word}(…)", "write `[…]`", opened, closed)
        return Shape((size,), span)

    def of_numbers(self, type_: Shape | Index | None) -> Shape | Index | None:
        """The type of what is given, which has no conditions, and no index with a shape."""
        match type_:
            case Shape(kind="condition"):
                help_ = "write `number`, or a shape: compared, `r > 0`, it is a condition"
                message = "a condition is computed, and not given"
                self.problems.append(Diagnostic("R101", message, Label(type_.span), helps=(help_,)))
            case Index(shape=(_, *_)):
                help_ = (
                    "write `index(…)` alone, one for each place; or numbers, which `E[k]` looks up"
                )
                message = "an index that is given has no shape"
                self.problems.append(Diagnostic("R101", message, Label(type_.span), helps=(help_,)))
        return type_

    def no_type(self, word: Token, form: str, help_: str, *edits: Edit) -> None:
        self.problems.append(
            Diagnostic(
                "R101",
                f"expected a shape, `index(…)` or `number`, found `{form}`",
                Label(span_of(word), "expected `[…]`, `index(…)` or `number`"),
                helps=(help_,),
                edits=edits,
            )
        )
