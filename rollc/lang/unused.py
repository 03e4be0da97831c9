"""What a spec defines and neither an output nor the loss needs."""

from __future__ import annotations

from collections.abc import Iterator

from rollc.lang.diagnostics import Diagnostic, Label
from rollc.lang.names import Names, Sort
from rollc.lang.syntax import (
    Const,
    Dim,
    Equation,
    Expression,
    Index,
    Init,
    Input,
    Loss,
    Output,
    Param,
    Shape,
    Spec,
    names_in,
)

SAID: dict[Sort, str] = {"equation": "value", "const": "constant", "param": "parameter"}


def unused(spec: Spec, names: Names) -> Iterator[Diagnostic]:
    """A warning for each name that nothing needed reads; sizes count by mere mention."""
    reads: dict[str, set[str]] = {name: set() for name in names.symbols}
    needed: set[str] = set()
    mentioned: set[str] = set()

    def note(readers: tuple[str, ...], *expressions: Expression | None) -> None:
        for expression in expressions:
            if expression is not None:
                found = {name.name for name in names_in(expression)}
                mentioned.update(found)
                for reader in readers:
                    reads.setdefault(reader, set()).update(found)

    for statement in spec.statements:
        match statement:
            case Dim(name, value) | Const(name, value) | Init(name, value):
                note((name.name,), value)
            case Input(name, Shape(sizes)):
                note((name.name,), *sizes)
            case Input(name, Index(size)):
                note((name.name,), size)
            case Param(name, shape, initialiser):
                note((name.name,), *(shape.sizes if shape else ()), initialiser)
            case Equation(results, value):
                note(tuple(name.name for name in results), value)
            case Loss(value):
                note((), value)
                needed.update(name.name for name in names_in(value))
            case Output(name):
                needed.add(name.name)
    pending = sorted(needed)
    while pending:
        for read in reads.get(pending.pop(), ()):
            if read not in needed:
                needed.add(read)
                pending.append(read)
    # A split is there for all its results: one that is needed is enough.
    for equation in spec.of(Equation):
        if any(name.name in needed for name in equation.names):
            needed.update(name.name for name in equation.names)
    for symbol in names.symbols.values():
        unread = symbol.name not in needed
        if symbol.sort == "size":
            unread = symbol.name not in mentioned
        if unread:
            sort = SAID.get(symbol.sort, symbol.sort)
            yield Diagnostic(
                "R224",
                f"unused {sort} `{symbol.name}`",
                Label(symbol.at, "neither an output nor the loss needs it"),
                severity="warning",
            )
