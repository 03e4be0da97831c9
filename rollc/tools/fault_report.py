"""Reports of bugs of rollc itself: a file that reproduces one, and a message that asks for it."""

from __future__ import annotations

import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence

from rollc import __version__
from rollc.tools import console

_LIBRARIES = ("click", "lark", "llvmlite", "networkx", "numba", "numpy")
_texts: list[tuple[str, str]] = []


def remember(name: str, text: str) -> None:
    """Note a text that the command read: a report of a fault needs it."""
    _texts.append((name, text))


def write(arguments: Sequence[str], error: Exception) -> None:
    """Write the report and say where it is."""
    lines = [
        f"rollc {__version__}, Python {platform.python_version()}, {platform.platform()}",
        ", ".join(f"{library} {_version(library)}" for library in _LIBRARIES),
        "",
        f"rollc {shlex.join(arguments)}",
        "",
        "".join(traceback.format_exception(error)).rstrip(),
    ]
    for name, text in _texts:
        lines += ["", f"==== {name}", text]
    console.error(f"internal error: {type(error).__name__}: {error}")
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="rollc-report-", suffix=".txt", delete=False, encoding="utf-8",
            errors="backslashreplace",
        ) as file:  # fmt: skip
            file.write("\n".join(lines) + "\n")
    except OSError:
        print("\n".join(lines), file=sys.stderr)
        console.note("this is a fault of rollc: please report it with the text above")
    else:
        console.note("this is a fault of rollc, not of yours: please report it")
        console.note(f"what reproduces it is in {file.name} (it holds the text of the spec)")


def _version(library: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
