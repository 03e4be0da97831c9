"""The symbol table of a spec: each name is defined once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rollc.ir.graph import BATCH
from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.builtins import MOVED, SHAPED, TIME, functions, near
from rollc.lang.symbols.other_names import BATCHES, NUMBERS, STEPS
from rollc.lang.syntax.ast import (
    Alias,
    Const,
    Dim,
    Elements,
    Equation,
    Input,
    Name,
    Net,
    Param,
    Repeat,
    Spec,
    Time,
)

MOST_AXES = 2
MOST_GUESSES = 20  # near names are looked for: each takes a comparison with all others
SymbolKind = Literal["size", "input", "target", "param", "const", "equation"]
Wanted = SymbolKind | Literal["place"] | None


@dataclass(frozen=True, slots=True)
class Symbol:
    """``name`` where it is defined; ``span`` is the whole definition."""

    name: str
    kind: SymbolKind
    at: Span
    span: Span


class Names:
    """Every name that a spec defines, in the order of the text.

    ``axes`` are the time axes, which are no values and have names all the same.
    """

    def __init__(self, spec: Spec) -> None:
        self.symbols: dict[str, Symbol] = {}
        self.problems: list[Diagnostic] = []
        self.axes = axes_of(spec)
        nets = spec.of(Net)
        self.begin = nets[0].span.end if nets else None  # where a line can be put in
        self._unknown: set[str] = set()
        self.declared: dict[str, Span] = {}
        self._times(spec)
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
                case Elements(names):
                    self._define_once(names, statement.span)
                case Repeat():
                    for equation in statement.equations:
                        self._define_once(equation.names, equation.span)

    def _define(self, name: Name, kind: SymbolKind, span: Span) -> None:
        symbol = self.symbols.get(name.name)
        first = symbol.at if symbol is not None else self.declared.get(name.name)
        if first is not None:
            self.problems.append(twice(f"`{name.name}` is defined", first, name.span))
        if symbol is not None:
            return
        self.symbols[name.name] = Symbol(name.name, kind, name.span, span)

    def _define_once(self, names: Iterable[Name], span: Span) -> None:
        """Names that several statements define together: of elements, and of passes."""
        for name in names:
            if name.name not in self.symbols:
                self._define(name, "equation", span)

    def _times(self, spec: Spec) -> None:
        """The time axes: one or two, declared once."""
        said = spec.of(Time)
        self.problems += [twice("`time` is said", said[0].span, again.span) for again in said[1:]]
        for axis in said[0].axes if said else ():
            if axis.name == BATCH:
                text = f"`{BATCH}` is what the sequences of a batch are counted by"
                helps = ("choose another name",)
                self.problems.append(Diagnostic("R109", text, Label(axis.span), helps=helps))
            elif axis.name in self.declared:
                first = self.declared[axis.name]
                self.problems.append(twice(f"`{axis.name}` is defined", first, axis.span))
            elif len(self.declared) == MOST_AXES:
                self.problems.append(
                    Diagnostic(
                        "R114",
                        "more than two time axes",
                        Label(axis.span, "the third"),
                        notes=("kernels are made for two, as an encoder and a decoder have",),
                    )
                )
            self.declared.setdefault(axis.name, axis.span)

    def owns(self, name: Name) -> bool:
        """Whether this is the place where the name is defined (the first one)."""
        return self.symbols[name.name].at == name.span

    def find(self, name: Name, wanted: Wanted = None) -> Symbol | None:
        """The symbol of a name; the first read of an unknown one is reported.

        ``wanted`` is the kind of names that are proposed for it, "place" for sizes and time axes.
        """
        symbol = self.symbols.get(name.name)
        if symbol is None and name.name not in self._unknown:
            self._unknown.add(name.name)
            self.problems.append(self._missing(name, wanted))
        return symbol

    def unknown(self, name: Name, help_: str, instead: str) -> None:
        """Report a name that stands for another one."""
        if name.name not in self._unknown:
            self._unknown.add(name.name)
            message, edits = f"unknown name `{shown(name.name)}`", (Edit(name.span, instead),)
            at = Label(name.span, "not defined")
            self.problems.append(Diagnostic("R201", message, at, helps=(help_,), edits=edits))

    def _missing(self, name: Name, wanted: Wanted) -> Diagnostic:
        also: tuple[Label, ...] = ()
        helps: tuple[str, ...] = ()
        edits: tuple[Edit, ...] = ()
        text = "not defined"
        kind = "size" if wanted == "place" else wanted
        known = [item.name for item in self.symbols.values() if kind in (None, item.kind)]
        guess = near(name.name, known) if len(self._unknown) <= MOST_GUESSES else None
        if name.name in (TIME, *self.axes) or name.name.endswith(f".{TIME}"):
            text = "a time axis is no value"
            helps = ("count the steps: `step = step[t-1] + 1`",)
            if self.begin is not None and "step" not in self.symbols and name.name in self.axes:
                counts = f"\nstep = step[{name.name}-1] + 1"
                edits = (Edit(Span(self.begin, self.begin), counts), Edit(name.span, "step"))
        elif f"{name.name}.1" in self.symbols:
            text = "each pass of a repetition has its own"
            helps = ("to see the last, define it before the repetition too: what it starts from",)
        elif name.name in NUMBERS:
            helps = (f"write `{NUMBERS[name.name]}`",)
            edits = (Edit(name.span, NUMBERS[name.name]),)
        elif stem := self._without_step(name.name):
            text = f"`{stem}` is the value at this step"
            helps, edits = (f"write `{stem}`",), (Edit(name.span, stem),)
        elif f"{name.name}_{TIME}" in self.symbols:
            symbol = self.symbols[f"{name.name}_{TIME}"]
            also = (Label(symbol.at, f"`{symbol.name}` is another name"),)
            helps, edits = (f"call it `{name.name}` there",), (Edit(symbol.at, name.name),)
        elif wanted == "size" and name.name in (*BATCHES, *STEPS):
            text = "a shape is that of one step of one sequence"
            helps = ("leave it out",)
        elif name.name in (*functions(), *SHAPED, *MOVED):
            text = "a function, here without operands"
            helps = (f"call it: `{name.name}(…)`",)
        elif guess is not None:
            also = (Label(self.symbols[guess].at, f"`{guess}` is defined here"),)
            helps = (f"did you mean `{shown(guess)}`?",)
            edits = (Edit(name.span, shown(guess)),)
        elif wanted == "place":
            text = "neither a size nor a time axis"
            helps = (f"declare it: `dim {name.name} = …`, or `time {name.name}, {self.axes[0]}`",)
        message = f"unknown name `{shown(name.name)}`"
        return Diagnostic("R201", message, Label(name.span, text), also, helps=helps, edits=edits)

    def _without_step(self, name: str) -> str | None:
        """What is written with its step in its name, as papers do it: `h` of `h_t`."""
        for end in (f"_{axis}" for axis in self.axes):
            if name.endswith(end) and name.removesuffix(end) in self.symbols:
                return name.removesuffix(end)
        return None


def shown(name: str) -> str:
    """A name as the text has it: without the use of a cell, the place in an array, or the pass."""
    parts = [part for part in name.split(".") if not part.isdigit()]
    return parts[-1]


def axes_of(spec: Spec) -> tuple[str, ...]:
    """The time axes that a spec declares; `t` where it declares none."""
    declared = [axis.name for time in spec.of(Time) for axis in time.axes if axis.name != BATCH]
    return tuple(dict.fromkeys(declared)) or (TIME,)


def listed(axes: Iterable[str]) -> str:
    """Axes as a message names them."""
    return " and ".join(f"`{axis}`" for axis in dict.fromkeys(axes))


def no_axis(name: str, at: Span, axes: Iterable[str]) -> Diagnostic:
    """A name that should be one of the time axes and is none."""
    known = sorted(set(axes))
    text = f"the time {'axes are' if known[1:] else 'axis is'} {listed(known)}"
    helps: tuple[str, ...] = ()
    edits = () if known[1:] else (Edit(at, known[0]),)
    if name in BATCHES:
        helps = (f"a sequence sees no other one of its batch: write `{known[0]}`",)
        notes = ("the loss is the mean over the batch by itself",)
        return Diagnostic("R230", f"`{name}` is no time axis", Label(at, text), (), notes, helps,
            edits=edits)  # fmt: skip
    if not known[1:]:
        second = f"a second axis is declared with what runs over it: `time {name}, {known[0]}`"
        helps = (f"write `{known[0]}`", f"{second} and `input x[{name}]`")
    return Diagnostic(
        "R230", f"`{name}` is no time axis", Label(at, text), helps=helps, edits=edits
    )


def twice(what: str, first: Span, second: Span) -> Diagnostic:
    """Something that may be said once was said again."""
    return Diagnostic(
        "R202", f"{what} twice", Label(second, "again here"), (Label(first, "first here"),)
    )
