"""Completion in a shell: click's, with the names of specs, cells and values."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from rollc.errors import RollcError
from rollc.support import resources

VARIABLE = "_ROLLC_COMPLETE"
"""What the script of a shell sets to ask for completion, as click calls it."""
SHELLS = ("bash", "zsh", "fish")


def script(command: click.Command, shell: str) -> str:
    """What a shell has to read so that it completes the command."""
    found = get_completion_class(shell)
    assert found is not None
    return found(command, {}, "rollc", VARIABLE).source()


def specs(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Specs that come with rollc, and those in the folder; any file where there are none."""
    return _names(resources.specs(), incomplete)


def specs_and_cells(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return _starting([*resources.specs(), *_cells()], incomplete)


def specs_and_codes(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from rollc.lang.diagnostics.catalogue import CODES

    codes = CODES if re.fullmatch(r"[rR]\d{0,3}", incomplete) else ()
    found = _starting(codes, incomplete.upper())
    return found or _names(resources.specs(), incomplete)


def values(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names of values in the spec that was given before."""
    spec = context.params.get("subject")
    with suppress(RollcError):
        from rollc.lang.diagnostics.source import Source
        from rollc.lang.load import load_graph

        path = resources.find_spec(str(spec))
        read = load_graph(Source(str(path), resources.text_of(path)))
        named = [each.name for each in read.known if each.type is not None]
        return _starting(named, incomplete)
    return []


def _cells() -> list[str]:
    folder = resources.folder("specs") / resources.CELLS
    return [f"{resources.CELLS}/{path.stem}" for path in sorted(folder.glob("*.roll"))]


def _names(known: Iterable[str], incomplete: str) -> list[CompletionItem]:
    found = _starting(known, incomplete)
    if not found:
        return [CompletionItem(incomplete, type="file")]
    with suppress(OSError):
        folder = os.path.dirname(incomplete)
        own = (os.path.join(folder, path.name) for path in sorted(Path(folder).glob("*.roll")))
        found = [*_starting(own, incomplete), *found]
    return found


def _starting(known: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]
