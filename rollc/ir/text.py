"""The textual form of a graph: printed for people, and parsed back as the source of a build.

    rollc graph 1  stage checked
    net vanilla
    dim D = 8, H = 32
    axis t

    x    = input()            : float[8] over t, batch   line 6
    s'2  = matmul(W, s[t-1])  : float[32] over t, batch  line 10
    s    = tanh(s'4) init h0  : float[32] over t, batch  line 10

    output o
    loss loss
    gradient W = ~W

One node a line: its name, its operation with the reads in parentheses, attributes in
braces, the initial value after ``init``, the type after the colon, and the line of the
spec.  ``#`` starts a comment, and lines may stand in any order after the header.  The
text is a function of the graph alone, and reading it back gives an equal graph.

Text is untrusted: parsing takes time linear in its length, evaluates nothing, and checks that
every operation and every name that is read exists and that no name is given twice.  Whether
types fit their operations is left to the verifier.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import get_args

from rollc.ir.graph import (
    LEAVES,
    Attribute,
    Edge,
    Graph,
    Kind,
    Node,
    Shape,
    Stage,
    Type,
    attributes,
)
from rollc.ir.operations import OPERATIONS

VERSION = 1

_STAGES: tuple[Stage, ...] = get_args(Stage)
_KINDS: tuple[Kind, ...] = get_args(Kind)
# A blank line comes before each step of an unrolled graph.
_STEP = re.compile(r"\.(?:\d+\.)?[^\W\d]*\d+$")
# A longer entry overflows its column, so that it does not widen that of all lines.
_NAME_COLUMN, _VALUE_COLUMN, _TYPE_COLUMN = 20, 48, 30
_WORDS: dict[str, bool | float] = {
    "true": True,
    "false": False,
    "nan": math.nan,
    "inf": math.inf,
}


class IRTextError(Exception):
    """Text that is no graph: line and column of the error (from 1), and what was expected."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.line = line
        self.column = column
        self.message = message


# Printing


