"""What is repeated: the elements of arrays, and the passes of a repetition.

    h[k] = cell(x; H) for k in range(3)   ->  h.0 = cell(x; H)     h.1 = …     h.2 = …
                                              h = [h.0, h.1, h.2]  where it is read as a whole
    v = v[t-1]                            ->  v.0 = v[t-1]
    repeat 3 { v = f(v) }                 ->  v.1 = f(v.0)         v.2 = …     v = f(v.2)

Counts are known before any size that follows from a shape is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.table import Names, twice
from rollc.lang.syntax.ast import (
    Each,
    Elements,
    Equation,
    Init,
    Name,
    Repeat,
    Reset,
    Spec,
    Statement,
)


@dataclass(frozen=True)
class Carried:
    """What goes from pass to pass, and what is repeated inside each pass."""

    names: tuple[str, ...]
    inside: Repetitions


@dataclass
class Repetitions:
    """What some statements repeat: those of a spec or of a cell.

    ``carried`` are the names whose values go from pass to pass, by the place of a repetition, and
    ``starts`` the equations that they start from with these names.  ``arrays`` are the names that
    have elements.
    """

    carried: dict[Span, Carried] = field(default_factory=dict)
    starts: dict[Span, set[str]] = field(default_factory=dict)
    arrays: set[str] = field(default_factory=set)
    problems: list[Diagnostic] = field(default_factory=list)


def repetitions(statements: Sequence[Statement], outer: Sequence[str] = ()) -> Repetitions:
    """What is repeated, with what is wrong in it.

    In a repetition, ``outer`` are the names that go from pass to pass.
    """
    found = Repetitions()
    repeats = [item for item in statements if isinstance(item, Repeat)]
    elements = [item for item in statements if isinstance(item, Elements)]
    if not repeats and not elements:
        return found
    plain = [item for item in statements if not isinstance(item, Repeat)]
    others = {name: symbol.at for name, symbol in Names(Spec(tuple(plain))).symbols.items()}
    for item in elements:
        found.arrays.update(name.name for name in item.names)
    for counting in (item for item in statements if isinstance(item, (Elements, Each))):
        index = counting.index
        if index is not None and index.name in others:
            found.problems.append(_again(index, others[index.name]))
    found.problems += _starts_of_arrays(statements, found.arrays)
    taken: set[str] = set()
    for repeat in repeats:
        before = _before(statements, repeat)
        carried: list[str] = []
        problems: list[Diagnostic] = []
        defined: dict[str, Name] = {}
        for name in (name for equation in repeat.equations for name in equation.names):
            defined.setdefault(name.name, name)
        for name in defined.values():
            first = before.get(name.name)
            if first is not None and name.name not in taken:
                carried.append(name.name)
                found.starts.setdefault(first.span, set()).add(name.name)
            elif name.name in outer and name.name not in {*others, *taken}:
                carried.append(name.name)
            elif name.name in others:
                problems.append(_again(name, others[name.name]))
            taken.add(name.name)
            others[name.name] = name.span
        if not carried and not problems:
            message = "all passes of this repetition are the same"
            help_ = "define before it what they start from: `v = …`, and then `repeat 6 { … v … }`"
            label = Label(repeat.count.span, "nothing goes from pass to pass")
            problems.append(Diagnostic("R235", message, label, helps=(help_,)))
        problems += _twice_in(repeat)
        inside = repetitions(repeat.body, carried)
        problems += inside.problems
        if not problems:
            found.carried[repeat.span] = Carried(tuple(carried), inside)
        found.problems += problems
    return found


def _again(name: Name, other: Span) -> Diagnostic:
    return twice(f"`{name.name}` is defined", *sorted((other, name.span)))


def _twice_in(repeat: Repeat) -> Iterator[Diagnostic]:
    """What the equations of a pass define twice; another repetition in it can go on from them."""
    seen: dict[str, Span] = {}
    for name in (name for item in repeat.body if isinstance(item, Equation) for name in item.names):
        if name.name in seen:
            yield _again(name, seen[name.name])
        seen.setdefault(name.name, name.span)


def _starts_of_arrays(statements: Sequence[Statement], arrays: set[str]) -> Iterator[Diagnostic]:
    for item in statements:
        if isinstance(item, (Init, Reset)) and item.name.name in arrays and item.place is None:
            message = f"`{item.name.name}` starts as its elements do"
            word, behind = ("init", "= …") if isinstance(item, Init) else ("reset", "when …")
            help_ = f"write `{word} {item.name.name}[k] {behind} for k in range(3)`"
            at = Label(item.name.span, "an array")
            yield Diagnostic("R213", message, at, helps=(help_,))


def _before(statements: Sequence[Statement], repeat: Repeat) -> dict[str, Equation]:
    """The equations before a repetition, by the names that they define."""
    return {
        name.name: item
        for item in statements
        if isinstance(item, Equation) and item.span < repeat.span
        for name in item.names
    }


def not_counted(span: Span) -> Diagnostic:
    """How often something is repeated is not known where it is written out."""
    help_ = "it is made of numbers, and of sizes that follow from numbers: `dim K = 6`"
    at = Label(span, "not known yet")
    message = "what is repeated is counted by a whole number"
    return Diagnostic("R235", message, at, helps=(help_,))
