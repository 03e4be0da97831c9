"""The files that come with rollc: the grammar and the specs.

In a checkout they lie beside the package, in the wheel inside it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

CELLS = "cells"
_PACKAGE = Path(__file__).resolve().parent


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
