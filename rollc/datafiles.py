"""Arrays in files: ``.npz`` for all of a network's arrays, ``.csv`` for sequences of numbers.

Files are untrusted: nothing in them is executed, and whatever is wrong with one is an
:class:`InputError` that names the file.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError

Array = NDArray[Any]

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
    """The arrays of an ``.npz`` file by name; they hold numbers or truth values."""
    if content.startswith(_NPY):
        raise InputError(f"`{file}` holds one array without a name; save it with `numpy.savez`")
    if not content.startswith(_ZIP):
        raise InputError(f"`{file}` is not an .npz file")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # the formats' readers raise whatever comes up
        raise InputError(f"cannot read `{file}` as .npz: {error}") from error
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise InputError(
                f"`{name}` in `{file}` holds neither numbers nor truth values: its type is"
                f" `{array.dtype}`"
            )
    return arrays


def is_npz(content: bytes, file: str) -> bool:
    """Whether a file is meant as ``.npz``, and not as a table."""
    return file.endswith((".npz", ".npy")) or content.startswith((*_ZIP, _NPY))


def write_npz(arrays: Mapping[str, Array]) -> bytes:
    """The content of an ``.npz`` file; the same arrays give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return content.getvalue()


def read_csv(content: bytes, file: str, columns: Sequence[Column]) -> dict[str, Array]:
    """The sequences of a table with a row a step, each of shape ``[T, *shape]``.

    With a first row of heads the columns are found by their labels, and other columns are
    passed over; a sequence of which no column is there is left out.  Without heads the
    columns are those of ``columns`` in that order, and there are no others.
    """
    rows = _rows(content, file)
    if not rows:
        raise InputError(f"`{file}` is empty")
    head = [cell.strip() for cell in rows[0][1]]
    if any(_number(cell) is None for cell in head):
        del rows[0]
    else:
        head = [label for column in columns for label in column.labels]
        if len(head) != len(rows[0][1]):
            raise InputError(
                f"`{file}` has {len(rows[0][1])} columns without heads, where {len(head)} were"
                f" expected: {', '.join(head[:8])}{' …' if len(head) > 8 else ''}"
            )
    places = {label: place for place, label in reversed(list(enumerate(head)))}
    found = {}
    for column in columns:
        missing = [label for label in column.labels if label not in places]
        if len(missing) == len(column.labels):
            continue
        if missing:
            raise InputError(f"`{file}` has no column `{missing[0]}`")
        wanted = [places[label] for label in column.labels]
        table = [[_cell(row, place, line, file) for place in wanted] for line, row in rows]
        found[column.name] = np.array(table, np.float64).reshape(len(rows), *column.shape)
    if not found:
        known = ", ".join(f"`{column.labels[0]}`" for column in columns[:8])
        raise InputError(f"no column of `{file}` has a name that was looked for, such as {known}")
    return found


def _rows(content: bytes, file: str) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its line."""
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        return [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read `{file}` as a table: {error}") from error


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
