"""The files that commands read and write; ``-`` is standard input or output."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rollc.errors import InputError
from rollc.support import resources
from rollc.tools import console, fault_report, standard_streams

if TYPE_CHECKING:
    from rollc.lang.diagnostics.source import Source

STREAM = "-"
_LONGEST_STREAM = 2**30  # bytes of data from a pipe or a device, which may have no end


def is_artefact(argument: str) -> bool:
    """Whether a SPEC argument is a folder, which can only be that of an artefact."""
    from rollc.support import atomic_files

    return argument not in ("", STREAM) and atomic_files.is_there(Path(argument))


def read_spec(argument: str) -> Source:
    """The text that a SPEC argument names.

    That is a file, standard input, or, where there is no such file, a spec that comes with
    rollc.
    """
    from rollc.lang.diagnostics.source import Source

    if argument == STREAM:
        name = "<stdin>"
        text = resources.decoded(_read(STREAM, resources.LONGEST_TEXT), name)
    else:
        path = resources.find_spec(argument)
        name, text = str(path), resources.text_of(path)
    fault_report.remember(name, text)
    return Source(name, text)


def read_bytes(argument: str) -> bytes:
    """All of a data file, or of standard input."""
    from rollc.tools.datafiles import most_bytes

    most = most_bytes()
    if argument == STREAM or not os.path.isfile(argument):
        most = min(most, _LONGEST_STREAM)
    return _read(argument, most)


def check_inputs(*inputs: str | None) -> None:
    """Raise, before the work, where a data file is not there."""
    for argument in inputs:
        if argument is not None and argument != STREAM:
            try:
                if stat.S_ISDIR(os.stat(argument).st_mode):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            except OSError as error:
                raise InputError(f"cannot read `{argument}`: {error.strerror}") from error
    if [*inputs].count(STREAM) > 1:
        raise InputError("standard input can be read once")


def _read(argument: str, most: int) -> bytes:
    """The content; an error where there are more bytes than ``most``."""
    try:
        if argument != STREAM:
            with open(argument, "rb") as file:
                content = file.read(most + 1)
        elif sys.stdin is None:
            raise InputError("cannot read standard input: it is closed")
        else:
            content = sys.stdin.buffer.read(most + 1)
    except OSError as error:
        raise InputError(f"cannot read `{argument}`: {error.strerror}") from error
    if most < len(content):
        raise InputError(f"`{argument}` is longer than {most // 2**20} MB, and was not read")
    return content


def check_outputs(
    *outputs: str | Path | None, endings: Sequence[str] = (), keep: Iterable[str | None] = ()
) -> None:
    """Raise, before the work, where one of the files cannot be written.

    Each has one of the ``endings``, no two are the same, and none is a file to ``keep``.
    """
    from rollc.support import atomic_files

    named = [str(output) for output in outputs if output is not None]
    kept = [Path(path) for path in keep if path and path != STREAM]
    for place, output in enumerate(named):
        path = Path(output)
        if any(_same(output, other) for other in named[:place]):
            raise InputError(f"`{output}` cannot be written twice")
        if output == STREAM:
            continue
        if not output:
            raise InputError("expected the name of a file to write, found an empty one")
        plain = os.path.isfile(path) or not os.path.exists(path)
        if endings and plain and not output.lower().endswith(tuple(endings)):
            raise InputError(
                f"`{output}` is to be written as {endings[0]}: give it a name that ends so"
            )
        if plain and any(_same(output, other) for other in kept):
            raise InputError(f"`{output}` is read here, and would be lost: write another file")
        atomic_files.check_file(path)


def _same(one: str | Path, other: str | Path) -> bool:
    return str(one) == str(other) or os.path.realpath(one) == os.path.realpath(other)


def write_text(argument: str, text: str) -> None:
    write_bytes(argument, text.encode("utf-8", errors="replace"))


def write_bytes(argument: str, content: bytes) -> None:
    """Write a file whole, or to standard output."""
    if argument == STREAM:
        sys.stdout.flush()
        left = memoryview(content)
        try:
            while left:  # an unbuffered stream may take a part at a time
                left = left[sys.stdout.buffer.write(left) :]
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise standard_streams.cannot_write(error) from error
        return
    from rollc.support import atomic_files

    atomic_files.write_file(Path(argument), content)
    console.say(f"wrote {argument}")
