"""The argument of a command: the text of a spec, or a built network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rollc.errors import InputError
from rollc.ir.text import is_graph_text
from rollc.tools import files
from rollc.tools.cli import effect

if TYPE_CHECKING:
    from rollc.driver.artefact_store import Manifest
    from rollc.lang.diagnostics.source import Source


def read_source(spec: str) -> Source:
    """The text of a spec, for which the options that were given have an effect."""
    source = files.read_spec(spec)
    if is_graph_text(source.text):
        effect.refuse(("sets", "feed"), f"on `{source.name}`: the text of a graph has its own")
    elif not re.search(r"\bfeed\s*\(|^[ \t]*use\b", source.text, re.MULTILINE):
        effect.say(["feed"], f"on `{source.name}`: it has no `feed(…)`")
    return source


def open_artefact(
    folder: str, sets: Mapping[str, int], dtype: str, feed: str, backend: str | None = None
) -> Manifest:
    """A built network, which is what it is: it cannot be asked to be another."""
    from rollc.driver import artefact_store

    if sets:
        raise InputError(f"the sizes of `{folder}` are fixed: it is built; give its spec instead")
    manifest = artefact_store.read(Path(folder))
    for name, asked in (("dtype", dtype), ("feed", feed), ("backend", backend)):
        own = manifest.entries.get(name)
        if own != asked and effect.given([name]):
            raise InputError(f"`{folder}` is built, and {own}; give its spec to have it {asked}")
    return manifest
