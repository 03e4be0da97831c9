"""What is said of a call of a function that there is none of, and the edits that mend it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.expansion.definitions import Definitions
from rollc.lang.symbols.builtins import NO_OPERATIONS, TIME, WRITTEN, functions, near
from rollc.lang.symbols.library import LIBRARY
from rollc.lang.symbols.other_names import FORMS, FUNCTIONS, WITHOUT, normal
from rollc.lang.symbols.table import Names
from rollc.lang.syntax.ast import (
    Binary,
    Call,
    Expression,
    Listing,
    Name,
    Negate,
    Number,
    Subscript,
)
from rollc.lang.syntax.traversal import names_in
from rollc.support.resources import folder


@dataclass(frozen=True)
class Mend:
    """A help, what it does, and the parts of the text that it stands for."""

    help: str = ""
    edits: tuple[Edit, ...] = ()
    parts: tuple[Label, ...] = ()


def unknown_function(call: Call, names: Names, definitions: Definitions) -> Diagnostic:
    """The diagnostic of a call of a function that is not defined."""
    function = call.function.name
    text = "has a notation of its own" if function in WRITTEN else "not defined"
    message = f"unknown function `{function}`"
    if function in names.symbols:
        text = "a value, and no function"
    mend = _mend(call, names, definitions)
    at, helps = Label(call.function.span, text), (mend.help,) if mend.help else ()
    return Diagnostic("R203", message, at, helps=helps, edits=mend.edits, parts=mend.parts)


def _mend(call: Call, names: Names, definitions: Definitions) -> Mend:
    function, span = call.function.name, call.function.span
    if function in names.symbols:
        return _of_value(call, names)
    known = (*functions(), *LIBRARY, *NO_OPERATIONS)
    own = (*definitions.cells, *definitions.functions)
    form = FORMS.get(function, FORMS.get(normal(function)))
    if form is not None:
        mend = filled(form, call)
        if mend is not None:
            return mend
    if function in WRITTEN:
        return Mend(f"write `{WRITTEN[function]}`")
    if function in WITHOUT:
        return Mend(WITHOUT[function])
    cell = _cells().get(normal(function))
    if cell is not None and cell[0] not in definitions.cells:
        name, path = cell
        edits = (
            [Edit(Span(names.begin, names.begin), f'\nuse "{path}"')]
            if names.begin is not None
            else []
        )
        if name != function:
            edits.append(Edit(span, name))
        return Mend(f'`{name}` is a cell: add the line `use "{path}"`', tuple(edits))
    ours = FUNCTIONS.get(normal(function), FUNCTIONS.get(function))
    guess = ours if ours in known else near(function, (*known, *own))
    if guess is None:
        return Mend()
    said = f"write `{guess}`" if guess == ours else f"did you mean `{guess}`?"
    return Mend(said, (Edit(span, guess), *_unlisted(guess, call)))


def _of_value(call: Call, names: Names) -> Mend:
    """A value with brackets behind it: a delay, an element or a product."""
    name = call.function.name
    shown = name.rsplit(".", 1)[-1]
    if len(call.operands) == 1 and not call.options:
        (operand,) = call.operands
        axes = (TIME, *names.axes)
        leading = next(iter(names_in(operand)), None)
        brackets = (
            Edit(Span(call.function.span.end, operand.span.start), "["),
            Edit(Span(operand.span.end, call.span.end), "]"),
        )
        part = (Label(operand.span, "…"),)
        if leading is not None and leading.name in axes:
            help_ = f"the value at another step is written in `[…]`: `{shown}[{{0}}]`"
            return Mend(help_, brackets, part)
        if isinstance(operand, Number):
            return Mend(f"an element is written in `[…]`: `{shown}[{{0}}]`", brackets, part)
    return Mend(f"to multiply, write `{shown} * (…)`", (Edit(_gap(call.function), " * "),))


def _gap(name: Name) -> Span:
    return Span(name.span.end, name.span.end)


def _unlisted(function: str, call: Call) -> tuple[Edit, ...]:
    """The vectors of ``concat([a, b])`` without the brackets."""
    if function != "concat" or len(call.operands) != 1 or call.options:
        return ()
    match call.operands[0]:
        case Listing((first, *_) as elements, span):
            opened = Edit(Span(span.start, first.span.start), "")
            return opened, Edit(Span(elements[-1].span.end, span.end), "")
    return ()


# What stands between brackets or commas needs no brackets of its own.
_ALONE = re.compile(r".*[(\[,] *x *[)\],].*")


def filled(form: str, call: Call) -> Mend | None:
    """A form with the operands of a call; None where they are not as many."""
    literals = re.split(r"\{\d\}", form)
    operands = call.operands
    if len(operands) != len(literals) - 1 or call.options or call.sizes:
        return None
    texts = []
    tight = form.startswith("{0}[")
    alone = [_ALONE.fullmatch(f"{left}x{right}") is not None for left, right in pairwise(literals)]
    loose = [not within and _loose(of) for within, of in zip(alone, operands, strict=True)]
    for place, literal in enumerate(literals):
        before = place > 0 and loose[place - 1]
        after = place < len(operands) and loose[place]
        if tight and (before or after):
            return None
        texts.append(f"{')' * before}{literal}{'(' * after}")
    starts = [call.span.start, *(operand.span.end for operand in operands)]
    ends = [*(operand.span.start for operand in operands), call.span.end]
    edits = (
        Edit(Span(start, end), text) for start, end, text in zip(starts, ends, texts, strict=True)
    )
    letters = ("a", "b") if len(operands) > 1 else ("x",)
    tightly = "".join(
        f"{literal}{{{place}{'' if within else ':tight'}}}"
        for place, (literal, within) in enumerate(zip(literals, alone, strict=False))
    )
    tightly += literals[-1]
    parts = (Label(of.span, letter) for of, letter in zip(operands, letters, strict=False))
    return Mend(f"write `{tightly}`", tuple(edits), tuple(parts))


def _loose(operand: Expression) -> bool:
    return isinstance(operand, (Binary, Negate)) or not isinstance(
        operand, (Name, Number, Call, Subscript, Listing)
    )


@cache
def _cells() -> dict[str, tuple[str, str]]:
    """The cells that come with rollc, with the files that have them."""
    found = {}
    for path in sorted((folder("specs") / "cells").glob("*.roll")):
        for name in re.findall(r"^cell (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            found[normal(name)] = (name, f"cells/{path.name}")
    return found