def print_graph(graph: Graph) -> str:
    """The text of a graph at any stage.  ``parse_graph`` reads it back."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    yield f"rollc graph {VERSION}  stage {graph.stage}"
    yield f"net {graph.name}"
    if graph.dims:
        yield "dim " + ", ".join(f"{name} = {size}" for name, size in graph.dims)
    if graph.axes:
        yield "axis " + ", ".join(graph.axes)
    if graph.is_unrolled:
        counts = ", ".join(f"{axis}={steps}" for axis, steps in graph.grid)
        yield f"steps {counts or graph.steps}"
    yield ""
    yield from _node_lines(graph)
    yield ""
    for label, name in graph.outputs:
        yield _pair("output", label, name)
    if graph.loss is not None:
        yield f"loss {graph.loss}"
    for label, name in graph.gradients:
        yield _pair("gradient", label, name)


def _pair(word: str, label: str, name: str) -> str:
    return f"{word} {name}" if label == name else f"{word} {label} = {name}"


def _node_lines(graph: Graph) -> Iterator[str]:
    types = {found: str(found) for found in dict.fromkeys(node.type for node in graph.nodes)}
    values = [_value(node) for node in graph.nodes]
    named = _column((node.name for node in graph.nodes), _NAME_COLUMN)
    valued = _column(values, _VALUE_COLUMN)
    typed = _column(types.values(), _TYPE_COLUMN)
    last = ""
    for node, value in zip(graph.nodes, values, strict=True):
        step = _STEP.search(node.name) if graph.is_unrolled else None
        if step is not None and node.operands and step.group() != last:
            last = step.group()
            yield ""
        start = f"{node.name:{named}} = {value:{valued}}  : "
        if node.line:
            yield f"{start}{types[node.type]:{typed}}  line {node.line}"
        else:
            yield start + types[node.type]


def _column(entries: Iterable[str], most: int) -> int:
    """The width of a column: that of its longest entry of at most ``most`` characters."""
    return max((len(entry) for entry in entries if len(entry) <= most), default=0)


def _value(node: Node) -> str:
    text = f"{node.operation}({', '.join(map(str, node.operands))})"
    if node.attributes:
        inside = ", ".join(f"{name}={_attribute(value)}" for name, value in node.attributes)
        text += f" {{{inside}}}"
    return text if node.initial is None else f"{text} init {node.initial}"


def _attribute(value: Attribute) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_attribute, value))}]"
    if isinstance(value, str):
        bare = _NAME.fullmatch(value) is not None and value not in _WORDS
        return value if bare else json.dumps(value)
    return repr(value)


# Reading

_NAME = re.compile(r"~*[^\W\d]\w*(?:[.:'~^]\w+)*")
_WORD = re.compile(r"[^\W\d]\w*")
_COUNT = re.compile(r"\d{1,15}(?!\w)")
_INTEGER = re.compile(r"-?\d{1,15}(?![\w.])")
_FLOAT = re.compile(r"-?(?:\d+\.\d+(?:e[+-]?\d{1,4})?|\d+e[+-]?\d{1,4}|inf)(?!\w)")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"')
# A type as it is printed.
_TYPE = re.compile(
    r"(?:float|bool|index\((?:None|\d{1,15})\))(?:\[\d{1,15}(?:, \d{1,15})*\])?"
    r"(?: over [^\W\d]\w*(?:, [^\W\d]\w*)*)?(?= +line |$)"
)
_SPACE = re.compile(r"[ \t]*")


def is_graph_text(text: str) -> bool:
    """Whether a text is that of a graph, by its header, and not a spec."""
    return text.startswith("rollc graph ")


def parse_graph(text: str) -> Graph:
    """The graph of a text that ``print_graph`` or a person wrote.

    Raises :class:`IRTextError` at the first thing that is wrong.
    """
    return _Reader().graph(text)


class _Cursor:
    """A position in one line of the text."""

    def __init__(self, text: str, line: int) -> None:
        self.text = text
        self.line = line
        self.at = _SPACE.match(text).end()  # type: ignore[union-attr]

    def error(self, message: str, at: int | None = None) -> IRTextError:
        return IRTextError(self.line, (self.at if at is None else at) + 1, message)

    def found(self) -> str:
        rest = self.text[self.at : self.at + 20]
        return f"found `{rest}`" if rest else "found the end of the line"

    def take(self, pattern: re.Pattern[str], expected: str) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise self.error(f"expected {expected}, {self.found()}")
        self.at = _SPACE.match(self.text, match.end()).end()  # type: ignore[union-attr]
        return match.group()

    def skip(self, mark: str) -> bool:
        """Whether the mark is next; it is consumed."""
        if not self.text.startswith(mark, self.at):
            return False
        self.at = _SPACE.match(self.text, self.at + len(mark)).end()  # type: ignore[union-attr]
        return True

    def need(self, mark: str) -> None:
        if not self.skip(mark):
            raise self.error(f"expected `{mark}`, {self.found()}")

    def word(self, word: str) -> bool:
        """Whether the word, and not a longer one, is next; it is consumed."""
        match = _WORD.match(self.text, self.at)
        return match is not None and match.group() == word and self.skip(word)

    def name(self, what: str = "a name") -> str:
        return self.take(_NAME, what)

    def count(self, what: str) -> int:
        return int(self.take(_COUNT, what))

    def end(self) -> None:
        if self.at < len(self.text) and self.text[self.at] != "#":
            raise self.error(f"expected the end of the line, {self.found()}")


class _Reader:
    def __init__(self) -> None:
        self.name: str | None = None
        self.stage: Stage = "graph"
        self.axes: tuple[str, ...] = ()
        self.dims: dict[str, int] = {}
        self.steps: int | None = None
        self.grid: dict[str, int] = {}
        self.loss: str | None = None
        self.nodes: dict[str, Node] = {}
        self.outputs: dict[str, str] = {}
        self.gradients: dict[str, str] = {}
        self.cursors: dict[str, _Cursor] = {}
        self.types: dict[str, Type] = {}
        # Names that lines other than those of nodes read, each with its position.
        self.wanted: list[tuple[_Cursor, int, str]] = []
        self.seen: set[str] = set()

    def graph(self, text: str) -> Graph:
        started = False
        for number, line in enumerate(text.split("\n"), 1):
            cursor = _Cursor(line.rstrip("\r"), number)
            if cursor.at == len(cursor.text) or cursor.text[cursor.at] == "#":
                continue
            if started:
                self._line(cursor)
            else:
                self._header(cursor)
                started = True
        if not started:
            raise IRTextError(1, 1, "expected `rollc graph`, found an empty text")
        if self.name is None:
            raise IRTextError(1, 1, "the text does not name its network: `net NAME` is missing")
        self._check_names()
        return Graph(
            self.name,
            self.stage,
            tuple(self.nodes.values()),
            tuple(self.outputs.items()),
            self.loss,
            tuple(self.gradients.items()),
            self.axes,
            tuple(self.dims.items()),
            self.steps,
            tuple(self.grid.items()),
        )

    def _header(self, cursor: _Cursor) -> None:
        cursor.need("rollc")
        cursor.need("graph")
        at = cursor.at
        version = cursor.count("the version of the text")
        if version != VERSION:
            raise cursor.error(f"version {version} is not known: this is version {VERSION}", at)
        cursor.need("stage")
        at = cursor.at
        stage = cursor.name("a stage")
        found = next((known for known in _STAGES if known == stage), None)
        if found is None:
            raise cursor.error(f"unknown stage `{stage}`: one of {', '.join(_STAGES)}", at)
        self.stage = found
        cursor.end()

    def _line(self, cursor: _Cursor) -> None:
        at = cursor.at
        name = cursor.name("the name of a node, `net`, `output` …")
        if cursor.skip("="):
            if name in self.nodes:
                before = self.cursors[name].line
                raise cursor.error(f"`{name}` is defined twice, first in line {before}", at)
            self.nodes[name] = self._node(name, cursor)
            self.cursors[name] = cursor
        elif name in ("output", "gradient"):
            self._result(name, cursor)
        elif name in ("net", "dim", "axis", "steps", "loss"):
            if name in self.seen:
                raise cursor.error(f"a second `{name}` line", at)
            self.seen.add(name)
            self._setting(name, cursor)
        else:
            raise cursor.error(f"expected `=` after `{name}`, {cursor.found()}")
        cursor.end()

    def _setting(self, word: str, cursor: _Cursor) -> None:
        if word == "net":
            self.name = cursor.name("the name of the network")
        elif word == "steps":
            if _COUNT.match(cursor.text, cursor.at):
                self.steps = cursor.count("the number of steps")
            else:
                self._counts(cursor, self.grid, "an axis, or the number of steps")
        elif word == "loss":
            at = cursor.at
            self.loss = cursor.name("the name of a node")
            self.wanted.append((cursor, at, self.loss))
        elif word == "axis":
            axes = [cursor.name("an axis")]
            while cursor.skip(","):
                axes.append(cursor.name("an axis"))
            self.axes = tuple(axes)
        else:
            self._counts(cursor, self.dims, "a size")

    def _counts(self, cursor: _Cursor, found: dict[str, int], what: str) -> None:
        while True:
            at = cursor.at
            name = cursor.name(f"the name of {what}")
            if name in found:
                raise cursor.error(f"`{name}` is given twice", at)
            cursor.need("=")
            found[name] = cursor.count("a size")
            if not cursor.skip(","):
                return

    def _result(self, word: str, cursor: _Cursor) -> None:
        start = at = cursor.at
        label = name = cursor.name("a name")
        if cursor.skip("="):
            at = cursor.at
            name = cursor.name("the name of a node")
        results = self.outputs if word == "output" else self.gradients
        if label in results:
            raise cursor.error(f"a second {word} `{label}`", start)
        results[label] = name
        self.wanted.append((cursor, at, name))

    def _node(self, name: str, cursor: _Cursor) -> Node:
        at = cursor.at
        operation = cursor.take(_WORD, "an operation")
        if operation not in OPERATIONS and operation not in LEAVES:
            raise cursor.error(f"unknown operation `{operation}`", at)
        cursor.need("(")
        operands = self._operands(cursor)
        self._check_count(operation, len(operands), cursor, at)
        options = self._options(cursor) if cursor.skip("{") else ()
        initial = cursor.name("the initial value") if cursor.word("init") else None
        cursor.need(":")
        type_ = self._type(cursor)
        line = cursor.count("a line of the spec") if cursor.word("line") else 0
        return Node(name, operation, operands, type_, options, initial, line)

    def _operands(self, cursor: _Cursor) -> tuple[Edge, ...]:
        operands: list[Edge] = []
        if cursor.skip(")"):
            return ()
        while True:
            operands.append(self._edge(cursor))
            if not cursor.skip(","):
                cursor.need(")")
                return tuple(operands)

    def _edge(self, cursor: _Cursor) -> Edge:
        source = cursor.name("an operand")
        if not cursor.skip("["):
            return Edge(source)
        axis = cursor.name("an axis")
        ahead = cursor.skip("+")
        if not ahead:
            cursor.need("-")
        at = cursor.at
        delay = cursor.count("a number of steps")
        if delay == 0:
            raise cursor.error(f"a delay of no steps: write `{source}`", at)
        cursor.need("]")
        return Edge(source, -delay if ahead else delay, axis)

    def _check_count(self, operation: str, count: int, cursor: _Cursor, at: int) -> None:
        entry = OPERATIONS.get(operation)
        least, most = (entry.fewest, len(entry.operands)) if entry is not None else (0, 0)
        if not (count == 0 if entry is None else entry.takes(count)):
            expected = f"{least} to {most}" if least < most else f"{most}"
            raise cursor.error(f"`{operation}` takes {expected} operands, found {count}", at)

    def _options(self, cursor: _Cursor) -> tuple[tuple[str, Attribute], ...]:
        options: dict[str, Attribute] = {}
        while True:
            at = cursor.at
            name = cursor.take(_WORD, "the name of an attribute")
            if name in options:
                raise cursor.error(f"`{name}` is given twice", at)
            cursor.need("=")
            options[name] = self._attribute(cursor)
            if not cursor.skip(","):
                cursor.need("}")
                return attributes(**options)

    def _attribute(self, cursor: _Cursor) -> Attribute:
        at = cursor.at
        if not cursor.skip("["):
            return self._scalar(cursor)
        items: list[int | float | str | bool] = []
        if not cursor.skip("]"):
            items.append(self._scalar(cursor))
            while cursor.skip(","):
                items.append(self._scalar(cursor))
            cursor.need("]")
        numbers = tuple(item for item in items if type(item) is int)
        words = tuple(item for item in items if isinstance(item, str))
        if len(numbers) == len(items):
            return numbers
        if len(words) == len(items):
            return words
        raise cursor.error("a list holds whole numbers or words", at)

    def _scalar(self, cursor: _Cursor) -> int | float | str | bool:
        if _INTEGER.match(cursor.text, cursor.at):
            return int(cursor.take(_INTEGER, "a number"))
        if _FLOAT.match(cursor.text, cursor.at):
            return float(cursor.take(_FLOAT, "a number"))
        if _STRING.match(cursor.text, cursor.at):
            return str(json.loads(cursor.take(_STRING, "a string")))
        word = cursor.take(_NAME, "a number, a word or a string")
        return _WORDS.get(word, word)

    def _type(self, cursor: _Cursor) -> Type:
        """A type; a graph has few, so that each printed form is parsed once."""
        match = _TYPE.match(cursor.text, cursor.at)
        known = None if match is None else self.types.get(match.group())
        if known is not None:
            cursor.take(_TYPE, "a type")
            return known
        found = self._new_type(cursor)
        self.types[str(found)] = found
        return found

    def _new_type(self, cursor: _Cursor) -> Type:
        at = cursor.at
        word = cursor.take(_WORD, "a type")
        kind = next((known for known in _KINDS if known == word), None)
        if kind is None:
            raise cursor.error(f"unknown type `{word}`: one of {', '.join(_KINDS)}", at)
        bound: int | None = None
        if kind == "index":
            cursor.need("(")
            bound = None if cursor.word("None") else cursor.count("the number of values")
            cursor.need(")")
        shape: Shape = ()
        if cursor.skip("["):
            sizes = [cursor.count("a size")]
            while cursor.skip(","):
                sizes.append(cursor.count("a size"))
            cursor.need("]")
            shape = tuple(sizes)
        axes: list[str] = []
        if cursor.word("over"):
            axes.append(cursor.name("an axis"))
            while cursor.skip(","):
                axes.append(cursor.name("an axis"))
        return Type(kind, shape, tuple(axes), bound)

    def _check_names(self) -> None:
        """Require that every name that is read is a node's; raises :class:`IRTextError`."""
        for name, node in self.nodes.items():
            for edge in node.reads():
                if edge.source not in self.nodes:
                    raise self._unknown(self.cursors[name], edge.source)
        for cursor, at, name in self.wanted:
            if name not in self.nodes:
                raise cursor.error(f"unknown name `{name}`", at)

    def _unknown(self, cursor: _Cursor, name: str) -> IRTextError:
        after = cursor.text.index("=")
        columns = (
            match.start() for match in _NAME.finditer(cursor.text, after) if match.group() == name
        )
        return cursor.error(f"unknown name `{name}`", next(columns, after))
