"""The cells and functions that come with rollc, as the texts of `specs/cells` have them.

They are read here, by Python's own parser, in whose order the operators bind: nothing of rollc has
a part in what they mean.  Types that the texts leave out are found in `kinds.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import Call, Expression, Name, Number
from tests.helpers.paths import ROOT

FILES = sorted(path.name for path in (ROOT / "specs" / "cells").glob("*.roll"))


@dataclass(frozen=True)
class Texts:
    """What a file defines itself, and what it takes from others."""

    own: la.Library
    used: tuple[la.Library, ...]

    @property
    def cells(self) -> dict[str, la.Cell]:
        every = (*self.used, self.own)
        return {cell.name: cell for library in every for cell in library.cells}


@cache
def texts(name: str) -> Texts:
    """A file of the library by its name."""
    lines = list(_lines((ROOT / "specs" / "cells" / name).read_text(encoding="utf-8")))
    used = [line.split('"')[1].rpartition("/")[2] for line in lines if line.startswith("use ")]
    before: list[la.Library] = []
    for other in map(texts, used):
        before += [other.own, *other.used]
    cells = {found[1] for line in lines if (found := re.match(r"cell (\w+)", line))}
    cells |= {cell.name for library in before for cell in library.cells}
    reader = _Reader(lines, cells)
    found = list(reader.statements())
    own = la.Library(
        f"cells/{name}",
        tuple(each for each in found if isinstance(each, la.Cell)),
        tuple(each for each in found if isinstance(each, la.Function)),
    )
    return Texts(own, tuple(before))


def library(name: str) -> la.Library:
    """What a program has that uses a file, with all that the file uses."""
    found = texts(name)
    every = (found.own, *found.used)
    return la.Library(
        found.own.path,
        tuple(cell for each in every for cell in each.cells),
        tuple(function for each in every for function in each.functions),
    )


@cache
def files_of_cells() -> dict[str, str]:
    """The file of each cell."""
    return {cell.name: name for name in FILES for cell in texts(name).own.cells}


def _lines(text: str) -> Iterator[str]:
    """Statements: without comments, and one that goes over several lines on one."""
    whole = ""
    for line in text.splitlines():
        plain = line.split("#")[0].rstrip()
        whole = f"{whole} {plain.strip()}" if whole else plain.strip()
        round_, square = (whole.count(a) - whole.count(b) for a, b in ("()", "[]"))
        if whole and not round_ and not square:
            yield whole
            whole = ""


class _Reader:
    """The statements of some lines; ``cells`` are the names of cells that can be used in them."""

    def __init__(self, lines: list[str], cells: Collection[str]) -> None:
        self.lines, self.cells = lines, cells
        self.at = 0

    def statements(self) -> Iterator[la.Statement]:
        """To the end, or to the bracket that closes a block."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            if line == "}":
                return
            yield from self.statement(line)

    def block(self) -> tuple[la.Statement, ...]:
        return tuple(self.statements())

    def statement(self, line: str) -> Iterator[la.Statement]:
        word, _, rest = line.partition(" ")
        match word:
            case "use":
                return
            case "cell":
                yield self.cell(rest)
            case "fn":
                yield self.function(rest)
            case "repeat":
                yield la.Repeat(self.read(rest.removesuffix("{")), self.block())
            case "param":
                yield from map(self.param, _split(rest))
            case "dim" | "const":
                made = la.Dim if word == "dim" else la.Const
                for each in _split(rest):
                    name, _, value = each.partition(" = ")
                    yield made(name, self.read(value))
            case "init":
                name, _, value = rest.partition(" = ")
                yield la.Init(name, self.read(value))
            case _:
                yield self.equation(line)

    def cell(self, text: str) -> la.Cell:
        found = re.fullmatch(r"(\w+)\(([^;]*)(?:; (.*))?\) -> (.*) \{", text)
        assert found is not None, text
        name, inputs, sizes, results = found.groups()
        given = (size.partition("=") for size in _split(sizes or ""))
        return la.Cell(
            name,
            tuple(_split(inputs)),
            tuple((size, self.read(value) if value else None) for size, _, value in given),
            tuple(_split(results)),
            self.block(),
        )

    def function(self, text: str) -> la.Function:
        head, _, rest = text.partition(")")
        name, _, arguments = head.partition("(")
        names, slopes = tuple(_split(arguments)), []
        if rest.endswith("{"):
            result = rest.removesuffix("{").split("->")[1].strip()
            lines = {each.names[0]: each.value for each in self.block()}
            value = lines[result]
            while any(isinstance(part, Name) and part.name in lines for part in la.walk(value)):
                value = la.with_names(value, lines)
        else:
            value = self.read(rest.removeprefix(" = "))
        while self.at < len(self.lines) and self.lines[self.at].startswith("grad "):
            slope = self.lines[self.at].removeprefix("grad ")
            which, colon, said = slope.partition(": ")
            slopes.append((which, self.read(said)) if colon else (names[0], self.read(slope)))
            self.at += 1
        return la.Function(name, names, value, tuple(slopes))

    def param(self, text: str) -> la.Param:
        """Without its initialiser: rollc gives the numbers."""
        declared = text.removesuffix(" frozen").partition(" = ")[0]
        name, _, type_ = declared.partition(": ")
        whole = type_.startswith("complex")
        sizes = self.shape(type_.removeprefix("complex"))
        return la.Param(name, sizes, frozen=text.endswith(" frozen"), whole=whole)

    def shape(self, text: str) -> tuple[Expression, ...]:
        return tuple(map(self.read, _split(text[1:-1])))

    def equation(self, line: str) -> la.Statement:
        left, _, value = line.partition(" = ")
        array = re.fullmatch(r"(\w+)\[(\w+)\]", left)
        if array is not None:
            inner, index, last = re.fullmatch(r"(.*) for (\w+) in range\((.*)\)", value).groups()
            name = (array[1],)
            return la.Elements(name, index, self.read(last), self.read(inner), (None,))
        declared = [each.partition(": ") for each in _split(left)]
        types = tuple(
            la.Float(self.shape(type_)) if type_.startswith("[") else None
            for _, _, type_ in declared
        )
        return la.Equation(tuple(name for name, _, _ in declared), self.read(value), types)

    def read(self, text: str) -> Expression:
        plain = re.sub(r"\(\s*;", "(", text).replace(";", ",")
        return _read(ast.parse(plain.strip(), mode="eval").body, self.cells)


