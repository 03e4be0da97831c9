"""The AST builder: from a parse tree to the syntax tree.

It reports errors that the grammar accepts for the sake of good messages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lark import Token, Tree

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.other_names import INDEX_TYPES, NUMBER_TYPES
from rollc.lang.syntax.ast import (
    Binary,
    Call,
    Cell,
    Const,
    Dim,
    Elements,
    Equation,
    Expression,
    Function,
    Index,
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
    Shape,
    Size,
    Slice,
    Slope,
    Statement,
    Subscript,
    Text,
    Time,
    Use,
)
from rollc.lang.syntax.formatter import format_expression
from rollc.lang.syntax.statement_splitter import span_of

Branch = Tree[Token]
MOST_DIGITS = 25
_BEHIND = ("option", "over", "given")  # what stands behind the operands of a call
RESERVED = {"t": "the time axis"}


def span_of_tree(tree: Branch | Token) -> Span:
    if isinstance(tree, Token):
        return span_of(tree)
    return Span(tree.meta.start_pos, tree.meta.end_pos)


def _trees(tree: Branch) -> list[Branch]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _tokens(tree: Branch) -> list[Token]:
    return [child for child in tree.children if isinstance(child, Token)]


class Reader:
    """Reads one statement of the grammar; ``problems`` is what it found wrong."""

    def __init__(self) -> None:
        self.problems: list[Diagnostic] = []

    def statements(self, tree: Branch) -> Sequence[Statement]:
        span = span_of_tree(tree)
        trees, tokens = _trees(tree), _tokens(tree)
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
                axes = tuple(self.name(token) for token in tokens[2:])
                return [Init(self.name(tokens[0]), self.expression(trees[0]), axes, span)]
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
                return [Reset(self.name(tokens[1]), self.expression(trees[0]), span)]
            case "repeat":
                return [Repeat(self.expression(trees[0]), (), span)]
            case "elements":
                return [self.elements(trees, tokens, span)]
            case "times":
                return [Time(tuple(self.name(token) for token in tokens[1:]), span)]
            case _:
                *defined, value = trees
                names = tuple(self.defined(_tokens(child)[0]) for child in defined)
                types = tuple(map(self.type_of, defined))
                return [Equation(names, types, self.expression(value), span)]

    def elements(self, trees: list[Branch], tokens: list[Token], span: Span) -> Elements:
        defined = [tree for tree in trees if tree.data == "element"]
        value, *bounds = map(self.expression, trees[len(defined) :])
        _, index, _, function = tokens
        counted = self.defined(index)
        if function != "range":
            help_ = f"write `for {index} in range(4)`, or `range(1, 4)`"
            message = f"expected `range`, found `{function}`"
            edits = (Edit(span_of(function), "range"),)
            at = Label(span_of(function))
            self.problems.append(Diagnostic("R101", message, at, helps=(help_,), edits=edits))
        names = []
        for tree in defined:
            name, _, place = _tokens(tree)[:3]
            names.append(self.defined(name))
            if place != index:
                at = Label(span_of(place), f"expected `{index}`")
                message = f"elements are counted by `{index}`, and here by `{place}`"
                edits = (Edit(span_of(place), str(index)),)
                self.problems.append(Diagnostic("R101", message, at, edits=edits))
        types = tuple(map(self.type_of, defined))
        start = bounds[0] if len(bounds) > 1 else None
        return Elements(tuple(names), types, value, counted, start, bounds[-1], span)

    def name(self, token: Token) -> Name:
        return Name(str(token), span_of(token))

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
        return tuple(self.defined(token) for token in _tokens(tree))

    def cell(self, tree: Branch, span: Span) -> Cell:
        """The head of a cell; its body is read apart."""
        _, name, *_ = _tokens(tree)
        inputs: tuple[Name, ...] = ()
        sizes: tuple[Size, ...] = ()
        *given, results = _trees(tree)
        for child in given:
            if child.data == "names":
                inputs = self.names(child)
            else:
                sizes = tuple(self.size(size) for size in _trees(child))
        return Cell(self.defined(name), inputs, sizes, self.names(results), (), span)

    def size(self, tree: Branch) -> Size:
        default = [self.expression(child) for child in _trees(tree)]
        name = self.defined(_tokens(tree)[0])
        return Size(name, default[0] if default else None, span_of_tree(tree))

    def definition(self, tree: Branch) -> tuple[Name, Expression]:
        return self.defined(_tokens(tree)[0]), self.expression(_trees(tree)[0])

    def input(self, tree: Branch, static: bool, target: bool) -> Input:
        name = self.defined(_tokens(tree)[0])
        said = [child for child in _trees(tree) if child.data == "axis"]
        axes = tuple(self.name(token) for child in said for token in _tokens(child))
        return Input(name, self.type_of(tree), axes, static, target, span_of_tree(tree))

    def type_of(self, tree: Branch) -> Shape | Index | None:
        """The type that stands behind a name, where one does."""
        for child in _trees(tree):
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
        sizes = tuple(self.expression(child) for child in _trees(tree))
        return Shape(sizes, span_of_tree(tree))

    def kinded(self, tree: Branch) -> Shape:
        """A shape behind the kind of its elements."""
        (word,), (child,) = _tokens(tree), _trees(tree)
        if word != "complex":
            before = Edit(span_of(word), "")
            self.no_type(word, f"{word}[…]", "write `[…]`, or `complex[…]`", before)
        return replace(self.shape(child), span=span_of_tree(tree), complex=word == "complex")

    def number_type(self, tree: Branch) -> Shape:
        """`number` says that there are no sizes."""
        word, span = _tokens(tree)[0], span_of_tree(tree)
        if word in ("number", "complex"):
            return Shape((), span, complex=word == "complex")
        if word in INDEX_TYPES:
            self.no_type(word, str(word), "write how many there are: `index(5)`")
        elif word in NUMBER_TYPES:
            self.no_type(word, str(word), "write `number`", Edit(span, "number"))
        else:
            self.no_type(word, str(word), f"write `[{word}]`", Edit(span, f"[{word}]"))
            return Shape((self.name(word),), span)
        return Shape((), span)

    def index(self, tree: Branch) -> Shape | Index:
        word, span = _tokens(tree)[0], span_of_tree(tree)
        size = self.expression(_trees(tree)[0])
        if word == "index":
            return Index(size, span)
        if word in INDEX_TYPES:
            self.no_type(word, f"{word}(…)", "write `index(…)`", Edit(span_of(word), "index"))
            return Index(size, span)
        opened = Edit(Span(span.start, size.span.start), "[")
        closed = Edit(Span(size.span.end, span.end), "]")
        self.no_type(word, f"{word}(…)", "write `[…]`", opened, closed)
        return Shape((size,), span)

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

    def param(self, tree: Branch) -> Param:
        shape, initialiser = None, None
        for child in _trees(tree):
            match child.data:
                case "shape":
                    shape = self.shape(child)
                case "word":
                    shape = self.number_type(child)
                case "kinded":
                    shape = self.kinded(child)
                case _:
                    initialiser = self.expression(child)
        name, *frozen = _tokens(tree)
        span = span_of_tree(tree)
        return Param(self.defined(name), shape, initialiser, bool(frozen), span)

    def expression(self, tree: Branch) -> Expression:
        span = span_of_tree(tree)
        trees, tokens = _trees(tree), _tokens(tree)
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
                    helps=("write two: `a < b and b < c`",),
                    edits=self.two_comparisons(trees),
                )
            )
        left, right = (self.expression(tree) for tree in trees[:2])
        return Binary(str(tokens[0]), left, right, span)

    def two_comparisons(self, trees: list[Branch]) -> tuple[Edit, ...]:
        """`a < b < c` as `a < b and b < c`: what stands in the middle is said again."""
        if len(trees) != 3:
            return ()
        end = span_of_tree(trees[1]).end
        return (Edit(Span(end, end), f" and {format_expression(self.expression(trees[1]))}"),)

    def slice(self, tree: Branch) -> Expression:
        base, *_ = _trees(tree)
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
        behind: Span | None = None  # the operands
        end = span_of(function).end
        for child in rest:
            assert isinstance(child, Tree)
            place = span_of_tree(child)
            match child.data:
                case "given":
                    sizes = [*self.given(child)]
                case "over":
                    behind = behind or place
                case "option":
                    behind = behind or place
                    name = self.name(_tokens(child)[0])
                    options.append(Option(name, self.expression(_trees(child)[0]), place))
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
        return Call(name, tuple(operands), tuple(options), over, tuple(sizes), span)

    def compared(self, arguments: Sequence[Branch | Token]) -> None:
        """An option before all operands is most likely meant as a comparison."""
        match [child for child in arguments if isinstance(child, Tree)]:
            case [Tree(data="option") as first, second, *_] if second.data not in _BEHIND:
                name, value = _tokens(first)[0], _trees(first)[0]
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
        places = [*_trees(tree)]
        places += [part for child in places if child.data == "given" for part in _trees(child)]
        found = [place for place in places if place.data == "over"]
        for again in found[1:]:
            span = span_of_tree(again)
            start = max(place.meta.end_pos for place in places if place.meta.end_pos <= span.start)
            self.misplaced(span, "`over` is given twice", Edit(Span(start, span.end), ""))
        return self.name(_tokens(found[0])[-1]) if found else None

    def given(self, tree: Branch) -> Iterator[Option]:
        """What stands behind the semicolon of a call."""
        for child in _trees(tree):
            place = span_of_tree(child)
            if child.data == "option":
                name = self.name(_tokens(child)[0])
                yield Option(name, self.expression(_trees(child)[0]), place)
            elif child.data != "over":
                self.problems.append(
                    Diagnostic(
                        "R101",
                        "a size without its name",
                        Label(place),
                        helps=("say which size it is: `lstm(x; H=64)`",),
                    )
                )

    def misplaced(self, span: Span, message: str, *edits: Edit) -> None:
        help_ = "write operands first, then `name=number`, then `over t`"
        at = Label(span)
        self.problems.append(Diagnostic("R101", message, at, helps=(help_,), edits=edits))
