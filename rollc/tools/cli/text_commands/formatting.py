"""``fmt``: specs in the one layout."""

from __future__ import annotations

import difflib
import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rollc.driver.artefact_store import MANIFEST
from rollc.errors import InputError
from rollc.ir.text import is_graph_text
from rollc.support import resources
from rollc.tools import console, fault_report, files

if TYPE_CHECKING:
    from rollc.lang.diagnostics.source import Source

ENDING = ".roll"
STDIN = "<stdin>"


def format_files(paths: Sequence[str], check: bool, difference: bool) -> int:
    """Lay out the files, or say which are not.

    Returns 1 where a text is wrong, or with ``check`` or ``difference`` where one is not laid out.
    """
    from rollc.lang.syntax.layout import laid_out

    changed = same = wrong = 0
    for source in _sources([*_files(paths)]):
        text, diagnostics = laid_out(source)
        if text is None:
            wrong += 1
            console.diagnostics(diagnostics, source, sys.stderr)
            continue
        changed += text != source.text
        same += text == source.text
        if difference:
            files.write_text(files.STREAM, "".join(_difference(source, text)))
        elif source.name == STDIN and not check:
            files.write_text(files.STREAM, text)
        elif text != source.text and check:
            console.say(f"not laid out: {source.name}")
        elif text != source.text:
            _rewrite(Path(source.name), text)
    looked = check or difference
    counts = {"to be laid out" if looked else "laid out": changed, "unchanged": same}
    counts["with errors, left as they are"] = wrong
    console.say(", ".join(f"{count} {what}" for what, count in counts.items() if count))
    return 1 if wrong or (changed and looked) else 0


def _files(paths: Iterable[str]) -> Iterator[str]:
    """The files that are named, and those in the folders that are."""
    for path in paths:
        if path == files.STREAM or not os.path.isdir(path):
            yield path
            continue
        found = [*_inside(path)]
        if not found:
            raise InputError(f"there is no `{ENDING}` file in `{path}`")
        yield from found


def _inside(folder: str) -> Iterator[str]:
    """The specs of a folder; not those of artefacts, which are what was built, nor hidden ones."""
    for root, folders, names in os.walk(folder):
        if MANIFEST in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(root, name) for name in sorted(names) if name.endswith(ENDING))


def _sources(paths: Sequence[str]) -> list[Source]:
    """The texts: all are read before one is written."""
    from rollc.lang.diagnostics.source import Source

    found = []
    for path in dict.fromkeys(paths):
        if path == files.STREAM:
            source = files.read_spec(path)
        else:  # not a spec that comes with rollc, which is not to be written
            source = Source(path, resources.text_of(Path(path)))
            fault_report.remember(source.name, source.text)
        if is_graph_text(source.text):
            raise InputError(f"`{source.name}` is the text of a graph, which has its own layout")
        found.append(source)
    return found


def _difference(source: Source, text: str) -> Iterator[str]:
    before, after = (each.splitlines(keepends=True) for each in (source.text, text))
    for line in difflib.unified_diff(before, after, source.name, source.name):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _rewrite(path: Path, text: str) -> None:
    from rollc.support import atomic_files

    atomic_files.check_file(path)
    if not os.access(path, os.W_OK):  # it could be replaced all the same
        raise InputError(f"cannot write `{path}`: {os.strerror(errno.EACCES)}")
    mode = path.stat().st_mode
    atomic_files.write_file(path, text.encode())
    os.chmod(path, mode & 0o7777)
