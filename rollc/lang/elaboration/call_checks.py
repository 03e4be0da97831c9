"""Checks of calls: the number of operands, options, and `over`."""

from __future__ import annotations

from collections.abc import Callable

from rollc.ir.attribute_flaws import attribute_flaw
from rollc.ir.attributes import MOST_DIMENSIONS
from rollc.ir.graph import Attribute
from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.builtins import ALONG, CUT, ENDS, EVERY, MOVED, OVER_TIME, STACK, STOP, TIME
from rollc.lang.symbols.constants import Rejected, Values, rejected
from rollc.lang.symbols.library import LIBRARY
from rollc.lang.symbols.operations import OPERATIONS
from rollc.lang.symbols.other_names import OPTIONS
from rollc.lang.syntax.ast import (
    Call,
    Cell,
    Function,
    Name,
    Number,
)
from rollc.lang.syntax.traversal import calls_in, expressions, names_in

AXIS = "axis"
_NAMES = "abcdefgh"  # of operands that are long


def check_arity(call: Call, wanted: tuple[str, ...], variadic: bool = False) -> None:
    """Raises :class:`Rejected` where there are not as many operands as a call needs."""
    found = len(call.operands)
    if found == len(wanted) or (variadic and found >= len(wanted)):
        return
    function = call.function.name
    form = f"{function}({', '.join(wanted)}{', …' if variadic else ''})"
    help_, edits = _in_place(call, wanted) or (f"write `{form}`", ())
    parts = [Label(of.span, name) for of, name in zip(call.operands, _NAMES, strict=False)]
    least = "at least " if variadic else ""
    operands = "operand" if len(wanted) == 1 else "operands"
    raise rejected(
        "R204",
        call.span,
        f"`{function}` takes {least}{len(wanted)} {operands}, found {found}",
        "",
        [help_],
        edits,
        parts,
    )


def _in_place(call: Call, wanted: tuple[str, ...]) -> tuple[str, tuple[Edit, ...]] | None:
    """What operands too many or too few most likely are: options, an axis, a comparison."""
    function, found = call.function.name, len(call.operands)
    options = [name for name, _ in known_options(call)]
    given = [option.name.name for option in call.options]
    extra = call.operands[len(wanted) :]
    if function in ("max", "min") and found == 2 and not isinstance(extra[0], Number):
        edit = Edit(call.function.span, f"{function}imum")
        return f"of two values, `{function}imum({{0}}, {{1}})` takes one", (edit,)
    match extra:
        case (Name(axis, span),) if axis == TIME and function in (*OVER_TIME, *ENDS):
            return f"write `{function}({{0}}, over {axis})`", (Edit(span, f"over {axis}"),)
    if function in ("max", "min") and found == 2:
        edit = Edit(call.function.span, f"{function}imum")
        form = f"`{function}imum({{0}}, {{1}})`"
        help_ = f"of two values, {form} takes one; `axis=0` chooses a dimension"
        return help_, (edit,)
    if extra and len(extra) + len(given) <= len(options) and not given:
        named = list(zip(options, extra, strict=False))
        edits = tuple(Edit(Span(value.span.start, value.span.start), f"{name}=")
                      for name, value in named)  # fmt: skip
        form = ", ".join(f"{{{place}}}" for place in range(len(wanted)))
        for place, (name, _) in enumerate(named, len(wanted)):
            form += f", {name}={{{place}}}"
        return f"options have their names: `{function}({form})`", edits
    first = call.options[0] if call.options and given[0] not in options else None
    if first is not None and given[0] in wanted:
        edit = Edit(Span(first.name.span.start, first.value.span.start), "")
        return f"operands have no names: `{function}({', '.join(wanted)})`", (edit,)
    if first is not None and found + len(given) == len(wanted) and function == "where":
        gap = Span(first.name.span.end, first.value.span.start)
        return "a comparison is written with `==`", (Edit(gap, " == "),)
    return None


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
        match option.value:
            case Name(axis) if axis == TIME and call.function.name in OVER_TIME:
                text = f"over {axis}"
                help_ = f"a time axis stands behind `over`: `{text}`"
                message = f"`{axis}` is no dimension"
                raise rejected("R205", option.span, message, "", [help_], [Edit(option.span, text)])
        value: Attribute
        if isinstance(known[name], int):
            value = values.whole(option.value)
        else:
            value = values.number(option.value)
        flaw = attribute_flaw(call.function.name, name, value)
        if name == AXIS:
            inside = isinstance(value, int) and -MOST_DIMENSIONS <= value < MOST_DIMENSIONS
            flaw = None if inside else "a dimension: 0 is the first, and -1 the last"
        if flaw is not None:
            raise rejected("R205", option.span, f"`{name}` must be {flaw}", f"this is {value}")
        given[name] = value
    floats = {name: value for name, value in known.items() if isinstance(value, float)}
    return {
        **floats,
        **{name: value for name, value in given.items() if value != known[name] or name == AXIS},
    }


def along_of(options: dict[str, Attribute]) -> int | None:
    """The dimension among the options of a call, which is taken from them."""
    axis = options.pop(AXIS, None)
    assert axis is None or isinstance(axis, int)
    return axis


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
            ours = OPTIONS.get(option.name.name, option.name.name)
            edits: tuple[Edit, ...] = ()
            if ours in known:
                help_, edits = f"write `{ours}`", (Edit(option.name.span, ours),)
            return rejected("R205", option.name.span, message, "", [help_], edits)
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
    if function in (*MOVED, CUT, STACK):
        return (("axis", 0),)
    if function in LIBRARY:
        return LIBRARY[function].defaults
    axis = ((AXIS, -1),) if function in ALONG else ()
    return (*OPERATIONS[function].defaults, *axis) if function in OPERATIONS else ()
