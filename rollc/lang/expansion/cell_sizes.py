"""The sizes that a use of a cell says: which are whole numbers, and what is wrong with them."""

from __future__ import annotations

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.expansion.layers import word_for
from rollc.lang.expansion.substitution import Scope
from rollc.lang.symbols.builtins import near
from rollc.lang.syntax.ast import Call, Cell, Expression, Name, Negate, Number
from rollc.lang.syntax.traversal import parts


def is_real(value: Expression, scope: Scope) -> bool:
    """Whether the form of an argument shows that it is a number and no size."""
    if isinstance(value, Negate) and isinstance(value.operand, Number):
        value = value.operand
    if isinstance(value, Number):
        return isinstance(value.value, float)
    pending: list[Expression] = [value]
    while pending:
        part = pending.pop()
        match part:
            case Number(float()) | Number(0) | Negate():
                return True
            case Name(name) if name in scope.numbers:
                return True
            case Call():
                continue
        pending.extend(parts(part))
    return False


def size_problem(
    cell: Cell, call: Call, scope: Scope, also: tuple[Label, ...]
) -> Diagnostic | None:
    name = cell.name.name
    wanted = {size.name.name: size for size in cell.sizes}
    seen: set[str] = set()
    for size in call.sizes:
        at, said = Label(scope.span(size.span)), size.name.name
        if said not in wanted:
            guess = near(said, wanted)
            helps = [f"did you mean `{guess}`?"] if guess is not None else []
            edits: tuple[Edit, ...] = ()
            if word := word_for(size):
                helps, edits = [f"it is a word: `{word}`"], (Edit(size.span, word),)
            if not helps and wanted:
                helps = [f"its sizes are {', '.join(f'`{known}`' for known in wanted)}"]
            message = f"`{name}` has no size `{said}`"
            return Diagnostic("R227", message, at, also, helps=tuple(helps), edits=edits)
        if said in seen:
            return Diagnostic("R227", f"`{said}` is given twice", at)
        seen.add(said)
    for missing in wanted.values():
        if missing.default is None and missing.name.name not in seen:
            message = f"`{name}` needs the size `{missing.name.name}`"
            help_ = f"write `{name}(…; {missing.name.name}=…)`"
            at = Label(scope.span(call.span))
            also = (Label(missing.span, "it has no default"),)
            return Diagnostic("R227", message, at, also, helps=(help_,))
    return None


def as_sizes(cell: Cell, call: Call) -> tuple[Edit, ...]:
    """The operands that a use has too many as its sizes."""
    inputs = len(cell.inputs)
    extra = call.operands[inputs:]
    if call.sizes or call.options or not inputs or not 0 < len(extra) <= len(cell.sizes):
        return ()
    starts = [operand.span.end for operand in call.operands[inputs - 1 : -1]]
    names = [f"{size.name.name}=" for size in cell.sizes]
    marks = ["; ", *[", "] * (len(extra) - 1)]
    return tuple(
        Edit(Span(start, value.span.start), f"{mark}{name}")
        for start, value, mark, name in zip(starts, extra, marks, names, strict=False)
    )
