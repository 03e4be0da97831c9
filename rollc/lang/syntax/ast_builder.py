"""The AST builder: from a parse tree to the syntax tree.

It reports errors that the grammar accepts for the sake of good messages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import pairwise

from lark import Token, Tree

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.syntax.ast import (
    Binary,
    Call,
    Cell,
    Const,
    Counted,
    Dim,
    Each,
    Elements,
    Equation,
    Expression,
    Function,
    Init,
    Input,
    Listing,
    Loss,
    Name,
    Negate,
    Net,
    Not,
    Number,
    Option,
    Output,
    Param,
    Range,
    Repeat,
    Reset,
    Rest,
    Selection,
    Size,
    Slice,
    Slope,
    Statement,
    Subscript,
    Text,
    Time,
    Use,
    Word,
)
from rollc.lang.syntax.contextual_words import USE_WORDS
from rollc.lang.syntax.formatter import SUM, format_expression
from rollc.lang.syntax.statement_splitter import span_of
from rollc.lang.syntax.traversal import names_in
from rollc.lang.syntax.type_reader import Branch, TypeReader, span_of_tree, tokens_of, trees_of

MOST_DIGITS = 25
_SIZES = "say which size it is: `lstm(x; H=64)`"
_BEHIND = ("option", "over", "given")  # what stands behind the operands of a call
RESERVED = {"t": "the time axis"}


class Reader(TypeReader):
    """Reads one statement of the grammar; ``problems`` is what it found wrong."""

    def statements(self, tree: Branch) -> Sequence[Statement]:
        span = span_of_tree(tree)
        trees, tokens = trees_of(tree), tokens_of(tree)
        match tree.data:
            case "net":
                return [Net(self.name(tokens[0]), span)]
            case "dims":
                return [Dim(*self.definition(child), span_of_tree(child)) for child in trees]
            case "consts":
                return [Const(*self.definition(child), span_of_tree(child)) for child in trees]
            case "inputs" | "targets":
                target = tree.data == "targets"
                return [self.input(child, bool(tokens), target) for child in trees]
            case "params":
                return [self.param(child) for child in trees]
            case "init":
                return [self.outside(trees, span)]
            case "outputs":
                return [Output(self.name(token), span_of(token)) for token in tokens]
            case "loss":
                return [Loss(self.expression(trees[0]), span)]
            case "use":
                return [Use(str(tokens[1])[1:-1], span)]
            case "cell":
                return [self.cell(tree, span)]
            case "function":
                name = self.defined(tokens[1])
                return [Function(name, self.names(trees[0]), self.expression(trees[1]), (), span)]
            case "function_head":
                _, named, _, result = tokens
                names = self.names(trees[0])
                return [Function(self.defined(named), names, self.name(result), (), span)]
            case "grad":
                of = self.name(tokens[1]) if len(tokens) > 1 else None
                return [Slope(of, self.expression(trees[0]), span)]
            case "reset":
                return [self.outside(trees, span, reset=True)]
            case "repeat":
                return [Repeat(self.expression(trees[0]), (), span)]
            case "elements":
                return [self.elements(trees, span)]
            case "times":
                return [Time(tuple(self.name(token) for token in tokens[1:]), span)]
            case _:
                *defined, value = trees
                names = tuple(self.defined(tokens_of(child)[0]) for child in defined)
                types = tuple(map(self.type_of, defined))
                return [Equation(names, types, self.expression(value), span)]

    def elements(self, trees: list[Branch], span: Span) -> Elements:
        defined = [tree for tree in trees if tree.data == "element"]
        value, *behind = trees[len(defined) :]
        names = tuple(self.defined(tokens_of(tree)[0]) for tree in defined)
        places = tuple(self.expression(trees_of(tree)[0]) for tree in defined)
        types = tuple(map(self.type_of, defined))
        counted = self.counted(behind[0]) if behind else None
        for place in places if counted is not None else ():
            assert counted is not None
            index = counted.index.name
            if index not in (name.name for name in names_in(place)):
                at = Label(place.span, f"expected `{index}`")
                found = format_expression(place)
                message = f"elements are counted by `{index}`, and here by `{found}`"
                edits = (Edit(place.span, index),)
                self.problems.append(Diagnostic("R101", message, at, edits=edits))
        return Elements(names, places, types, self.expression(value), counted, span)

    def counted(self, tree: Branch) -> Counted:
        """What `for k in range(m, n)` says: the index, and the bounds."""
        _, index, _, function = tokens_of(tree)
        if function != "range":
            help_ = f"write `for {index} in range(4)`, or `range(1, 4)`"
            message = f"expected `range`, found `{function}`"
            edits = (Edit(span_of(function), "range"),)
            at = Label(span_of(function))
            self.problems.append(Diagnostic("R101", message, at, helps=(help_,), edits=edits))
        *first, stop = map(self.expression, trees_of(tree))
        return Counted(self.defined(index), first[0] if first else None, stop, span_of_tree(tree))

    def outside(self, trees: list[Branch], span: Span, reset: bool = False) -> Statement:
        """What a state is outside the sequence, or where it begins anew; maybe of many."""
        state, *others = trees
        name = self.name(tokens_of(state)[0])
        place = self.expression(trees_of(state)[0]) if trees_of(state) else None
        said = [tree for tree in others if tree.data == "axes"]
        axes = tuple(self.name(token) for tree in said for token in tokens_of(tree)[1:])
        counted = [tree for tree in others if tree.data == "counted"]
        value = self.expression(others[len(said)])
        each: Init | Reset = Init(name, value, axes, span, place)
        if reset:
            each = Reset(name, value, span, place)
        if not counted:
            return each
        return Each(each, self.counted(counted[0]), span)

    def defined(self, token: Token) -> Name:
        """A name that a statement gives something to."""
        if token in RESERVED:
            self.problems.append(
                Diagnostic(
                    "R109",
                    f"`{token}` is {RESERVED[token]} and cannot be given another meaning",
                    Label(span_of(token)),
                    helps=("choose another name",),
                )
            )
        return self.name(token)

    def names(self, tree: Branch) -> tuple[Name, ...]:
        return tuple(self.defined(token) for token in tokens_of(tree))

    def cell(self, tree: Branch, span: Span) -> Cell:
        """The head of a cell; its body is read apart."""
        _, name, *_ = tokens_of(tree)
        inputs: tuple[Name, ...] = ()
        sizes: tuple[Size, ...] = ()
        *given, results = trees_of(tree)
        for child in given:
            if child.data == "names":
                inputs = self.names(child)
            else:
                sizes = tuple(self.size(size) for size in trees_of(child))
        return Cell(self.defined(name), inputs, sizes, self.names(results), (), span)

    def size(self, tree: Branch) -> Size:
        default = [self.expression(child) for child in trees_of(tree)]
        name = self.defined(tokens_of(tree)[0])
        return Size(name, default[0] if default else None, span_of_tree(tree))

    def definition(self, tree: Branch) -> tuple[Name, Expression]:
        return self.defined(tokens_of(tree)[0]), self.expression(trees_of(tree)[0])

    def input(self, tree: Branch, static: bool, target: bool) -> Input:
        name = self.defined(tokens_of(tree)[0])
        said = [child for child in trees_of(tree) if child.data == "axis"]
        axes = tuple(self.name(token) for child in said for token in tokens_of(child))
        type_ = self.of_numbers(self.type_of(tree))
        return Input(name, type_, axes, static, target, span_of_tree(tree))

    def param(self, tree: Branch) -> Param:
        shape, initialiser = None, None
        for child in trees_of(tree):
            match child.data:
                case "shape":
                    shape = self.shape(child)
                case "word":
                    shape = self.number_type(child)
                case "kinded":
                    shape = self.kinded(child)
                case _:
                    initialiser = self.expression(child)
        name, *frozen = tokens_of(tree)
        span = span_of_tree(tree)
        self.of_numbers(shape)
        return Param(self.defined(name), shape, initialiser, bool(frozen), span)

    def expression(self, tree: Branch) -> Expression:
        span = span_of_tree(tree)
        trees, tokens = trees_of(tree), tokens_of(tree)
        match tree.data:
            case "number":
                return Number(self.number(tokens[0]), span)
            case "name":
                return self.name(tokens[0])
            case "group":
                return self.expression(trees[0])
            case "comparison":
                return self.comparison(trees, tokens, span)
            case "binary":
                left, right = trees
                return Binary(str(tokens[0]), self.expression(left), self.expression(right), span)
            case "sign":
                if tokens[0] == "+":
                    return self.expression(trees[0])
                return Negate(self.expression(trees[0]), span)
            case "not":
                return Not(self.expression(trees[0]), span)
            case "subscript":
                return Subscript(self.expression(trees[0]), self.expression(trees[1]), span)
            case "slice":
                return self.slice(tree)
            case "selection":
                base, *places = trees
                found = tuple(map(self.place, places))
                return Selection(self.expression(base), found, span)
            case "text":
                return Text(str(tokens[0])[1:-1], span)
            case "listing":
                return Listing(tuple(map(self.expression, trees)), span)
            case _:
                return self.call(tree)

    def number(self, token: Token) -> int | float:
        if token.isdigit():
            if len(token.lstrip("0")) <= MOST_DIGITS:
                return int(token)
        else:
            value = float(token)
            digits = token.lower().split("e")[0]
            if math.isfinite(value) and (value or not digits.strip("0.")):
                return value
        self.problems.append(
            Diagnostic(
                "R106",
                "a number that no float64 can hold",
                Label(span_of(token)),
                notes=("the numbers between 2.3e-308 and 1.7e308 can be held, and 0",),
            )
        )
        return 0

    def comparison(self, trees: list[Branch], tokens: list[Token], span: Span) -> Expression:
        if len(tokens) > 1:
            self.problems.append(
                Diagnostic(
                    "R107",
                    "comparisons cannot be chained",
                    Label(span_of(tokens[1]), "the second comparison"),
                    (Label(span_of(tokens[0]), "the first"),),
                    helps=(f"write two: `{self.pairs(trees, tokens)}`",),
                    edits=self.two_comparisons(trees),
                )
            )
        left, right = (self.expression(tree) for tree in trees[:2])
        return Binary(str(tokens[0]), left, right, span)

    def pairs(self, trees: list[Branch], tokens: list[Token]) -> str:
        """A chain as comparisons of two."""
        texts = [format_expression(self.expression(tree), SUM) for tree in trees]
        return " and ".join(
            f"{left} {symbol} {right}"
            for (left, right), symbol in zip(pairwise(texts), tokens, strict=True)
        )

    def two_comparisons(self, trees: list[Branch]) -> tuple[Edit, ...]:
        """`a < b < c` as `a < b and b < c`: what stands in the middle is said again."""
        if len(trees) != 3:
            return ()
        end = span_of_tree(trees[1]).end
        return (Edit(Span(end, end), f" and {format_expression(self.expression(trees[1]))}"),)

    def slice(self, tree: Branch) -> Expression:
        base, *_ = trees_of(tree)
        return Slice(self.expression(base), *self.ends(tree.children[1:]), span_of_tree(tree))

    def ends(
        self, children: Sequence[Branch | Token]
    ) -> tuple[Expression | None, Expression | None]:
        """What stands before and behind a colon."""
        start, stop = None, None
        seen = False
        for child in children:
            if isinstance(child, Token):
                seen = True
            elif seen:
                stop = self.expression(child)
            else:
                start = self.expression(child)
        return start, stop

    def place(self, tree: Branch) -> Expression | Range | Rest:
        """One of several places in an index."""
        match tree.data:
            case "range":
                start, stop = self.ends(tree.children)
                return Range(start, stop, span_of_tree(tree))
            case "rest":
                return Rest(span_of_tree(tree))
            case _:
                return self.expression(tree)

    def call(self, tree: Branch) -> Expression:
        function, *rest = tree.children
        assert isinstance(function, Token)
        self.compared(rest)
        operands: list[Expression] = []
        options: list[Option] = []
        sizes: list[Option] = []
        words: list[Word] = []
        behind: Span | None = None  # the operands
        end = span_of(function).end
        for child in rest:
            assert isinstance(child, Tree)
            place = span_of_tree(child)
            match child.data:
                case "given":
                    sizes, words = [*self.given(child)], [*self.words(child)]
                case "over":
                    behind = behind or place
                case "option":
                    behind = behind or place
                    name = self.name(tokens_of(child)[0])
                    options.append(Option(name, self.expression(trees_of(child)[0]), place))
                case _:
                    operand = self.expression(child)
                    operands.append(operand)
                    if behind is not None and not self.problems:
                        before = Edit(
                            Span(behind.start, behind.start), f"{format_expression(operand)}, "
                        )
                        after = Edit(Span(end, place.end), "")
                        self.misplaced(place, "an operand after an option", before, after)
            end = place.end
        name, over = self.name(function), self.over(tree)
        span = span_of_tree(tree)
        given = tuple(sizes), span, tuple(words)
        return Call(name, tuple(operands), tuple(options), over, *given)

    def compared(self, arguments: Sequence[Branch | Token]) -> None:
        """An option before all operands is most likely meant as a comparison."""
        match [child for child in arguments if isinstance(child, Tree)]:
            case [Tree(data="option") as first, second, *_] if second.data not in _BEHIND:
                name, value = tokens_of(first)[0], trees_of(first)[0]
                edit = Edit(Span(span_of(name).end, span_of_tree(value).start), " == ")
                at = Label(span_of_tree(first), "an option stands behind all operands")
                self.problems.append(
                    Diagnostic(
                        "R101",
                        "an operand after an option",
                        at,
                        helps=("a comparison is written with `==`",),
                        edits=(edit,),
                    )
                )

    def over(self, tree: Branch) -> Name | None:
        """The axis of a call, which stands behind its options or among its sizes."""
        places = [*trees_of(tree)]
        places += [part for child in places if child.data == "given" for part in trees_of(child)]
        found = [place for place in places if place.data == "over"]
        for again in found[1:]:
            span = span_of_tree(again)
            start = max(place.meta.end_pos for place in places if place.meta.end_pos <= span.start)
            self.misplaced(span, "`over` is given twice", Edit(Span(start, span.end), ""))
        return self.name(tokens_of(found[0])[-1]) if found else None

    def given(self, tree: Branch) -> Iterator[Option]:
        """What stands behind the semicolon of a call."""
        for child in trees_of(tree):
            place = span_of_tree(child)
            if child.data == "option":
                name = self.name(tokens_of(child)[0])
                yield Option(name, self.expression(trees_of(child)[0]), place)
            elif child.data not in ("over", "worded"):
                said = str(tokens_of(child)[0]) if child.data == "name" else ""
                meant = get_close_matches(said, USE_WORDS, n=1)
                help_ = f"did you mean `{meant[0]}`?" if meant else _SIZES
                edits = (Edit(place, meant[0]),) if meant else ()
                message, at = "a size without its name", Label(place)
                self.problems.append(Diagnostic("R101", message, at, helps=(help_,), edits=edits))

    def words(self, tree: Branch) -> Iterator[Word]:
        """The words behind the semicolon of a call, each with its value."""
        said: set[str] = set()
        for child in (child for child in trees_of(tree) if child.data == "worded"):
            (token,), values, place = tokens_of(child), trees_of(child), span_of_tree(child)
            wanted = USE_WORDS[token]
            form = f"{token} {wanted}".rstrip()
            if token in said:
                self.problems.append(Diagnostic("R101", f"`{token}` is given twice", Label(place)))
            elif bool(values) != bool(wanted):
                message = f"`{token}` has {'a number behind it' if wanted else 'no value'}"
                helps = (f"write `{form}`",)
                self.problems.append(Diagnostic("R101", message, Label(place), helps=helps))
            said.add(str(token))
            value = self.expression(values[0]) if values else None
            yield Word(self.name(token), value, place)

    def misplaced(self, span: Span, message: str, *edits: Edit) -> None:
        help_ = "write operands first, then `name=number`, then `over t`"
        at = Label(span)
        self.problems.append(Diagnostic("R101", message, at, helps=(help_,), edits=edits))
