"""Comparisons of an index or a condition with a constant that have a constant result.

An index of n values is in 0 … n - 1, and a condition counts as 0 or 1: a comparison with a number
outside that range is always true or always false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollc.ir.constant_folding import evaluated
from rollc.ir.graph import Node, Type
from rollc.ir.operations import OPERATIONS
from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.symbols.builtins import COMPARISONS, said
from rollc.lang.symbols.untyped_node import Draft

_DEEPEST = 50  # operations that a number is computed by


def always_the_same(
    draft: Draft, types: Sequence[Type], drafts: Mapping[str, Draft]
) -> Diagnostic | None:
    """What is wrong with a comparison whose operands have these types."""
    symbol = said(draft.operation)
    if symbol not in COMPARISONS:
        return None
    for place, type_ in enumerate(types):
        compared = drafts.get(draft.operands[place].edge.source)
        if compared is not None and compared.operation == "step":
            continue  # no spec writes that: it is how a read is cut at borders
        number = known_number(draft.operands[1 - place].edge.source, drafts)
        if type_.kind == "float" or number is None:
            continue
        last = 1 if type_.kind == "bool" else (type_.bound or 1) - 1
        if last == 0 and number == 0:
            return None  # of an index of one value there is nothing else to say
        # Those at the ends decide about an order, and the number itself about equality.
        tried = {0.0, float(last)} | ({number} if number in range(last + 1) else set())
        pairs = (((value, number), (number, value))[place] for value in tried)
        outcomes = {evaluated(_node(draft, "bool"), list(pair)) for pair in pairs}
        if len(outcomes) > 1:
            continue
        (outcome,) = outcomes
        what = "a condition" if type_.kind == "bool" else f"an index of {type_.bound}"
        text = f"this is {'0 or 1' if type_.kind == 'bool' else f'0 to {last}'}"
        # A cell or a function is written for more than one use of it.
        general = draft.operands[place].span.use is not None
        return Diagnostic(
            "R232",
            f"`{symbol}` of {what} and {number:g} {'always' if outcome else 'never'} holds",
            Label(draft.operands[place].span, text),
            helps=("compare it with one of its values, or with another index",)
            if type_.kind == "index"
            else ("a condition can stand alone: `where(a < b, …)`",),
            severity="warning" if general else "error",
        )
    return None


def known_number(name: str, drafts: Mapping[str, Draft], deep: int = 0) -> float | None:
    """The number that a value is at every step, where the spec says it."""
    draft = drafts.get(name)
    if draft is None or deep > _DEEPEST:
        return None
    if draft.operation == "constant":
        value = dict(draft.attributes).get("value")
        return value if isinstance(value, float) else None
    entry = OPERATIONS.get(draft.operation)  # of numbers none is a complex one or a derivative
    if not draft.operands or entry is None or not entry.elementwise:
        return None
    numbers: list[float] = []
    for operand in draft.operands:
        number = None if operand.edge.delay else known_number(operand.edge.source, drafts, deep + 1)
        if number is None:
            return None
        numbers.append(number)
    return evaluated(_node(draft, "float"), numbers)


def _node(draft: Draft, kind: str) -> Node:
    type_ = Type("bool") if kind == "bool" else Type("float")
    return Node(draft.name, draft.operation, (), type_, draft.attributes)
