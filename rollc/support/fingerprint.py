"""Hashes that decide whether a cached build, or object code, is still valid."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rollc.support import resources

PACKAGE = Path(__file__).resolve().parent.parent

RUNTIME = ("backends", "runtime", "ir/operations")
"""The folders of the package that generate the code of kernels, and that kernels call."""


def of_value(value: Any) -> str:
    """The hash of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def of_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """The hash of each text, by its name."""
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def of_compiler() -> str:
    """The hash of rollc's own source and grammar: a build is of one version of the compiler."""
    return of_sources((PACKAGE, resources.folder("grammar")))


def of_runtime() -> str:
    """The hash of the run time: kernels that were compiled for another one must not run."""
    return of_sources(tuple(PACKAGE / folder for folder in RUNTIME))


def build_key(**parts: Any) -> str:
    """The name of a build in the cache: a hash of everything that it depends on.

    ``parts`` are values that JSON can hold; the versions of rollc, Python and NumPy are added.
    """
    python = (platform.python_version(), platform.machine())
    return of_value({**parts, "environment": [of_compiler(), *python, version("numpy")]})[:32]


@cache
def of_sources(folders: Sequence[Path]) -> str:
    """The hash of the sources in some folders, and those below, by their names.

    Raises :class:`FileNotFoundError` for a folder without any: the hash of no file would make old
    object code valid.
    """
    total = hashlib.sha256()
    for folder in folders:
        sources = sorted((*folder.rglob("*.py"), *folder.rglob("*.lark")))
        if not sources:
            raise FileNotFoundError(f"there are no sources in {folder}")
        for path in sources:
            total.update(path.relative_to(folder).as_posix().encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
