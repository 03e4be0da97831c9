"""Arrays in files: ``.npz`` for all of a network's arrays, ``.csv`` for sequences of numbers.

Files are untrusted: nothing in them is executed, and whatever is wrong with one is an
:class:`InputError` that names the file.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError

Array = NDArray[Any]

LONGEST_TABLE = 256 * 2**20
LONGEST_LINE = 16 * 2**20
"""The bytes of a table, and of a line in one."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second is that of an empty one
_NPY = b"\x93NUMPY"


@dataclass(frozen=True)
class Column:
    """A sequence that a table may hold: its name and the shape of one step."""

    name: str
    shape: tuple[int, ...] = ()

    @property
    def labels(self) -> list[str]:
        """The heads of its columns: ``x`` for a number, ``x.0``, ``x.1`` … for a vector."""
        if not self.shape:
            return [self.name]
        return [f"{self.name}.{'.'.join(map(str, at))}" for at in np.ndindex(self.shape)]


def read_npz(content: bytes, file: str) -> dict[str, Array]:
    """The arrays of an ``.npz`` file by name; they hold numbers or truth values.

    Nothing is unpickled, and no more is unpacked than :func:`most_bytes`.
    """
    if content.startswith(_NPY):
        raise InputError(f"`{file}` holds one array without a name; save it with `numpy.savez`")
    if not content.startswith(_ZIP):
        raise InputError(f"`{file}` is not an .npz file")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _members(archive, file)
    except InputError:
        raise
    except Exception as error:  # the formats' readers raise whatever comes up
        raise InputError(f"cannot read `{file}` as .npz: {error}") from error


def _members(archive: zipfile.ZipFile, file: str) -> dict[str, Array]:
    members = archive.infolist()
    size = sum(member.file_size for member in members)  # no more is unpacked than they say
    if size > most_bytes():
        raise InputError(
            f"`{file}` says that it holds {size / 1e9:,.1f} GB: that is more than the"
            f" {most_bytes() / 1e9:.3g} GB that are read, a quarter of this machine's memory"
        )
    arrays: dict[str, Array] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            raise InputError(f"`{name:.60}` in `{file}` is no array: its name does not end in .npy")
        if name in arrays:
            raise InputError(f"`{file}` holds `{name:.60}` twice")
        with archive.open(member) as opened:
            unpacked = opened.read(member.file_size + 1)  # at the end its checksum is compared
        arrays[name] = _array(unpacked, f"`{name:.60}` in `{file}`")
    return arrays


def _array(content: bytes, what: str) -> Array:
    """An array from the bytes of an ``.npy`` file."""
    stream = io.BytesIO(content)
    if not content.startswith(_NPY):
        raise InputError(f"{what} is no array")
    try:
        read = np.lib.format.read_array_header_1_0
        if np.lib.format.read_magic(stream) != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(stream)
    except Exception as error:
        raise InputError(f"{what} has no header that can be read: {error}") from error
    if dtype.kind not in "biuf" or dtype.shape:
        raise InputError(
            f"{what} holds neither numbers nor truth values: its type is `{dtype!s:.60}`"
        )
    found, expected = len(content) - stream.tell(), prod(shape) * dtype.itemsize
    if found != expected or min(shape, default=0) < 0:
        raise InputError(
            f"{what} should be of shape {list(shape)!s:.60}, which takes {expected} bytes,"
            f" and has {found}"
        )
    numbers = np.frombuffer(content, dtype, offset=stream.tell()).copy()
    return numbers.reshape(shape, order="F" if by_columns else "C")


def most_bytes() -> int:
    """The most that a file of data may take: a quarter of this machine's memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (ValueError, OSError):
        return 2**40


def is_npz(content: bytes, file: str) -> bool:
    """Whether a file is meant as ``.npz``, and not as a table."""
    return file.endswith((".npz", ".npy")) or content.startswith((*_ZIP, _NPY))


def write_npz(arrays: Mapping[str, Array]) -> bytes:
    """The content of an ``.npz`` file; the same arrays give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, found in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(found), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return content.getvalue()


def read_csv(content: bytes, file: str, columns: Sequence[Column]) -> dict[str, Array]:
    """The sequences of a table with a row a step, each of shape ``[T, *shape]``.

    With a first row of heads the columns are found by their labels, and other columns are
    passed over; a sequence of which no column is there is left out.  Without heads the
    columns are those of ``columns`` in that order, and there are no others.
    """
    rows = _rows(content, file)
    first, cells = next(rows, (0, []))
    if not cells:
        raise InputError(f"`{file}` is empty")
    head = [cell.strip() for cell in cells]
    if any(_number(cell) is None for cell in head):
        first, cells = next(rows, (0, []))
    else:
        head = [label for column in columns for label in column.labels]
        if len(head) != len(cells):
            raise InputError(
                f"`{file}` has {len(cells)} columns without heads, where {len(head)} were"
                f" expected: {', '.join(head[:8])}{' …' if len(head) > 8 else ''}"
            )
    places = {label: place for place, label in reversed(list(enumerate(head)))}
    wanted: dict[Column, list[int]] = {}
    for column in columns:
        missing = [label for label in column.labels if label not in places]
        if len(missing) == len(column.labels):
            continue
        if missing:
            raise InputError(f"`{file}` has no column `{missing[0]}`")
        wanted[column] = [places[label] for label in column.labels]
    if not wanted:
        known = ", ".join(f"`{column.labels[0]}`" for column in columns[:8])
        raise InputError(f"no column of `{file}` has a name that was looked for, such as {known}")
    numbers = {column: array("d") for column in wanted}
    for line, row in chain([(first, cells)] if cells else [], rows):
        for column, own in wanted.items():
            numbers[column].extend(_cell(row, place, line, file) for place in own)
    return {
        column.name: np.array(found, np.float64).reshape(-1, *column.shape)
        for column, found in numbers.items()
    }


def _rows(content: bytes, file: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its line, one after the other."""
    try:
        reader = csv.reader(_lines(content, file), strict=True)
        for row in reader:
            if any(map(str.strip, row)):
                yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read `{file}` as a table: {error}") from error


def _lines(content: bytes, file: str) -> Iterator[str]:
    if len(content) > LONGEST_TABLE:
        raise InputError(
            f"`{file}` is a table of more than {LONGEST_TABLE // 2**20} MB; save it as .npz"
        )
    start = 0
    while start < len(content):  # so that no endless line is cut into cells
        end = content.find(b"\n", start) + 1 or len(content)
        if end - start > LONGEST_LINE:
            raise InputError(f"`{file}` has a line of more than {LONGEST_LINE // 2**20} MB")
        start = end
    yield from io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _cell(row: Sequence[str], place: int, line: int, file: str) -> float:
    value = _number(row[place]) if place < len(row) else None
    if value is None:
        found = f"found `{row[place]:.20}`" if place < len(row) else "the row ends before"
        raise InputError(f"`{file}`, line {line}, column {place + 1}: expected a number, {found}")
    return value


def names(arrays: Iterable[str]) -> str:
    """A list of names for a message."""
    return ", ".join(f"`{name}`" for name in arrays) or "none"
