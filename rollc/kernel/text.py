"""The textual forms of a schedule and of a program, printed and parsed.

A schedule is the text of its graph, with the nodes in the order of execution and a
line in front of each region, such as ``forward primal over t by diagonals s+t``.  A node that runs
in pieces has a line for each, numbered ``h^piece1``, with its steps; the node itself is under
``region none``, with dead code.  A node that its loop computes at a shifted step has that step
behind it: ``at t-2``.

A program has a line for each buffer and statement: a word, then ``name=value`` for each field
that is not the default.  Nested statements are indented below.  A reference to a buffer is
written ``h[t+1;8:4]``: the row, the first element and the shape of the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from typing import Any, get_type_hints

from rollc.ir.graph import Graph, Node
from rollc.ir.text import IRTextError, parse_graph, print_graph
from rollc.ir.time.wavefront import parse_diagonals, print_diagonals
from rollc.kernel import program as ir
from rollc.kernel.program import Local, Number, Program, Ref, Span
from rollc.kernel.schedule import Item, Outer, Region, Schedule

# A region without its items; and of each item the name, the steps and the shift.
_RegionText = tuple[Region, list[tuple[str, int, int | None, int]]]
_SCHEDULE, _PROGRAM = "rollc schedule 1", "rollc program 4"


class ProgramTextError(ValueError):
    """A text that is not a schedule or a program; the message names the line."""


# Schedules -----------------------------------------------------------------------------

_PIECE = re.compile(r"\^piece\d+$")
_REGION = re.compile(
    r"(?P<kind>free|forward|backward) (?P<phase>primal|adjoint|inputs)(?: over (?P<axis>\w+))?"
    r"(?: by diagonals (?P<diagonals>\w+[+-]\w+))?"
    r"(?: in loop (?P<number>\d{1,9}) (?P<way>forward|backward) over (?P<outer>\w+))?"
)
_STEPS = re.compile(r"  steps (\d+):(\d+|end)$")
_SHIFT = re.compile(r"  at \w+([+-]\d{1,12})$")
_MEANING = {
    "free": "on no cycle: all steps at once",
    "forward": "a cycle: step by step, from the first",
    "backward": "a cycle: step by step, from the last",
}


def print_schedule(scheduled: Schedule) -> str:
    """The text of a schedule; :func:`parse_schedule` reads it back."""
    pieces: dict[str, int] = {}
    nodes: list[Node] = []
    headings: dict[int, str] = {}  # before which node
    behind: dict[str, str] = {}
    for region in scheduled.regions:
        over = f" over {region.axis}" if region.axis else ""
        meaning = _MEANING[region.kind]
        if region.across:
            over += f" by diagonals {print_diagonals(region.across, region.axis, region.weights)}"
            end = "first" if region.kind == "forward" else "last"
            meaning = f"a cycle along both axes: diagonal by diagonal, from the {end}"
        if (outer := region.outer) is not None:
            over += f" in loop {outer.number} {outer.kind} over {outer.axis}"
            if region.kind == "free":
                meaning = "on no cycle along the other axis: a row at once"
        headings[len(nodes)] = f"region {region.kind} {region.phase}{over}  # {meaning}"
        for item in region.items:
            node = item.node
            if not item.whole:
                pieces[node.name] = pieces.get(node.name, 0) + 1
                node = replace(node, name=f"{node.name}^piece{pieces[node.name]}")
                stop = "end" if item.stop is None else item.stop
                behind[node.name] = f"  steps {item.start}:{stop}"
            if item.shift:
                counted = "diagonal" if region.across else region.axis
                behind[node.name] = f"  at {counted}{-item.shift:+d}"
            nodes.append(node)
    whole = {node.name for node in nodes}
    headings[len(nodes)] = "region none  # nodes that run in pieces, and dead code"
    nodes.extend(node for node in scheduled.graph.nodes if node.name not in whole)
    printed = print_graph(scheduled.graph.with_nodes(nodes)).splitlines()
    lines = [_SCHEDULE]
    position = 0
    names = {node.name for node in nodes}
    for line in printed:
        name = line.partition(" = ")[0].rstrip()
        if name not in names or " = " not in line:
            if position == 0 or position == len(nodes):
                lines.append(line)
            continue
        if position in headings:
            lines.extend(([""] if position else []) + [headings[position]])
        lines.append(f"    {line}{behind.get(name, '')}")
        position += 1
    return "\n".join(lines) + "\n"


def parse_schedule(text: str) -> Schedule:
    """The schedule of a text; raises :class:`ProgramTextError`."""
    first, *lines = text.splitlines() or [""]
    if first != _SCHEDULE:
        raise ProgramTextError(f"line 1: expected `{_SCHEDULE}`, found `{first[:60]}`")
    plain: list[str] = []
    regions: list[_RegionText] = []
    inside = False
    for number, line in enumerate(lines, 2):
        if line.startswith("region "):
            heading = line.removeprefix("region ").partition("  #")[0]
            found = _REGION.fullmatch(heading)
            inside = found is not None
            if found is not None:
                regions.append((_region(found), []))
            elif heading != "none":
                raise ProgramTextError(f"line {number}: unknown region `{heading[:60]}`")
            continue
        span, shift = _STEPS.search(line), _SHIFT.search(line)
        line = line[: span.start()] if span else line
        line = line[: shift.start()] if shift else line
        if line.startswith("    "):
            line = line[4:]
            if inside:
                start = int(span[1]) if span else 0
                stop = int(span[2]) if span and span[2] != "end" else None
                name = line.partition(" = ")[0].rstrip()
                regions[-1][1].append((name, start, stop, -int(shift[1]) if shift else 0))
        plain.append(line)
    try:
        graph = parse_graph("\n".join(plain) + "\n")
    except IRTextError as error:
        raise ProgramTextError(f"not a schedule: {error.message}") from None
    return _assembled(graph, regions)


def _region(found: re.Match[str]) -> Region:
    """The region of a heading, without items."""
    words: Any = found  # the pattern has the words of the types
    outer = None
    if found["number"]:
        outer = Outer(int(found["number"]), words["way"], found["outer"])
    made = Region(words["kind"], words["phase"], (), found["axis"] or "", outer=outer)
    if not found["diagonals"]:
        return made
    try:
        across, axis, weights = parse_diagonals(found["diagonals"])
    except ValueError as error:
        raise ProgramTextError(str(error)) from None
    if axis != made.axis:
        raise ProgramTextError(f"a loop over `{made.axis[:60]}` by diagonals of `{axis[:60]}`")
    return replace(made, across=across, weights=weights)


def _assembled(graph: Graph, texts: Sequence[_RegionText]) -> Schedule:
    regions = []
    for region, members in texts:
        items = []
        for name, start, stop, shift in members:
            if name not in graph.by_name:
                raise ProgramTextError(f"unknown node `{name[:60]}`")
            node = graph[name]
            if _PIECE.search(name):
                node = replace(node, name=_PIECE.sub("", name))
            items.append(Item(node, start, stop, shift))
        if not items:
            raise ProgramTextError("a region without nodes")
        start, stop = (items[0].start, items[0].stop) if region.kind != "free" else (0, None)
        regions.append(replace(region, items=tuple(items), start=start, stop=stop))
    whole = graph.with_nodes(node for node in graph.nodes if not _PIECE.search(node.name))
    return Schedule(whole, tuple(regions))


# Programs ------------------------------------------------------------------------------

_LINES: dict[str, type[Any]] = {
    type_.__name__.lower(): type_
    for type_ in (
        *(
            ir.Program,
            ir.Buffer,
            ir.Function,
            ir.Result,
            ir.Loop,
            ir.Shifted,
            ir.Nest,
            ir.Assign,
            ir.Fill,
        ),
        *(ir.Pack, ir.Part, ir.MatMul, ir.OuterProduct, ir.Routine, ir.Reduce),
        *(ir.Clear, ir.Carry, ir.Lap, ir.Optional),
    )
}
_REF = re.compile(
    r"(.+)\[(?:(t|first|last|along)(?:\.(\w+))?(?:\.(\w+))?([+-]\d+)?)?(?:;(\d+))?(?::(\d+(?:x\d+)*))?\]"
)


def print_program(program: Program) -> str:
    """The text of a program; :func:`parse_program` reads it back."""
    return "\n".join((_PROGRAM, *_printed(program, ""))) + "\n"


def _printed(value: Any, indent: str) -> Iterator[str]:
    """The line of a statement, and the lines of those nested in it."""
    words = [type(value).__name__.lower()]
    below: list[tuple[str, Any]] = []
    for field in fields(value):
        part = getattr(value, field.name)
        if field.default is not MISSING and part == field.default:
            continue
        if isinstance(part, tuple) and part and _has_line(part[0]):
            below.append((field.name, part))
        else:
            words.append(f"{field.name}={_word(part)}")
    yield indent + " ".join(words)
    for name, parts in below:
        if len(below) > 1:
            yield f"{indent}  {name}:"
        for part in parts:
            yield from _printed(part, indent + "    ")


def _has_line(value: Any) -> bool:
    return is_dataclass(value) and type(value).__name__.lower() in _LINES


def _word(value: Any) -> str:
    match value:
        case Ref():
            row = "" if value.row == "step" and value.shift == 0 else value.row.replace("step", "t")
            row += f".{value.end}" if value.end else ""
            row += f".{value.by}" if value.by else ""
            shift = f"{value.shift:+d}" if value.shift else ""
            offset = f";{value.offset}" if value.offset else ""
            shape = f":{'x'.join(map(str, value.shape))}" if value.shape else ""
            return f"{value.buffer}[{row}{shift}{offset}{shape}]"
        case Local():
            return f"%{value.name}"
        case Number():
            return f"#{value.value!r}"
        case Span(block=True):
            return "block"
        case Span():
            return f"{value.start}:{'end' if value.stop is None else value.stop}"
        case tuple():
            return f"({','.join(map(_word, value))})"
        case bool() | None:
            return str(value).lower()
        case str():
            return value if _plain(value) == value else f'"{value}"'
    return str(value)


def parse_program(text: str) -> Program:
    """The program of a text; raises :class:`ProgramTextError`."""
    lines = text.splitlines()
    if not lines or lines[0] != _PROGRAM:
        raise ProgramTextError(f"line 1: expected `{_PROGRAM}`")
    reader = _Reader(lines)
    try:
        program = reader.statement(0)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise ProgramTextError(f"line {reader.at + 1}: {error}") from None
    if not isinstance(program, Program):
        raise ProgramTextError("line 2: expected a program")
    return program


@cache
def _hints(word: str) -> dict[str, Any]:
    return get_type_hints(_LINES[word], vars(ir))


class _Reader:
    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.at = 1

    def statement(self, depth: int) -> Any:
        """The statement of the current line, with those that are indented below it."""
        word, *rest = self.lines[self.at].split()
        type_ = _LINES[word]
        hints = _hints(word)
        values = {}
        for pair in rest:
            name, _, value = pair.partition("=")
            values[name] = _parsed(value, hints[name])
        below = [name for name, hint in hints.items() if _lists_lines(hint)]
        missing = [name for name in below if name not in values]
        self.at += 1
        name = missing[0] if missing else ""
        found: dict[str, list[Any]] = {}
        while self.at < len(self.lines):
            line = self.lines[self.at]
            indent = len(line) - len(line.lstrip())
            if indent <= depth:
                break
            if line.endswith(":") and line.strip()[:-1] in below:
                name = line.strip()[:-1]
                self.at += 1
                continue
            found.setdefault(name, []).append(self.statement(indent))
        return type_(**values, **{name: tuple(parts) for name, parts in found.items()})


def _lists_lines(hint: Any) -> bool:
    text = str(hint)
    return text.startswith("tuple[") and any(
        f".{type_.__name__}" in text for type_ in _LINES.values()
    )


def _parsed(text: str, hint: Any) -> Any:
    if text.startswith("("):
        return tuple(_parsed(part, None) for part in _split(text[1:-1]))
    if hint is str or (hint is not None and "Literal" in str(hint)):
        return text.strip('"')
    return _plain(text)


def _plain(text: str) -> Any:
    """A value by its form; a name that has the form of another value is in quotes."""
    if text.startswith('"'):
        return text.strip('"')
    if text in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text]
    if text.startswith("("):
        return _parsed(text, None)
    if text.startswith("%"):
        return Local(text[1:])
    if text.startswith("#"):
        return Number(float(text[1:]))
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"-?(\d+\.\d*(e[+-]?\d+)?|\d+e[+-]?\d+|inf|nan)", text):
        return float(text)
    if text == "block":
        return Span(block=True)
    if span := re.fullmatch(r"(\d+):(\d+|end)", text):
        return Span(int(span[1]), None if span[2] == "end" else int(span[2]))
    if found := _REF.fullmatch(text):
        shape = tuple(map(int, found[7].split("x"))) if found[7] else ()
        row: Any = "step" if found[2] in (None, "t") else found[2]
        numbers = int(found[5] or 0), int(found[6] or 0)
        return Ref(found[1], shape, *numbers, row, found[3] or "", found[4] or "")
    return text


def _split(text: str) -> list[str]:
    """The parts between commas outside parentheses."""
    parts, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]] if text else []
