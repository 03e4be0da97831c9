"""The names of a spec: what each stands for, defined once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rollc.lang.diagnostics import Diagnostic, Label
from rollc.lang.functions import FUNCTIONS, near
from rollc.lang.source import Span
from rollc.lang.syntax import Alias, Const, Dim, Equation, Input, Name, Param, Spec

MOST_GUESSES = 20  # near names are looked for: each takes a comparison with all others
Sort = Literal["size", "input", "target", "param", "const", "equation"]


@dataclass(frozen=True, slots=True)
class Symbol:
    """``name`` where it is defined; ``span`` is the whole definition."""

    name: str
    sort: Sort
    at: Span
    span: Span


class Names:
    """Every name that a spec defines, in the order of the text."""

    def __init__(self, spec: Spec) -> None:
        self.symbols: dict[str, Symbol] = {}
        self.problems: list[Diagnostic] = []
        self._unknown: set[str] = set()
        for statement in spec.statements:
            match statement:
                case Dim(name):
                    self._define(name, "size", statement.span)
                case Input(name, target=target):
                    self._define(name, "target" if target else "input", statement.span)
                case Param(name):
                    self._define(name, "param", statement.span)
                case Const(name):
                    self._define(name, "const", statement.span)
                case Alias(name):
                    self._define(name, "equation", statement.span)
                case Equation(names):
                    for name in names:
                        self._define(name, "equation", statement.span)

    def _define(self, name: Name, sort: Sort, span: Span) -> None:
        first = self.symbols.get(name.name)
        if first is not None:
            self.problems.append(twice(f"`{name.name}` is defined", first.at, name.span))
            return
        self.symbols[name.name] = Symbol(name.name, sort, name.span, span)

    def owns(self, name: Name) -> bool:
        """Whether this is the place where the name is defined (the first one)."""
        return self.symbols[name.name].at == name.span

    def find(self, name: Name, wanted: Sort | None = None) -> Symbol | None:
        """What a name stands for; the first read of an unknown one is reported.

        ``wanted`` is the sort that a near name must have to be proposed.
        """
        symbol = self.symbols.get(name.name)
        if symbol is None and name.name not in self._unknown:
            self._unknown.add(name.name)
            self.problems.append(self._missing(name, wanted))
        return symbol

    def _missing(self, name: Name, wanted: Sort | None) -> Diagnostic:
        also: tuple[Label, ...] = ()
        helps: tuple[str, ...] = ()
        text = "not defined"
        known = [item.name for item in self.symbols.values() if wanted in (None, item.sort)]
        guess = near(name.name, known) if len(self._unknown) <= MOST_GUESSES else None
        if name.name == "t":
            text = "the time axis is no value"
            helps = ("give the network an input that counts the steps",)
        elif name.name in FUNCTIONS:
            text = "a function, here without operands"
            helps = (f"call it: `{name.name}(…)`",)
        elif guess is not None:
            also = (Label(self.symbols[guess].at, f"`{guess}` is defined here"),)
            helps = (f"did you mean `{guess}`?",)
        message = f"unknown name `{name.name}`"
        return Diagnostic("R201", message, Label(name.span, text), also, helps=helps)


def twice(what: str, first: Span, second: Span) -> Diagnostic:
    """Something that may be said once was said again."""
    return Diagnostic(
        "R202", f"{what} twice", Label(second, "again here"), (Label(first, "first here"),)
    )
