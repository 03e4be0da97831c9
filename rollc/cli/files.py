"""The files that a command reads and writes; ``-`` is standard input or output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rollc import resources
from rollc.cli import report, talk
from rollc.errors import InputError, StoreError

if TYPE_CHECKING:
    from rollc.lang.source import Source

STREAM = "-"
_LONGEST_TEXT = 256 * 2**20  # bytes; the text of a long unrolled graph is the longest


def is_artefact(argument: str) -> bool:
    """Whether a SPEC argument is a folder, which can only be that of an artefact."""
    return argument != STREAM and Path(argument).is_dir()


def read_spec(argument: str) -> Source:
    """The text that a SPEC argument names.

    That is a file, standard input, or, where there is no such file, a spec that comes with
    rollc.
    """
    from rollc.lang.source import Source

    if argument == STREAM:
        name, content = "<stdin>", _read(STREAM, _LONGEST_TEXT)
    else:
        path = resources.find_spec(argument)
        name, content = str(path), _read(str(path), _LONGEST_TEXT)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"`{name}` is not text in UTF-8: see line {line}") from error
    report.remember(name, text)
    return Source(name, text)


def read_bytes(argument: str) -> bytes:
    """All of a data file, or of standard input."""
    return _read(argument)


def _read(argument: str, most: int = -1) -> bytes:
    """The content; with ``most``, an error where there are more bytes than that."""
    limit = most + 1 if most >= 0 else -1
    try:
        if argument == STREAM:
            content = sys.stdin.buffer.read(limit)
        else:
            with open(argument, "rb") as file:
                content = file.read(limit)
    except OSError as error:
        raise InputError(f"cannot read `{argument}`: {error.strerror}") from error
    if 0 <= most < len(content):
        raise InputError(f"`{argument}` is longer than {most // 2**20} MB")
    return content


def write_text(argument: str, text: str) -> None:
    write_bytes(argument, text.encode("utf-8", errors="replace"))


def write_bytes(argument: str, content: bytes) -> None:
    """Write a file whole, or to standard output."""
    if argument == STREAM:
        sys.stdout.flush()
        left = memoryview(content)
        while left:  # an unbuffered stream may take a part at a time
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()
        return
    from rollc import atomic

    try:
        atomic.write_file(Path(argument), content)
    except StoreError as error:
        raise InputError(str(error)) from error
    talk.say(f"wrote {argument}")
