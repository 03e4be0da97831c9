"""Warnings for definitions that neither an output nor the loss depends on."""

from __future__ import annotations

from collections.abc import Iterator

from rollc.ir.traversal import reachable
from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.expansion.definitions import Definitions, free_names
from rollc.lang.symbols.table import Names, SymbolKind
from rollc.lang.syntax.ast import (
    Alias,
    Const,
    Declaration,
    Dim,
    Equation,
    Init,
    Input,
    Loss,
    Output,
    Param,
    Reset,
    Spec,
)
from rollc.lang.syntax.traversal import expressions, names_in

SAID: dict[SymbolKind, str] = {"equation": "value", "const": "constant", "param": "parameter"}


def unused(
    spec: Spec, names: Names, definitions: Definitions, written: frozenset[str]
) -> Iterator[Diagnostic]:
    """A warning for each name that no result depends on; a size is used where it is mentioned.

    ``written`` are the names in what was written before cells and repetitions were expanded.

    Only the names that the spec itself defines are checked, not those inside cells.
    """
    reads: dict[str, set[str]] = {name: set() for name in names.symbols}
    aliases = {alias.name.name: alias.of.name for alias in spec.of(Alias)}
    needed: set[str] = set()
    mentioned = set(written)
    # What is defined together is needed together: the parts of a split, the results of a cell.
    together: dict[tuple[int, int], set[str]] = {}

    for statement in spec.statements:
        found = {name.name for value in expressions(statement) for name in names_in(value)}
        mentioned |= found
        match statement:
            case Dim(name) | Const(name) | Input(name) | Param(name) | Declaration(name):
                reads.setdefault(name.name, set()).update(found)
            case Equation(results):
                for name in results:
                    reads.setdefault(name.name, set()).update(found)
                    together.setdefault(_place(statement), set()).add(name.name)
            case Alias(name, of):
                reads.setdefault(name.name, set()).add(of.name)
                together.setdefault(_place(statement), set()).add(name.name)
            case Init(name) | Reset(name):
                own = name.name
                while own in aliases:
                    own = aliases[own]
                reads.setdefault(own, set()).update(found)
            case Loss():
                needed |= found
            case Output(name):
                needed.add(name.name)
    for function in definitions.functions.values():
        found = free_names(function)
        mentioned |= found
        needed |= found & names.symbols.keys()
    needed = set(reachable(needed, lambda name: reads.get(name, ())))
    for group in together.values():
        if not needed.isdisjoint(group):
            needed |= group
    for symbol in names.symbols.values():
        unread = symbol.name not in needed
        if symbol.kind == "size":
            unread = symbol.name not in mentioned
        if unread and "." not in symbol.name:
            kind = SAID.get(symbol.kind, symbol.kind)
            yield Diagnostic(
                "R224",
                f"unused {kind} `{symbol.name}`",
                Label(symbol.at, "neither an output nor the loss needs it"),
                severity="warning",
            )


def _place(statement: Alias | Equation) -> tuple[int, int]:
    return statement.span.start, statement.span.end
