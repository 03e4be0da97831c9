"""Checks of calls: the number of operands, options, and `over`."""

from __future__ import annotations

from collections.abc import Callable

from rollc.ir.attribute_flaws import attribute_flaw
from rollc.ir.graph import Attribute
from rollc.ir.operations import OPERATIONS
from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.symbols.builtins import ENDS, EVERY, MOVED, OVER_TIME, STOP, TIME
from rollc.lang.symbols.constants import Rejected, Values, rejected
from rollc.lang.symbols.library import LIBRARY
from rollc.lang.syntax.ast import Call, Cell, Function, Name, calls_in, expressions, names_in


def check_arity(call: Call, wanted: tuple[str, ...], variadic: bool = False) -> None:
    """Raises :class:`Rejected` where there are not as many operands as a call needs."""
    found = len(call.operands)
    if found == len(wanted) or (variadic and found >= len(wanted)):
        return
    function = call.function.name
    form = f"{function}({', '.join(wanted)}{', …' if variadic else ''})"
    helps = [f"write `{form}`"]
    if function in ("max", "min") and found == 2:
        helps = [f"of two values, `{function}imum(a, b)` takes one"]
    least = "at least " if variadic else ""
    operands = "operand" if len(wanted) == 1 else "operands"
    raise rejected(
        "R204",
        call.span,
        f"`{function}` takes {least}{len(wanted)} {operands}, found {found}",
        "",
        helps,
    )


def options_of(
    call: Call, defaults: tuple[tuple[str, Attribute], ...], values: Values
) -> dict[str, Attribute]:
    """The options of a call.  A whole-numbered one at its default is left out."""
    known = {} if call.over is not None else dict(defaults)
    given: dict[str, Attribute] = {}
    for option in call.options:
        name = option.name.name
        if name not in known:
            raise no_option(call)
        if name in given:
            raise rejected("R205", option.span, f"`{name}` is given twice")
        value: Attribute
        if isinstance(known[name], int):
            value = values.whole(option.value)
        else:
            value = values.number(option.value)
        flaw = attribute_flaw(call.function.name, name, value)
        if value == known[name] == -1:
            flaw = "a dimension, counted from 0"  # -1 stands for all, if nothing is said
        if flaw is not None:
            raise rejected("R205", option.span, f"`{name}` must be {flaw}", f"this is {value}")
        given[name] = value
    floats = {name: value for name, value in known.items() if isinstance(value, float)}
    return {
        **floats,
        **{name: value for name, value in given.items() if value != known[name]},
    }


def no_option(call: Call) -> Rejected:
    """What is wrong with a call that has more than its operands."""
    function = call.function.name
    known = {} if call.over is not None else dict(known_options(call))
    for size in call.sizes:
        help_ = "options stand behind a comma"
        return rejected("R205", size.span, f"`{function}` has no sizes", "", [help_])
    for option in call.options:
        if option.name.name not in known:
            options = ", ".join(f"`{name}`" for name in known)
            help_ = f"its options are {options}" if options else "it has none here"
            message = f"`{function}` has no option `{option.name.name}`"
            return rejected("R205", option.name.span, message, "", [help_])
    assert call.over is not None
    return rejected(
        "R205",
        call.over.span,
        f"`{function}` cannot go over the steps",
        "",
        [f"{', '.join(f'`{name}`' for name in (*OVER_TIME, *ENDS))} can"],
    )


def no_axis_of_own(
    definition: Cell | Function, over: Name, find: Callable[[str], object]
) -> Diagnostic | None:
    """The diagnostic for `over` on a cell or function that runs along no axis of its own.

    One that uses another, which ``find`` looks up by its name, can pass its axis on.
    """
    if isinstance(definition, Cell):
        values = [value for statement in definition.body for value in expressions(statement)]
    else:
        values = [*definition.values]
    calls = [call for value in values for call in calls_in(value)]
    named = [name for value in values for name in names_in(value)]
    named += [call.over for call in calls if call.over is not None]
    if any(name.name == TIME for name in named) or any(
        find(call.function.name) is not None for call in calls
    ):
        return None
    name = definition.name
    also = Label(name.span, f"nothing in it names `{TIME}`")
    message = f"`{name.name}` does not run along a time axis"
    help_ = "leave `over` out: it would change nothing"
    return Diagnostic("R205", message, Label(over.span), (also,), helps=(help_,))


def known_options(call: Call) -> tuple[tuple[str, Attribute], ...]:
    """The options of a function, with their defaults."""
    function = call.function.name
    if function == STOP:
        return ((EVERY, 0),)
    if function in MOVED:
        return (("axis", 0),)
    if function in LIBRARY:
        return LIBRARY[function].defaults
    return OPERATIONS[function].defaults if function in OPERATIONS else ()
