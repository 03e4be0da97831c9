"""Text of a schedule and of a program, and back.

Both are written as nested calls of the names of their types, ``Loop(direction='forward',
…)``, without what is a default, a statement a line.  Reading back evaluates nothing: the
text is parsed as a Python expression, and only the types listed here are made from it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from rollc.graph.graph import Edge, Graph, Node, Type
from rollc.kernel import program as ir
from rollc.kernel.program import Program
from rollc.kernel.schedule import Item, Region, Schedule

_TYPES: dict[str, type[Any]] = {
    type_.__name__: type_
    for type_ in (
        *(ir.Buffer, ir.Ref, ir.Local, ir.Number, ir.Assign, ir.Span, ir.Nest, ir.Fill, ir.Part),
        *(ir.Pack, ir.Times, ir.Product, ir.Routine, ir.Reduce, ir.Loop, ir.Function, ir.Result),
        *(ir.Program, Schedule, Region, Item, Graph, Node, Edge, Type),
    )
}
_WIDTH = 100


class ProgramTextError(ValueError):
    """A text that is not a schedule or a program."""


def print_program(program: Program) -> str:
    return "# rollc program 1\n" + "\n".join(_lines(program, "")) + "\n"


def print_schedule(scheduled: Schedule) -> str:
    return "# rollc schedule 1\n" + "\n".join(_lines(scheduled, "")) + "\n"


def parse_program(text: str) -> Program:
    value = _parse(text)
    if not isinstance(value, Program):
        raise ProgramTextError("expected the text of a program")
    return value


def parse_schedule(text: str) -> Schedule:
    value = _parse(text)
    if not isinstance(value, Schedule):
        raise ProgramTextError("expected the text of a schedule")
    return value


def _lines(value: Any, indent: str) -> Iterator[str]:
    """A value on one line if it fits, else its parts on lines of their own."""
    flat = _flat(value)
    if len(indent) + len(flat) < _WIDTH or not (is_dataclass(value) or isinstance(value, tuple)):
        yield indent + flat
        return
    inner = indent + "    "
    if isinstance(value, tuple):
        yield indent + "("
        for part in value:
            *rest, last = _lines(part, inner)
            yield from rest
            yield last + ","
        yield indent + ")"
        return
    yield f"{indent}{type(value).__name__}("
    for name, part in _shown(value):
        first, *rest = _lines(part, inner)
        lines = [f"{inner}{name}={first.lstrip()}", *rest]
        yield from lines[:-1]
        yield lines[-1] + ","
    yield indent + ")"


def _shown(value: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(value):
        part = getattr(value, field.name)
        if field.default is MISSING or part != field.default:
            yield field.name, part


def _flat(value: Any) -> str:
    if is_dataclass(value):
        inside = ", ".join(f"{name}={_flat(part)}" for name, part in _shown(value))
        return f"{type(value).__name__}({inside})"
    if isinstance(value, tuple):
        parts = ", ".join(map(_flat, value))
        return f"({parts},)" if len(value) == 1 else f"({parts})"
    return repr(value)


def _parse(text: str) -> Any:
    try:
        return _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ProgramTextError(f"cannot read the text: {error}") from None


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value) if isinstance(value, str | int | float | bool | None):
            return value
        case ast.Tuple(elts=parts):
            return tuple(map(_value, parts))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.Name(id="inf"):
            return float("inf")
        case ast.Name(id="nan"):
            return float("nan")
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords) if name in _TYPES:
            return _TYPES[name](
                **{keyword.arg: _value(keyword.value) for keyword in keywords if keyword.arg}
            )
    raise ProgramTextError(f"unexpected {type(node).__name__} in line {node.lineno}")
