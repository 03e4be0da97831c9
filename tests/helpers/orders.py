"""The statements of a spec in other orders that mean the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.syntax.ast import Const, Dim, Equation, Repeat, Spec, Statement
from rollc.lang.syntax.formatter import format_spec
from rollc.lang.syntax.parser import parse_spec

Item = TypeVar("Item", bound=Statement)


def shuffled(text: str, random: Random) -> str:
    """The statements in another order, where the text says that it is free.

    Sizes and constants stay in theirs, and what the passes of a repetition start from before it.
    """
    spec, problems = parse_spec(Source("spec.roll", text))
    assert spec is not None, render(tuple(problems), Source("spec.roll", text))
    return format_spec(Spec(reordered(spec.statements, random)))


def reordered(statements: Sequence[Item], random: Random) -> tuple[Item, ...]:
    left = [replace(item, body=reordered(item.body, random)) if isinstance(item, Repeat) else item
            for item in statements]  # fmt: skip
    found: list[Item] = []
    while left:
        free = [item for at, item in enumerate(left) if not any(map(waits(item), left[:at]))]
        found.append(random.choice(free))
        left.remove(found[-1])
    return tuple(found)


def waits(item: Statement) -> Callable[[Statement], bool]:
    """Whether an item has to stand behind an earlier one."""
    equations = item.equations if isinstance(item, Repeat) else ()
    repeated = {name.name for each in equations for name in each.names}

    def behind(earlier: Statement) -> bool:
        if isinstance(item, (Dim, Const)):
            return isinstance(earlier, (Dim, Const))
        names = earlier.names if isinstance(earlier, Equation) else ()
        return any(name.name in repeated for name in names)

    return behind
