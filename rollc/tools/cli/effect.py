"""Options without an effect are refused before the work, or reported where only the data show it.

A user who gives an option expects an effect.
"""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.core import ParameterSource

from rollc.errors import InputError
from rollc.tools import console


def given(names: Iterable[str]) -> list[str]:
    """Those of a command's options and arguments that were given, as a user writes them."""
    context = click.get_current_context(silent=True)
    if context is None:
        return []
    wanted = set(names)
    return [
        max(parameter.opts, key=len) if isinstance(parameter, click.Option) else "NAME"
        for parameter in context.command.params
        if parameter.name in wanted
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
        and context.params.get(parameter.name) not in ((), None)
    ]


def refuse(names: Iterable[str], why: str) -> None:
    """Raise where one of these was given: it has no effect, and ``why``."""
    if found := given(names):
        raise InputError(f"`{found[0]}` has no effect {why}")


def say(names: Iterable[str], why: str) -> None:
    """Note that what was given has no effect, and ``why``."""
    for option in given(names):
        console.note(f"`{option}` has no effect {why}")
