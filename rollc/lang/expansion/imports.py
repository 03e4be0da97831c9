"""Imports: the files that a spec uses.

A path is relative to the folder of the text that uses it, or else to the folder of the specs that
come with rollc.  A spec is untrusted: paths cannot leave these folders or name other kinds of
files, and the size of all texts is bounded.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Source
from rollc.lang.symbols.builtins import near
from rollc.lang.syntax.ast import Use
from rollc.support.resources import folder

LONGEST_TEXT = 200_000  # characters of one file
LONGEST_USED = 1_000_000  # of all that are used
MOST_FILES = 64
ENDING = ".roll"

_USE = re.compile(r'^[ \t]*use[ \t]*"([^"\n]*)"', re.MULTILINE)


def with_used(source: Source) -> Source:
    """The source with the text of every file that it uses, directly or not.

    Files that cannot be read are left out: :func:`unread` says why.  A file that uses itself,
    directly or not, is included once.
    """
    found: dict[Path, Source] = {}
    pending, left = [source], LONGEST_USED
    while pending and len(found) < MOST_FILES:
        file = pending.pop(0)
        for path in _USE.findall(file.text):
            place = located(path, file)
            if place is None or place.resolve() in found or len(found) >= MOST_FILES:
                continue
            text = _text(place)
            if text is not None and len(text) <= left:
                left -= len(text)
                used = found[place.resolve()] = Source(str(place), text)
                pending.append(used)
    return replace(source, used=tuple(found.values()))


def unread(use: Use, file: Source, source: Source) -> Diagnostic | None:
    """Why what a file of ``source`` uses could not be read; None where it was."""
    place = located(use.path, file)
    if place is not None and place.resolve() in {Path(used.name).resolve() for used in source.used}:
        return None
    at = Label(use.span)
    helps: tuple[str, ...] = ()
    if not _is_tame(use.path):
        text = f"a path leads down from a spec's folder, to a file that ends in `{ENDING}`"
        for path in (f"cells/{use.path}{ENDING}", f"{use.path}{ENDING}"):
            if located(path, file) is not None:
                written = (Edit(use.span, f'use "{path}"'),)
                message = f"`{use.path}` is not the path of a spec"
                return Diagnostic("R112", message, at, helps=(f'write `"{path}"`',), edits=written)
        return Diagnostic("R112", f"`{use.path}` is not the path of a spec", at, helps=(text,))
    if place is None:
        guess = near(use.path, known_paths(use.path, file))
        helps = (f"did you mean `{guess}`?",) if guess is not None else ()
        notes = ("looked for in the folder of this file, and among the specs of rollc",)
        edits = () if guess is None else (Edit(use.span, f'use "{guess}"'),)
        message = f"there is no file `{use.path}`"
        return Diagnostic("R112", message, at, notes=notes, helps=helps, edits=edits)
    if len(source.used) >= MOST_FILES:
        return Diagnostic("R112", f"a spec uses {MOST_FILES} files at most", at)
    text = f"it is no text in UTF-8 of {LONGEST_TEXT} characters at most"
    more = f"all files that a spec uses have {LONGEST_USED} together"
    return Diagnostic("R112", f"`{use.path}` cannot be read", at, notes=(text, more))


def located(path: str, file: Source) -> Path | None:
    """The file that a path in ``file`` stands for."""
    if not _is_tame(path):
        return None
    for root in _roots(file):
        place = root / path
        try:
            inside = place.resolve().is_relative_to(root.resolve())
            if inside and place.is_file():
                return place
        except (OSError, RuntimeError, ValueError):
            continue
    return None


def _roots(file: Source) -> tuple[Path, ...]:
    return Path(file.name).parent, folder("specs")


def _is_tame(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return (
        path.endswith(ENDING)
        and path.isprintable()
        and "\\" not in path
        and ".." not in parts
        and not path.startswith("/")
    )


def _text(place: Path) -> str | None:
    try:
        with place.open(encoding="utf-8-sig") as file:
            text = file.read(LONGEST_TEXT + 1)
    except (OSError, ValueError):
        return None
    return text if len(text) <= LONGEST_TEXT else None


def known_paths(path: str, file: Source) -> list[str]:
    """Paths that could have been meant: what lies where the path leads, and rollc's cells."""
    cells = folder("specs") / "cells"
    known = [f"cells/{place.name}" for place in cells.glob(f"*{ENDING}")]
    inside = PurePosixPath(path).parent
    with suppress(OSError, ValueError):
        nearby = islice((Path(file.name).parent / inside).glob(f"*{ENDING}"), 1000)
        known += [str(inside / place.name) for place in nearby]
    return known
