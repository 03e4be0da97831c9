"""Which lines of a spec, and which of its values, each line of a printed stage comes from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rollc.backends.numba.codegen.symbols import plain

_GRAPH = re.compile(r"^\s*(\S+)\s+= .*?(?:  line (\d+))?$")
_STATEMENT = re.compile(r"\bname=(\S+)(?:.*?\bline=(\d+))?")
_REMARK = re.compile(r"^  (\S+)  ")
_COMMENT = re.compile(r"^\s*# (.*)$")
_LINES = re.compile(r"\(lines? (\d+)(?:-(\d+))?\)")
_DEFINED = re.compile(r"^\s*([\w.Α-ω]+(?:\s*,\s*[\w.Α-ω]+)*)\s*(?::[^=]*)?=(?!=)")
_DECLARED = re.compile(r"^\s*(?:static\s+)?(?:input|target|param|output|init)\b(.*)$")
_ASSIGNED = re.compile(r"^\s*(v_\w+) =|\] \+?= (v_\w+)$")
_IDENTIFIER = re.compile(r"\bv_\w+|\b[A-Za-z]\w*_\b")
_STEP = re.compile(r"_(?:past|next)\d+$")
_WORD = re.compile(r"[A-Za-zΑ-ω_][\wΑ-ω]*")


@dataclass(frozen=True)
class Line:
    """A line of a text, the lines of the spec that it comes from, and the values of the spec.

    ``reads`` are values that it only reads.
    """

    text: str
    origins: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


def base(name: str) -> str:
    """The value of the spec that a node is a part, a copy or the adjoint of.

    >>> base("~h'2:2^next1"), base("h.3"), base("low.h'1.2")
    ('h', 'h', 'low.h')
    >>> base("h.3.2")  # over two time axes
    'h'
    """
    found = re.split(r"['^:]", name.lstrip("~%"))[0]
    return re.sub(r"(\.\d+)+$", "", found)


def of_spec(text: str) -> tuple[Line, ...]:
    """The text of a spec: a line is its own origin, and names what it defines or declares."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        statement = line.partition("#")[0]
        lines.append(Line(line, (number,) if statement.strip() else (), _named(statement)))
    return tuple(lines)


def _named(line: str) -> tuple[str, ...]:
    if declared := _DECLARED.match(line):
        shapes_left_out = re.sub(r"\[[^\]]*\]|=[^,]*", "", declared[1])
        return tuple(dict.fromkeys(_WORD.findall(shapes_left_out)))
    defined = _DEFINED.match(line)
    return () if defined is None else tuple(name.strip() for name in defined[1].split(","))


def of_graph(text: str) -> tuple[Line, ...]:
    """The text of a graph or of a schedule: a node a line."""
    return tuple(_matched(line, _GRAPH) for line in text.splitlines())


def of_program(text: str) -> tuple[Line, ...]:
    return tuple(_matched(line, _STATEMENT, search=True) for line in text.splitlines())


def of_difference(line: str) -> Line:
    """A line of the difference of two graphs, schedules or programs, after `+`, `-` or a blank."""
    own = _matched(line[1:], _GRAPH)
    own = own if own.names else _matched(line[1:], _STATEMENT, search=True)
    return Line(line, own.origins, own.names)


def of_remarks(text: str, origin: Callable[[str], tuple[int, ...]]) -> tuple[Line, ...]:
    """The remarks on nodes; ``origin`` gives the lines of a node."""
    lines = []
    for line in text.splitlines():
        found = _REMARK.match(line)
        name = "" if found is None else found[1]
        lines.append(Line(line, origin(name), (base(name),)) if name else Line(line))
    return tuple(lines)


def _matched(line: str, pattern: re.Pattern[str], search: bool = False) -> Line:
    found = pattern.search(line) if search else pattern.match(line)
    if found is None:
        return Line(line)
    return Line(line, (int(found[2]),) if found[2] else (), (base(found[1]),))


def of_kernel(text: str, buffers: Iterable[str] = ()) -> tuple[Line, ...]:
    """The source of a kernel: a comment tells of the statements, or the one loop, below it.

    Of these, one that assigns the variable of a node is of this node alone.  ``buffers`` are the
    names of those whose arrays it reads.
    """
    scopes: list[_Scope] = []
    found: list[Line] = []
    known = {f"{plain(name)}_": base(name.partition("@")[0]) for name in buffers}
    for line in text.splitlines():
        indentation = len(line) - len(line.lstrip())
        if not line.strip():
            scopes.clear()
            found.append(Line(line))
            continue
        scopes = [scope for scope in scopes if scope.holds(line, indentation)]
        if (comment := _COMMENT.match(line)) is not None:
            told, variables = _told(line, comment[1])
            known |= variables
            before = scopes[-1] if scopes and scopes[-1].indentation == indentation else None
            if before is not None and before.open:  # a comment of several lines
                names = tuple(dict.fromkeys((*before.told.names, *told.names)))
                told = Line(line, told.origins, names)
                variables = before.variables | variables
            scopes = [scope for scope in scopes if scope.indentation < indentation]
            scopes.append(_Scope(indentation, told, variables))
            found.append(told)
            continue
        near = scopes[-1].told if scopes else Line("")
        names = near.names
        if (assigned := _ASSIGNED.search(line)) and scopes:
            own = scopes[-1].variables.get(assigned[1] or assigned[2])
            names = names if own is None else (own,)
        reads = _read(line, known) if scopes else ()
        found.append(
            Line(line, near.origins, names, tuple(name for name in reads if name not in names))
        )
    return tuple(found)


def _read(line: str, known: Mapping[str, str]) -> tuple[str, ...]:
    """The values whose variables and arrays stand in a line."""
    words = (_STEP.sub("", word) for word in _IDENTIFIER.findall(line.partition("  #")[0]))
    return tuple(dict.fromkeys(known[word] for word in words if word in known))


class _Scope:
    """Of what a comment tells: statements as far as the next loop, or a loop and what is in it."""

    def __init__(self, indentation: int, told: Line, variables: dict[str, str]) -> None:
        self.indentation = indentation
        self.told = told
        self.variables = variables
        self.open = True  # nothing but comments yet
        self._loop = False

    def holds(self, line: str, indentation: int) -> bool:
        if indentation != self.indentation or line.lstrip().startswith(("#", "else:")):
            return indentation >= self.indentation
        first, self.open = self.open, False
        compound = line.rstrip().partition("  #")[0].endswith(":")
        if first:
            self._loop = compound
            return True
        return not self._loop and not compound


def _told(text: str, comment: str) -> tuple[Line, dict[str, str]]:
    """What a comment tells, and the value of the spec that each variable of its nodes is of."""
    nodes = [name.split()[-1] for name in comment.partition("  (")[0].split(", ") if name.split()]
    nodes = [node.rstrip(",") for node in nodes]
    known = tuple(dict.fromkeys(map(base, nodes)))
    variables = {f"v_{plain(node)}": base(node) for node in nodes}
    lines = _LINES.search(comment)
    first, last = (lines[1], lines[2] or lines[1]) if lines else (1, 0)
    return Line(text, tuple(range(int(first), int(last) + 1)), known), variables
