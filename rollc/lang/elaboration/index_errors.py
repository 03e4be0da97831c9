"""What is said of an index that is none: counts from the end, ranges of steps, no delays."""

from __future__ import annotations

from collections.abc import Sequence

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.constants import Rejected, rejected
from rollc.lang.symbols.table import shown
from rollc.lang.syntax.ast import Binary, Expression, Name, Negate, Number, Range, Rest

MOST_WRITTEN = 16  # steps that a help writes one by one


def negative(
    base: Expression,
    end: Expression | None,
    span: Span,
    text: str,
    element: bool = False,
    axis: int = 0,
) -> Rejected:
    """A count from the end: of elements, or of one meant to be of steps."""
    helps = ["a slice without an end goes to the last element: `{0:tight}[2:]`"]
    edits: list[Edit] = []
    match base, end:
        case Name(name), Negate(Number(int() as count)) if axis >= 0:
            assert end is not None
            last = f"size({shown(name)}{f', axis={axis}' if axis > 0 else ''})-{count}"
            helps = [f"counted from the last element it is `{last}`", *helps]
            edits = [Edit(end.span, last)]
            if element and not axis:
                ago = "one step" if count == 1 else f"{count} steps"
                helps = [f"the value {ago} ago is `{shown(name)}[t-{count}]`", helps[0]]
                edits = [Edit(end.span, f"t-{count}")]
    parts = [Label(base.span, "x")]
    return rejected("R221", span, "elements are counted from 0 on", text, helps, edits, parts)


def no_delay(index: Expression) -> Rejected:
    """An index with a time axis that is not of the form of a delay."""
    message, help_ = "a delay is written `t-k` or `t+k`", "`h[t-1]` is the value one step ago"
    return rejected("R222", index.span, message, "not a delay", [help_])


def delay_among_places(
    base: Expression, places: Sequence[Expression | Range | Rest], span: Span
) -> Rejected:
    """A delay or a step beside places in the dimensions of a value."""
    helps = ["`{0:tight}[t-1][2, :]` is of one step ago, and `{0:tight}[2, :]` of this one"]
    edits: list[Edit] = []
    match places:
        case (Name(), Range(None, None)) | (Range(None, None), Name()):
            helps = ["a plain name is the value at this step"]
            edits = [Edit(Span(base.span.end, span.end), "")]
        case (Binary() as delay, *others) if isinstance(others[0], Name | Number):
            edits = [Edit(Span(delay.span.end, others[0].span.start), "][")]
    parts = [Label(base.span, "h")]
    return rejected("R222", span, "a delay has brackets of its own", "", helps, edits, parts)


def in_brackets(function: Name, operand: Expression) -> Rejected:
    """A function with its operand in the brackets of an index."""
    start, end = function.span.end, operand.span.end
    edits = [Edit(Span(start, operand.span.start), "("), Edit(Span(end, end + 1), ")")]
    message, name = f"unknown name `{function.name}`", function.name
    text = "a function, here without operands"
    return rejected("R201", function.span, message, text, [f"write `{name}(…)`"], edits)


def range_of_steps(
    base: Expression, first: Expression | None, last: Expression | None, span: Span
) -> Rejected:
    """A slice of steps: they are written one by one."""
    help_ = "write the steps one by one: `[x[t-1], x]`"
    edits: list[Edit] = []
    match base, _step(first), _step(last):
        case Name(name), int() as start, int() as stop if 0 < stop - start <= MOST_WRITTEN:
            steps = (f"[t{step:+d}]" if step else "" for step in range(start, stop))
            text = f"[{', '.join(f'{shown(name)}{step}' for step in steps)}]"
            help_, edits = f"write the steps one by one: `{text}`", [Edit(span, text)]
    message = "a slice has elements of one step, and no steps"
    return rejected("R222", span, message, "a range of steps", [help_], edits)


def _step(end: Expression | None) -> int | None:
    """What `t`, `t-2` or `t+1` adds to the step."""
    match end:
        case Name():
            return 0
        case Binary("-", Name(), Number(int() as steps)):
            return -steps
        case Binary("+", Name(), Number(int() as steps)):
            return steps
    return None


def axis_twice(axis: str, base: Expression, span: Span) -> Rejected:
    """A read with two delays along one axis."""
    message, help_ = f"two delays along `{axis}`", f"write their sum: `{{0:tight}}[{axis}-2]`"
    parts = [Label(base.span, "h")]
    return rejected("R222", span, message, "one delay an axis", [help_], parts=parts)


def reset_along_two(name: str, span: Span, reset: Span) -> Diagnostic:
    """A read along two axes of what is reset."""
    message = f"`{name}` is reset, and is read along one axis with one initial value"
    at, also = Label(span, "read here"), (Label(reset, "reset here"),)
    return Diagnostic("R222", message, at, also)
