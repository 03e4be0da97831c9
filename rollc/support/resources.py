"""The files that come with rollc: the grammar and the specs.

In a checkout they lie beside the package, in the wheel inside it.
"""

from __future__ import annotations

import codecs
import difflib
from contextlib import suppress
from functools import cache
from pathlib import Path

from rollc.errors import InputError

CELLS = "cells"
LONGEST_TEXT = 256 * 2**20
"""The bytes of a spec, or of the text of a graph: that of a long unrolled one is the longest."""

_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def folder(name: str) -> Path:
    """The folder ``grammar`` or ``specs``."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def specs() -> dict[str, Path]:
    """Every spec that comes with rollc, by its path under ``specs/`` less the ending.

    ``specs/cells/`` is a library for other specs to use, and no spec itself.
    """
    root = folder("specs")
    return {
        path.relative_to(root).with_suffix("").as_posix(): path
        for path in sorted(root.rglob("*.roll"))
        if path.parent != root / CELLS
    }


def find_spec(name: str) -> Path:
    """The file of that name or, where there is none, the spec that comes with rollc.

    The name of such a spec can stand without its folder, and with its ending.  Raises
    :class:`InputError` where there is neither.
    """
    if not name:
        raise InputError("expected the name of a spec, found an empty one")
    path = Path(name)
    with suppress(OSError):  # such as a name that is too long
        if path.exists():
            return path
    installed = specs()
    stem = name.removesuffix(".roll")
    if stem in installed:
        return installed[stem]
    found = [known for known in installed if known.endswith(f"/{stem}")]
    if len(found) == 1:
        return installed[found[0]]
    near = found or difflib.get_close_matches(stem, installed, n=1)
    hint = f"; did you mean `{near[0]}`, which comes with rollc?" if near else ""
    raise InputError(f"there is no file `{name:.200}`{hint}")


def text_of(path: Path) -> str:
    """The text of a spec's file.  Raises :class:`InputError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_TEXT + 1)
    except IsADirectoryError as error:
        raise InputError(f"`{path}` is a folder, and a spec is a file") from error
    except OSError as error:
        raise InputError(f"cannot read `{path}`: {error.strerror}") from error
    if len(content) > LONGEST_TEXT:
        raise InputError(f"`{path}` is longer than {LONGEST_TEXT // 2**20} MB, and was not read")
    return decoded(content, str(path))


def decoded(content: bytes, name: str) -> str:
    """The text of a spec.  Raises :class:`InputError` where it is none."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in content[:2]:
        raise InputError(f"`{name}` looks like UTF-16: save it in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"`{name}` is not text in UTF-8: see line {line}") from error