def _split(text: str) -> list[str]:
    """What commas divide that are in no brackets."""
    found, deep = [""], 0
    for letter in text:
        deep += (letter in "([{") - (letter in ")]}")
        if letter == "," and not deep:
            found.append("")
        else:
            found[-1] += letter
    return [each.strip() for each in found if each.strip()]


def _read(tree: ast.expr, cells: Collection[str]) -> Expression:
    def inner(part: ast.expr) -> Expression:
        return _read(part, cells)

    match tree:
        case ast.Constant(float() | int() as value):
            return Number(value)
        case ast.Name(name):
            return Name(name)
        case ast.Subscript(ast.Name(name), ast.BinOp(ast.Name("t"), ast.Sub(), back)):
            if isinstance(back, ast.Constant):
                return Name(name, int(str(back.value)))
            return Name(name, 1, size=inner(back))
        case ast.Subscript(operand, ast.Tuple(places)):
            return la.Part(inner(operand), tuple(_place(each, cells) for each in places))
        case ast.Subscript(operand, place):
            return la.Part(inner(operand), (_place(place, cells),))
        case ast.List(elements):
            return Call("[]", tuple(map(inner, elements)))
        case ast.UnaryOp(ast.USub(), operand):
            return Call("neg", (inner(operand),))
        case ast.BinOp(left, symbol, right):
            return Call(_SYMBOLS[type(symbol)], (inner(left), inner(right)))
        case ast.Compare(left, [symbol], [right]):
            return Call(_SYMBOLS[type(symbol)], (inner(left), inner(right)))
        case ast.BoolOp(symbol, [left, right]):
            return Call(_SYMBOLS[type(symbol)], (inner(left), inner(right)))
        case ast.Call(ast.Name("einsum"), [ast.Constant(letters), *operands]):
            return Call(f"einsum {letters}", tuple(map(inner, operands)))
        case ast.Call(ast.Name(function), operands, keywords) if function in cells:
            sizes = tuple((str(each.arg), inner(each.value)) for each in keywords)
            return Call(function, tuple(map(inner, operands)), sizes=sizes)
        case ast.Call(ast.Name(function), operands, keywords):
            options = tuple((str(each.arg), _number(each.value)) for each in keywords)
            return Call(function, tuple(map(inner, operands)), options)
    raise AssertionError(ast.dump(tree))


def _place(tree: ast.expr, cells: Collection[str]) -> Expression | la.Span | None:
    match tree:
        case ast.Slice(start, stop):
            return la.Span(*(end and _read(end, cells) for end in (start, stop)))
        case ast.Constant(value) if value is ...:
            return None
    return _read(tree, cells)


def _number(tree: ast.expr) -> float:
    value = ast.literal_eval(tree)
    assert isinstance(value, int | float)
    return value


_SYMBOLS: dict[type, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.MatMult: "@",
    ast.Pow: "**",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.And: "and",
    ast.Or: "or",
}
